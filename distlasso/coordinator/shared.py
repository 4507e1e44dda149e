"""Strong columns of fits that go side by side, kept once: the folds of a cross-validation want nearly the same.

What one fit admits, all of them have, in one order, so that bundles keep these columns once and not once a fold, and so does
the coordinator where it holds them. Dense columns that it holds may lie anywhere among others: there a fit looks only at those
that it has asked for itself, for eleven fits together ask for up to four times as many. A fit admits at the beginning of each
of its batches, when all others wait too: the order does not depend on who is faster. Read next: ``lockstep.py`` (who waits),
``drive.py`` (who admits), ``gathered.py`` and ``products.py`` (what is held).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.products import Products

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
@dataclass(slots=True, eq=False)
class Shared:
    """The columns that all fits have admitted, in order; at first those that every fit begins with."""

    columns: Ints
    gathered: Gathered | None = None  # where the coordinator holds them
    products: Products | None = None  # where it descends on their Grams
    apart: bool = False  # whether every fit has a strong set of its own among them

    def hold(self) -> None:
        """Have what is held catch up with what is admitted; to be called while no fit is at work."""
        if self.gathered is None:
            return
        have = self.gathered.columns.size
        if have < self.columns.size or have == 0:
            self.gathered.extend(self.columns[have:])
            if self.products is not None:
                self.products.extend(self.gathered.first(self.columns.size), self.columns)


@final
@dataclass(frozen=True, slots=True)
class Share:
    """What one fit has of it; ``meet`` has a change made while no fit is at work, and returns then."""

    of: Shared
    meet: Callable[[Callable[[], None]], None]
    fit: int = 0  # among those whose Grams there are

    @property
    def gathered(self) -> Gathered | None:
        """The columns, where the coordinator holds them."""
        return self.of.gathered

    def gram(self, size: int) -> Floats | None:
        """The Gram of the first few columns for this fit, where there is one."""
        return None if self.of.products is None else self.of.products.gram(self.fit, size)

    @property
    def chain(self) -> int:
        """Additions, one after the other, behind the Gram at most."""
        return 0 if self.of.products is None else self.of.products.chain

    def admit(self, wanted: Ints, have: int) -> Ints:
        """Admit columns, and return what comes behind the first ``have`` of the fit: these, or what anybody has admitted."""
        found: list[Ints] = []

        def extend() -> None:
            new = wanted[~np.isin(wanted, self.of.columns)]
            self.of.columns = np.concatenate([self.of.columns, new])

        def settle() -> None:
            self.of.hold()
            found.append(self.of.columns)

        self.meet(extend)
        self.meet(settle)  # when all who met have extended it
        return wanted if self.of.apart else found[0][have:]


def admit(task: Task, problem: Problem, wanted: Ints) -> Ints:
    """Put columns behind the strong set of a problem, and what other fits may have put there; returns what is new."""
    new = wanted if task.shared is None else task.shared.admit(wanted, problem.columns.size)
    if new.size:
        problem.admit(new)
    return new
