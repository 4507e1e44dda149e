"""Block-coordinate descent on the strong set: working sets, epochs, direct steps on the support, restricted gap.

For each lambda, warm-started from the last: take the columns that are active or violate their optimality
condition as working set, descend on them until their own duality gap is small, look at the whole strong set,
repeat until *its* gap is small (Johnson & Guestrin 2015; Massias et al. 2018). Between epochs the support is
solved as if its signs were right; those that turn out wrong are set to zero, and the step
is halved until the objective falls (two-metric projection: Bertsekas 1982). Nothing stops on a step size.
Read next: ``newton.py``, ``kernels/descent.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import duality_gap
from distlasso.kernels import working_set
from distlasso.kernels.working_set import penalised, terms_of_gap
from distlasso.penalties import Bounds4
from distlasso.solvers.newton import SMALL, Newton
from distlasso.solvers.quadratic import Quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPOCHS = 3  # of descent between two direct steps
_MAX_OUTER = 100
_NEAR = 0.9  # of its l1: a zero coefficient whose slope comes this close is worth visiting
MOST = 0.7  # of the strong set: beyond this a working set saves less than it costs
_BRISK = 0.3  # share of the gap that four epochs leave while descent alone is fast enough
_MAX_INNER = 200
_MAX_HALVINGS = 6
_ROUNDING = 1e-13  # of the objective: smaller gaps are mostly rounding
_EPS = float(np.finfo(np.float64).eps)
_FALL, _PATIENCE = 0.99, 20  # direct steps, and working sets, without a gap smaller than before: what is left is rounding


@dataclass(frozen=True, slots=True)
class Solved:
    """Solution on the strong set at one lambda."""

    b: Floats
    gap: float  # of the restricted problem, absolute
    rr: float


@final
class Stall:
    """Notices that a gap no longer falls: rounding, in the end, is all that is left of it."""

    def __init__(self) -> None:
        self._best, self._since = np.inf, 0

    def seen(self, gap: float, objective: float = 0.0) -> bool:
        """Whether the gap has not fallen below its best for a while, a short one where it is lost in the objective."""
        if gap < _FALL * self._best:
            self._best, self._since = gap, 0
        else:
            self._since += _PATIENCE // 4 if gap < _ROUNDING * abs(objective) else 1
        return self._since >= _PATIENCE


def solve(
    form: Quadratic, penalty: Bounds4, b: Floats, *, target: float, newton: Newton, names: Ints, polish: bool = False
) -> Solved:
    """Minimise the restricted problem to an absolute duality gap of ``target``.

    Parameters
    ----------
    form : Quadratic
        The least-squares part on the strong set.
    penalty : Bounds4
        The penalty on the strong set.
    b : float64 [|S|]
        Starting point.
    target : float
        Absolute duality gap to reach; what was reached is in the result.
    newton : Newton
        Keeps what one lambda can reuse of the last.
    names : int64 [|S|]
        Columns of the strong set, in the numbering of ``newton``.
    polish : bool
        Whether to end with a direct step to rounding where the support is small.
    """
    b = np.clip(b, penalty.low, penalty.high)  # a start that was extrapolated may be outside
    best, stall = Solved(b.copy(), np.inf, np.inf), Stall()
    u, rr = form.move(b)
    start = 0.5 * rr + penalised(b, *penalty)
    # Gaps that cannot be told from none say nothing: among such, the last descent has the best slopes.
    least = _ROUNDING * abs(start) if target < _ROUNDING * abs(start) else 0.0
    moved = least == 0.0
    for _ in range(_MAX_OUTER):
        gap = restricted_gap(u, rr, b, penalty)
        if gap <= max(best.gap, least):
            best = Solved(b.copy(), gap, rr)
        if stall.seen(gap, start):
            break
        if gap <= target and moved:
            return _polish(form, penalty, Solved(b, gap, rr), u, least, newton, names) if polish else best
        work = near(u, b, penalty)
        if work.size == 0:
            break
        if work.size > MOST * b.size:
            work = np.arange(b.size)
        part, own, before = form.restrict(work, b), penalty.take(work), b[work]
        found = descend(part, own, before, target, newton, names[work])
        if np.array_equal(found, before):
            break
        b[work], moved = found, True
        if _sunk(part, own, found, start):
            return Solved(b, np.inf, rr)
        u, rr = form.move(b)
    return best


def _sunk(form: Quadratic, penalty: Bounds4, b: Floats, start: float) -> bool:
    """Whether the objective is so far below zero that the quadratic cannot be a loss, only a bad model of one."""
    return 0.5 * form.rr() + penalised(b, *penalty) < -start


def _polish(
    form: Quadratic, penalty: Bounds4, found: Solved, u: Floats, least: float, newton: Newton, names: Ints
) -> Solved:
    """One direct step to rounding where the support is small: it costs nothing, and weights act like repeated rows."""
    if not is_small(found.b) or found.rr <= 0.0:
        return found
    b = found.b.copy()
    _solve_support(form, penalty, b, u, found.rr, 0.0, 0.0, newton, names)
    u, rr = form.move(b)
    gap = restricted_gap(u, rr, b, penalty)
    return Solved(b, gap, rr) if gap <= max(found.gap, least) else found


def is_small(b: Floats) -> bool:
    """Whether a support is so small that a direct step on it costs nothing."""
    return 0 < int(np.count_nonzero(b)) <= SMALL


def near(u: Floats, b: Floats, penalty: Bounds4, share: float = _NEAR) -> Ints:
    """Columns worth visiting: those with a coefficient, and those whose slope allows one, or nearly."""
    return working_set.near(np.ascontiguousarray(u), np.ascontiguousarray(b), *penalty, share)


def restricted_gap(u: Floats, rr: float, b: Floats, penalty: Bounds4) -> float:
    """Restricted gap; the leftover gradient of free columns that no bound holds is charged at face value.

    By a short cut where every conjugate is zero or infinite: as L1 alone has it, and most gradients anywhere.
    """
    value, inner, cost, limit, soft = terms_of_gap(*map(np.ascontiguousarray, (u, b, *penalty)))
    if soft > 0 or rr <= 0.0:
        free = penalty.is_free() & ~penalty.is_pressed(u, b)
        return float(duality_gap(rr, np.where(free, 0.0, u), b, penalty)[0] + cost)
    t = min(max(1.0 + inner / rr, 0.0), limit)  # the dual is a parabola in t
    return float(max(0.5 * rr + value - t * (rr + inner) + 0.5 * t * t * rr, 0.0) + cost)


def descend(
    form: Quadratic, penalty: Bounds4, b: Floats, target: float, newton: Newton, names: Ints
) -> Floats:
    """Descend on a working set from b, where the form is, until its own gap is a third of the target."""
    b = b.copy()
    last, stall, start = np.inf, Stall(), 0.5 * form.rr() + penalised(b, *penalty)
    for _ in range(_MAX_INNER):
        before = b.copy()
        form.descend(penalty, b, _EPOCHS)
        u, rr = form.peek()
        gap = restricted_gap(u, rr, b, penalty)
        if gap <= target / 3 or np.array_equal(before, b) or stall.seen(gap, start) or _sunk(form, penalty, b, abs(start)):
            break
        if len(b) > SMALL and gap < _BRISK * last:
            last = gap
            continue  # a direct step would gain no more than the epochs that it costs
        last = gap
        _solve_support(form, penalty, b, u, rr, gap, target, newton, names)
    return b


def _solve_support(
    form: Quadratic, penalty: Bounds4, b: Floats, u: Floats, rr: float, gap: float, target: float, newton: Newton,
    names: Ints,
) -> None:
    """Newton step on the support: signs that flip become zeros; halved until the objective falls."""
    before, length = 0.5 * rr + penalised(b, *penalty), 1.0
    # The gap is of first order in the relative error of a gradient, unlike the objective.
    most = max(before, gap)
    share = max(0.3 * max(target, 0.02 * gap) / most, _EPS)
    support, slope, enough = working_set.on_support(u, b, *penalty, share, most)
    if support.size == 0:
        return
    mine = b[support]
    step = newton.step(form, support, names[support], mine, penalty.l2[support], slope, enough)
    for _ in range(_MAX_HALVINGS):
        form.shift(working_set.advance(b, mine, support, step, length, penalty.l1, penalty.low, penalty.high))
        if 0.5 * form.rr() + penalised(b, *penalty) <= before:
            return
        length *= 0.5
    b[support] = mine
    form.move(b)
