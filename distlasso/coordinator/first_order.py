"""Proximal gradient on the strong set, whose sums come from rounds over the data or from columns that are held.

Read next: ``../solvers/proximal_gradient.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.held import Held
from distlasso.coordinator.problem import Task
from distlasso.coordinator.rounds import Rounds
from distlasso.penalties import AtLambda
from distlasso.solvers.proximal_gradient import ProximalGradient

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
class FirstOrder:
    """Implements ``general.Restricted``: all lambdas of a batch in each round, no Hessian anywhere."""

    def __init__(self, task: Task, smooth: Rounds | Held, *, accelerated: bool) -> None:
        self._task, self._smooth = task, smooth
        self._solver = ProximalGradient(accelerated=accelerated)
        self._solver.admit(smooth.columns.size)
        self._curvature = _curvature(task)

    def admit(self, columns: Ints) -> None:
        """The step depends on the strong set."""
        self._solver.admit(columns.size)

    def solve(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        """Solve a batch from its starting points."""
        columns = self._smooth.columns
        penalties = [at.take(columns) for at in batch]
        return self._solver.solve(
            self._smooth, penalties, b, intercept, target=target, columns=self._task.space.curvature[columns],
            curvature=self._curvature,
        )  # fmt: skip


def _curvature(task: Task) -> float:
    """Bound of the loss on its curvature; where it has none, the mean curvature of a model without columns."""
    loss = task.exchange.loss
    if np.isfinite(loss.steepest):
        return loss.steepest
    mean = float(task.weight @ task.y)
    level = loss.link(mean) if mean > 0.0 else 0.0  # only Poisson comes here; without events any start will do
    return float(task.weight @ loss.curvature(task.y, np.full(task.y.size, level)))
