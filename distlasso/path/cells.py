"""What is known of cells of rows, put together for every fit that is made of whole cells: folds, half-samples.

Moments and Grams are asked once a cell. A fit takes sums over its own cells, never differences, which would lose their digits
beside a cell of another scale. Read next: ``selection.py`` and ``stability.py`` (who fits), ``side_by_side.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.problem import Task
from distlasso.coordinator.space import Space
from distlasso.data.blocks import symmetric
from distlasso.data.statistics import Statistics, merge
from distlasso.kernels.dense import take_outer
from distlasso.path.opened import Opened
from distlasso.queries import Square

Floats = NDArray[np.float64]

GRAMS = 2 << 30  # bytes of Grams that are held at once


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of an opened dataset, measured; ``rows`` are their row spaces."""

    data: Opened
    rows: range
    statistics: list[Statistics]

    def grams(self) -> list[Floats]:
        """The Gram of every cell, uncentred: one pass where they have room beside each other."""
        exchange, p = self.data.exchange, self.data.dataset.shape[1]
        size = max(1, GRAMS // (16 * 8 * p * p))
        grams: list[Floats] = []
        for start in range(self.rows.start, self.rows.stop, size):
            asks = [replace(exchange, rows=k).compose([Square()], present=True)
                    for k in range(start, min(start + size, self.rows.stop))]  # fmt: skip
            grams += [symmetric(answer) for (answer,) in exchange.send(asks)]
        return grams

    def gram(self, space: Space, grams: Sequence[Floats], own: Sequence[int]) -> Floats:
        """The Gram of a fit to some cells, centred and over their weight."""
        total = grams[own[0]].copy()
        for c in own[1:]:
            total += grams[c]
        total /= sum(self.statistics[c].weight for c in own)
        take_outer(total, space.remainder, space.remainder)
        return total


def with_gram(task: Task, gram: Floats) -> Task:
    """A task that is given the Gram [p, p] of its rows."""
    return replace(task, gram=gram if task.keep.size == len(gram) else np.ascontiguousarray(gram[np.ix_(task.keep, task.keep)]))


def measure(data: Opened, rows: range, members: Sequence[Sequence[int]]) -> tuple[Cells, list[Space]]:
    """Measure cells in one pass, and make the space of every fit.

    All fits share what stands for a missing value, and one shift: the median of the cells' means, which no cell of another
    scale can drag away from the others.

    Parameters
    ----------
    data : Opened
        The data.
    rows : range
        Row spaces of the cells.
    members : sequence of sequence of int
        The cells of every fit; the first has all rows, whose means stand for missing values.
    """
    cells = data.measure(rows)
    found = [reduce(merge, [cells[c] for c in own]) for own in members]
    found = [own.scaled(1.0 / own.weight) for own in found]
    if data.dataset.missing_value is not None:
        fill = found[0].mean
        found, cells = [found[0], *(own.filled(fill) for own in found[1:])], [own.filled(fill) for own in cells]
    spaces = data.centred(found)
    shift = None
    if any(space.shift is not None for space in spaces):
        shift = np.median([own.mean for own in cells], axis=0)
    data.exchange.shift = shift
    spaces = [replace(space, shift=shift, imputation=spaces[0].imputation) for space in spaces]
    return Cells(data, rows, cells), spaces
