"""Cholesky factors and solves by the BLAS and LAPACK that SciPy has, while other threads run.

SciPy's own wrappers hold the interpreter's lock, so that lambdas and folds that go side by side would wait for each other.
Read next: ``solvers/factor.py``.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels.routines import routine

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_FACTOR = {_SINGLE: routine("cython_lapack", "spotrf", 5), _DOUBLE: routine("cython_lapack", "dpotrf", 5)}
_ONE = {_SINGLE: routine("cython_blas", "strsv", 8), _DOUBLE: routine("cython_blas", "dtrsv", 8)}
_SEVERAL = {
    _SINGLE: (routine("cython_blas", "strsm", 11), ctypes.c_float), _DOUBLE: (routine("cython_blas", "dtrsm", 11), ctypes.c_double),
}  # fmt: skip
_LEFT, _UPPER, _PLAIN, _TURNED = b"L", b"U", b"N", b"T"
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
    """Overwrite right-hand sides with the solutions of U'U x = right.

    Parameters
    ----------
    upper : float64 or float32 [p, p], from ``factor``
    right : as upper [p], or [p, q], columns one after the other
    """
    forward(upper, right)
    backward(upper, right)


def forward(upper: NDArray[Any], right: NDArray[Any]) -> None:
    """The same for U'x = right."""
    _substitute(upper, right, _TURNED)


def backward(upper: NDArray[Any], right: NDArray[Any]) -> None:
    """The same for U x = right."""
    _substitute(upper, right, _PLAIN)


def _substitute(upper: NDArray[Any], right: NDArray[Any], how: bytes) -> None:
    assert upper.flags.f_contiguous and right.flags.f_contiguous and right.dtype == upper.dtype and len(right) == len(upper)
    size, least, one = ctypes.c_int(len(right)), ctypes.c_int(max(len(right), 1)), ctypes.c_int(1)
    uplo, trans, unit = ctypes.c_char(_UPPER), ctypes.c_char(how), ctypes.c_char(_PLAIN)
    if right.ndim == 1:
        _ONE[upper.dtype](_by(uplo), _by(trans), _by(unit), _by(size), upper.ctypes.data, _by(least), right.ctypes.data, _by(one))
        return
    (routine_, number), side, count = _SEVERAL[upper.dtype], ctypes.c_char(_LEFT), ctypes.c_int(right.shape[1])
    routine_(
        _by(side), _by(uplo), _by(trans), _by(unit), _by(size), _by(count), _by(number(1.0)), upper.ctypes.data, _by(least),
        right.ctypes.data, _by(least),
    )  # fmt: skip
