"""What this process and all that it started have used, from /proc: peak memory and processor time.

Programs may run elsewhere than where they are called from: R, Java, Dask's workers. Without /proc all figures are 0.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int | None = None) -> list[Path]:
    """Return the /proc folders of a process and all its descendants."""
    own = Path("/proc") / str(pid or os.getpid())
    found = [own] if own.exists() else []
    for children in own.glob("task/*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += family(int(child))
    return found


def reset_peaks() -> None:
    """Forget the peak resident sets so far."""
    for folder in family():
        with contextlib.suppress(OSError):
            (folder / "clear_refs").write_text("5")


def peak_bytes() -> int:
    """Return the sum of the peak resident sets, data included."""
    total = 0
    for folder in family():
        with contextlib.suppress(OSError):
            lines = (folder / "status").read_text().splitlines()
            total += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return total


def resident_bytes() -> int:
    """Return what is resident now."""
    total = 0
    for folder in family():
        with contextlib.suppress(OSError):
            total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def cpu_seconds() -> float:
    """Return the processor time of all of them so far."""
    ticks = 0
    for folder in family():
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS
