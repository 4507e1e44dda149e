"""Some columns of a CSC matrix, copied without the interpreter's lock: SciPy's own indexing holds it. Next: ``blocks.py``."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.kernels import sparse

Ints = NDArray[np.int64]


def take(data: NDArray[np.generic], indices: NDArray[np.generic], indptr: Ints, columns: Ints, rows: int) -> sp.csc_array:
    """Columns in the order given, with float64 data and int32 row numbers, [rows, columns]."""
    starts = np.zeros(columns.size + 1, dtype=np.int64)
    np.cumsum(indptr[columns + 1] - indptr[columns], out=starts[1:])
    out, own = np.empty(starts[-1]), np.empty(starts[-1], dtype=np.int32)
    sparse.take_columns(data, indices, indptr, columns, starts, out, own)
    return sp.csc_array((out, own, starts), shape=(rows, columns.size))
