"""Gradients of squared loss on sparse rows, each of which is predicted, compared and multiplied before the next one is looked at.

Folds ask about a hundred models at once: predictions and slopes of all of them, for all rows of a tile, would be arrays that
leave the cache, in memory that nobody has touched before. Read next: ``../queries.py`` (who asks), ``blocks.py`` (any loss).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distlasso.data.blocks import CSRBlock, neighbours
from distlasso.kernels import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WIDEST = sparse.WIDTHS[-1]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Models of one fit, and the rows that they are held against."""

    y: Floats
    weight: Floats
    columns: Ints  # [S], ascending
    coef: Floats  # [S, L]
    intercept: Floats  # [L]


def gradients(tile: CSRBlock, fits: Sequence[Fitted]) -> list[tuple[Floats, Floats, Floats]]:
    """Sums over rows, for the models of each fit as if it were alone: x_ij d_il [p, L], d_il and d_il^2 / w_i, for d = w r."""
    cut = [range(0, own.intercept.size, _WIDEST) for own in fits]
    few = [Fitted(own.y, own.weight, own.columns, own.coef[:, k : k + _WIDEST], own.intercept[k : k + _WIDEST])
           for own, starts in zip(fits, cut, strict=True) for k in starts]  # fmt: skip
    groups = neighbours(few, lambda own: own.intercept.size, _WIDEST)
    parts = (found for group in groups for found in _together(tile, group))
    each = [[next(parts) for _ in starts] for starts in cut]
    nothing = (np.zeros((tile.shape[1], 0)), np.zeros(0), np.zeros(0))
    return [_joined(own or [nothing]) for own in each]


def _together(tile: CSRBlock, fits: Sequence[Fitted]) -> Iterator[tuple[Floats, Floats, Floats]]:
    """The same for few models, from one visit to the entries; what a model does not have adds zeros."""
    data, indices, indptr = tile.parts
    every = np.unique(np.concatenate([own.columns for own in fits]))
    position = np.full(tile.shape[1], every.size, dtype=np.int32)  # behind the coefficients there is a row of zeros
    position[every] = np.arange(every.size, dtype=np.int32)
    ends = np.cumsum([0, *(own.intercept.size for own in fits)])
    count = int(ends[-1])
    width = next(width for width in sparse.WIDTHS if width >= count)
    coef, intercept = np.zeros((every.size + 1, width)), np.concatenate([own.intercept for own in fits])
    for own, start, stop in zip(fits, ends[:-1], ends[1:], strict=True):
        coef[position[own.columns], start:stop] = own.coef
    y, weight = (np.stack([getattr(own, name) for own in fits], axis=1) for name in ("y", "weight"))
    gradient, total, square = np.zeros((tile.shape[1], width)), np.zeros(count), np.zeros(count)
    sparse.residuals_csr(data, indices, indptr, position[indices], coef, intercept, y, weight, ends, gradient, total, square)
    for start, stop in zip(ends[:-1], ends[1:], strict=True):
        # Contiguous, since tiles are merged on one thread, and these copies are made on several.
        yield np.ascontiguousarray(gradient[:, start:stop]), total[start:stop], square[start:stop]


def _joined(parts: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """What was found for the models of one fit."""
    if len(parts) == 1:
        return parts[0]
    gradient, total, square = (np.concatenate(own, axis=-1) for own in zip(*parts, strict=True))
    return gradient, total, square
