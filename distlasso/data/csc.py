"""CSC matrices: put together as they are, and some of their columns, copied without the interpreter's lock. Next: ``blocks.py``."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.kernels import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

_LARGEST = np.iinfo(np.int32).max
_BAND = 1 << 13  # rows whose entries and pointers stay in a core's cache while they are turned


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


def by_rows(X: sp.csc_array) -> tuple[Floats, Rows, Ints]:
    """Data, column numbers and pointers of the same matrix as CSR; SciPy's own takes twice as long where rows are many."""
    pointers = np.zeros(X.shape[0] + 1, dtype=np.int64)
    sparse.count_indices(X.indices, pointers[1:])
    np.cumsum(pointers, out=pointers)
    out, columns = np.empty(X.nnz), np.empty(X.nnz, dtype=np.int32)
    sparse.turn_in_bands(X.data, X.indices, X.indptr.astype(np.int64), _BAND, pointers[:-1].copy(), out, columns)
    return out, columns, pointers


def starts(indptr: Ints, columns: Ints) -> Ints:
    """Pointers of a matrix that has these columns."""
    own = np.zeros(columns.size + 1, dtype=np.int64)
    np.cumsum(indptr[columns + 1] - indptr[columns], out=own[1:])
    return own
