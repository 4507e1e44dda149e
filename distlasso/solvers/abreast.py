"""Neighbouring lambdas abreast on sparse columns: every visit to a stored entry moves all of them.

Reading an entry costs more than using it: descent on four models takes hardly longer than on one, and to start eight
lambdas ahead costs a few epochs of the thirty that a solve takes. A model is done when its gap on all columns held
is; where descent alone is slow, what it has found is where ``block_coordinate.py`` and ``reweighted.py`` start.
Read next: ``tangent.py``, the quadratic models and the descent on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap
from distlasso.kernels.abreast import WIDEST
from distlasso.penalties import Bounds4
from distlasso.solvers.block_coordinate import near
from distlasso.solvers.columns import Columns
from distlasso.solvers.lanes import LANES, side_by_side
from distlasso.solvers.tangent import Tangent, Touch, column_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_WORTH_A_THREAD = 1 << 15  # entries of sparse columns, which a whole group of lambdas goes through at once
SPAN = LANES * WIDEST  # lambdas to solve at once
_MAX_SETS = 12
_MAX_STEPS = 4  # Newton steps on one working set
_MAX_EPOCHS = 30  # of one step: where they do not do, descent alone is too slow
_SHARE = 0.03  # of its gap that a working set is solved to, at least: columns outside it will matter first
_STEP = 0.1  # of its first epoch's move that a Newton step is solved to: the next one will be another
_DONE = 1e100  # the same share for a model that has arrived: it comes along, and is not waited for
_HALVINGS = 6


def approach(
    held: Columns, penalties: Sequence[Bounds4], b: Floats, intercept: Floats, target: float
) -> tuple[Floats, Floats, Mask]:
    """Take models towards their optima, every second one on a thread of its own, as far as descent alone is brisk.

    Parameters
    ----------
    held : Columns
        Sparse columns and rows.
    penalties : sequence of Bounds4
        Penalty of each model on the held columns, at most ``SPAN``.
    b, intercept : float64 [S, m], [m]
        Starting points.
    target : float
        Gap to reach, absolute, as far as the slope alone tells it.

    Returns
    -------
    b, intercept : float64 [S, m], [m]
    arrived : bool [m]
        Which models have reached the target.
    """
    b, intercept, arrived = b.copy(), intercept.copy(), np.zeros(len(penalties), dtype=np.bool_)
    lanes = [slice(lane, None, LANES) for lane in range(min(LANES, len(penalties)))]
    groups = [_Group(held, penalties[own], b[:, own], intercept[own]) for own in lanes]
    jobs = [partial(group.approach, target) for group in groups]
    for own, group, found in zip(lanes, groups, side_by_side(jobs, held.X.size, _WORTH_A_THREAD), strict=True):
        b[:, own], intercept[own], arrived[own] = group.b, group.intercept, found
    return b, intercept, arrived


class _Group:
    """Models on their way."""

    def __init__(self, held: Columns, penalties: Sequence[Bounds4], b: Floats, intercept: Floats) -> None:
        self._held, self._penalties = held, penalties
        self._all = Bounds4(*(np.stack(part, axis=1) for part in zip(*penalties, strict=True)))  # [S, m] each
        self.b, self.intercept = np.clip(b, self._all.low, self._all.high), intercept
        self._eta = held.etas(self.b, intercept)
        self._touch = Touch(held.rows, self._eta)

    def approach(self, target: float) -> Mask:
        """Solve one working set after the other; returns which models have arrived."""
        held, brisk, arrived = self._held, True, np.zeros(self.intercept.size, dtype=np.bool_)
        for _ in range(_MAX_SETS):
            touch, slope = self._touch, held.correlate_all(self._touch.slope)
            gaps = np.array([slope_gap(touch.value[m], slope[:, m], self.b[:, m], penalty, kinked=held.rows.loss.kinked)
                             for m, penalty in enumerate(self._penalties)])  # fmt: skip
            level = np.abs(touch.ahead) * touch.total <= 1e-3 * np.sqrt(target * touch.total)
            arrived = np.asarray((gaps <= target) & level)
            if arrived.all() or not brisk:
                break
            each = [near(slope[:, m], self.b[:, m], penalty) for m, penalty in enumerate(self._penalties)]
            share = np.where(arrived, _DONE, np.maximum(0.5 * target / np.maximum(gaps, target), _SHARE))
            brisk = self._solve(np.unique(np.concatenate(each)), share)
        return arrived

    def _solve(self, work: Ints, share: Floats) -> bool:
        """Newton steps until an epoch moves a share of what the first one did; returns whether descent was brisk."""
        own, goal, exact = self._all.take(work), np.zeros(share.size), self._held.rows.loss.quadratic
        for number in range(1 if exact else _MAX_STEPS):
            tangent = Tangent(self._held, work, self._touch, own, self.b[work])
            fall = tangent.descend()
            goal = goal if number else share * share * fall
            enough = goal if exact else np.maximum(goal, _STEP * _STEP * fall)
            epochs = 1
            while (fall > enough).any() and epochs < _MAX_EPOCHS:
                fall, epochs = tangent.descend(), epochs + 1
            self._step(work, tangent, own)
            if (fall > enough).any():
                return False
            if (fall <= goal).all():
                break
        return True

    def _step(self, work: Ints, tangent: Tangent, penalty: Bounds4) -> None:
        """Go where descent has led, each model as far as its objective falls."""
        here, exact = self.b[work], self._held.rows.loss.quadratic
        level, ahead = tangent.moved(here)
        length, before = np.ones(level.size), self._touch.value + _value(penalty, here)
        for halving in range(1, _HALVINGS + 1):
            b, eta = here + length * (tangent.b - here), self._eta + length * ahead
            touch = Touch(self._held.rows, eta)
            rises = ~(touch.value + _value(penalty, b) <= before + 1e-13 * np.abs(before))
            if exact or not rises.any():
                break
            length = np.where(rises, 0.5 * length if halving < _HALVINGS - 1 else 0.0, length)
        self.b[work], self._eta, self._touch = b, eta, touch
        self.intercept = self.intercept + length * level


def _value(penalty: Bounds4, b: Floats) -> Floats:
    """Penalty of each model."""
    return column_sums(penalty.l1 * np.abs(b) + 0.5 * penalty.l2 * b * b)
