"""Resident memory of this process, now and at its peak, and what the allocator does with memory that was freed."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt, as glibc numbers them
_MOST_REUSED = 32 << 20  # the largest piece that glibc keeps for itself
_REUSED_SHARE = 64


def peak_bytes() -> int:
    """Peak resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def resident_bytes() -> int:
    """Resident set of this process in bytes; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_bytes()
    return pages * resource.getpagesize()


def give_back() -> None:
    """Have the allocator return what it keeps of freed memory to the system, where it can be told to."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reuse_freed(limit: int | None) -> None:
    """Have the allocator put arrays where others were freed, up to a 64th of the memory ``limit`` of this process.

    glibc comes to that by itself, unless it was told anything: Dask tells its workers (``MALLOC_TRIM_THRESHOLD_``). Then every
    array from 128 KiB on gets fresh pages, which the system clears one by one; in a pass that takes three times as long as the
    arithmetic.
    """
    with contextlib.suppress(OSError, AttributeError):
        size = min(_MOST_REUSED, limit // _REUSED_SHARE) if limit else _MOST_REUSED
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, size)
        library.mallopt(_TRIM_THRESHOLD, 2 * size)
