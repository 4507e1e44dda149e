"""Numba functions of arrays only: the hot loops.

``descent`` and ``abreast`` hold the coordinate descent; ``dense``, ``moments``, ``several``, ``rank_k`` and ``sparse`` what a pass
does with a tile. ``rank_k`` and ``cholesky`` call BLAS and LAPACK through ``routines``, ``few`` calls NumPy's. All of them run on
one thread, since parallelism is over bundles and fits, and let go of the interpreter; those of ``working_set`` are too short for
it. Read next: ``../warmup.py``, which fills their cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Reassociation lets sums use all lanes; "nnan" and "ninf" stay off so that NaN and inf remain visible.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

# A kernel has others in it, and numba looks at no file but its own: after an upgrade it would find the old ones in its cache.
_SOURCES = hashlib.blake2b(digest_size=6)
for _file in sorted(Path(__file__).parent.glob("*.py")):
    _SOURCES.update(_file.read_bytes())

KERNELS: list[Any] = []  # all that were defined, for whoever wants to know what was compiled


def kernel(function: F, *, lets_go: bool = True) -> F:
    """Compile a function of arrays, lazily, once per combination of dtypes; cached on disk where that is possible.

    It lets go of the interpreter unless told otherwise: who takes it up meanwhile has to be woken, and so has who wants it back,
    which takes ten times as long as a visit to a thousand numbers.
    """
    options, name = {"nogil": lets_go, "fastmath": _FASTMATH}, function.__qualname__
    function.__qualname__ = f"{name}_{_SOURCES.hexdigest()}"  # what numba names its files by
    try:
        compiled: F = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that numba may write to: neither beside the code nor under the home
        compiled = numba.njit(**options)(function)
    finally:
        function.__qualname__ = name
    KERNELS.append(compiled)
    return compiled
