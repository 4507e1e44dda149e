"""The batch loop: carries out what the state machine decides, until every lambda is certified or a limit is met.

Everything numerical that leaves this file has been through the certificate. Read next: ``active_set.py`` (the
decisions), ``squared.py`` and ``general.py`` (the problems), ``../certificate.py`` (the proof).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator import active_set
from distlasso.coordinator.problem import Certified, Problem, Task
from distlasso.coordinator.shared import admit
from distlasso.coordinator.space import Space
from distlasso.coordinator.start import Start
from distlasso.events import BatchVerified, Listener, PathGrown
from distlasso.penalties import LEAST_RATIO, AtLambda

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SHOWN = 20  # columns whose coefficients are announced


@dataclass(slots=True)
class Solutions:
    """Accepted solutions, one per lambda, on the original scale."""

    coef: list[sp.csr_array] = field(default_factory=list)  # [outputs, p]
    intercept: list[float | Floats] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    ended: str = ""  # why the path is shorter than asked for

    def copy(self) -> Solutions:
        """Solutions that may be replaced one by one."""
        return Solutions(list(self.coef), list(self.intercept), list(self.gap), list(self.value), self.ended)

    def first(self, count: int) -> Solutions:
        """The solutions at the largest lambdas."""
        return Solutions(self.coef[:count], self.intercept[:count], self.gap[:count], self.value[:count], self.ended)

    def drop_last(self) -> None:
        """Forget the solution at the smallest lambda."""
        self.coef.pop()
        self.intercept.pop()
        self.gap.pop()
        self.value.pop()


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end a path early, with the prefix that is certified by then."""

    max_active: int | None = None
    deadline: float | None = None  # of time.perf_counter

    def passed(self, solutions: Solutions) -> str:
        """Return why the path ends here; empty if it goes on."""
        if self.max_active is not None and any(n_active(coef) > self.max_active for coef in solutions.coef[-1:]):
            return f"max_active={self.max_active} was passed"
        if self.deadline is not None and time.perf_counter() > self.deadline:
            return "time_limit was passed"
        return ""


def fit(
    task: Task, problem: Problem, lambdas: Floats, lam_max: float, listener: Listener, limits: Limits,
    start: Start | None = None,
) -> Solutions:  # fmt: skip
    """Fit a descending path of lambdas, from zero or from a start; every accepted solution carries its gap relative to D0.

    Ctrl-C returns what is certified by then, and so do the limits; ``Solutions.ended`` says why.
    """
    solutions = Solutions()
    try:
        _fit_all(task, problem, solutions, lambdas, lam_max, listener, limits, start)
    except KeyboardInterrupt:
        if not solutions.gap:
            raise
        solutions.ended = "interrupted"
    most = limits.max_active
    while most is not None and solutions.gap and n_active(solutions.coef[-1]) > most:
        solutions.ended = solutions.ended or limits.passed(solutions)
        solutions.drop_last()
    return solutions


def _fit_all(
    task: Task, problem: Problem, solutions: Solutions, lambdas: Floats, lam_max: float, listener: Listener,
    limits: Limits, start: Start | None,
) -> None:  # fmt: skip
    strength = task.penalty.strength(problem.null_gradient())
    admitted = np.ones(strength.size, dtype=np.bool_)
    admitted[task.keep] = False  # columns outside the problem never have to be admitted
    admitted[problem.columns] = True
    if task.penalty.l1_ratio < LEAST_RATIO and not admitted.all():
        admit(task, problem, np.flatnonzero(~admitted))  # ridge leaves nobody at zero
        admitted[:] = True
    path = [AtLambda(task.penalty, float(lam)) for lam in lambdas]
    if start is not None:
        admit(task, problem, start.columns(task, problem))
        admitted[problem.columns] = True
        start.begin(task, problem, path)
        if start.covers(lambdas):
            strength = np.zeros_like(strength)  # who enters is known better than the gradient of the null model can tell
    state, command = active_set.begin(lambdas, task.tol, admitted, strength, lam_max, problem.most, lavish=problem.lavish)
    while isinstance(command, active_set.Solve):
        if command.admit.size or task.shared is not None:
            state = active_set.join(state, admit(task, problem, command.admit))
        batch = path[command.start : command.stop]
        problem.solve(batch, command.sharpness)
        certified = problem.certify(batch)
        before = state.accepted
        state, command = active_set.step(state, active_set.Verified(certified.gaps, certified.strength))
        _accept(task.space, solutions, certified, state.accepted - before)
        problem.accept(certified, state.accepted - before)
        if solutions.gap:
            last = len(solutions.gap) - 1
            listener(BatchVerified(last + 1, lambdas.size, float(lambdas[last]), float(certified.gaps.max()),
                                   n_active(solutions.coef[-1]), problem.columns.size))  # fmt: skip
        if state.accepted > before:
            listener(_grown(task.space, solutions, lambdas, before))
        if isinstance(command, active_set.Solve):
            solutions.ended = limits.passed(solutions)
            if solutions.ended:
                break


def _accept(space: Space, solutions: Solutions, certified: Certified, count: int) -> None:
    """Store the accepted prefix on the original scale."""
    columns = certified.columns
    order = np.argsort(columns)
    for k in range(count):
        b = certified.b[:, k]
        rows = np.atleast_2d(b.T)[:, order]  # [outputs, |S|]
        support = (rows != 0).any(axis=0)
        indices, indptr = np.tile(columns[order][support], len(rows)), np.arange(len(rows) + 1) * int(support.sum())
        solutions.coef.append(sp.csr_array((rows[:, support].ravel(), indices, indptr), shape=(len(rows), space.sd.size)))
        level = certified.intercept[k] - space.centre[columns] @ b
        solutions.intercept.append(level if space.intercept else np.zeros_like(level))
        solutions.gap.append(float(certified.gaps[k]))
        solutions.value.append(float(certified.value[k]))


def _grown(space: Space, solutions: Solutions, lambdas: Floats, start: int) -> PathGrown:
    """What is new from the lambda of index ``start`` on."""
    new, (indices, values) = solutions.coef[start:], _first_row(solutions.coef[-1])
    order = np.argsort(-np.abs(values) * space.sd[indices], kind="stable")[:_SHOWN]
    columns = np.sort(indices[order])
    coef = [_among(columns, *_first_row(one)) for one in solutions.coef]
    gaps, counts = tuple(solutions.gap[start:]), tuple(n_active(one) for one in new)
    known = tuple(lambdas[start : start + len(new)].tolist())
    return PathGrown(known, gaps, counts, tuple(columns.tolist()), tuple(coef[start:]), before=tuple(coef[:start]))


def _first_row(coef: sp.csr_array) -> tuple[Ints, Floats]:
    """Columns of the first response, ascending, and their coefficients."""
    own = slice(0, int(coef.indptr[1]))
    return coef.indices[own], coef.data[own]


def _among(wanted: Ints, columns: Ints, values: Floats) -> tuple[float, ...]:
    """Values of some columns, zero where there is none; a tenth of the time that scipy takes."""
    place = np.minimum(np.searchsorted(columns, wanted), max(columns.size - 1, 0))
    found = np.where(columns[place] == wanted, values[place], 0.0) if columns.size else np.zeros(wanted.size)
    return tuple(found.tolist())


def n_active(coef: sp.csr_array) -> int:
    """Columns with a coefficient other than zero; outputs that share a penalty share them."""
    return int(coef.nnz // coef.shape[0])
