"""Where local linear approximation settles under a folded concave penalty, for squared loss: on one Gram, without a pass.

The Gram is that of the strong set, or, where that is too large, of the columns that some start has. What is found is a start
for the lasso under the slopes there, which ``refit.py`` certifies over all columns. Read next: ``../solvers/concave.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.form import takes_union
from distlasso.coordinator.problem import Problem, Sums, Task
from distlasso.coordinator.refit import Solution
from distlasso.penalties import AtLambda, Folded
from distlasso.solvers.concave import Concave, settle

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FITS = 16  # that one lambda would come to, at least
_ENOUGH, _LEAST = 1e-2, 1e-11  # of tol, of D0: what an epoch that is the last may move; float32 tells no less


@final
class Settling:
    """Follows the slopes of concave penalties at the lambdas of a problem; keeps the Gram while it serves."""

    def __init__(self, task: Task, problem: Problem) -> None:
        self._task, self._problem = task, problem
        self.forget()

    def forget(self) -> None:
        """Give the Gram back."""
        self._columns: Ints = np.empty(0, dtype=np.int64)
        self._sums: Sums | None = None
        self.narrow = False  # whether strong columns were left out, as there are too many of them

    def follow(self, batch: Sequence[tuple[AtLambda, Folded]], starts: Sequence[Solution]) -> list[Solution] | None:
        """Where some problems settle, without gaps; None where loss or size do not allow it.

        Parameters
        ----------
        batch : sequence of (AtLambda, Folded)
            The penalty of each problem where its slope is 1, and how the slope falls.
        starts : sequence of Solution
            Where each of them starts.
        """
        sums = self._on(np.unique(np.concatenate([start.support for start in starts])), len(batch))
        if sums is None:
            return None
        task, columns, found = self._task, self._columns, []
        enough, square = max(_ENOUGH * task.tol, _LEAST) * self._problem.d0, task.penalty.scale[columns] ** 2
        for (at, folded), start in zip(batch, starts, strict=True):
            convex = at.take(columns)
            inner, outer = (np.where(convex.l1 > 0, end * convex.l1 / square, np.inf) for end in (folded.inner, folded.outer))
            penalty = Concave(convex, inner, outer)
            b = settle(sums.gram, sums.g, penalty, start.dense(task.space.sd.size)[columns], enough=enough)
            found.append(self._solution(columns, b))
        return found

    def _solution(self, columns: Ints, b: Floats) -> Solution:
        there, space = np.flatnonzero(b), self._task.space
        intercept = space.y_centre - float(space.centre[columns[there]] @ b[there]) if space.intercept else 0.0
        return Solution(columns[there], b[there], intercept, np.inf, np.inf)

    def _on(self, support: Ints, lambdas: int) -> Sums | None:
        """Sums of some columns and of those that may join them."""
        if self._sums is None or not np.isin(support, self._columns).all():
            self.forget()
            for columns in (np.union1d(self._problem.columns, support), support):
                if takes_union(columns.size, _FITS * lambdas):
                    self._columns, self._sums = columns, self._problem.sums(columns)
                    self.narrow = columns is support
                    break
        return self._sums
