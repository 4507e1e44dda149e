"""Stored columns in pieces: what bundles gather lies where it is until somebody puts it together, once.

Answers merge pairwise, and a copy at every level of that tree would move each value as often as there are levels.
Read next: ``../queries.py`` (who makes them), ``../coordinator/gathered.py`` (who puts them together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data import csc
from distlasso.kernels import sparse

Ints = NDArray[np.int64]
Columns = Any  # NDArray in the stored dtype, or csc_array of float64


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """A matrix, and where its first row and column are in the whole."""

    row: int
    column: int
    values: Columns


@final
@dataclass(frozen=True, slots=True)
class Pieces:
    """A matrix in pieces that cover it, column ranges from left to right and rows in each from above."""

    shape: tuple[int, int]
    pieces: tuple[Piece, ...]

    @property
    def is_sparse(self) -> bool:
        """Whether the pieces are CSC."""
        return bool(sp.issparse(self.pieces[0].values))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        own: np.dtype[Any] = self.pieces[0].values.dtype
        return own

    def beside(self, right: Pieces) -> Pieces:
        """This, and the columns of another one."""
        rows, width = self.shape
        moved = (Piece(own.row, own.column + width, own.values) for own in right.pieces)
        return Pieces((rows, width + right.shape[1]), (*self.pieces, *moved))

    def below(self, lower: Pieces) -> Pieces:
        """This, and the rows of another one."""
        rows, width = self.shape
        moved = (Piece(own.row + rows, own.column, own.values) for own in lower.pieces)
        return Pieces((rows + lower.shape[0], width), (*self.pieces, *moved))

    def joined(self) -> Columns:
        """The matrix: an array in Fortran order, or CSC."""
        if len(self.pieces) == 1:
            return self.pieces[0].values
        if not self.is_sparse:
            values = np.empty(self.shape, self.pieces[0].values.dtype, order="F")
            self.put(values, np.arange(self.shape[1]))
            return values
        counts = self.counts()
        indptr = np.concatenate([[0], np.cumsum(counts)])
        data, indices = np.empty(indptr[-1]), np.empty(indptr[-1], dtype=np.int32)
        self.put_entries(data, indices, indptr[:-1])
        return csc.assembled(data, indices, indptr, self.shape[0])

    def put(self, values: NDArray[Any], columns: Ints) -> None:
        """Write dense columns into those of an array in Fortran order."""
        for own in self.pieces:
            rows, width = own.values.shape
            values.T[columns[own.column : own.column + width], own.row : own.row + rows] = own.values.T

    def counts(self) -> Ints:
        """Stored entries of sparse columns."""
        counts = np.zeros(self.shape[1], dtype=np.int64)
        for own in self.pieces:
            counts[own.column : own.column + own.values.shape[1]] += np.diff(own.values.indptr)
        return counts

    def put_entries(self, data: NDArray[np.float64], indices: NDArray[np.int32], starts: Ints) -> None:
        """Write the entries of sparse columns, each column from its start on."""
        ends = starts.copy()
        for own in self.pieces:
            part = slice(own.column, own.column + own.values.shape[1])
            sparse.put_columns(own.values.data, own.values.indices, own.values.indptr, own.row, ends[part], data, indices)


def whole(values: Columns) -> Pieces:
    """A matrix as its only piece."""
    return Pieces(values.shape, (Piece(0, 0, values),))


def side_by_side(parts: Sequence[Columns]) -> Pieces:
    """Matrices with the same rows, from left to right."""
    first, *others = parts
    pieces = whole(first)
    for other in others:
        pieces = pieces.beside(whole(other))
    return pieces
