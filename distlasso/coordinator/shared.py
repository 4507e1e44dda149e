"""One strong set for fits that go side by side: the folds of a cross-validation want nearly the same columns.

What one fit admits, all of them have, in one order, so that bundles keep these columns once and not once a fold. A fit
admits at the beginning of each of its batches, when all others wait too: the order does not depend on who is faster.
Read next: ``lockstep.py`` (who waits), ``drive.py`` (who admits).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.problem import Problem, Task

Ints = NDArray[np.int64]


@final
@dataclass(slots=True, eq=False)
class Shared:
    """The columns that all fits have admitted, in order; at first those that every fit begins with."""

    columns: Ints


@final
@dataclass(frozen=True, slots=True)
class Share:
    """What one fit has of it; ``meet`` has a change made while no fit is at work, and returns then."""

    of: Shared
    meet: Callable[[Callable[[], None]], None]

    def admit(self, wanted: Ints, have: int) -> Ints:
        """Admit columns, and return all behind the first ``have`` that anybody has admitted until now."""
        found: list[Ints] = []

        def extend() -> None:
            new = wanted[~np.isin(wanted, self.of.columns)]
            self.of.columns = np.concatenate([self.of.columns, new])

        self.meet(extend)
        self.meet(lambda: found.append(self.of.columns))  # when all who met have extended it
        return found[0][have:]


def admit(task: Task, problem: Problem, wanted: Ints) -> Ints:
    """Put columns behind the strong set of a problem, and what other fits have put there; returns what is new."""
    new = wanted if task.shared is None else task.shared.admit(wanted, problem.columns.size)
    if new.size:
        problem.admit(new)
    return new
