"""How results show themselves where a cell or a session ends with one: on a few lines, whatever their size.

Read next: ``result.py``, ``cross_validation.py``, which are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

MOST = 20  # rows of a table, and names of a list


def brief(value: float) -> str:
    """A number to four digits."""
    return f"{value:.4g}"


def with_error(mean: float, se: float) -> str:
    """A mean, and its standard error where there is one."""
    return brief(mean) if math.isnan(se) else f"{brief(mean)} ± {brief(se)}"


def listed(names: Sequence[str]) -> str:
    """The first names."""
    return ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")


def table(header: Sequence[str], count: int, row: Callable[[int], Sequence[str]]) -> list[str]:
    """Lines of a table of ``count`` rows, its columns flush right; what is beyond the first rows is only counted."""
    rows = [header, *(row(k) for k in range(min(count, MOST)))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(cell.rjust(width) for cell, width in zip(own, widths, strict=True)) for own in rows]
    return lines + ([f"  ... and {count - MOST} more"] if count > MOST else [])
