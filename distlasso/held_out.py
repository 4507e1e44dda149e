"""What is asked about rows that a model has not seen: sums of scores, or the predictions themselves.

Read next: ``scores.py`` (the scores), ``queries.py`` (how questions are answered).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.losses import Loss
from distlasso.queries import RowStep, Tiles
from distlasso.scores import SCORES

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class HeldOut:
    """A score of every model, sum_i w_i score_i, [L]."""

    score: str

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Floats:
        rows = SCORES[self.score].rows
        assert loss is not None and rows is not None
        return np.asarray(step.rows.weight @ rows(loss, step.rows.y[:, None], step.eta))

    def merge(self, left: object, right: object, axis: int) -> Floats:
        assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and axis == 0
        return left + right


@final
@dataclass(frozen=True, slots=True)
class Eta:
    """What the columns of a bundle give to the predictions of rows with a weight, [rows, L]; models without intercept."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Floats:
        eta = step.eta if step.rows.offset is None else step.eta - step.rows.offset[:, None]
        return eta[step.rows.weight > 0]

    def merge(self, left: object, right: object, axis: int) -> Floats:
        assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray)
        return left + right if axis == 1 else np.concatenate([left, right])
