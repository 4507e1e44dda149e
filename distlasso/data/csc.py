"""CSC matrices: put together as they are, and some of their columns, copied without the interpreter's lock. Next: ``blocks.py``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.kernels import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

_LARGEST = np.iinfo(np.int32).max


def assembled(data: Floats, indices: Rows, indptr: Ints, rows: int) -> sp.csc_array:
    """The matrix of these parts, [rows, columns].

    SciPy's constructor copies what is part of a much larger array, and row numbers beside 64-bit pointers.
    """
    own = sp.csc_array((rows, indptr.size - 1))
    own.data, own.indices = data, indices
    own.indptr = indptr.astype(np.int32) if data.size <= _LARGEST else indptr
    return own


def take(data: NDArray[np.generic], indices: NDArray[np.generic], indptr: Ints, columns: Ints, rows: int) -> sp.csc_array:
    """Columns in the order given, with float64 data and int32 row numbers, [rows, columns]; SciPy's own holds the lock."""
    first = starts(indptr, columns)
    out, own = np.empty(first[-1]), np.empty(first[-1], dtype=np.int32)
    sparse.take_columns(data, indices, indptr, columns, first, out, own)
    return assembled(out, own, first, rows)


def take_of_rows(
    data: NDArray[np.generic], indices: NDArray[np.generic], indptr: Ints, columns: Ints, shape: tuple[int, int]
) -> sp.csc_array:
    """``take`` from CSR of this shape; no column is asked for twice."""
    place, counts = np.full(shape[1], -1, dtype=np.int32), np.zeros(columns.size, dtype=np.int64)
    place[columns] = np.arange(columns.size, dtype=np.int32)
    sparse.count_places(indices, place, counts)
    first = np.concatenate([[0], np.cumsum(counts)])
    out, own = np.empty(first[-1]), np.empty(first[-1], dtype=np.int32)
    sparse.turn(data, indices, indptr, place, first[:-1].copy(), out, own)
    return assembled(out, own, first, shape[0])


def bands(X: sp.csc_array, height: int) -> Iterator[tuple[int, tuple[Floats, Rows, Ints]]]:
    """Yield the first row of every ``height`` rows, and them as CSR: data, column numbers, pointers, in memory used again.

    As a whole the matrix would be held twice, and what is written here and there of it would be waited for.
    """
    X = X if X.has_sorted_indices else X.sorted_indices()
    indptr, at = X.indptr.astype(np.int64), X.indptr[:-1].astype(np.int64)
    data, columns = np.empty(0), np.empty(0, dtype=np.int32)
    for first in range(0, X.shape[0], height):
        stop = min(first + height, X.shape[0])
        pointers = np.zeros(stop - first + 1, dtype=np.int64)
        sparse.count_band(X.indices, indptr, at, first, stop, pointers[1:])
        np.cumsum(pointers, out=pointers)
        if pointers[-1] > data.size:
            data, columns = np.empty(pointers[-1]), np.empty(pointers[-1], dtype=np.int32)
        sparse.turn_band(X.data, X.indices, indptr, at, first, stop, pointers[:-1].copy(), data, columns)
        yield first, (data, columns, pointers)


def starts(indptr: Ints, columns: Ints) -> Ints:
    """Pointers of a matrix that has these columns."""
    own = np.zeros(columns.size + 1, dtype=np.int64)
    np.cumsum(indptr[columns + 1] - indptr[columns], out=own[1:])
    return own
