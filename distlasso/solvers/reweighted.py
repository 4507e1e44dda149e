"""Iteratively reweighted least squares on columns that are held: one lambda after the other, no exchange with the data.

Each quadratic model of the loss is a weighted least-squares problem on the held columns, solved by the same working sets
and descent as squared loss (Friedman, Hastie & Tibshirani 2010); a step is halved until the objective falls. For strong
sets whose Hessian would be larger than the columns themselves. Read next: ``block_coordinate.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap, within
from distlasso.penalties import Bounds4
from distlasso.solvers.block_coordinate import MOST, Stall, near, solve
from distlasso.solvers.columns import Columns
from distlasso.solvers.correlations import Correlations, approach
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import DenseForm, Quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_SETS = 100
_MAX_STEPS = 100
_SHARE = 0.03  # of its gap that a model is solved to: the next model will be another
_MAX_HALVINGS = 40
_FEW_ROWS = 4096  # every model has correlations of its own, in time that grows with the rows: up to here they are worth it
_FLOOR = 1e-5  # of the mean curvature: rows that are saturated still bound the step


def solve_reweighted(
    held: Columns, penalty: Bounds4, b: Floats, intercept: float, *, target: float, newton: Newton, names: Ints
) -> tuple[Floats, float]:
    """Minimise loss plus penalty on the held columns, on one working set after the other.

    Parameters
    ----------
    held : Columns
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
    b, stall = b.copy(), Stall()
    for _ in range(_MAX_SETS):
        model = _model(held, b, intercept)
        gap = slope_gap(model.value, model.slope, b, penalty, kinked=held.rows.loss.kinked)
        if _arrived(held, model, gap, target) or stall.seen(gap):
            break
        work = near(model.slope, b, penalty)
        if work.size > MOST * b.size:
            return _newton_steps(held, penalty, b, intercept, target=target, newton=newton, names=names)
        part = held.restrict(work)
        b[work], intercept = _newton_steps(
            part, penalty.take(work), b[work], intercept, target=target / 3, newton=newton, names=names[work]
        )
    return b, intercept


@dataclass(frozen=True, slots=True)
class _Model:
    """Quadratic model of the loss at one point."""

    eta: Floats
    value: float
    curvature: Floats  # [n]: w times the second derivative, kept off zero
    z: Floats  # [n]: residual over second derivative, less its mean
    ahead: float  # that mean: how far the intercept is to go
    shift: Floats  # [S]: means under the curvature, less the centre
    slope: Floats  # [S], the intercept eliminated


def _model(held: Columns, b: Floats, intercept: float) -> _Model:
    rows, eta = held.rows, held.eta(b, intercept)
    resid = rows.loss.residual(rows.y, eta)
    h = rows.weight * rows.loss.curvature(rows.y, eta)
    h = np.maximum(h, _FLOOR * float(h.sum()) * rows.weight)
    z = np.divide(rows.weight * resid, h, out=np.zeros_like(h), where=h > 0)
    ahead = float(h @ z) / float(h.sum()) if rows.intercept else 0.0
    shift = held.correlate(h / float(h.sum())) if rows.intercept else np.zeros_like(b)
    value = float(rows.weight @ rows.loss.value(rows.y, eta))
    return _Model(eta, value, h, z - ahead, ahead, shift, held.correlate(h * (z - ahead)))


def _arrived(held: Columns, model: _Model, gap: float, target: float) -> bool:
    """Whether the gap is reached, with an intercept that a refit will not move by more."""
    scale = float(model.curvature.sum())
    return gap <= target and abs(model.ahead) * scale <= 1e-3 * np.sqrt(target * scale)


def _newton_steps(
    held: Columns, penalty: Bounds4, b: Floats, intercept: float, *, target: float, newton: Newton, names: Ints
) -> tuple[Floats, float]:
    """Solve one weighted least-squares problem after the other."""
    stall, nothing = Stall(), held.eta(np.zeros_like(b), 0.0)
    for _ in range(_MAX_STEPS):
        model = _model(held, b, intercept)
        gap = slope_gap(model.value, model.slope, b, penalty, kinked=held.rows.loss.kinked)
        if _arrived(held, model, gap, target) or stall.seen(gap):
            break
        scale = float(model.curvature.sum())
        weight, fitted = model.curvature / scale, model.eta - nothing
        # eta less its weighted mean, on the columns centred by their weighted means
        y = model.z + (fitted - float(weight @ fitted) if held.rows.intercept else fitted)
        form = held.least_squares(weight, y, model.shift)
        own = Bounds4(penalty.l1 / scale, penalty.l2 / scale, penalty.low, penalty.high)
        aim = within(max(0.1 * target, _SHARE * gap), model.value, kinked=held.rows.loss.kinked) / scale
        found = _solved(form, own, b, aim, newton, names)
        step = (found - b, model.ahead - float(model.shift @ (found - b)))
        moved = _line_search(held, penalty, (b, intercept), step, model.value + penalty.value(b))
        if moved is None:
            break
        b, intercept = moved
    return b, intercept


def _solved(form: Quadratic, penalty: Bounds4, b: Floats, target: float, newton: Newton, names: Ints) -> Floats:
    """The least of one weighted least-squares problem."""
    if isinstance(form, DenseForm) and form.n_rows <= _FEW_ROWS:
        (found,), (arrived,) = (part.T for part in approach(form, Correlations(b.size), [penalty], b[:, None], target))
        if arrived:
            return np.asarray(found)
    return solve(form, penalty, b, target=target, newton=newton, names=names).b


def _line_search(
    held: Columns, penalty: Bounds4, here: tuple[Floats, float], step: tuple[Floats, float], before: float
) -> tuple[Floats, float] | None:
    """Halve a step until the objective does not rise; None if it always does."""
    rows, (b, intercept), length = held.rows, here, 1.0
    for _ in range(_MAX_HALVINGS):
        moved, level = b + length * step[0], intercept + length * step[1]
        objective = float(rows.weight @ rows.loss.value(rows.y, held.eta(moved, level))) + penalty.value(moved)
        if objective <= before + 1e-13 * abs(before):
            return moved, level
        length *= 0.5
    return None
