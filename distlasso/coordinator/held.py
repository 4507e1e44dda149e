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
from distlasso.queries import Gradient, LookPartial
from distlasso.solvers.columns import Columns, LossRows
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
        models = b.shape[1]
        value, total, gradient = np.empty(models), np.empty(models), np.empty_like(b)
        hessians = []
        for k in range(models):
            eta = self.strong.eta(b[:, k], float(intercept[k]))
            d = self._rows.weight * self._rows.loss.residual(self._rows.y, eta)
            value[k], total[k] = float(self._rows.weight @ self._rows.loss.value(self._rows.y, eta)), float(d.sum())
            gradient[:, k] = self.strong.correlate(d)
            if k in curvature_of:
                hessians.append(self._curvature(self._rows.weight * self._rows.loss.curvature(self._rows.y, eta)))
        return Point(value, gradient, total), hessians

    def gram_times(self, v: Floats) -> Floats:
        """The Gram of the held columns times v."""
        nothing = self.strong.eta(np.zeros(v.shape[0]), 0.0)
        products = [self.strong.correlate(self._rows.weight * (self.strong.eta(own, 0.0) - nothing)) for own in v.T]
        return np.stack(products, axis=1)

    def look(self, b: Floats, intercept: Floats) -> LookPartial:
        """Loss, and normal equations of unpenalised columns and intercept."""
        free = self._task.free.size  # they were admitted first
        border = np.ones((self._rows.y.size, free + 1))
        border[:, :free] = self._task.space.centred(self._task.free, self.strong.X[:, :free])
        value, score, information = [], [], []
        for k in range(b.shape[1]):
            eta = self.strong.eta(b[:, k], float(intercept[k]))
            value.append(float(self._rows.weight @ self._rows.loss.value(self._rows.y, eta)))
            score.append(border.T @ (self._rows.weight * self._rows.loss.residual(self._rows.y, eta)))
            information.append(border.T @ (border * (self._rows.weight * self._rows.loss.curvature(self._rows.y, eta))[:, None]))
        return LookPartial(np.array(value), np.array(score), np.array(information))

    def sweep(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """One pass: loss [L], slope over all columns [p, L], slope in the intercept [L]."""
        space = self._task.space
        etas = [self.strong.eta(b[:, k], float(intercept[k])) for k in range(b.shape[1])]
        value = np.array([float(self._rows.weight @ self._rows.loss.value(self._rows.y, eta)) for eta in etas])
        derivative = np.stack([self._rows.weight * self._rows.loss.residual(self._rows.y, eta) for eta in etas], axis=1)
        (found,) = self._task.exchange.ask_all([Gradient()], derivative=np.ascontiguousarray(derivative))
        return value, found.gradient - np.outer(space.remainder, found.total), found.total

    def dual(self, b: Floats, intercept: Floats, scale: Floats, level: Floats) -> Floats:
        """Dual values of the residuals less ``level``, scaled, [L]."""
        values, offset = np.empty(scale.size), self._task.offset
        for k, t in enumerate(scale):
            resid = self._rows.loss.residual(self._rows.y, self.strong.eta(b[:, k], float(intercept[k])))
            resid = t * (resid - level[k])
            rows = self._rows.loss.dual(self._rows.y, resid) - (0.0 if offset is None else resid * offset)
            values[k] = float(self._rows.weight @ rows)
        return values

    def _look_at_strong(self) -> Columns:
        have, space = self._gathered.columns.size, self._task.space
        if self._task.shared is None and (self.columns.size > have or not have):
            self._gathered.extend(self.columns[have:])
        return Columns(self._gathered.first(self.columns.size), space.centre[self.columns], space.imputed(self.columns), self._rows)

    def _curvature(self, h: Floats) -> Curvature:
        X = self._task.space.centred(self.columns, self.strong.X)
        return Curvature(X.T @ (X * h[:, None]), X.T @ h, float(h.sum()))
