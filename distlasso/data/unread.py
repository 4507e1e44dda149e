"""A tile that is read whenever it is asked about, and never kept.

For rows whose tiles have no room beside each other: a hundred thousand rows of a few hundred thousand genotypes are 20 GB in one
range of rows. Read next: ``../runtime/local.py``, which decides what is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.missing import Imputation
from distlasso.data.statistics import Statistics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
class Unread:
    """A tile of a known shape, behind whatever reads it."""

    def __init__(self, read: Callable[[], Block], shape: tuple[int, int]) -> None:
        self._read, self._shape = read, shape

    @staticmethod
    def held(tile: Block) -> Block:
        """The tile as it is read, for whoever goes through it piece by piece; any other tile is what it is."""
        return tile._read() if isinstance(tile, Unread) else tile

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def nbytes(self) -> int:
        return self._read().nbytes

    def imputed(self, imputation: Imputation) -> Block:
        return Unread(lambda: self._read().imputed(imputation), self._shape)

    def some(self, rows: Ints) -> Block:
        return Unread(lambda: self._read().some(rows), (rows.size, self._shape[1]))

    def take(self, columns: Ints) -> Block:
        return self._read().take(columns)

    def gather(self, columns: Ints) -> NDArray[np.generic] | sp.csc_array:
        return self._read().gather(columns)

    def widened(self, rows: slice, shift: Floats) -> Floats:
        return self._read().widened(rows, shift)

    def eta(self, columns: Ints, coef: Floats, shift: Floats) -> Floats:
        return self._read().eta(columns, coef, shift)

    def etas(self, models: Sequence[tuple[Ints, Floats]], shift: Floats) -> list[Floats]:
        return self._read().etas(models, shift)

    def gradient(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        return self._read().gradient(slopes, shift)

    def square(self, weight: Floats, shift: Floats, *, single: bool = False) -> Floats:
        return self._read().square(weight, shift, single=single)

    def moments(self, weight: Floats, y: Floats) -> Statistics:
        return self._read().moments(weight, y)

    def first_not_finite(self) -> tuple[int, int] | None:
        return self._read().first_not_finite()
