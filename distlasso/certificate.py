"""The duality gap: an upper bound on how far a solution is from the optimum, computed apart from any solver.

For squared loss, centred columns and residual r (weighted mean zero where there is an intercept),

    P(b) = rr / 2 + sum_j pen_j(b_j),                         rr = (1/W) sum_i w_i r_i^2
    D(t) = t (rr + u'b) - t^2 rr / 2 - sum_j pen_j*(t u_j),   u  = (1/W) X'(w r)

D is the Fenchel dual (Rockafellar 1970, sec. 31) at the dual point t r: since y = r + X b, the inner product
of y and r is rr + u'b. Any t in [0, 1] with a finite D bounds the optimum from below; the best one is taken. Where
only L1 acts the conjugate is an indicator and t scales the residual into the feasible set (Kim et al. 2007).
Unpenalised columns demand u_j = 0: ``project`` makes that so, exactly, by algebra, before the gap is taken.
Read next: ``coordinator/drive.py``, which feeds it from a fresh pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distlasso.penalties import Bounds4

Floats = NDArray[np.float64]


def feasible_scale(u: Floats, penalty: Bounds4) -> float:
    """Largest t in [0, 1] at which the conjugate of the penalty is finite at ``t u``."""
    near = np.flatnonzero(np.abs(u) > penalty.l1)
    own, mine = u[near], penalty.take(near)
    hard = (mine.l2 == 0) & np.where(own > 0, np.isinf(mine.high), np.isinf(mine.low))
    # Two roundings less, so that t |u| cannot come out above l1.
    return float(np.min(mine.l1[hard] / np.abs(own[hard]) * (1.0 - 2.0**-51), initial=1.0))


def fenchel_gap(value: float, dual: float, u: Floats, b: Floats, penalty: Bounds4, t: float) -> float:
    """Duality gap of any convex loss at the dual point of the residual scaled by ``t``.

    Since loss(eta) >= k(t r) - t r eta with k(r) = min over eta of loss + r eta, every b has
    ``P(b) >= sum_i w_i (k_i(t r_i) - t r_i o_i) - sum_j pen_j*(t u_j)`` (Rockafellar 1970, sec. 31), provided that the
    weighted residuals sum to zero (intercept) and are orthogonal to every unpenalised column.

    Parameters
    ----------
    value : float
        Mean loss at the solution.
    dual : float
        ``sum_i w_i (k_i(t r_i) - t r_i o_i)``, o the offset.
    u : float64 [p]
        ``X' w r`` over all columns of the problem.
    b : float64 [p]
        Coefficients.
    penalty : Bounds4
        The penalty at the lambda in question.
    t : float
        Scale of the residual, at most ``feasible_scale(u, penalty)``.

    Returns
    -------
    float
        Never negative, and never more than the objective: 0 is always feasible.
    """
    objective = value + penalty.value(b)
    gap = objective - dual + float(np.sum(penalty.conjugate(t * u)))
    return max(min(gap, objective), 0.0) if np.isfinite(gap) else objective


def slope_gap(
    value: float, u: Floats, b: Floats, penalty: Bounds4, fall: float = 0.0, *, kinked: bool = False
) -> float:
    """Gap as the slope alone tells it, to first order in 1 - t; exact for squared loss. For deciding when to stop.

    ``fall`` is how fast the dual value of the loss falls as the residual is shortened, where that is known: it is ``u'b``
    if the loss bends everywhere, and more where it runs straight and many residuals are alike, as with Huber loss. Where
    the loss is ``kinked`` and the fall is not known, the steepest is assumed: what is lost is convex in 1 - t, and at t = 0
    it is the whole loss.
    """
    free = penalty.is_free() & ~penalty.is_pressed(u, b)
    charge = float(np.sum(np.abs(u[free]) * (1.0 + np.abs(b[free]))))
    u = np.where(free, 0.0, u)
    straight = value if kinked else max(fall - float(u @ b), 0.0)
    return min(penalty.value(b) + _least_lost(value, u, b, penalty, straight)[1] + charge, value + penalty.value(b))


def dual_scale(value: float, u: Floats, b: Floats, penalty: Bounds4, *, kinked: bool) -> float:
    """Scale of the residual at which the slope promises the smallest gap."""
    return _least_lost(value, u, b, penalty, value if kinked else 0.0)[0]


def _least_lost(value: float, u: Floats, b: Floats, penalty: Bounds4, straight: float) -> tuple[float, float]:
    """The scale t in [0, 1] with the smallest gap, less the penalty, and that gap.

    Where nothing but L1 acts it is the largest feasible one; a soft penalty may be exceeded, at a price that grows as it
    becomes weak.
    """
    right, ub = feasible_scale(u, penalty), float(u @ b)
    over = np.flatnonzero(np.abs(right * u) > penalty.l1)
    own, mine = u[over], penalty.take(over)

    def lost(t: float) -> float:
        conjugate = float(np.sum(mine.conjugate(t * own)))
        return -t * ub + conjugate + (1.0 - t) * straight + (1.0 - t) ** 2 * value

    def slope(t: float) -> tuple[float, float]:
        first, second = mine.along(t, own)
        return -ub + first - straight - 2.0 * (1.0 - t) * value, second + 2.0 * value

    if over.size == 0:
        return right, lost(right)
    inside = float(np.min(mine.l1 / np.abs(own)))
    return min(((t, lost(t)) for t in (right, inside, _flat(slope, mine.kinks(own), right))), key=lambda pair: pair[1])


def within(gap: float, value: float, *, kinked: bool) -> float:
    """Gap that a quadratic model must reach for the loss to reach ``gap``; less where the loss is kinked.

    What 1 - t costs a kinked loss in proportion costs a quadratic only in its square.
    """
    return gap * min(1.0, gap / value) if kinked and value > 0 else gap


@dataclass(frozen=True, slots=True)
class Free:
    """Unpenalised columns and what is needed to refit them without looking at the data again."""

    columns: NDArray[np.int64]
    cross: Floats  # [p, |columns|]: (1/W) X' w X_free, centred

    def step(self, u: Floats) -> Floats:
        """Newton step of the unpenalised coefficients at gradient ``u``; exact for squared loss."""
        gram = self.cross[self.columns]
        solution = np.asarray(np.linalg.lstsq(gram, u[self.columns], rcond=1e-13)[0], dtype=np.float64)
        return solution


def project(u: Floats, rr: float, free: Free) -> tuple[Floats, float, Floats]:
    """Refit the unpenalised columns at fixed other coefficients.

    Parameters
    ----------
    u : float64 [p]
        Gradient ``(1/W) X'(w r)``.
    rr : float
        ``(1/W) sum_i w_i r_i^2``.
    free : Free
        The unpenalised columns.

    Returns
    -------
    u, rr, step
        Gradient and residual norm after adding ``step`` to the unpenalised coefficients.
    """
    step = free.step(u)
    gram = free.cross[free.columns]
    moved = u - free.cross @ step
    moved[free.columns] = 0.0
    return moved, rr - 2.0 * float(step @ u[free.columns]) + float(step @ gram @ step), step


def duality_gap(
    rr: float, u: Floats, b: Floats, penalty: Bounds4, *, inner: float | None = None
) -> tuple[float, float]:
    """Duality gap of a squared-loss solution.

    Where the penalty is one of norms of groups, its conjugate is one of the (dual) norms of the groups of u: u and b are
    then these norms, and ``inner`` is what they no longer tell.

    Parameters
    ----------
    rr : float
        ``(1/W) sum_i w_i r_i^2`` of the residual r of ``b``.
    u : float64 [p]
        ``(1/W) X'(w r)`` over all columns of the problem.
    b : float64 [p]
        Coefficients.
    penalty : Bounds4
        The penalty at the lambda in question.
    inner : float, optional
        The inner product of all coefficients and the gradient; by default that of u and b.

    Returns
    -------
    gap, primal
        ``P(b) - max_t D(t)`` (never negative) and ``P(b)``.
    """
    rr = abs(rr)  # below 0 by rounding, or in the model of another loss, where its size alone scales the gap
    primal = 0.5 * rr + penalty.value(b)
    yr = rr + (float(u @ b) if inner is None else inner)
    # Columns whose conjugate is identically zero on [0, 1] cannot matter: most of them, most of the time.
    near = np.flatnonzero((np.abs(u) > penalty.l1) & ((penalty.low < 0) | (penalty.high > 0)))
    near_u, near_penalty = u[near], penalty.take(near)
    hard = (near_penalty.l2 == 0) & np.where(near_u > 0, np.isinf(near_penalty.high), np.isinf(near_penalty.low))
    limit = 1.0
    if hard.any():
        limit = float(np.min(near_penalty.l1[hard] / np.abs(near_u[hard])))
        near_u, near_penalty = near_u[~hard], near_penalty.take(np.flatnonzero(~hard))

    def dual(t: float) -> float:
        return t * yr - 0.5 * t * t * rr - float(np.sum(near_penalty.conjugate(t * near_u)))

    def slope(t: float) -> tuple[float, float]:
        first, second = near_penalty.along(t, near_u)
        return first + t * rr - yr, second + rr

    best = dual(limit) if near_u.size == 0 else max(dual(limit), 0.0, dual(_flat(slope, near_penalty.kinks(near_u), limit)))
    if near_u.size == 0 and rr > 0:
        best = max(best, dual(min(max(yr / rr, 0.0), limit)))
    return max(primal - best, 0.0), primal


def lasso_gaps(rr: Floats, u: Floats, b: Floats, l1: Floats, reach: Floats) -> Floats:
    """Duality gaps of several squared-loss solutions under L1 penalties alone, as ``duality_gap`` has them one by one.

    Parameters
    ----------
    rr : float64 [q]
        ``(1/W) sum_i w_i r_i^2``.
    u, b : float64 [s, q]
        ``(1/W) X'(w r)`` and coefficients on the columns of the problem.
    l1 : float64 [s, q]
        Penalties; 0 where a coefficient is only held by a box.
    reach : float64 [s, q]
        Size of that box.
    """
    rr, size = np.abs(rr), np.abs(u)
    primal = 0.5 * rr + np.sum(l1 * np.abs(b), axis=0)
    inner = rr + np.sum(u * b, axis=0) - np.sum(np.where(l1 == 0.0, reach * size, 0.0), axis=0)
    hard = (l1 > 0.0) & (size > l1)
    limit = np.min(np.divide(l1 * (1.0 - 2.0**-51), size, out=np.ones_like(u), where=hard), axis=0, initial=1.0)
    t = np.clip(np.divide(inner, rr, out=limit.copy(), where=rr > 0.0), 0.0, limit)
    return np.asarray(np.maximum(primal - np.maximum(t * inner - 0.5 * t * t * rr, 0.0), 0.0))


def _flat(slope: Callable[[float], tuple[float, float]], kinks: Floats, right: float) -> float:
    """Where a convex function on [0, right] is smallest, from its first and second derivatives; any point gives a valid bound.

    The slope is linear between kinks, where it may jump. Bisection finds the piece, and Newton's step is exact on it.
    """
    ends = np.concatenate([[0.0], np.sort(kinks[(kinks > 0.0) & (kinks < right)]), [right]])
    low, high = 0, ends.size - 1
    while low < high:
        piece = (low + high) // 2
        middle = 0.5 * float(ends[piece] + ends[piece + 1])  # at a kink rounding would choose the side
        first, second = slope(middle)
        there = middle - first / second if second > 0.0 else middle - np.sign(first) * np.inf
        if ends[piece] <= there <= ends[piece + 1]:
            return there
        low, high = (piece + 1, high) if there > middle else (low, piece)
    return float(ends[low])
