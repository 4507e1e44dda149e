"""Cholesky factors and solves by the LAPACK that SciPy has, while other threads run.

SciPy's own wrappers hold the interpreter's lock, so that lambdas and folds that go side by side would wait for each other.
Read next: ``solvers/newton.py``.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels.routines import routine

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_FACTOR = {_SINGLE: routine("cython_lapack", "spotrf", 5), _DOUBLE: routine("cython_lapack", "dpotrf", 5)}
_SOLVE = {_SINGLE: routine("cython_lapack", "spotrs", 8), _DOUBLE: routine("cython_lapack", "dpotrs", 8)}
_UPPER = b"U"
_by = ctypes.byref


def factor(gram: NDArray[Any]) -> bool:
    """Put the factor U of U'U = gram where its upper triangle was; returns whether the matrix was positive definite.

    Parameters
    ----------
    gram : float64 or float32 [p, p], columns one after the other
    """
    assert gram.flags.f_contiguous and gram.shape[0] == gram.shape[1]
    size, failed, uplo = ctypes.c_int(len(gram)), ctypes.c_int(0), ctypes.c_char(_UPPER)
    _FACTOR[gram.dtype](_by(uplo), _by(size), gram.ctypes.data, _by(ctypes.c_int(max(len(gram), 1))), _by(failed))
    return failed.value == 0


def solve(upper: NDArray[Any], right: NDArray[Any]) -> None:
    """Overwrite a right-hand side with the solution of U'U x = right.

    Parameters
    ----------
    upper : float64 or float32 [p, p], from ``factor``
    right : as upper [p]
    """
    assert upper.flags.f_contiguous and right.flags.c_contiguous and right.dtype == upper.dtype and right.shape == (len(upper),)
    size, one, failed, uplo = ctypes.c_int(right.size), ctypes.c_int(1), ctypes.c_int(0), ctypes.c_char(_UPPER)
    least = ctypes.c_int(max(right.size, 1))
    _SOLVE[upper.dtype](
        _by(uplo), _by(size), _by(one), upper.ctypes.data, _by(least), right.ctypes.data, _by(least), _by(failed)
    )
