"""Scores of predictions, one value a row: what is averaged over rows that a model has not seen.

A score is one line in ``SCORES``. Read next: ``queries.py`` (``HeldOut``, which sums them), ``path/heldout.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from distlasso.errors import InputError
from distlasso.losses import Loss

Floats = NDArray[np.float64]
Rows = Callable[[Loss, Floats, Floats], Floats]  # loss, y [rows, 1], eta [rows, models] -> [rows, models]


@dataclass(frozen=True, slots=True)
class Score:
    """How well predictions do."""

    name: str
    rows: Rows | None  # None: not a mean over rows
    sign: int = 1  # -1 where more is better
    losses: tuple[str, ...] = ()  # that it is for; empty is all


def _squared(loss: Loss, y: Floats, eta: Floats) -> Floats:
    return np.square(y - loss.mean(eta))


def _log_loss(loss: Loss, y: Floats, eta: Floats) -> Floats:
    return np.asarray(loss.value(y, eta) + entr(y) + entr(1.0 - y))


# Every score by its name; ``r2`` is made of the squared error, ``auc`` of the order of all rows.
SCORES = {
    score.name: score
    for score in (
        Score("loss", lambda loss, y, eta: loss.value(y, eta)),
        Score("deviance", lambda loss, y, eta: 2.0 * loss.value(y, eta)),
        Score("mse", _squared),
        Score("mae", lambda loss, y, eta: np.abs(y - loss.mean(eta))),
        Score("r2", _squared, -1),
        Score("log_loss", _log_loss, 1, ("logistic",)),
        Score("accuracy", lambda loss, y, eta: ((eta > 0) == (y > 0.5)).astype(np.float64), -1, ("logistic",)),
        Score("auc", None, -1, ("logistic",)),
    )
}


def as_score(name: str | None, loss: Loss) -> Score:
    """Return a score by name; by default the mean squared error for squared loss, else the mean loss.

    Raises
    ------
    InputError
        If it is not known, or not for this loss.
    """
    if name is None:
        return SCORES["mse" if loss.quadratic else "loss"]
    known = [own.name for own in SCORES.values() if not own.losses or loss.name in own.losses]
    if not isinstance(name, str) or name not in known:
        raise InputError(f"score={name!r} is not known for {loss.name} loss: use one of {', '.join(known)}")
    return SCORES[name]


def auc(y: Floats, weight: Floats, eta: Floats) -> Floats:
    """Area under the ROC curve of every model, [models]: weighted probability that a 1 is above a 0, ties a half.

    Parameters
    ----------
    y, weight : float64 [rows]
        Classes, or shares of class 1; weights.
    eta : float64 [rows, models]
        Predictions.
    """
    ones, zeros = weight * y, weight * (1.0 - y)
    out = np.empty(eta.shape[1])
    for k in range(eta.shape[1]):
        _, place = np.unique(eta[:, k], return_inverse=True)
        one, zero = np.bincount(place, ones), np.bincount(place, zeros)
        below = np.cumsum(zero) - zero
        out[k] = (one @ (below + 0.5 * zero)) / (ones.sum() * zeros.sum())
    return out
