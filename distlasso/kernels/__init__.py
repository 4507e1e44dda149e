"""Numba functions of arrays only: the hot loops.

``descent`` holds the coordinate descent, ``dense`` and ``sparse`` what a pass does with one tile. All of them release
the GIL and run on one thread: parallelism is over bundles.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Reassociation lets sums use all lanes; "nnan" and "ninf" stay off so that NaN and inf remain visible.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def _can_cache() -> bool:
    """Numba raises at import where it finds no writable cache folder."""
    folders = [os.environ.get("NUMBA_CACHE_DIR"), str(Path(__file__).parent), str(Path.home() / ".cache")]
    for folder in folders:
        if folder:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    return True
            except OSError:
                continue
    return False


_CACHE = _can_cache()


def kernel(function: F) -> F:
    """Compile a function of arrays, lazily, once per combination of dtypes; cached on disk where that is possible."""
    compiled: F = numba.njit(cache=_CACHE, nogil=True, fastmath=_FASTMATH)(function)
    return compiled
