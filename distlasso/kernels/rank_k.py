"""Products of a matrix with its own transpose, by the BLAS that SciPy has, while other threads run.

SciPy's own wrappers of BLAS hold the interpreter's lock, so that Grams of several bundles would be worked out one after the other.
Read next: ``data/blocks.py``.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

_N_ARGUMENTS = 10
_UPPER, _PLAIN = b"U", b"N"


def _routine(name: str) -> Any:
    """A routine of BLAS, called without the lock: ``(uplo, trans, n, k, alpha, a, lda, beta, c, ldc)``, all by reference."""
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * _N_ARGUMENTS)
    return signature(get_cython_function_address("scipy.linalg.cython_blas", name))


_ROUTINES = {np.dtype(np.float64): (_routine("dsyrk"), ctypes.c_double), np.dtype(np.float32): (_routine("ssyrk"), ctypes.c_float)}


def add_square(X: NDArray[Any], factor: float, out: NDArray[Any]) -> None:
    """out += factor X'X, its upper triangle.

    Parameters
    ----------
    X : float64 or float32 [n, p], rows one after the other
    factor : float
    out : as X [p, p], columns one after the other
    """
    n, p = X.shape
    assert X.flags.c_contiguous and out.flags.f_contiguous and out.shape == (p, p) and X.dtype == out.dtype
    routine, number = _ROUTINES[X.dtype]
    size, rows = ctypes.c_int(p), ctypes.c_int(n)
    alpha, beta = number(factor), number(1.0)
    uplo, trans = ctypes.c_char(_UPPER), ctypes.c_char(_PLAIN)
    by = ctypes.byref
    routine(by(uplo), by(trans), by(size), by(rows), by(alpha), X.ctypes.data, by(size), by(beta), out.ctypes.data, by(size))
