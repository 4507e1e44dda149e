"""MCP and SCAD: penalties that leave large coefficients alone, by lasso fits under the slope at the last solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.penalties import Folded
from distlasso.schedules.schedule import Stage, Step, require

Floats = NDArray[np.float64]

_OVER = 0.8  # a longer step of weights that still contracts where the implied one does


@final
@dataclass(frozen=True, slots=True)
class MCP:
    """Minimax concave penalty (Zhang 2010) by local linear approximation (Zou & Li 2008), from the lasso.

    The penalty ``lam |b| - b^2 / (2 gamma)``, constant beyond ``gamma lam``, shrinks large coefficients not at all. Each
    fit is a lasso with the slope of the penalty at the last solution as weights, until they stand still: a local minimum.
    Under squared loss, where the columns have room in one Gram, slopes are renewed with every coordinate on the way, and only
    where they stand still is there a fit: the same condition, in a few fits instead of up to a hundred.

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
        require(self.gamma > 1, f"gamma={self.gamma} of MCP must be above 1")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Slope ``1 - |b| / (gamma lam)``."""
        return _linearised(last, Folded(0.0, self.gamma))


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
        require(self.a > 2, f"a={self.a} of SCAD must be above 2")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Slope ``(a - |b| / lam) / (a - 1)``, between 0 and 1."""
        return _linearised(last, Folded(1.0, self.a))


def _linearised(last: Stage, folded: Folded) -> Step | None:
    """Weights from the slope of a penalty at coefficients over ``lam``, until they stand still or hardly matter.

    A fit lowers the concave objective by about half of the change of the weights times that of the coefficients. Where
    the objective is not convex that may go on for hundreds of fits: it ends once it is below tol of the null deviance,
    as a gap would. Steps are those of a secant (Anderson 1965, depth one) where changes fall, and longer where they grow.
    """

    def implied(stage: Stage) -> Floats:
        return folded.slope(np.divide(np.abs(stage.b), stage.level, out=np.zeros_like(stage.b), where=stage.level > 0))

    weights, before = implied(last), last.before
    if last.settled(weights):
        return None
    if before is None:
        return last.then(weights, provisional=True, folded=folded)
    moved = np.abs(np.abs(last.b) - np.abs(before.b))
    if 0.5 * float(moved @ (last.level * np.abs(weights - last.weights))) <= last.tol * last.null_value:
        return None
    return last.then(_ahead(last, weights, implied(before)), provisional=True, folded=folded)


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
