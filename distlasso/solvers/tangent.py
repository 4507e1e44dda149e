"""Quadratic models of a loss on sparse columns, several abreast, and the descent on them.

The state of descent is the slopes of the rows, s = w (z - X b), w the curvature where the quadratics touch the loss. They
move with b, so that neither gradients nor linear predictors are computed anew. After every few epochs each model jumps to
where their moves cancel, if its objective falls by it (Anderson 1965; Bertrand & Massias 2021); a coefficient whose sign
would flip becomes zero. Read next: ``abreast.py``, which takes the steps; ``kernels/abreast.py``.
"""

from __future__ import annotations

import itertools
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import abreast, sparse
from distlasso.penalties import Bounds4
from distlasso.solvers.columns import Columns, LossRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLOOR = 1e-5  # of the mean curvature: rows that are saturated still bound the step
_PAST = 5  # epochs between two jumps
_RIDGE = 1e-12  # on the products of their moves, relative: these become parallel
_LEAST = 1e-300  # keeps the products regular where nothing moves


def column_sums(v: Floats) -> Floats:
    """Sum over the rows; NumPy's own crawls where rows are many and short."""
    return np.asarray(np.ones(len(v)) @ v)


@final
class Touch:
    """What a loss says of models where they stand, intercepts eliminated."""

    def __init__(self, rows: LossRows, eta: Floats) -> None:
        """``eta`` are the linear predictors, [n, m]."""
        y, weight = rows.y[:, None], rows.weight[:, None]
        h = weight * rows.loss.curvature(y, eta[:, :1] if rows.loss.quadratic else eta)
        self.h = np.maximum(h, _FLOOR * column_sums(h) * weight)  # [n, m], or [n, 1] where it is the same for all
        self.total = column_sums(self.h)
        self.value = rows.weight @ rows.loss.value(y, eta)  # [m]
        slope = weight * rows.loss.residual(y, eta)
        self.ahead = column_sums(slope) / self.total if rows.intercept else np.zeros(eta.shape[1])  # of the intercepts
        self.slope = slope - self.h * self.ahead  # [n, m]


@final
class Tangent:
    """Quadratic models that touch the loss, on some columns; ``b`` [S, m] is where descent has led."""

    def __init__(self, held: Columns, work: Ints, touch: Touch, penalty: Bounds4, b: Floats) -> None:
        """``work`` are the columns; ``penalty`` has a column for each model."""
        # Weights that all models share are put into the data, by their root.
        self._shared = held.rows.loss.quadratic
        self._scale = np.sqrt(touch.h) if self._shared else touch.h
        part = held.scaled(work, self._scale[:, 0]) if self._shared else held.weighted(work, touch.h)
        centre = part.first / touch.total if held.rows.intercept else np.zeros_like(part.first)
        h = np.maximum(part.second - touch.total * centre * centre, 0.0)
        self.b, self._penalty, self._ahead, self._part = b.copy(), penalty, touch.ahead, part
        self._held_centre = held.centre[work][:, None]
        self._centre, self._h = (np.broadcast_to(own, b.shape).copy() for own in (centre, h))
        self._total, self._drift = np.broadcast_to(touch.total, b.shape[1]).copy(), np.zeros(b.shape[1])
        self._past: list[tuple[Floats, Floats, Floats]] = []  # b, rows and drift after an epoch
        self._start = self._unscaled(touch.slope) if self._shared else touch.slope
        self._rows = self._start.copy() if self._shared else np.concatenate([touch.slope, touch.h], axis=1)

    def descend(self) -> Floats:
        """One epoch; returns what it moved, squared, under the curvature, [m]."""
        if len(self._past) > _PAST:
            self._jump()
        fall = np.empty(self._total.size)
        abreast.DESCENTS[fall.size - 1](
            *self._part.parts, self._part.at, self._centre, self._total, self._h, *self._penalty, self.b, self._rows, self._drift,
            fall,
        )  # fmt: skip
        self._past.append((self.b.copy(), self._rows[:, : fall.size].copy(), self._drift.copy()))
        return fall

    def moved(self, start: Floats) -> tuple[Floats, Floats]:
        """How far intercepts [m] and linear predictors [n, m] have come since ``b`` was ``start``."""
        shift = self._centre - self._held_centre
        level = self._ahead - column_sums(shift * (self.b - start))
        return level, self._ahead + self._unscaled(self._start - self._slopes())

    def _jump(self) -> None:
        """Go where the moves of the last epochs cancel, each model if its objective falls by it."""
        last, slopes = self.b, self._slopes()
        moves = np.array([after - before for (before, *_), (after, *_) in itertools.pairwise(self._past)])
        products = np.einsum("ijm,kjm->mik", moves * self._h, moves)
        size = np.trace(products, axis1=1, axis2=2)[:, None, None]
        regular = products + (_RIDGE * size + _LEAST) * np.eye(_PAST)
        share = np.linalg.solve(regular, np.ones((size.size, _PAST, 1)))[:, :, 0]
        share /= share.sum(axis=1, keepdims=True)
        far, rows, drift = (sum(own * part for own, part in zip(share.T, parts, strict=True))
                            for parts in zip(*self._past[1:], strict=True))  # fmt: skip
        there = rows + self._scale * drift
        b = np.where(far * last > 0, np.clip(far, self._penalty.low, self._penalty.high), 0.0)
        there += self._image(far - b)
        better = self._objective(b, there) < self._objective(last, slopes)
        self.b = np.where(better, b, last)
        slopes, self._drift = np.where(better, there, slopes), np.zeros(better.size)
        self._rows[:, : better.size] = slopes
        self._past = [(self.b.copy(), slopes, self._drift.copy())]

    def _slopes(self) -> Floats:
        """Slopes of the rows, [n, m]."""
        return np.asarray(self._rows[:, : self._drift.size] + self._scale * self._drift)

    def _image(self, step: Floats) -> Floats:
        """What a step takes from the slopes of the rows."""
        moving, out = np.flatnonzero((step != 0).any(axis=1)), np.zeros_like(self._start)
        sparse.eta_csc(*self._part.parts, self._part.at[moving], step[moving], out)
        level = column_sums(self._centre * step)
        return np.asarray(out - self._scale * level if self._shared else self._scale * (out - level))

    def _objective(self, b: Floats, slopes: Floats) -> Floats:
        l1, l2 = self._penalty.l1, self._penalty.l2
        square = slopes * (slopes if self._shared else self._unscaled(slopes))
        return 0.5 * column_sums(square) + column_sums(l1 * np.abs(b) + 0.5 * l2 * b * b)

    def _unscaled(self, slopes: Floats) -> Floats:
        return np.asarray(np.divide(slopes, self._scale, out=np.zeros_like(slopes), where=self._scale > 0))
