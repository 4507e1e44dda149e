"""Some columns of tiles that lie side by side, as one block that is never copied as a whole.

For columns that are asked about round after round where memory does not allow to keep them. Read next: ``blocks.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.dataset import as_block
from distlasso.data.missing import Imputation
from distlasso.data.statistics import Statistics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PIECE, _PIECE_BYTES = 128, 16 << 20  # columns copied at a time: so many at least, or bytes of them


@final
class ChosenColumns:
    """Columns, in any order, of tiles whose columns are cut at ``bounds``."""

    def __init__(self, tiles: list[Block], bounds: Ints, columns: Ints, imputation: Imputation | None = None) -> None:
        self._tiles, self._bounds, self._columns, self._imputation = tiles, bounds, columns, imputation
        self._tile = np.searchsorted(bounds, columns, side="right") - 1

    @property
    def shape(self) -> tuple[int, int]:
        return self._tiles[0].shape[0], self._columns.size

    @property
    def nbytes(self) -> int:
        return sum(tile.nbytes for tile in self._tiles)

    def imputed(self, imputation: Imputation) -> ChosenColumns:
        return ChosenColumns(self._tiles, self._bounds, self._columns, imputation)

    def widened(self, rows: slice, shift: Floats) -> Floats:
        return np.concatenate([block.widened(rows, shift[part]) for part, block in self._pieces(self._all)], axis=1)

    def eta(self, columns: Ints, coef: Floats, shift: Floats) -> Floats:
        out = np.zeros((self.shape[0], coef.shape[1]))
        for part, block in self._pieces(columns):
            out += block.eta(np.arange(part.stop - part.start), np.ascontiguousarray(coef[part]), shift[part])
        return out

    def etas(self, models: Sequence[tuple[Ints, Floats]], shift: Floats) -> list[Floats]:
        return [self.eta(columns, coef, shift[columns]) for columns, coef in models]

    def gradient(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        found = [np.empty((self._columns.size, d.shape[1])) for d in slopes]
        for part, block in self._pieces(self._all):
            for out, own in zip(found, block.gradient(slopes, shift[part]), strict=True):
                out[part] = own
        return found

    def take(self, columns: Ints) -> Block:
        block = as_block(self.gather(columns))
        return block if self._imputation is None else block.imputed(self._imputation.take(columns))

    def some(self, rows: Ints) -> ChosenColumns:
        return ChosenColumns([tile.some(rows) for tile in self._tiles], self._bounds, self._columns, self._imputation)

    def gather(self, columns: Ints) -> NDArray[np.generic] | sp.csc_array:
        here = [np.flatnonzero(self._tile[columns] == k) for k in range(len(self._tiles))]
        within = [self._columns[columns[own]] - first for own, first in zip(here, self._bounds[:-1], strict=True)]
        parts = [tile.gather(own) for tile, own in zip(self._tiles, within, strict=True) if own.size]
        if len(parts) <= 1:
            return parts[0] if parts else self._tiles[0].gather(columns)
        order = np.argsort(np.concatenate(here))
        if sp.issparse(parts[0]):
            return sp.csc_array(sp.hstack(parts, format="csc")[:, order])
        return np.asfortranarray(np.concatenate(parts, axis=1)[:, order])

    def square(self, weight: Floats, shift: Floats, *, single: bool = False) -> Floats:
        return self.take(self._all).square(weight, shift, single=single)

    def moments(self, weight: Floats, y: Floats) -> Statistics:
        return self.take(self._all).moments(weight, y)

    def first_not_finite(self) -> tuple[int, int] | None:
        return self.take(self._all).first_not_finite()

    @property
    def _all(self) -> Ints:
        return np.arange(self._columns.size)

    def _pieces(self, columns: Ints) -> Iterator[tuple[slice, Block]]:
        """Columns a few at a time, as tiles of their own."""
        # An int8 for each value; wider ones are a few times that.
        step = max(_PIECE, _PIECE_BYTES // max(self.shape[0], 1))
        for start in range(0, columns.size, step):
            part = slice(start, min(start + step, columns.size))
            yield part, self.take(columns[part])
