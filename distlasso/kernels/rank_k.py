"""Products of the columns of a matrix with each other, by the BLAS that SciPy has, while other threads run.

SciPy's own wrappers of BLAS hold the interpreter's lock, so that Grams of several bundles would be worked out one after the other.
Read next: ``data/blocks.py`` and ``solvers/quadratic.py``.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels.routines import routine

_UPPER, _PLAIN, _TURNED = b"U", b"N", b"T"
_GEMM = routine("cython_blas", "sgemm", 13)
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


def add_products(X: NDArray[np.float32], first: int, out: NDArray[np.float32]) -> None:
    """out_jk += sum_i x_ij x_ik for every column k of X from ``first`` on, and every j up to k.

    Parameters
    ----------
    X : float32 [n, p], columns one after the other
    first : int
    out : float32 [q, q], q at least p, columns one after the other
    """
    (n, p), q = X.shape, len(out)
    assert X.flags.f_contiguous and out.flags.f_contiguous and X.dtype == out.dtype == np.float32 and 0 <= first <= p <= q
    rows, above, new, height = (ctypes.c_int(number) for number in (n, first, p - first, q))
    one, uplo, turned, plain = ctypes.c_float(1.0), ctypes.c_char(_UPPER), ctypes.c_char(_TURNED), ctypes.c_char(_PLAIN)
    size, by, syrk = X.itemsize, ctypes.byref, _ROUTINES[X.dtype][0]
    behind, right = X.ctypes.data + size * n * first, out.ctypes.data + size * q * first
    if first:
        _GEMM(by(turned), by(plain), by(above), by(new), by(rows), by(one), X.ctypes.data, by(rows), behind, by(rows),
              by(one), right, by(height))  # fmt: skip
    syrk(by(uplo), by(turned), by(new), by(rows), by(one), behind, by(rows), by(one), right + size * first, by(height))
