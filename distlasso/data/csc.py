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


def starts(indptr: Ints, columns: Ints) -> Ints:
    """Pointers of a matrix that has these columns."""
    own = np.zeros(columns.size + 1, dtype=np.int64)
    np.cumsum(indptr[columns + 1] - indptr[columns], out=own[1:])
    return own
