"""Numba functions of arrays only: the hot loops.

``descent`` and ``abreast`` hold the coordinate descent, ``dense``, ``rank_k`` and ``sparse`` what a pass does with one tile;
``rank_k`` and ``cholesky`` call BLAS and LAPACK through ``routines``, ``few`` calls NumPy's. All of them release the GIL and run on
one thread: parallelism is over bundles. Read next: ``../warmup.py``, which fills their cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Reassociation lets sums use all lanes; "nnan" and "ninf" stay off so that NaN and inf remain visible.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

KERNELS: list[Any] = []  # all that were defined, for whoever wants to know what was compiled


def kernel(function: F) -> F:
    """Compile a function of arrays, lazily, once per combination of dtypes; cached on disk where that is possible."""
    options = {"nogil": True, "fastmath": _FASTMATH}
    try:
        compiled: F = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that numba may write to: neither beside the code nor under the home
        compiled = numba.njit(**options)(function)
    KERNELS.append(compiled)
    return compiled
