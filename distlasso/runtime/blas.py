"""BLAS on one thread while a fit runs: bundles and lambdas are what goes side by side.

``threadpoolctl.threadpool_limits`` looks for libraries anew each time, which takes milliseconds, and lets the first of
several fits that ends give the threads back to all. Here the libraries are looked up once a process, and the last one out
restores what the first one found. Read next: ``local.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import scipy.linalg  # noqa: F401  # SciPy brings a BLAS of its own, which has to be there when libraries are looked up
from threadpoolctl import ThreadpoolController

_LOCK = Lock()
_INSIDE: list[Any] = []  # limits, one for each who is inside; the first knows what there was before


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread; may be nested, and entered by several threads."""
    with _LOCK:
        _disown()
        # Set by everyone who enters, since a BLAS on OpenMP keeps the number by thread.
        _INSIDE.append(_libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            # The limits of the first are taken off last: whoever leaves takes those that were set last.
            limits = _INSIDE.pop()
            if not _INSIDE:
                _disown()
                limits.restore_original_limits()
                _disown()


def blas_core() -> str:
    """Cores that the BLAS libraries have chosen their kernels for."""
    libraries = [library for library in _libraries().info() if library["user_api"] == "blas"]
    return ", ".join(sorted({str(library.get("architecture", library["internal_api"])) for library in libraries}))


def _disown() -> None:
    """Let this thread set the numbers: newer threadpoolctl obeys the first thread that did, and silently no other one.

    That keeps threads from undoing each other's limits, as here the count of those inside does.
    """
    for library in _libraries().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


@cache
def _libraries() -> Any:
    return ThreadpoolController()
