"""Routines of the BLAS and LAPACK that SciPy has, called without the interpreter's lock; arguments go by reference.

Read next: ``rank_k.py`` and ``cholesky.py``, which call them.
"""

from __future__ import annotations

import ctypes
from typing import Any

from numba.extending import get_cython_function_address


def routine(module: str, name: str, arguments: int) -> Any:
    """A routine of ``scipy.linalg.cython_blas`` or ``cython_lapack``, as a function of so many pointers."""
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)
    return signature(get_cython_function_address(f"scipy.linalg.{module}", name))
