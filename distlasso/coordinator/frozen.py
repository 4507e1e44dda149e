"""Refits of what survived on a path, for squared loss: all lambdas and strengths from one Gram of the surviving columns.

The Gram is that of the strong set, held or made of the columns that are held: no pass over the data. Gaps are computed from
the same sums, of the problem on the frozen support. What this cannot do is left to ``refit.py``: other penalties, supports
that are collinear or too wide, gaps above tol or lost in rounding. Read next: ``../solvers/frozen.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import lasso_gaps
from distlasso.coordinator.form import takes_union
from distlasso.coordinator.problem import Problem, Sums, Task
from distlasso.coordinator.refit import Solution
from distlasso.coordinator.squared import rounding_bound
from distlasso.solvers.frozen import Refined, Support, refine

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, order=True)
class Frozen:
    """One fit of what survives at a lambda, at a share of it, then mixed with a share of the path's own solution."""

    strength: float
    mixed: float = 0.0


def refit_frozen(
    task: Task, problem: Problem, lambdas: Floats, path: Sequence[tuple[Ints, Floats]], wanted: Sequence[Frozen],
    reach: Floats,
) -> list[list[Solution | None]]:  # fmt: skip
    """Refit the supports of a path.

    Parameters
    ----------
    task, problem : Task, Problem
        The path's.
    lambdas : float64 [k]
        The path's.
    path : sequence of (int64, float64)
        Columns, ascending, and their coefficients at each lambda.
    wanted : sequence of Frozen
        What to fit at each lambda.
    reach : float64 [p]
        Bounds of coefficients without a penalty, relative to the largest of them.

    Returns
    -------
    list of list of Solution or None
        For every wanted fit and every lambda; None where ``refit`` has to be asked.
    """
    union = np.unique(np.concatenate([columns for columns, _ in path]))
    shares = np.array(sorted({one.strength for one in wanted}, reverse=True))
    done: list[list[Solution | None]] = [[None] * len(path) for _ in wanted]
    if not (_is_plain(task) and takes_union(union.size, len(path) * shares.size)):
        return done
    sums = problem.sums(union)
    if sums is None:
        return done
    l1 = task.penalty.at(1.0).take(union).l1
    supports = [Support(np.searchsorted(union, columns), np.sign(b), float(lam))
                for (columns, b), lam in zip(path, lambdas, strict=True)]  # fmt: skip
    found = refine(sums.gram, sums.g, l1, supports, shares)
    for k, (support, refined) in enumerate(zip(supports, found, strict=True)):
        if refined is None:
            continue
        at = _At(task, sums, union, support, path[k][1])
        gaps, good = at.certify(refined, np.outer(l1[support.columns], support.lam * shares), reach)
        for i, one in enumerate(wanted):
            q = int(np.flatnonzero(shares == one.strength)[0])
            if good[q]:
                done[i][k] = at.solution(refined.b[:, q], refined.u[:, q], float(gaps[q]), one.mixed)
    return done


def _is_plain(task: Task) -> bool:
    """Whether nothing but L1 acts on any column."""
    penalty, keep = task.penalty, task.keep
    bounded = np.isfinite(penalty.low[keep]).any() or np.isfinite(penalty.high[keep]).any()
    return penalty.l1_ratio == 1.0 and task.free.size == 0 and not bounded


@dataclass(frozen=True, slots=True)
class _At:
    """One lambda."""

    task: Task
    sums: Sums
    union: Ints
    support: Support
    first: Floats  # the path's own solution

    def certify(self, found: Refined, l1: Floats, reach: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Gaps relative to D0, and which of them are proofs of convergence."""
        task, columns = self.task, self.union[self.support.columns]
        unit = reach[columns, None]
        box = unit * np.max(np.abs(found.b) / unit, axis=0, initial=1.0)
        rr = self.sums.yy - np.sum(found.b * (self.sums.g[self.support.columns, None] + found.u), axis=0)
        gaps = lasso_gaps(rr, found.u, found.b, l1, box) / task.space.d0
        rounding = rounding_bound(task.space, columns, found.b, l1[:, 0], self.sums.chain) / task.space.d0
        return gaps, (gaps <= task.tol) & (rounding <= 0.1 * task.tol)

    def solution(self, b: Floats, u: Floats, gap: float, mixed: float) -> Solution:
        """On the original scale; the gap stays that of the fit."""
        own = self.support.columns
        if mixed:
            b = mixed * self.first + (1.0 - mixed) * b
            u = mixed * (self.sums.g[own] - self.sums.gram[np.ix_(own, own)] @ self.first) + (1.0 - mixed) * u
        value = 0.5 * max(self.sums.yy - float(b @ (self.sums.g[own] + u)), 0.0)
        there, space = np.flatnonzero(b), self.task.space
        columns = self.union[own[there]]
        intercept = space.y_centre - float(space.centre[columns] @ b[there]) if space.intercept else 0.0
        return Solution(columns, b[there], intercept, gap, value)
