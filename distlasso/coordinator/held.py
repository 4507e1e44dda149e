"""The smooth part of a restricted problem on columns that the coordinator holds: for few rows, or sparse wide data.

All row-space quantities are here; the data is asked only to gather columns and to sweep them all. Read next:
``general.py``; ``../solvers/reweighted.py``, which descends on the held columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.problem import Task
from distlasso.data.missing import in_registers
from distlasso.kernels import descent
from distlasso.losses import Loss
from distlasso.queries import Gather, Gradient, LookPartial
from distlasso.solvers.quadratic import DenseForm, Quadratic, SparseForm
from distlasso.solvers.smooth import Curvature, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
class Held:
    """Implements ``solvers.smooth.Smooth``, ``solvers.reweighted.Weighted`` and ``general.Evaluation`` in memory."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.intercept = task.space.intercept
        self.columns = np.empty(0, dtype=np.int64)
        self._X: Any = None
        self.admit(task.free)

    @property
    def loss(self) -> Loss:
        """The loss."""
        return self._task.exchange.loss

    @property
    def y(self) -> Floats:
        """Target, [n]."""
        return self._task.y

    @property
    def weight(self) -> Floats:
        """Weights, [n]; they sum to one."""
        return self._task.weight

    def admit(self, columns: Ints) -> None:
        """Fetch columns and put them behind those held."""
        new: Any = self._task.exchange.ask(Gather(columns), sweep=False)
        if self._X is not None:
            new = sp.hstack([self._X, new], format="csc") if sp.issparse(new) else np.concatenate([self._X, new], axis=1)
        self._X = sp.csc_array(new) if sp.issparse(new) else np.asfortranarray(new)
        self.columns = np.concatenate([self.columns, columns])
        space = self._task.space
        self._centre, self._imputation = space.centre[self.columns], space.imputed(self.columns)
        self._holes = in_registers(self._imputation, self._X.dtype, self._centre)

    def eta(self, b: Floats, intercept: float) -> Floats:
        """Linear predictor of one model, offset included, [n]."""
        out = np.full(self.y.size, intercept)
        if self._task.offset is not None:
            out += self._task.offset
        if sp.issparse(self._X):
            descent.combine_sparse(self._X.data, self._X.indices, self._X.indptr.astype(np.int64), b, out)
            return out - float(self._centre @ b)
        descent.combine_dense(self._X, self._centre, *self._holes, b, out)
        return out

    def correlate(self, d: Floats) -> Floats:
        """sum_i (x_ij - centre_j) d_i, [S]."""
        out = np.empty(self.columns.size)
        if sp.issparse(self._X):
            descent.correlate_sparse(self._X.data, self._X.indices, self._X.indptr.astype(np.int64), d, out)
            return out - self._centre * float(d.sum())
        descent.correlate_dense(self._X, self._centre, *self._holes, d, out)
        return out

    def least_squares(self, weight: Floats, y: Floats, shift: Floats) -> Quadratic:
        """Quadratic of the held columns, centred at ``centre + shift``, under weights that sum to one."""
        centre = self._centre + shift
        if sp.issparse(self._X):
            square = self._X.copy()
            square.data = square.data * square.data
            second = np.empty(self.columns.size)
            descent.correlate_sparse(square.data, square.indices, square.indptr.astype(np.int64), weight, second)
            curvature = np.maximum(second - centre * centre, 0.0)
            return SparseForm(self._X, centre, curvature, weight, y)
        curvature = np.empty(self.columns.size)
        holes = in_registers(self._imputation, self._X.dtype, centre)
        descent.square_dense(self._X, centre, *holes, weight, curvature)
        return DenseForm(self._X, centre, curvature, weight, y, self._imputation)

    def at(self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = ()) -> tuple[Point, list[Curvature]]:
        """Value and slope of every model; Hessians by dense products."""
        models = b.shape[1]
        value, total, gradient = np.empty(models), np.empty(models), np.empty_like(b)
        hessians = []
        for k in range(models):
            eta = self.eta(b[:, k], float(intercept[k]))
            d = self.weight * self.loss.residual(self.y, eta)
            value[k], total[k] = float(self.weight @ self.loss.value(self.y, eta)), float(d.sum())
            gradient[:, k] = self.correlate(d)
            if k in curvature_of:
                hessians.append(self._curvature(self.weight * self.loss.curvature(self.y, eta)))
        return Point(value, gradient, total), hessians

    def gram_times(self, v: Floats) -> Floats:
        """The Gram of the held columns times v."""
        nothing = self.eta(np.zeros(v.shape[0]), 0.0)
        products = [self.correlate(self.weight * (self.eta(own, 0.0) - nothing)) for own in v.T]
        return np.stack(products, axis=1)

    def look(self, b: Floats, intercept: Floats) -> LookPartial:
        """Loss, and normal equations of unpenalised columns and intercept."""
        free = self._task.free.size  # they were admitted first
        border = np.ones((self.y.size, free + 1))
        border[:, :free] = self._task.space.centred(self._task.free, self._X[:, :free])
        value, score, information = [], [], []
        for k in range(b.shape[1]):
            eta = self.eta(b[:, k], float(intercept[k]))
            value.append(float(self.weight @ self.loss.value(self.y, eta)))
            score.append(border.T @ (self.weight * self.loss.residual(self.y, eta)))
            information.append(border.T @ (border * (self.weight * self.loss.curvature(self.y, eta))[:, None]))
        return LookPartial(np.array(value), np.array(score), np.array(information))

    def sweep(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """One pass: loss [L], slope over all columns [p, L], slope in the intercept [L]."""
        space = self._task.space
        etas = [self.eta(b[:, k], float(intercept[k])) for k in range(b.shape[1])]
        value = np.array([float(self.weight @ self.loss.value(self.y, eta)) for eta in etas])
        derivative = np.stack([self.weight * self.loss.residual(self.y, eta) for eta in etas], axis=1)
        (found,) = self._task.exchange.ask_all([Gradient()], derivative=np.ascontiguousarray(derivative))
        return value, found.gradient - np.outer(space.remainder, found.total), found.total

    def dual(self, b: Floats, intercept: Floats, scale: Floats) -> Floats:
        """Dual values of the scaled residuals, [L]."""
        values, offset = np.empty(scale.size), self._task.offset
        for k, t in enumerate(scale):
            resid = t * self.loss.residual(self.y, self.eta(b[:, k], float(intercept[k])))
            rows = self.loss.dual(self.y, resid) - (0.0 if offset is None else resid * offset)
            values[k] = float(self.weight @ rows)
        return values

    def _curvature(self, h: Floats) -> Curvature:
        X = self._task.space.centred(self.columns, self._X)
        return Curvature(X.T @ (X * h[:, None]), X.T @ h, float(h.sum()))
