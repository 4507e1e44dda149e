"""From held-out scores to the model that a rule chooses.

Read next: ``selection.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RULES = ("min", "1se")
NO_ERROR = "rule='1se' needs a standard error, which one fold does not give: use rule='min'"

_EQUAL = 1e-14  # relative: shares of right answers are often equal, and their means then differ by rounding


@dataclass(frozen=True, slots=True)
class Curve:
    """Scores of one path of models, less is better."""

    mean: Floats  # [k]
    se: Floats  # [k]
    n_active: Ints  # [k], of the fit to all rows

    def within(self, cap: int | None) -> NDArray[np.bool_]:
        """Models with at most ``cap`` features, [k]."""
        return np.full(self.mean.size, True) if cap is None else np.asarray(self.n_active <= cap)


def summarise(scores: Floats, weight: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Mean and standard error over folds, weighted by what they hold out, as glmnet has them.

    Repetitions see the same rows again: their means are averaged, and so are their standard errors, which do not shrink.

    Parameters
    ----------
    scores : float64 [k, folds]
        One a model and fold.
    weight : float64 [folds]
        Held-out weight.
    group : int64 [folds]
        Repetition.

    Returns
    -------
    mean, se : float64 [k]
        ``se`` is NaN for one fold.
    """
    means, errors = [], []
    for name in np.unique(group):
        own, share = scores[:, group == name], weight[group == name] / weight[group == name].sum()
        mean = own @ share
        count = share.size
        away = own - mean[:, None]
        unit = np.max(np.abs(away), axis=1, keepdims=True)  # squares of very large or small scores are no numbers
        unit[~((unit > 0.0) & np.isfinite(unit))] = 1.0
        spread = unit[:, 0] * np.sqrt(((away / unit) ** 2 @ share) / (count - 1)) if count > 1 else np.full(mean.size, np.nan)
        means.append(mean)
        errors.append(spread)
    return np.mean(means, axis=0), np.mean(errors, axis=0)


def best(curve: Curve, rule: str, cap: int | None = None) -> int:
    """Index of the model that a rule chooses along one path.

    ``min`` is the best mean, of equals the one at the largest lambda; ``1se`` the largest lambda whose mean is within
    one standard error of the best (Breiman et al. 1984, sec. 3.4.3).

    Raises
    ------
    InputError
        If no model has few enough features, or there is no standard error.
    """
    allowed = curve.within(cap)
    if not allowed.any():
        raise InputError(f"max_features={cap}: every model of the path has more features")
    mean = np.where(allowed, curve.mean, np.inf)
    lowest = int(np.argmax(mean <= _and_equals(mean.min())))
    if rule == "min":
        return lowest
    if np.isnan(curve.se[lowest]):
        raise InputError(NO_ERROR)
    return int(np.argmax(mean <= mean[lowest] + curve.se[lowest]))


def best_of(curves: Sequence[Curve], rule: str, cap: int | None = None) -> tuple[int, int]:
    """Path and index that a rule chooses among several paths.

    ``min`` is the best mean of all; ``1se`` has the fewest features within one standard error of it.
    """
    lows = [best(curve, "min", cap) for curve in curves if curve.within(cap).any()]
    if not lows:
        raise InputError(f"max_features={cap}: every model of every path has more features")
    open_ = [k for k, curve in enumerate(curves) if curve.within(cap).any()]
    means = np.array([curves[k].mean[low] for k, low in zip(open_, lows, strict=True)])
    which = int(np.argmax(means <= _and_equals(means.min())))
    winner, low = open_[which], lows[which]
    if rule == "min":
        return winner, low
    if len(open_) == 1:
        return winner, best(curves[winner], rule, cap)
    if np.isnan(curves[winner].se[low]):
        raise InputError(NO_ERROR)
    limit = curves[winner].mean[low] + curves[winner].se[low]
    near = [(int(curve.n_active[i]), float(curve.mean[i]), k, int(i)) for k, curve in enumerate(curves)
            for i in np.flatnonzero(curve.within(cap) & (curve.mean <= limit))]  # fmt: skip
    _, _, winner, index = min(near)
    return winner, index


def _and_equals(lowest: float) -> float:
    return lowest + _EQUAL * abs(lowest)
