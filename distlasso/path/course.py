"""One path to fit, from the problem to certified solutions: fits before it, the batch loop, what a schedule adds.

Several schedules may follow one path, which they then share. Everything asks through the exchange of its task, so that
courses of several responses or folds can go side by side. Read next: ``../coordinator/drive.py`` (the batch loop),
``stages.py`` (schedules), ``../coordinator/lockstep.py`` (side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator import drive
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.refit import Solution
from distlasso.coordinator.start import Start
from distlasso.errors import ResourceError
from distlasso.path.grid import Grid
from distlasso.path.history import no_records
from distlasso.path.stages import Stages
from distlasso.path.together import together
from distlasso.schedules.schedule import Schedule

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONSTANT = "constant target"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a path came to."""

    solutions: drive.Solutions
    d0: float
    certificate: str
    solver: str
    stages: Ints = field(default_factory=lambda: np.empty(0, np.int64))  # [k]: fits after the first
    history: NDArray[np.void] = field(default_factory=no_records)
    unsettled: int = 0  # lambdas at which the schedule was stopped


@final
class Course:
    """A task on its way, under one schedule or several: first ``begin``, then ``run`` with the lambdas."""

    def __init__(
        self, task: Task, make: Callable[[Task], tuple[Problem, str]], schedules: Sequence[Schedule | None] = (None,), *,
        weight: float = 1.0, shared: bool = False, start: Start | None = None, recorded: bool = True,
    ) -> None:  # fmt: skip
        """Prepare.

        Parameters
        ----------
        task : Task
            The problem.
        make : callable
            Makes the problem of a task, and says which solver runs it.
        schedules : sequence of Schedule or None
            What to follow the path with; None is the path alone.
        weight : float
            Total weight of the rows, as schedules are told.
        shared : bool
            Whether the problem holds all columns anyway, so that it may serve the fits before the path too.
        start : Start, optional
            Solutions that are known already, for the path to begin at.
        recorded : bool
            Whether the history of the features will be asked for.
        """
        self.task, self._make, self._schedules = task, make, schedules
        self._weight, self._shared, self._start, self._recorded = weight, shared, start, recorded
        self._stages: list[Stages | None] = []

    def begin(self) -> list[float | None]:
        """Make the problem, and do what comes before the path.

        Returns
        -------
        list of float or None
            For each schedule, lambda at which the first coefficient comes in; None for a constant target.
        """
        task = self.task
        self._problem, self.solver = self._make(task)
        self.constant = _is_constant(task, self._problem)
        if self.constant:
            return [None] * len(self._schedules)
        self._lam_max = self._largest(task)
        self._stages = [None if schedule is None else self._started(schedule) for schedule in self._schedules]
        self._highest = [self._largest(self._under(stages)) for stages in self._stages]
        return list(self._highest)

    def strength(self) -> float:
        """Lambda of the last fit before the path."""
        (stages,) = self._stages
        assert stages is not None
        return stages.strength

    def run(self, lambdas: Sequence[Floats], limits: drive.Limits, *, follow: bool = True) -> list[Fitted]:
        """Fit the path under each schedule, at lambdas of its own; ``follow`` is whether there is anything after the path.

        Raises
        ------
        ResourceError
            If a limit is met before the first lambda.
        """
        if self.constant:
            return [self._null(own) for own in lambdas]
        paths, firsts = dict[int, drive.Solutions](), list[drive.Solutions]()
        for stages, lam_max, own in zip(self._stages, self._highest, lambdas, strict=True):
            task = self._under(stages)
            key = id(task.penalty)
            if key not in paths:
                paths[key] = drive.fit(task, self._problem, own, lam_max, task.exchange.listener, limits, self._start)
            if not paths[key].gap:
                raise ResourceError(f"{paths[key].ended} before the first lambda was certified: allow more")
            firsts.append(paths[key])
        followed = self._stages if follow else [None for _ in firsts]
        known = together(self.task, self._problem, followed, firsts, lambdas)
        each = zip(followed, firsts, lambdas, known, strict=True)
        return [self._followed(one, first.copy(), own, limits, ahead) for one, first, own, ahead in each]

    def _followed(
        self, stages: Stages | None, solutions: drive.Solutions, lambdas: Floats, limits: drive.Limits,
        known: Mapping[int, Solution],
    ) -> Fitted:  # fmt: skip
        d0, problem = self._problem.d0, self._problem
        if stages is None:
            return Fitted(solutions, d0, problem.certificate, self.solver, np.zeros(len(solutions.gap), dtype=np.int64))
        counts = stages.follow(solutions, lambdas, limits, known)
        history = stages.history(len(solutions.gap)) if self._recorded else no_records()
        return Fitted(solutions, d0, stages.certificate, self.solver, counts, history, stages.unsettled)

    def _started(self, schedule: Schedule) -> Stages:
        stages = Stages(self.task, self._problem, schedule, weight=self._weight, listener=self.task.exchange.listener)
        stages.begin(lambda: self._problem if self._shared else self._make(self.task)[0], self._lam_max)
        return stages

    def _under(self, stages: Stages | None) -> Task:
        """The task under the penalty that a schedule gives to the path."""
        return self.task if stages is None else replace(self.task, penalty=stages.penalty)

    def _largest(self, task: Task) -> float:
        return float(np.max(task.penalty.strength(self._problem.null_gradient())[task.keep], initial=0.0))

    def _null(self, lambdas: Floats) -> Fitted:
        """The null model at every lambda."""
        k, level = lambdas.size, self._problem.null_intercept
        empty = sp.csr_array((np.size(level), self.task.space.sd.size))
        solutions = drive.Solutions([empty] * k, [level] * k, [0.0] * k, [0.0] * k)
        return Fitted(solutions, self._problem.d0, CONSTANT, self.solver, np.zeros(k, dtype=np.int64))


def highest(found: Sequence[float | None]) -> float | None:
    """Largest useful lambda of several courses; None where all have a constant target."""
    return max((lam for lam in found if lam is not None), default=None)


def grids(grid: Grid, tops: Sequence[float | None], task: Task) -> list[Floats]:
    """The lambdas under each schedule; the same array for the same largest one."""
    known: dict[float | None, Floats] = {}
    shape = (int(np.count_nonzero(task.weight)), task.space.sd.size)
    return [known.setdefault(top, grid.at(top, shape)) for top in tops]


def _is_constant(task: Task, problem: Problem) -> bool:
    """Whether the null model leaves nothing to explain, but for rounding."""
    return problem.d0 <= 0.5e-28 * max(task.space.y_centre**2, 1e-280) or not problem.d0 > 0
