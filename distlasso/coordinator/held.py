"""The smooth part of a restricted problem on columns that the coordinator holds: for few rows, or sparse wide data.

All row-space quantities are here; the data is asked only to gather columns and to sweep them all. Read next:
``general.py``; ``../solvers/reweighted.py``, which descends on the held columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.problem import Task
from distlasso.queries import LookPartial
from distlasso.solvers.columns import Columns, LossRows
from distlasso.solvers.lanes import abreast
from distlasso.solvers.smooth import Curvature, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
class Held:
    """Implements ``solvers.smooth.Smooth`` and ``general.Evaluation`` in memory."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._rows = LossRows(task.exchange.loss, task.y, task.weight, task.offset, task.space.intercept)
        shared = None if task.shared is None else task.shared.gathered
        self._gathered = Gathered(task.exchange) if shared is None else shared
        self.columns: Ints = task.free
        self.strong = self._look_at_strong()

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept to fit."""
        return self._rows.intercept

    @property
    def kinked(self) -> bool:
        """Whether the curvature of the loss vanishes on an interval."""
        return self._rows.loss.kinked

    def admit(self, columns: Ints) -> None:
        """Fetch columns and put them behind those held."""
        self.columns = np.concatenate([self.columns, columns])
        self.strong = self._look_at_strong()

    def at(self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = ()) -> tuple[Point, list[Curvature]]:
        """Value and slope of every model; Hessians by dense products."""
        value, etas, d = self._rows_at(b, intercept)
        gradient = np.concatenate(abreast(self.strong.correlate_all, d, self.strong.entries), axis=1)
        curved = [self._rows.weight * self._rows.loss.curvature(self._rows.y, etas[:, k]) for k in curvature_of]
        return Point(value, gradient, d.sum(axis=0)), [self._curvature(h) for h in curved]

    def gram_times(self, v: Floats) -> Floats:
        """The Gram of the held columns times v."""
        nothing = self.strong.eta(np.zeros(v.shape[0]), 0.0)
        products = [self.strong.correlate(self._rows.weight * (self.strong.eta(own, 0.0) - nothing)) for own in v.T]
        return np.stack(products, axis=1)

    def look(self, b: Floats, intercept: Floats) -> LookPartial:
        """Loss, and normal equations of unpenalised columns and intercept."""
        free = self._task.free.size  # they were admitted first
        border = np.ones((self._rows.y.size, free + 1))
        border[:, :free] = self._task.space.centred(self._task.free, self.strong.first(free))
        value, etas, d = self._rows_at(b, intercept)
        curved = self._rows.weight[:, None] * self._rows.loss.curvature(self._rows.y[:, None], etas)
        information = [border.T @ (border * h[:, None]) for h in curved.T]
        return LookPartial(value, d.T @ border, np.array(information))

    def sweep(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """One pass: loss [L], slope over all columns [p, L], slope in the intercept [L]."""
        value, _, d = self._rows_at(b, intercept)
        found = self._task.exchange.gradient(d, sparse=self._task.sparse)
        return value, found.gradient - np.outer(self._task.space.remainder, found.total), found.total

    def dual(self, b: Floats, intercept: Floats, scale: Floats, level: Floats) -> Floats:
        """Dual values of the residuals less ``level``, scaled, [L]."""
        y, offset = self._rows.y[:, None], self._task.offset
        resid = scale * (self._rows.loss.residual(y, self._etas(b, intercept)) - level)
        rows = self._rows.loss.dual(y, resid) - (0.0 if offset is None else resid * offset[:, None])
        return np.asarray(self._rows.weight @ rows)

    def _rows_at(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss [L], linear predictors and slopes of the rows [n, L] each."""
        y, weight, etas = self._rows.y[:, None], self._rows.weight, self._etas(b, intercept)
        value = np.asarray(weight @ self._rows.loss.value(y, etas))
        return value, etas, weight[:, None] * self._rows.loss.residual(y, etas)

    def _etas(self, b: Floats, intercept: Floats) -> Floats:
        """Linear predictors of several models, [n, L]."""
        both = np.concatenate([b, intercept[None]])
        return np.concatenate(abreast(lambda part: self.strong.etas(part[:-1], part[-1]), both, self.strong.entries), axis=1)

    def _look_at_strong(self) -> Columns:
        held, have, space = self._gathered, self._gathered.columns.size, self._task.space
        if self._task.shared is None and (self.columns.size > have or not have):
            held.extend(self.columns[have:])
        centre, imputed = space.centre[self.columns], space.imputed(self.columns)
        if self._task.sparse:
            return Columns(held.first(self.columns.size), centre, imputed, self._rows)
        every, places = held.dense(self.columns)
        return Columns(every, centre, imputed, self._rows, places)

    def _curvature(self, h: Floats) -> Curvature:
        X = self._task.space.centred(self.columns, self.strong.first(self.columns.size))
        return Curvature(X.T @ (X * h[:, None]), X.T @ h, float(h.sum()))
