"""Refits: convex problems that differ from the path's in their penalty, each from a start of its own.

A batch is solved on the strong set and verified at once: by one pass, by complete statistics, or, where the penalties
shut every other column out, by the strong columns alone. What is known of the data (Gram, strong columns) lives on in
the ``Problem`` from one refit to the next. Read next: ``../path/stages.py``, which asks for refits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.problem import Certified, Problem, Task
from distlasso.coordinator.shared import admit
from distlasso.penalties import AtLambda

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STALLS = 2  # sharper inner solves tried before a gap above tol is reported


@dataclass(frozen=True, slots=True)
class Solution:
    """A solution on the original scale."""

    support: Ints  # ascending
    b: Floats  # on the support
    intercept: float
    gap: float  # relative to D0
    value: float  # mean loss above its minimum

    def dense(self, p: int) -> Floats:
        """All coefficients, [p]."""
        b = np.zeros(p)
        b[self.support] = self.b
        return b

    def row(self, p: int) -> sp.csr_array:
        """The coefficients as a sparse row."""
        return sp.csr_array((self.b, self.support, [0, self.support.size]), shape=(1, p))


def refit(task: Task, problem: Problem, batch: Sequence[AtLambda], starts: Sequence[Solution]) -> list[Solution]:
    """Solve and verify a batch of problems.

    Parameters
    ----------
    task, problem : Task, Problem
        The data, and what is known of it.
    batch : sequence of AtLambda
        The penalties; bounds, factors and scales as in the task.
    starts : sequence of Solution
        Where each of them starts.

    Returns
    -------
    list of Solution
        A gap above ``task.tol`` says that the solver could not get further.
    """
    _admit(task, problem, _required(task, batch, starts))
    for at, start in zip(batch, starts, strict=True):
        _begin(task, problem, at, start)
    done: dict[AtLambda, Solution] = {}
    open_, sharpness = list(batch), 0
    while open_:
        problem.solve(open_, sharpness)
        certified = problem.certify(open_)
        finished = certified.gaps <= task.tol
        violators = _outside(task, problem) & _violators(open_, certified, finished)
        if violators.any():
            _admit(task, problem, violators)
        elif sharpness == _STALLS:
            finished[:] = True
        else:
            sharpness += 1
        done |= {at: _solution(task, certified, k) for k, at in enumerate(open_) if finished[k]}
        open_ = [at for k, at in enumerate(open_) if not finished[k]]
    return [done[at] for at in batch]


def _required(task: Task, batch: Sequence[AtLambda], starts: Sequence[Solution]) -> NDArray[np.bool_]:
    """Columns that cannot stay out: those that start nonzero, and those without an L1 penalty."""
    required = np.zeros(task.space.sd.size, dtype=np.bool_)
    for at, start in zip(batch, starts, strict=True):
        penalty = at.penalty.at(at.lam)
        required |= (penalty.l1 == 0) & ((penalty.low < 0) | (penalty.high > 0))
        required[start.support] = True
    return required


def _outside(task: Task, problem: Problem) -> NDArray[np.bool_]:
    outside = np.zeros(task.space.sd.size, dtype=np.bool_)
    outside[task.keep] = True
    outside[problem.columns] = False
    return outside


def _admit(task: Task, problem: Problem, columns: NDArray[np.bool_]) -> None:
    new = np.flatnonzero(columns & _outside(task, problem))
    if new.size:
        admit(task, problem, new)


def _begin(task: Task, problem: Problem, at: AtLambda, start: Solution) -> None:
    b = start.dense(task.space.sd.size)
    penalty = at.take(problem.columns)
    inside = np.clip(b[problem.columns], penalty.low, penalty.high)
    problem.begin(at, inside, start.intercept + float(task.space.centre @ b))


def _violators(batch: list[AtLambda], certified: Certified, finished: NDArray[np.bool_]) -> NDArray[np.bool_]:
    lams = np.array([at.lam for at in batch])
    return np.asarray((certified.strength > lams)[:, ~finished].any(axis=1))


def _solution(task: Task, certified: Certified, k: int) -> Solution:
    order = np.argsort(certified.columns)
    order = order[certified.b[order, k] != 0]
    support, b = certified.columns[order], certified.b[order, k]
    shift = float(task.space.centre[support] @ b) if task.space.intercept else 0.0
    intercept = float(certified.intercept[k]) - shift if task.space.intercept else 0.0
    return Solution(support, b, intercept, float(certified.gaps[k]), float(certified.value[k]))
