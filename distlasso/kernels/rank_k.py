"""Products of a matrix with its own transpose, by the BLAS that SciPy has, while other threads run.

SciPy's own wrappers of BLAS hold the interpreter's lock, so that Grams of several bundles would be worked out one after the other.
Read next: ``data/blocks.py``.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels.routines import routine

_UPPER, _PLAIN = b"U", b"N"
_ROUTINES = {
    np.dtype(np.float64): (routine("cython_blas", "dsyrk", 10), ctypes.c_double),
    np.dtype(np.float32): (routine("cython_blas", "ssyrk", 10), ctypes.c_float),
}


def add_square(X: NDArray[Any], factor: float, out: NDArray[Any]) -> None:
    """out += factor X'X, its upper triangle.

    Parameters
    ----------
    X : float64 or float32 [n, p], values of a row one after the other
    factor : float
    out : as X [p, p], columns one after the other
    """
    n, p = X.shape
    assert X.flags.c_contiguous or X.strides[1] == X.itemsize
    assert out.flags.f_contiguous and out.shape == (p, p) and X.dtype == out.dtype
    syrk, number = _ROUTINES[X.dtype]
    size, rows, apart = ctypes.c_int(p), ctypes.c_int(n), ctypes.c_int(max(X.strides[0] // X.itemsize, p))
    alpha, beta = number(factor), number(1.0)
    uplo, trans = ctypes.c_char(_UPPER), ctypes.c_char(_PLAIN)
    by = ctypes.byref
    syrk(by(uplo), by(trans), by(size), by(rows), by(alpha), X.ctypes.data, by(apart), by(beta), out.ctypes.data, by(size))
