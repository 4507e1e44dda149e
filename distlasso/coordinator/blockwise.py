"""Block-coordinate descent over blocks of the strong set: for strong sets whose Gram is too large for the coordinator.

Read next: ``../solvers/strong_blocks.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.form import Blocks
from distlasso.coordinator.problem import Task
from distlasso.coordinator.rounds import Rounds
from distlasso.penalties import AtLambda
from distlasso.solvers.strong_blocks import StrongBlocks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
class Blockwise:
    """Implements ``general.Restricted``: all lambdas of a batch in each round, which updates one block."""

    def __init__(self, task: Task, rounds: Rounds, blocks: Blocks) -> None:
        self._task, self._rounds = task, rounds
        self._solver = StrongBlocks(width=blocks.width, held=blocks.held, fixed=task.exchange.loss.quadratic)

    def admit(self, columns: Ints) -> None:
        """Blocks are cut anew for every batch."""

    def solve(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        """Solve a batch from its starting points."""
        columns = self._rounds.columns
        penalties = [at.take(columns) for at in batch]
        return self._solver.solve(
            self._rounds, penalties, b, intercept, target=target, columns=self._task.space.curvature[columns],
            names=columns,
        )  # fmt: skip
