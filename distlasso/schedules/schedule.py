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

Read next: ``concave.py``, ``adaptive.py``, ``relaxed.py`` and ``prune.py``; ``path/stages.py`` runs them.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.frozen import Frozen
from distlasso.errors import InputError
from distlasso.penalties import Folded

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The next penalty of a schedule; made by ``Stage.then`` and ``Stage.mixed``."""

    weights: Floats | float  # [p]: multiply the L1 penalty; inf excludes
    lam: float | None = None  # None is the lambda of the path; 0 is no penalty on what is not excluded
    l1_ratio: float | None = None
    share: float | None = None  # no fit: this share of the first solution, the rest of the last
    provisional: bool = False  # only the last of several fits matters
    folded: Folded | None = None  # whose slope the weights are


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
        provisional: bool = False, folded: Folded | None = None,
    ) -> Step:  # fmt: skip
        """Fit again under these weights, by default at the path's lambda and ``l1_ratio``.

        Parameters
        ----------
        weights : float or float64 [p]
            Multiply the L1 penalty of each coefficient; inf excludes it.
        lam : float, optional
            Another strength; 0 leaves what is not excluded without any penalty.
        l1_ratio : float, optional
            Another mixing, from 0 to 1.
        provisional : bool
            For schedules that go on until they settle, where only the last fit matters: columns that were never looked at
            stay out, so that the fit costs no pass, until the schedule has nothing to add. Then all columns are verified.
        folded : Folded, optional
            The concave penalty whose slope at this solution the weights are. Where the loss allows it, the slope is then
            followed to where it stands still at once, and the fit is that of the weights there.

        Raises
        ------
        InputError
            If ``lam`` or ``l1_ratio`` is not a number, or outside of where it makes a penalty.
        """
        _within("lam", lam, 0.0, float(np.finfo(np.float64).max))
        _within("l1_ratio", l1_ratio, 0.0, 1.0)
        return Step(weights, lam, l1_ratio, provisional=provisional, folded=folded)

    def mixed(self, share: float) -> Step:
        """End with ``share`` of the first solution, from 0 to 1, and the rest of the last one."""
        _within("share", share, 0.0, 1.0)
        return Step(self.weights, share=share)

    @property
    def survivors(self) -> Floats:
        """Weight 1 where the solution is not 0; the others are excluded."""
        return np.where(self.b != 0, 1.0, np.inf)

    def is_at(self, lam: float, within: float) -> bool:
        """Whether a lambda is that of the last fit, to a share of itself."""
        return self.number > 0 and abs(lam - self.strength) <= within * lam

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


def _within(name: str, value: object, least: float, most: float) -> None:
    """Refuse what a schedule may not ask for."""
    if value is not None and not (isinstance(value, numbers.Real) and least <= float(value) <= most):
        raise InputError(f"the schedule asked for {name}={value!r}: it must be a number from {least:g} to {most:g}")


def require(good: bool, message: str) -> None:
    """Refuse a parameter."""
    if not good:
        raise InputError(message)
