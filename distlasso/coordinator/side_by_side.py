"""A batch on columns that are held: neighbouring lambdas side by side, on sparse columns abreast.

Read next: ``../solvers/abreast.py``, ``../solvers/reweighted.py``; ``general.py``, which certifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.held import Held
from distlasso.coordinator.problem import Task
from distlasso.penalties import AtLambda, spelled
from distlasso.solvers.abreast import SPAN, approach
from distlasso.solvers.lanes import LANES, follow, side_by_side
from distlasso.solvers.newton import Newton
from distlasso.solvers.reweighted import solve_reweighted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
class SideBySide:
    """Implements ``general.Restricted`` on columns that are held."""

    def __init__(self, task: Task, held: Held) -> None:
        self._task, self._held = task, held

    def admit(self, columns: Ints) -> None:
        """Nothing is kept that depends on the strong set."""

    def solve(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        """Solve a batch; a lambda without a start of its own follows its predecessors."""
        columns = self._held.columns
        given = ["side by side", columns, spelled(batch, columns), b, intercept, target]
        work = partial(self._descend, batch, b, intercept, target)
        b, intercept = self._task.exchange.recall(given, [b.shape, intercept.shape], work)
        return b, intercept

    def _descend(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        b, intercept, columns = b.copy(), intercept.copy(), self._held.columns
        own = [bool(k) and not np.array_equal(b[:, k], b[:, 0]) for k in range(len(batch))]
        held = self._held.strong
        newtons = [Newton() for _ in range(LANES)]
        at_once = SPAN if held.is_sparse else LANES
        for first in range(0, len(batch), at_once):
            models = range(first, min(first + at_once, len(batch)))
            for k in models:
                if first and not own[k]:
                    b[:, k], intercept[k] = _ahead(batch, b, intercept, k, first)
            left = list(models)
            if held.is_sparse:
                penalties = [batch[k].take(columns) for k in models]
                b[:, models], intercept[models], arrived = approach(held, penalties, b[:, models], intercept[models], target)
                left = [k for k, there in zip(models, arrived, strict=True) if not there]
            for at in range(0, len(left), LANES):
                lanes = left[at : at + LANES]
                jobs = [partial(solve_reweighted, held, batch[k].take(columns), b[:, k], float(intercept[k]), target=target,
                                newton=newtons[lane], names=columns) for lane, k in enumerate(lanes)]  # fmt: skip
                for k, (found, level) in zip(lanes, side_by_side(jobs, held.entries), strict=True):
                    b[:, k], intercept[k] = found, level
        return b, intercept


def _ahead(batch: Sequence[AtLambda], b: Floats, intercept: Floats, k: int, solved: int) -> tuple[Floats, float]:
    """Where problem k starts, the first ``solved`` of the batch being solved."""
    older, last = batch[solved - 2].lam, batch[solved - 1].lam
    level = float(intercept[solved - 1])
    if batch[k].penalty is not batch[solved - 2].penalty or older <= last:
        return b[:, solved - 1], level
    return follow(b[:, solved - 2], b[:, solved - 1], (last - batch[k].lam) / (older - last)), level
