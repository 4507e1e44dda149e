"""The plan of a fit: which tiles form a bundle, and in which order partial answers merge.

Bundles depend on the layout of the data only, never on workers, memory or time, so that the same data gives the
same bits anywhere. Partials merge along one fixed binary tree over bundle numbers; whoever answers a contiguous
run of bundles may merge whole subtrees. Read next: ``local.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
T = TypeVar("T")

MAX_BUNDLES = 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """A rectangle of tiles: tile rows [r0, r1) and tile columns [c0, c1)."""

    index: int
    r0: int
    r1: int
    c0: int
    c1: int

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Places of its tiles, row by row."""
        return itertools.product(range(self.r0, self.r1), range(self.c0, self.c1))


@dataclass(frozen=True, slots=True)
class Plan:
    """All bundles of a fit, and the axis along which they are neighbours (0 rows, 1 columns)."""

    bundles: tuple[Bundle, ...]
    axis: int
    room: int | None = None  # bytes of strong columns that a runtime in this process may keep; None: all of them
    answer: int = 0  # bytes of the largest answer that is sure to be asked for
    keeps: bool = False  # whether a runtime in this process may keep all tiles that it has read

    def chain(self, row_bounds: Ints) -> int:
        """Additions, one after the other, on the longest way of a row into a sum over all rows, at most.

        These are the rows of its tile, however a kernel goes through them, the tiles of its bundle, and the levels of the tree.
        """
        below = max(bundle.r1 - bundle.r0 for bundle in self.bundles)
        levels = 0 if self.axis else (len(self.bundles) - 1).bit_length()
        return int(np.diff(row_bounds).max()) + below + levels


def plan_bundles(
    row_bounds: Ints, col_bounds: Ints, *, by_columns: bool, room: int | None = None, answer: int = 0, keeps: bool = False
) -> Plan:  # fmt: skip
    """Cut a tile grid into at most 64 bundles: full-width bands of rows, or full-height bands of columns."""
    rows, cols = row_bounds.size - 1, col_bounds.size - 1
    tiles = cols if by_columns else rows
    count = min(tiles, MAX_BUNDLES)
    cuts = [tiles * k // count for k in range(count + 1)]
    pairs = zip(cuts[:-1], cuts[1:], strict=True)
    if by_columns:
        return Plan(tuple(Bundle(k, 0, rows, a, b) for k, (a, b) in enumerate(pairs)), 1, room, answer, keeps)
    return Plan(tuple(Bundle(k, a, b, 0, cols) for k, (a, b) in enumerate(pairs)), 0, room, answer, keeps)


@dataclass(slots=True)
class MergeTree(Generic[T]):
    """Merges partials of ``size`` leaves along the fixed binary tree, as soon as siblings are present."""

    size: int
    merge: Callable[[T, T], T]
    _nodes: dict[tuple[int, int], T] = field(default_factory=dict)

    def add(self, level: int, position: int, partial: T) -> None:
        """Add the merged answer of leaves [position 2^level, (position + 1) 2^level)."""
        while (1 << level) < self.size:
            sibling = position ^ 1
            if (sibling << level) < self.size:
                other = self._nodes.pop((level, sibling), None)
                if other is None:
                    break
                partial = self.merge(other, partial) if sibling < position else self.merge(partial, other)
            level, position = level + 1, position >> 1
        self._nodes[level, position] = partial

    def nodes(self) -> list[tuple[int, int, T]]:
        """Subtrees merged so far, as (level, position, answer)."""
        return [(level, position, partial) for (level, position), partial in sorted(self._nodes.items())]

    def result(self) -> T:
        """The answer of all leaves."""
        (partial,) = self._nodes.values()
        return partial
