"""The smooth part of a restricted problem on columns that the coordinator holds: for few rows, or sparse wide data.

All row-space quantities are here; the data is asked only to gather columns and to sweep them all. Read next:
``general.py``; ``../solvers/reweighted.py``, which descends on the held columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.problem import Task
from distlasso.queries import LookPartial
from distlasso.solvers.columns import Columns, LossRows
from distlasso.solvers.lanes import abreast, halves
from distlasso.solvers.smooth import Curvature, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _AtRows:
    """Rows at several models."""

    value: Floats  # [L]: mean loss
    eta: Floats  # [n, L]: linear predictors
    residual: Floats  # [n, L]


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
        self._last: tuple[Floats, _AtRows] | None = None  # models, and the rows there: whoever refits, sweeps next

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
        self.columns, self._last = np.concatenate([self.columns, columns]), None
        self.strong = self._look_at_strong()

    def allow(self, gap: float) -> None:
        """Sums are in float64, however coarse they might be."""

    def at(self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = ()) -> tuple[Point, list[Curvature]]:
        """Value and slope of every model; Hessians by dense products."""
        rows = self._rows_at(b, intercept)
        d = self._rows.weight[:, None] * rows.residual
        gradient = np.concatenate(abreast(self.strong.correlate_all, d, self.strong.entries), axis=1)
        curved = [self._rows.weight * self._rows.loss.curvature(self._rows.y, rows.eta[:, k]) for k in curvature_of]
        return Point(rows.value, gradient, d.sum(axis=0)), [self._curvature(h) for h in curved]

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
        rows, weight, y = self._rows_at(b, intercept), self._rows.weight[:, None], self._rows.y[:, None]
        curved = abreast(lambda own: weight * self._rows.loss.curvature(y, own), rows.eta, self.strong.entries)
        information = [border.T @ (border * h[:, None]) for part in curved for h in part.T]
        return LookPartial(rows.value, (weight * rows.residual).T @ border, np.array(information))

    def sweep(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """One pass: loss [L], slope over all columns [p, L], slope in the intercept [L]."""
        rows = self._rows_at(b, intercept)
        found = self._task.exchange.gradient(self._rows.weight[:, None] * rows.residual, sparse=self._task.sparse)
        return rows.value, found.gradient - np.outer(self._task.space.remainder, found.total), found.total

    def dual(self, b: Floats, intercept: Floats, scale: Floats, level: Floats) -> Floats:
        """Dual values of the residuals less ``level``, scaled, [L]."""
        y, offset, rows = self._rows.y[:, None], self._task.offset, self._rows_at(b, intercept)

        def dual(own: slice) -> Floats:
            resid = scale[own] * (rows.residual[:, own] - np.broadcast_to(level, scale.shape)[own])
            values = self._rows.loss.dual(y, resid) - (0.0 if offset is None else resid * offset[:, None])
            return np.asarray(self._rows.weight @ values)

        return np.concatenate(halves(dual, scale.size, self.strong.entries))

    def _rows_at(self, b: Floats, intercept: Floats) -> _AtRows:
        """What the rows are at some models."""
        models = np.concatenate([b, intercept[None]])
        if self._last is None or not np.array_equal(self._last[0], models):
            y, weight, loss = self._rows.y[:, None], self._rows.weight, self._rows.loss

            def look(part: Floats) -> tuple[Floats, Floats, Floats]:
                eta = self.strong.etas(part[:-1], part[-1])
                return np.asarray(weight @ loss.value(y, eta)), eta, loss.residual(y, eta)

            value, eta, residual = zip(*abreast(look, models, self.strong.entries), strict=True)
            at = _AtRows(np.concatenate(value), np.concatenate(eta, axis=1), np.concatenate(residual, axis=1))
            self._last = (models, at)
        return self._last[1]

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
