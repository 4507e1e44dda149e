"""Where a path begins: at solutions that are known already, instead of at zero.

They are a guess that saves passes, by whom it admits and where descents start; what is returned is certified like
any other solution. Read next: ``drive.py`` (who begins there).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.problem import Problem, Task
from distlasso.penalties import AtLambda

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Start:
    """Solutions on the original scale, one a lambda, or one for every lambda."""

    lambdas: Floats  # [m], descending
    coef: sp.csr_array  # [m, p]
    intercept: Floats | None  # [m]; None is that of the null model

    def covers(self, lambdas: Floats) -> bool:
        """Whether a path between two of its ends is asked for, whose solutions have been found before."""
        return self.intercept is not None and bool(lambdas[-1] >= self.lambdas[-1] * (1.0 - 1e-9))

    def columns(self, task: Task, problem: Problem) -> Ints:
        """Columns that are nonzero somewhere, belong to the problem and are not in its strong set."""
        wanted = np.zeros(self.coef.shape[1], dtype=np.bool_)
        wanted[task.keep] = np.isin(task.keep, self.coef.indices)
        wanted[problem.columns] = False
        return np.flatnonzero(wanted)

    def begin(self, task: Task, problem: Problem, path: Sequence[AtLambda]) -> None:
        """Have every lambda of a path begin at the solution beside it, within its bounds."""
        strong, centre = problem.columns, task.space.centre
        inside = np.asarray(self.coef[:, strong].toarray())
        for at in path:
            left, share = self._beside(at.lam)
            right = min(left + 1, self.lambdas.size - 1)
            b = (1.0 - share) * inside[left] + share * inside[right]
            penalty = at.take(strong)
            b = np.clip(b, penalty.low, penalty.high)
            level = problem.null_intercept
            if self.intercept is not None and task.space.intercept:
                known = (1.0 - share) * self.intercept[left] + share * self.intercept[right]
                level = float(known + centre[strong] @ b)
            problem.begin(at, b, level)

    def _beside(self, lam: float) -> tuple[int, float]:
        """The known lambda above one, and the share of the one below; the nearest beyond both ends."""
        lams = self.lambdas
        left = int(np.clip(np.searchsorted(-lams, -lam, side="right") - 1, 0, lams.size - 1))
        right = min(left + 1, lams.size - 1)
        if left == right:
            return left, 0.0
        return left, float(np.clip((lams[left] - lam) / (lams[left] - lams[right]), 0.0, 1.0))
