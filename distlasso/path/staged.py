"""The path of one response under a schedule, or under a prior whose noise is not known: fits before and after it.

Read next: ``stages.py``; ``responses.py``, for paths without a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator import drive
from distlasso.coordinator.problem import Problem, Task
from distlasso.errors import ResourceError
from distlasso.path.history import no_records
from distlasso.path.responses import CONSTANT, Fitted, Grid, is_degenerate, lambdas_of_constant, largest, null_models
from distlasso.path.schedules import Schedule
from distlasso.path.stages import Stages

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule, and what it needs to know beside the problem."""

    schedule: Schedule
    weight: float  # W
    before: bool  # whether it only chooses the lambda of one fit, as a prior does
    shared: bool  # whether one problem serves the fits before the path too, holding all columns anyway


@dataclass(frozen=True, slots=True)
class Staged:
    """What a schedule did."""

    counts: Ints  # [k]: fits after the first
    history: NDArray[np.void]
    unsettled: int = 0  # lambdas at which it was stopped


def fit_in_stages(
    task: Task, make: Callable[[Task], tuple[Problem, str]], grid: Grid, plan: Plan, limits: drive.Limits
) -> tuple[Floats, Fitted, Staged]:
    """Fit one response; parameters and results as of ``fit_responses``, and what the schedule did."""
    problem, reason = make(task)
    if is_degenerate(task, problem):
        lambdas = lambdas_of_constant(grid)
        nothing = Staged(np.zeros(lambdas.size, dtype=np.int64), no_records())
        return lambdas, Fitted(null_models(task, problem, lambdas), problem.d0, CONSTANT, reason), nothing
    listener = task.exchange.listener
    stages = Stages(task, problem, plan.schedule, weight=plan.weight, listener=listener)
    stages.begin(lambda: problem if plan.shared else make(task)[0], largest(task, problem))
    task = replace(task, penalty=stages.penalty)
    lam_max = largest(task, problem)
    if plan.before:
        grid = Grid(np.array([stages.strength]), 1, None)
    lambdas = grid.at(lam_max, (task.y.size, task.space.sd.size))
    solutions = drive.fit(task, problem, lambdas, lam_max, listener, limits)
    if not solutions.gap:
        raise ResourceError(f"{solutions.ended} before the first lambda was certified: allow more")
    if plan.before:
        nothing = Staged(np.zeros(len(solutions.gap), dtype=np.int64), no_records())
        return lambdas, Fitted(solutions, problem.d0, problem.certificate, reason), nothing
    counts = stages.follow(solutions, lambdas, limits)
    done = Staged(counts, stages.history(len(solutions.gap)), stages.unsettled)
    return lambdas, Fitted(solutions, problem.d0, stages.certificate, reason), done
