"""The smooth part of a restricted problem by rounds over the data: every worker answers for the rows of its bundles.

Row-space quantities never leave the bundles; what comes back are sums. Read next: ``general.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.problem import Task
from distlasso.queries import Dual, Gradient, GramTimes, Hessian, Look, LookPartial, Models, Query, Value
from distlasso.solvers.smooth import Curvature, Near, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COARSE = 2e-7  # gap relative to D0 that steps from float32 sums may still be aimed at
_MANY = 50_000  # rows, whose roundings average out: a mean loss is then right to 1e-9


@final
class Rounds:
    """Implements ``solvers.smooth.Smooth`` and its extensions, and the questions of ``general.Evaluation``, by exchanges."""

    def __init__(self, task: Task, *, coarse: bool = False) -> None:
        """``coarse`` is whether the solver can do with sums in float32."""
        self._task, self._coarse = task, coarse and task.y.size >= _MANY and not task.sparse
        self.columns: Ints = task.free
        self.intercept, self.kinked = task.space.intercept, task.exchange.loss.kinked
        self._single = False
        self._swept: tuple[bytes, ...] = ()  # models of the last pass, spelled

    def admit(self, columns: Ints) -> None:
        """Put columns behind the strong set; the bundles gather them when they are next asked."""
        self.columns = np.concatenate([self.columns, columns])

    def allow(self, gap: float) -> None:
        """From now on, sums over the strong columns lead to steps towards this gap, relative to D0, and prove nothing.

        In float32 they take half the time, which goes into reading the columns, and gaps of 1e-6 as many rounds. What is
        tighter takes float64, and so does every certificate.
        """
        self._single = self._coarse and gap >= _COARSE

    def at(
        self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = (), within: Ints | None = None, *,
        near: Near | None = None,
    ) -> tuple[Point, list[Curvature]]:  # fmt: skip
        """One round over the strong columns; Hessians are of those ``within``, all by default.

        Fits beside this one that give the same ``near`` may get the Hessian of one of them.
        """
        near = near if self._task.exchange.alike else None
        queries: list[Query] = [Value(), Gradient(), *(Hessian(k, within, near) for k in curvature_of)]
        value, slope, *hessians = self.ask(queries, b, intercept, single=self._single)
        rest = self._remainder(self.columns)
        gradient = slope.gradient - np.outer(rest, slope.total)
        own = rest if within is None else rest[within]
        return Point(value, gradient, slope.total), [_centred(hessian, own) for hessian in hessians]

    def gram_times(self, v: Floats) -> Floats:
        """One round: the Gram of the strong columns, centred, times v."""
        found = self._round(GramTimes(), v, np.zeros(v.shape[1]))
        return np.asarray(found.gradient - np.outer(self._remainder(self.columns), found.total))

    def look(self, b: Floats, intercept: Floats) -> LookPartial:
        """One round: loss, and normal equations of unpenalised columns and intercept, centred."""
        free = self._task.free.size  # they were admitted first
        found = self._round(Look(np.arange(free)), b, intercept)
        # [x - mean, 1] = change [x - shift, 1]
        change = np.eye(free + 1)
        change[:-1, -1] = -self._remainder(self._task.free)
        return LookPartial(found.value, found.score @ change.T, change @ found.information @ change.T)

    def sweep(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """One pass: loss [L], slope over all columns [p, L], slope in the intercept [L]."""
        models = self._among_all(b, intercept)
        self._swept = models.spelled()
        value, slope = self._task.exchange.ask_all([Value(), Gradient()], models, again=True)
        return value, slope.gradient - np.outer(self._task.space.remainder, slope.total), slope.total

    def dual(self, b: Floats, intercept: Floats, scale: Floats, level: Floats) -> Floats:
        """One round: dual values of the residuals less ``level``, scaled, [L]; after a pass at the same models nothing is read."""
        query, models = Dual(scale, level), self._among_all(b, intercept)
        if models.spelled() == self._swept:
            (found,) = self._task.exchange.ask_all([query], models, sweep=False, again=True)
        else:
            (found,) = self.ask([query], b, intercept)
        return np.asarray(found)

    def ask(
        self, queries: Sequence[Query], b: Floats, intercept: Floats, told: Floats | None = None, *, single: bool = False
    ) -> list[Any]:
        """One round of any questions about models on the strong columns."""
        support = np.flatnonzero((b != 0).any(axis=1))
        models = self._models(support, self.columns[support], b[support], intercept)
        return self._task.exchange.ask_all(queries, models, columns=self.columns, told=told, single=single)

    def _round(self, query: Query, b: Floats, intercept: Floats) -> Any:
        (found,) = self.ask([query], b, intercept, single=self._single)
        return found

    def _among_all(self, b: Floats, intercept: Floats) -> Models:
        support = np.flatnonzero((b != 0).any(axis=1))
        support = support[np.argsort(self.columns[support])]
        return self._models(self.columns[support], self.columns[support], b[support], intercept)

    def _models(self, positions: Ints, columns: Ints, b: Floats, intercept: Floats) -> Models:
        return Models(positions, np.ascontiguousarray(b), intercept - self._remainder(columns) @ b)

    def _remainder(self, columns: Ints) -> Floats:
        return self._task.space.remainder[columns]


def _centred(hessian: Any, rest: Floats) -> Curvature:
    """From shifted to centred columns."""
    cross = hessian.cross - rest * hessian.total
    gram = hessian.gram - np.outer(rest, hessian.cross) - np.outer(cross, rest)
    return Curvature(gram, cross, hessian.total)
