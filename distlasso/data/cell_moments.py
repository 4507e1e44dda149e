"""Statistics of cells of rows, from one visit to every dense column: folds have ten of them, which few rows belong to.

Read next: ``statistics.py`` (what they are), ``../queries.py`` (who asks), ``blocks.py`` (the same for one set of rows).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.statistics import Statistics, hstack, of_target
from distlasso.kernels import moments

Floats = NDArray[np.float64]

_STRIP = 64  # columns that are copied at a time, as stored


def cell_moments(tile: Block, cells: Sequence[tuple[Floats, Floats]]) -> list[Statistics]:
    """Statistics of a dense tile without missing values under the weights and target of several cells.

    What one cell comes to depends on its own rows only. Columns should lie one behind the other.
    """
    there = [np.flatnonzero(weight) for weight, _ in cells]
    weights = [weight[rows] for (weight, _), rows in zip(cells, there, strict=True)]
    targets = [of_target(weight, y[rows]) for weight, (_, y), rows in zip(weights, cells, there, strict=True)]
    bounds = np.cumsum([0, *(rows.size for rows in there)])
    together = (np.concatenate(there), bounds, np.concatenate(weights), np.concatenate([own[3] for own in targets]))
    total = np.array([own[0] or 1.0 for own in targets])
    parts: list[list[Statistics]] = [[] for _ in cells]
    for start in range(0, tile.shape[1], _STRIP):
        columns = np.arange(start, min(start + _STRIP, tile.shape[1]))
        mean, m2, cross, max_abs = (np.zeros((len(cells), columns.size)) for _ in range(4))
        moments.of_cells(tile.gather(columns), *together, total, mean, m2, cross, max_abs)
        for c, (weight, y_mean, y_m2, _) in enumerate(targets):
            parts[c].append(Statistics(
                weight, mean[c], m2[c], max_abs[c], cross[c], np.full(columns.size, weight), np.full(columns.size, y_mean),
                y_mean, y_m2, there[c].size, there[c].size * columns.size, there[c].size,
            ))  # fmt: skip
    return [hstack(own) for own in parts]
