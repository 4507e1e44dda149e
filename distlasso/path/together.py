"""Schedules that come to one refit of what survives on a path they share: all of them together, before any is followed.

Read next: ``../coordinator/frozen.py``, which fits them; ``stages.py``, which follows them with what is known here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.drive import Solutions
from distlasso.coordinator.frozen import refit_frozen
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.refit import Solution
from distlasso.path.stages import Stages

Floats = NDArray[np.float64]


def together(
    task: Task, problem: Problem, stages: Sequence[Stages | None], paths: Sequence[Solutions], lambdas: Sequence[Floats]
) -> list[dict[int, Solution]]:
    """Last solutions that are known before a schedule is followed.

    Parameters
    ----------
    task, problem : Task, Problem
        The path's.
    stages : sequence of Stages or None
        Every schedule, at work.
    paths : sequence of Solutions
        The path under each of them: the same object where they share it.
    lambdas : sequence of float64 [k]
        Its lambdas.

    Returns
    -------
    list of dict
        For each schedule, the solutions by index of lambda.
    """
    found: list[dict[int, Solution]] = [{} for _ in stages]
    for path in {id(path): path for path in paths}.values():
        own = {i: one for i, one in enumerate(stages) if one is not None and one.frozen is not None and paths[i] is path}
        if not own:
            continue
        (i, first), *_ = own.items()
        rows = [(row.indices, row.data) for row in path.coef]
        orders = [np.argsort(indices) for indices, _ in rows]
        known = [(indices[order].astype(np.int64), b[order]) for (indices, b), order in zip(rows, orders, strict=True)]
        wanted = [one.frozen for one in own.values() if one.frozen is not None]
        each = refit_frozen(task, problem, lambdas[i][: len(known)], known, wanted, first.reach)
        for i, solutions in zip(own, each, strict=True):
            found[i] = {k: solution for k, solution in enumerate(solutions) if solution is not None}
    return found
