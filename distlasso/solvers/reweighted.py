"""Iteratively reweighted least squares on columns that are held: one lambda after the other, no exchange with the data.

Each quadratic model of the loss is a weighted least-squares problem on the held columns, solved by the same working sets
and descent as squared loss (Friedman, Hastie & Tibshirani 2010); a step is halved until the objective falls. For strong
sets whose Hessian would be larger than the columns themselves. Read next: ``block_coordinate.py``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap
from distlasso.losses import Loss
from distlasso.penalties import Bounds4
from distlasso.solvers.block_coordinate import Stall, solve
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import Quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_STEPS = 100
_MAX_HALVINGS = 40
_FLOOR = 1e-5  # of the mean curvature: rows that are saturated still bound the step


class Weighted(Protocol):
    """Columns that are held, with the rows of the loss."""

    @property
    def loss(self) -> Loss:
        """The loss."""

    @property
    def y(self) -> Floats:
        """Target, [n]."""

    @property
    def weight(self) -> Floats:
        """Weights, [n]; they sum to one."""

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept to fit."""

    def eta(self, b: Floats, intercept: float) -> Floats:
        """Linear predictor, offset included, [n]."""

    def correlate(self, d: Floats) -> Floats:
        """X'd over the centred columns, [S]."""

    def least_squares(self, weight: Floats, y: Floats, shift: Floats) -> Quadratic:
        """Quadratic of the columns less ``shift``, under weights that sum to one."""


def solve_reweighted(
    held: Weighted, penalty: Bounds4, b: Floats, intercept: float, *, target: float, newton: Newton, names: Ints
) -> tuple[Floats, float]:
    """Minimise loss plus penalty on the held columns.

    Parameters
    ----------
    held : Weighted
        Columns and rows.
    penalty : Bounds4
        The penalty on the held columns.
    b, intercept : float64 [S], float
        Starting point.
    target : float
        Gap to reach, absolute, as far as the slope alone tells it.
    newton, names
        What one lambda can reuse of the last, and the columns in its numbering.

    Returns
    -------
    b, intercept : float64 [S], float
    """
    b, eta, stall = b.copy(), held.eta(b, intercept), Stall()
    for _ in range(_MAX_STEPS):
        value = float(held.weight @ held.loss.value(held.y, eta))
        resid = held.loss.residual(held.y, eta)
        h = held.weight * held.loss.curvature(held.y, eta)
        h = np.maximum(h, _FLOOR * float(h.sum()) * held.weight)
        scale = float(h.sum())
        weight = h / scale
        z = np.divide(held.weight * resid, h, out=np.zeros_like(h), where=h > 0)
        ahead = float(weight @ z) if held.intercept else 0.0
        shift = held.correlate(weight) if held.intercept else np.zeros_like(b)
        slope = held.correlate(h * (z - ahead))
        gap = slope_gap(value, slope, b, penalty)
        if (gap <= target and abs(ahead) * scale <= 1e-3 * np.sqrt(target * scale)) or stall.seen(gap):
            break
        # eta less its weighted mean, on the columns centred by their weighted means
        fitted = eta - held.eta(np.zeros_like(b), 0.0)
        y = (z - ahead) + (fitted - float(weight @ fitted) if held.intercept else fitted)
        form = held.least_squares(weight, y, shift)
        newton.reweight()
        model = Bounds4(penalty.l1 / scale, penalty.l2 / scale, penalty.low, penalty.high)
        aim = max(0.1 * target, 1e-3 * gap) / scale
        found = solve(form, model, b, target=aim, newton=newton, names=names).b
        step, rise = found - b, ahead - float(shift @ (found - b))
        moved = _line_search(held, penalty, (b, intercept, eta), (step, rise), value + penalty.value(b))
        if moved is None:
            break
        b, intercept, eta = moved
    return b, intercept


def _line_search(
    held: Weighted, penalty: Bounds4, here: tuple[Floats, float, Floats], step: tuple[Floats, float], before: float
) -> tuple[Floats, float, Floats] | None:
    """Halve a step until the objective does not rise; None if it always does."""
    (b, intercept, _), length = here, 1.0
    for _ in range(_MAX_HALVINGS):
        moved, level = b + length * step[0], intercept + length * step[1]
        eta = held.eta(moved, level)
        objective = float(held.weight @ held.loss.value(held.y, eta)) + penalty.value(moved)
        if objective <= before + 1e-13 * abs(before):
            return moved, level, eta
        length *= 0.5
    return None
