"""Penalty schedules: a sequence of penalties, each a function of the last solution.

One static lambda must trade sparsity against shrinkage with a single knob. A schedule fits again, at every lambda of
the path, under weights that it takes from the last solution; each fit is a convex problem with a certificate of its own.
``MCP`` and ``SCAD`` are schedules, and so are ``Adaptive``, ``Relaxed``, ``Thresholded`` and ``PruneRefine``. Any function
that takes the last ``Stage`` and returns the next penalty (None: no further) will do. Iteratively reweighted L1 (Candes,
Wakin & Boyd 2008), four times over:

>>> import numpy as np, distlasso as dl
>>> def reweighted(last):
...     if last.number == 4:
...         return None
...     return last.then(1.0 / (1.0 + np.abs(last.b) / 0.1))
>>> X = np.random.default_rng(0).standard_normal((200, 20))
>>> path = dl.fit_path(X, X[:, 0] - X[:, 1], schedule=reweighted, n_lambdas=10)
>>> int(path.stages[-1]), bool(path.converged.all())
(4, True)

Read next: ``stages.py``, which runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.frozen import Frozen
from distlasso.errors import InputError
from distlasso.priors import Prior

Floats = NDArray[np.float64]

_REFINEMENT = 0.1
_REFINEMENTS = (0.5, 0.25, 0.1, 0.03, 0.01, 0.0)
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_OVER = 0.8  # a longer step of weights that still contracts where the implied one does


@final
@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The next penalty of a schedule; made by ``Stage.then`` and ``Stage.mixed``."""

    weights: Floats | float  # [p]: multiply the L1 penalty; inf excludes
    lam: float | None = None  # None is the lambda of the path; 0 is no penalty on what is not excluded
    l1_ratio: float | None = None
    share: float | None = None  # no fit: this share of the first solution, the rest of the last
    provisional: bool = False  # only the last of several fits matters


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The last solution at one lambda of the path, as a schedule sees it.

    Attributes
    ----------
    number : int
        Fits at this lambda since the first; 0 is the path's own solution.
    lam : float
        The path's lambda.
    strength : float
        Lambda of the last fit: another one where the schedule chose it.
    b : float64 [p]
        Coefficients as they are penalised, ``s_j b_j``.
    weights : float64 [p]
        Weights of the last fit.
    level : float64 [p]
        L1 penalty of the path at weight one, ``lam a v_j``.
    value, null_value : float
        Mean loss above its minimum, for squared loss half the mean squared residual; that of the null model.
    n_rows, weight : int, float
        Rows, and their total weight W.
    loss : str
        Name of the loss.
    tol : float
        Gap to which every fit is solved.
    before : Stage or None
        The stage before, at the same lambda.
    """

    number: int
    lam: float
    strength: float
    b: Floats
    weights: Floats
    level: Floats
    value: float
    null_value: float
    n_rows: int
    weight: float
    loss: str
    tol: float
    before: Stage | None = None

    def then(
        self, weights: Floats | float = 1.0, *, lam: float | None = None, l1_ratio: float | None = None,
        provisional: bool = False,
    ) -> Step:  # fmt: skip
        """Fit again under these weights, by default at the path's lambda and ``l1_ratio``.

        Parameters
        ----------
        weights : float or float64 [p]
            Multiply the L1 penalty of each coefficient; inf excludes it.
        lam : float, optional
            Another strength; 0 leaves what is not excluded without any penalty.
        l1_ratio : float, optional
            Another mixing.
        provisional : bool
            For schedules that go on until they settle, where only the last fit matters: columns that were never looked at
            stay out, so that the fit costs no pass, until the schedule has nothing to add. Then all columns are verified.
        """
        return Step(weights, lam, l1_ratio, provisional=provisional)

    def mixed(self, share: float) -> Step:
        """End with ``share`` of the first solution and the rest of the last one."""
        return Step(self.weights, share=share)

    def settled(self, weights: Floats) -> bool:
        """Whether weights are those of the last fit, as far as a solution to ``tol`` tells."""
        with np.errstate(invalid="ignore"):
            change = np.where(weights == self.weights, 0.0, np.abs(weights - self.weights))
        return bool(np.max(change, initial=0.0) <= np.sqrt(self.tol))


class Schedule(Protocol):
    """A sequence of penalties."""

    def begin(self, last: Stage) -> Step:
        """Before the path: a step with a ``lam`` is fitted, once for all lambdas, and shown; one without is the path."""

    def next(self, last: Stage) -> Step | None:
        """At one lambda, after every fit: the next penalty, or None."""


@final
@dataclass(frozen=True, slots=True)
class Each:
    """A function of the last solution, as a schedule."""

    function: Callable[[Stage], Step | None]

    def begin(self, last: Stage) -> Step:
        """The path as it stands."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Ask the function."""
        return self.function(last)

    def __repr__(self) -> str:
        return str(getattr(self.function, "__name__", self.function))


@final
@dataclass(frozen=True, slots=True)
class MCP:
    """Minimax concave penalty (Zhang 2010) by local linear approximation (Zou & Li 2008), from the lasso.

    The penalty ``lam |b| - b^2 / (2 gamma)``, constant beyond ``gamma lam``, shrinks large coefficients not at all. Each
    fit is a lasso with the slope of the penalty at the last solution as weights, until they stand still: a local minimum.

    Parameters
    ----------
    gamma : float
        Above 1; the larger, the closer to the lasso.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> path = dl.fit_path(X, X[:, 0], schedule=dl.MCP(), lambdas=[0.1], fit_intercept=False)
    >>> bool(abs(path.coef[0, 0] - 1.0) < 1e-5)
    True
    """

    gamma: float = 3.0

    def __post_init__(self) -> None:
        _require(self.gamma > 1, f"gamma={self.gamma} of MCP must be above 1")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Slope ``1 - |b| / (gamma lam)``."""
        return _linearised(last, lambda size: np.maximum(1.0 - size / self.gamma, 0.0))


@final
@dataclass(frozen=True, slots=True)
class SCAD:
    """Smoothly clipped absolute deviation (Fan & Li 2001) by local linear approximation (Zou & Li 2008), from the lasso.

    Its slope is ``lam`` up to ``lam``, then falls to 0 at ``a lam``; otherwise as ``MCP``.

    Parameters
    ----------
    a : float
        Above 2.
    """

    a: float = 3.7

    def __post_init__(self) -> None:
        _require(self.a > 2, f"a={self.a} of SCAD must be above 2")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Slope ``(a - |b| / lam) / (a - 1)``, between 0 and 1."""
        return _linearised(last, lambda size: np.clip((self.a - size) / (self.a - 1.0), 0.0, 1.0))


@final
@dataclass(frozen=True, slots=True)
class Adaptive:
    """Adaptive lasso (Zou 2006): weights ``|b|^-gamma`` of a first fit, for the whole path.

    Parameters
    ----------
    gamma : float
        Positive exponent.
    init : {"ridge", "ols", "lasso"}
        First fit: ridge; no penalty (least squares, or maximum likelihood), for fewer columns than rows; lasso.
    strength : float, optional
        Its lambda. By default ``p / n`` for ridge, the MAP under normal coefficients that explain half of the variance of
        standardised data; for lasso and squared loss ``sigma sqrt(2 log(p) / n)``, sigma estimated together with the
        coefficients (scaled lasso: Sun & Zhang 2012). Ridge and ``ols`` keep all columns, and hold them while they fit.
    """

    gamma: float = 1.0
    init: str = "ridge"
    strength: float | None = None

    def __post_init__(self) -> None:
        _require(self.gamma > 0, f"gamma={self.gamma} of Adaptive must be positive")
        _require(self.init in ("ridge", "ols", "lasso"), f"init={self.init!r} is not known: use 'ridge', 'ols' or 'lasso'")
        given = self.strength
        _require(given is None or given > 0, f"strength={given} of Adaptive must be a positive lambda")
        _require(given is None or self.init != "ols", "init='ols' has no penalty: leave strength out")

    def begin(self, last: Stage) -> Step:
        """First fits, then the path under their weights."""
        step = self._first(last)
        if step is not None:
            return step
        with np.errstate(divide="ignore"):
            return last.then(np.abs(last.b) ** -self.gamma)

    def next(self, last: Stage) -> Step | None:
        """Nothing after the path."""
        return None

    def _first(self, last: Stage) -> Step | None:
        n, p = last.n_rows, last.b.size
        if self.init == "lasso" and self.strength is None:
            return self._scaled_lasso(last)
        if last.number > 0:
            return None
        if self.init == "ols":
            _require(p < n, f"init='ols' needs more rows than columns, not {n} and {p}: use init='ridge'")
            return last.then(lam=0.0)
        strength = self.strength if self.strength is not None else p / n
        return last.then(lam=strength, l1_ratio=0.0 if self.init == "ridge" else 1.0)

    def _scaled_lasso(self, last: Stage) -> Step | None:
        _require(last.loss == "squared", f"init='lasso' has no noise to scale by under {last.loss} loss: give its strength")
        lam = float(np.sqrt(2.0 * last.value * 2.0 * np.log(max(last.b.size, 2)) / last.n_rows))
        return None if last.number and _close(lam, last.strength, 1e-2) else last.then(lam=lam, l1_ratio=1.0)


@final
@dataclass(frozen=True, slots=True)
class Relaxed:
    """Relaxed lasso: less shrinkage on what the lasso selected, at every lambda.

    Parameters
    ----------
    gamma : float, optional
        glmnet's: this share of the lasso's coefficients, the rest of those without any penalty on the same support
        (Hastie, Tibshirani & Tibshirani 2020). 1 is the lasso. By default 0 for a path; ``cross_validate`` chooses it.
    phi : float, optional
        Meinshausen's (2007): the lasso on the support at ``phi lam``. Instead of gamma.
    """

    gamma: float | None = None
    phi: float | None = None

    def choices(self) -> tuple[Schedule, ...]:
        """What a cross-validation chooses from: glmnet's five shares where none is given."""
        return tuple(Relaxed(share) for share in _SHARES) if self.gamma is None and self.phi is None else (self,)

    def frozen(self) -> Frozen:
        """One refit, mixed with the lasso."""
        return Frozen(self.phi or 0.0, self.gamma or 0.0)

    def __post_init__(self) -> None:
        _require(self.gamma is None or self.phi is None, "Relaxed takes gamma or phi, not both")
        share = self.gamma if self.gamma is not None else self.phi
        _require(share is None or 0 <= share <= 1, f"Relaxed takes a share in [0, 1], not {share}")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Refit the support, then mix."""
        if last.number == 0:
            return last.then(_survivors(last), lam=0.0 if self.phi is None else self.phi * last.lam)
        if last.number == 1 and self.gamma:
            return last.mixed(self.gamma)
        return None


@final
@dataclass(frozen=True, slots=True)
class Thresholded:
    """Thresholded lasso: coefficients below a threshold leave, the others are refitted, until all are above it.

    (Zhou 2009; with refits that drop again, sequentially thresholded least squares: Brunton, Proctor & Kutz 2016.)

    Parameters
    ----------
    threshold : float
        Smallest ``|s_j b_j|`` that stays, in units of the penalised coefficients.
    refine : float
        Strength of the refits relative to the path's lambda; by default no penalty.
    """

    threshold: float
    refine: float = 0.0

    def __post_init__(self) -> None:
        _require(self.threshold > 0, f"threshold={self.threshold} must be positive")
        _require(0 <= self.refine <= 1, f"refine={self.refine} must be a share of lambda in [0, 1]")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Drop what is below."""
        below = (last.b != 0) & (np.abs(last.b) < self.threshold)
        if last.number > 0 and not below.any():
            return None
        return last.then(np.where(below, np.inf, _survivors(last)), lam=self.refine * last.lam)


@final
@dataclass(frozen=True, slots=True)
class PruneRefine:
    """Prune at the path's lambda, freeze what survives, refine it under gentler penalties.

    Selection wants a large lambda, estimation a small one: the path's lambda prunes, ``refine`` times it refines. With
    several stages the strength falls geometrically, and a column that has left does not come back.

    Parameters
    ----------
    refine : float, optional
        Last strength relative to the first; 0 is no penalty. By default 0.1 for a path; ``cross_validate`` chooses it
        together with the lambda that prunes.
    stages : int
        Fits after the first.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 20))
    >>> path = dl.fit_path(X, X[:, 0] - X[:, 1], schedule=dl.PruneRefine(0.01), lambdas=[0.5])
    >>> int(path.n_active[0])
    2
    """

    refine: float | None = None
    stages: int = 1

    def __post_init__(self) -> None:
        _require(self.refine is None or 0 <= self.refine < 1, f"refine={self.refine} must be a share of lambda in [0, 1)")
        _require(self.stages >= 1, f"stages={self.stages} must be a positive whole number")
        _require(self.refine != 0 or self.stages == 1, "refine=0 leaves nothing to divide between several stages")

    def choices(self) -> tuple[Schedule, ...]:
        """What a cross-validation chooses from."""
        if self.refine is not None:
            return (self,)
        return tuple(PruneRefine(share, self.stages) for share in _REFINEMENTS if share > 0 or self.stages == 1)

    def frozen(self) -> Frozen | None:
        """One refit; those of later stages are on supports of their own."""
        return Frozen(_REFINEMENT if self.refine is None else self.refine) if self.stages == 1 else None

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Keep the support, lower the strength."""
        if last.number == self.stages:
            return None
        refine = _REFINEMENT if self.refine is None else self.refine
        share = refine ** ((last.number + 1) / self.stages)
        return last.then(_survivors(last), lam=share * last.lam)


@final
@dataclass(frozen=True, slots=True)
class UnknownNoise:
    """A prior whose noise is estimated with the coefficients: lambda and solution in turn, from the largest down."""

    prior: Prior

    def __repr__(self) -> str:
        return f"prior={self.prior!r} without sigma"

    def begin(self, last: Stage) -> Step:
        """The strength that the residuals of the last solution imply."""
        noise = last.value / last.null_value
        _require(noise > 1e-6, f"prior={self.prior!r}: the fit leaves {noise:.1e} of the variance, no noise to tell: give sigma")
        lam = self.prior.lam(2.0 * last.value, last.weight)
        if last.number and _close(lam, last.strength, 1e-4):
            return last.then(l1_ratio=self.prior.l1_ratio)
        return last.then(lam=lam, l1_ratio=self.prior.l1_ratio)

    def next(self, last: Stage) -> Step | None:
        """Nothing after."""
        return None


def as_schedule(schedule: Schedule | Callable[[Stage], Step | None] | None) -> Schedule | None:
    """Return a schedule, or a function as one.

    Raises
    ------
    InputError
        If it is neither.
    """
    if schedule is None:
        return None
    if isinstance(schedule, type):
        raise InputError(f"schedule={schedule.__name__} is a class: call it, as in dl.{schedule.__name__}()")
    if callable(getattr(schedule, "begin", None)) and callable(getattr(schedule, "next", None)):
        return schedule  # type: ignore[return-value]
    if callable(schedule):
        return Each(schedule)
    raise InputError(f"schedule={schedule!r} is no schedule: use dl.MCP() or another, or a function of the last stage")


def frozen(schedule: Schedule | None) -> Frozen | None:
    """What a schedule comes to, where that is known before: one refit of what survives."""
    tell: Callable[[], Frozen | None] | None = getattr(schedule, "frozen", None)
    return None if tell is None else tell()


def _linearised(last: Stage, slope: Callable[[Floats], Floats]) -> Step | None:
    """Weights from the slope of a penalty at coefficients over ``lam``, until they stand still or hardly matter.

    A fit lowers the concave objective by about half of the change of the weights times that of the coefficients. Where
    the objective is not convex that may go on for hundreds of fits: it ends once it is below tol of the null deviance,
    as a gap would. Steps are those of a secant (Anderson 1965, depth one) where changes fall, and longer where they grow.
    """

    def implied(stage: Stage) -> Floats:
        return slope(np.divide(np.abs(stage.b), stage.level, out=np.zeros_like(stage.b), where=stage.level > 0))

    weights, before = implied(last), last.before
    if last.settled(weights):
        return None
    if before is None:
        return last.then(weights, provisional=True)
    moved = np.abs(np.abs(last.b) - np.abs(before.b))
    if 0.5 * float(moved @ (last.level * np.abs(weights - last.weights))) <= last.tol * last.null_value:
        return None
    return last.then(_ahead(last, weights, implied(before)), provisional=True)


def _ahead(last: Stage, weights: Floats, earlier: Floats) -> Floats:
    """Weights where a secant through the last two changes is zero; where changes grow, nearly twice as far as implied."""
    assert last.before is not None
    change, old = weights - last.weights, earlier - last.before.weights
    bend = change - old
    if float(change @ change) < float(old @ old):
        ahead = weights - float(change @ bend) / float(bend @ bend) * (weights - earlier)
    else:
        ahead = weights + _OVER * change
    # Weights at an end of their range have arrived, and are not to be moved by the others.
    inner = (weights > 0.0) & (weights < 1.0)
    return np.where(inner, np.clip(ahead, 0.0, 1.0), weights)


def _survivors(last: Stage) -> Floats:
    """Weight 1 where the last solution is not 0; the others are excluded."""
    return np.where(last.b != 0, 1.0, np.inf)


def _close(lam: float, other: float, share: float) -> bool:
    return abs(lam - other) <= share * lam


def _require(good: bool, message: str) -> None:
    if not good:
        raise InputError(message)
