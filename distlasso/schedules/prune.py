"""Schedules under which columns leave for good: the thresholded lasso, and pruning hard before refining gently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from distlasso.coordinator.frozen import Frozen
from distlasso.schedules.schedule import Schedule, Stage, Step, require

_REFINEMENT = 0.1
_REFINEMENTS = (0.5, 0.25, 0.1, 0.03, 0.01, 0.0)


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
        require(self.threshold > 0, f"threshold={self.threshold} must be positive")
        require(0 <= self.refine <= 1, f"refine={self.refine} must be a share of lambda in [0, 1]")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Drop what is below."""
        below = (last.b != 0) & (np.abs(last.b) < self.threshold)
        if last.number > 0 and not below.any():
            return None
        return last.then(np.where(below, np.inf, last.survivors), lam=self.refine * last.lam)


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
        require(self.refine is None or 0 <= self.refine < 1, f"refine={self.refine} must be a share of lambda in [0, 1)")
        require(self.stages >= 1, f"stages={self.stages} must be a positive whole number")
        require(self.refine != 0 or self.stages == 1, "refine=0 leaves nothing to divide between several stages")

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
        return last.then(last.survivors, lam=share * last.lam)
