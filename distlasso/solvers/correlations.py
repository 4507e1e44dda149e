"""Dense columns in use, by their correlations: an epoch over these takes a tenth of one over the columns.

Correlations of the columns that working sets have had are taken in float32. With the slope that the columns themselves tell
in float64 they make a quadratic that is right where a model stands, and nearly right around: how often the columns are looked
at is all that rounding can change. Neighbouring lambdas look together, so that columns are widened once for all of them.
Read next: ``block_coordinate.py``, which descends on the quadratic, and goes on where this file stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import cholesky
from distlasso.kernels.dense import mirror
from distlasso.kernels.working_set import on_support
from distlasso.penalties import Bounds4
from distlasso.solvers.block_coordinate import descend, is_small, near, restricted_gap
from distlasso.solvers.lanes import LANES, side_by_side
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import DenseForm, GramForm, deviations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

SPAN = 8  # lambdas to solve at once
_RIDGE = 1e-6  # on the diagonal: rounding of float32 may leave flat directions bent downwards
_MOST = 6144  # columns in use: 150 MB, which an epoch goes through
_MAX_LOOKS = 12
_NEAR = 0.95  # of its l1: with 0.9 W6 holds half as many columns more, with 1 W2 needs a look more, over 24,000
_ROUNDING = 1e-13  # of the objective: smaller gaps are mostly rounding
_BRISK = 0.5  # share of its gap that a look must take away, or the quadratic is not good enough


@final
class Correlations:
    """Correlations of columns in use, in the order in which they came, and the factors that go with them."""

    def __init__(self, size: int) -> None:
        """For a strong set of some size."""
        self.columns: Ints = np.empty(0, dtype=np.int64)
        self.matrix = np.empty((0, 0), dtype=np.float32)
        self.newtons = [Newton() for _ in range(LANES)]
        self._held = np.zeros(size, dtype=np.bool_)

    def hold(self, form: DenseForm, columns: Mask) -> bool:
        """Have the correlations of some columns; returns whether they are not too many."""
        new = np.flatnonzero(columns & ~self._held)
        held, size = self.columns.size, self.columns.size + new.size
        if size > _MOST:
            return False
        if new.size:
            self.columns = np.concatenate([self.columns, new])
            self._held[new] = True
            matrix = np.zeros((size, size), dtype=np.float32, order="F")
            matrix[:held, :held] = self.matrix.T
            form.add_correlations(self.columns, held, matrix)
            mirror(matrix, held)
            matrix[np.arange(held, size), np.arange(held, size)] = 1.0 + _RIDGE
            self.matrix = matrix.T  # the same, and rows one after the other
        return True


def approach(
    form: DenseForm, told: Correlations, penalties: Sequence[Bounds4], b: Floats, target: float, *, polish: bool = False
) -> tuple[Floats, Mask]:
    """Take models to their optima, as far as correlations in float32 lead.

    Parameters
    ----------
    form : DenseForm
        The strong columns.
    told : Correlations
        Of those in use; grows.
    penalties : sequence of Bounds4
        Penalty of each model on the strong columns.
    b : float64 [S, m]
        Starting points.
    target : float
        Absolute duality gap to reach.
    polish : bool
        Whether models whose support is small end with a direct step to rounding.

    Returns
    -------
    b : float64 [S, m]
        The best that was found.
    arrived : bool [m]
        Which models have reached the target.
    """
    count = len(penalties)
    b = np.stack([np.clip(b[:, k], own.low, own.high) for k, own in enumerate(penalties)], axis=1)
    best, slopes, gaps, going = b.copy(), np.zeros(b.shape), np.full(count, np.inf), np.ones(count, dtype=np.bool_)
    for _ in range(_MAX_LOOKS):
        models = [k for k in range(count) if going[k]]
        u, rr = form.look(b[:, models])
        work = np.zeros(len(b), dtype=np.bool_)
        for i, k in enumerate(models):
            gap = restricted_gap(u[:, i], rr[i], b[:, k], penalties[k])
            going[k] = target < gap <= _BRISK * gaps[k]
            if gap < gaps[k]:
                best[:, k], slopes[:, k], gaps[k] = b[:, k], u[:, i], gap
            if going[k]:
                work[near(u[:, i], b[:, k], penalties[k], _NEAR)] = True
        if not going.any() or not told.hold(form, work):
            break
        left = [(i, k) for i, k in enumerate(models) if going[k]]
        own = [partial(_descend, form, told, penalties[k], b[:, k], u[:, i], rr[i], target) for i, k in left]
        lanes = [partial(_in_turn, own[lane::LANES], told.newtons[lane]) for lane in range(min(LANES, len(left)))]
        for lane, found in enumerate(side_by_side(lanes, form.entries)):
            for (_, k), moved in zip(left[lane::LANES], found, strict=True):
                b[told.columns, k] = moved
    arrived = gaps <= target
    if polish:
        _polish(form, penalties, best, slopes, gaps, np.flatnonzero(arrived).tolist())
    return best, arrived


def _polish(form: DenseForm, penalties: Sequence[Bounds4], b: Floats, u: Floats, gaps: Floats, models: Sequence[int]) -> None:
    """Direct steps to rounding where supports are small: they cost nothing, and weights act like repeated rows."""
    tried = {k: _direct(form, penalties[k], b[:, k], u[:, k]) for k in models if is_small(b[:, k])}
    stepped = [(k, moved) for k, moved in tried.items() if moved is not None]
    if not stepped:
        return
    slopes, rr = form.look(np.stack([moved for _, moved in stepped], axis=1))
    for i, (k, moved) in enumerate(stepped):
        if restricted_gap(slopes[:, i], rr[i], moved, penalties[k]) <= max(gaps[k], _ROUNDING * rr[i]):
            b[:, k] = moved


def _direct(form: DenseForm, penalty: Bounds4, b: Floats, u: Floats) -> Floats | None:
    """Where the slope vanishes on the support, if that leads across no sign or bound."""
    support, step, _ = on_support(np.ascontiguousarray(u), np.ascontiguousarray(b), *penalty, 0.0, 0.0)
    own, mine, hessian = penalty.take(support), b[support], np.asfortranarray(form.hessian(support))
    hessian[np.diag_indices_from(hessian)] += own.l2
    if not cholesky.factor(hessian):
        return None
    cholesky.solve(hessian, step)
    moved, found = mine + step, b.copy()
    found[support] = moved
    crosses = (moved < own.low) | (moved > own.high) | ((own.l1 > 0) & (moved * mine <= 0))
    return None if crosses.any() or not np.isfinite(moved).all() else found


def _in_turn(jobs: Sequence[partial[Floats]], newton: Newton) -> list[Floats]:
    """One lane's share of the models."""
    return [job(newton) for job in jobs]


def _descend(
    form: DenseForm, told: Correlations, penalty: Bounds4, b: Floats, u: Floats, rr: float, target: float, newton: Newton
) -> Floats:
    """Coefficients of the columns in use, where the quadratic is at its least."""
    columns = told.columns
    scale, own = deviations(form.curvature[columns]), penalty.take(columns)
    scaled = Bounds4(own.l1 / scale, own.l2 / scale**2, own.low * scale, own.high * scale)
    here, slope = b[columns] * scale, u[columns] / scale
    quadratic = GramForm.standing(told.matrix, here, slope, rr)
    found = descend(quadratic, scaled, here, target, newton, np.arange(columns.size))
    return np.clip(found / scale, own.low, own.high)
