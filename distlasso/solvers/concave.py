"""Stationary points of a least-squares fit under a folded concave penalty, by descent and direct steps on a Gram.

The penalty is replaced by its tangent in |b_j| whenever coefficient j is visited: local linear approximation (Zou & Li 2008)
that is renewed with every coordinate instead of every fit. Each update lowers a majorant of the concave objective, and so
the objective itself; where it stands still, the lasso under the last tangents has this solution too. Where neither signs
nor pieces of the penalty change any more, the objective is a quadratic: if convex, one direct step ends there, or goes as
far as the pieces do. Read next: ``../kernels/descent.py``, ``../coordinator/concave.py`` (who asks).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from distlasso.kernels import descent
from distlasso.penalties import Bounds4

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPOCHS = 30  # about what a direct step costs
_MAX_LOOKS = 200
_WASTE = 0.8  # of the columns at work: when fewer are left that matter, the others are put aside
_BEYOND = 1.0 + 1e-9  # of its l1: a slope that lets a column in


class Concave(NamedTuple):
    """The penalty of some columns: l1 falls to 0 as |b| goes from ``inner`` to ``outer``; the rest as it stands."""

    convex: Bounds4
    inner: Floats
    outer: Floats

    def take(self, columns: Ints) -> Concave:
        """Restrict to some columns."""
        return Concave(self.convex.take(columns), self.inner[columns], self.outer[columns])

    def charge(self, size: Floats) -> Floats:
        """L1 penalty at coefficients of some size."""
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.maximum(self.outer - size, 0.0) / (self.outer - self.inner)
        return np.asarray(self.convex.l1 * np.where(size > self.inner, left, 1.0))

    def pieces(self, b: Floats) -> Ints:
        """Which piece of the penalty each coefficient is on, and at which of its bounds; 0 at zero."""
        size = np.abs(b)
        piece = 1 + (size > self.inner) + (size >= self.outer) + 3 * ((b <= self.convex.low) | (b >= self.convex.high))
        return np.asarray(np.sign(b) * piece, dtype=np.int64)


def settle(gram: Floats, g: Floats, penalty: Concave, b: Floats, *, enough: float) -> Floats:
    """Follow the tangents of a concave penalty to where they stand still.

    Parameters
    ----------
    gram, g : float64 [m, m], [m]
        ``(1/W) X' w X`` and ``(1/W) X' w y``, centred.
    penalty : Concave
        Of these columns.
    b : float64 [m]
        Starting point.
    enough : float
        Sum of ``h_j change_j^2`` of an epoch at which to stop.
    """
    b, moved = np.clip(b, penalty.convex.low, penalty.convex.high), np.inf
    work = np.empty(0, dtype=np.int64)
    for _ in range(_MAX_LOOKS):
        u = descent.slope_gram(gram, g, np.flatnonzero(b), b)
        allowed = np.maximum(np.where(penalty.convex.high > 0, u, 0.0), np.where(penalty.convex.low < 0, -u, 0.0))
        new = (b == 0) & (allowed > _BEYOND * penalty.convex.l1)
        wanted = (b != 0) | new
        count = int(np.count_nonzero(wanted))
        if count == 0 or (moved <= enough and not new.any()):
            break
        if count < _WASTE * work.size or count > np.count_nonzero(wanted[work]):
            work = np.flatnonzero(wanted)
            own, part = penalty.take(work), np.empty((work.size, work.size), dtype=np.float32)
            descent.restrict_gram(gram, work, part)
        mine, slope = b[work], u[work].astype(np.float32)
        before = own.pieces(mine)
        moved = descent.descend_concave(part, slope, *own.convex, own.inner, own.outer, mine, _EPOCHS, enough)
        if moved > enough and np.array_equal(own.pieces(mine), before):
            mine = _direct(part, slope, own, mine)
        b[work] = mine
    return b


def _direct(gram: NDArray[np.float32], u: NDArray[np.float32], penalty: Concave, b: Floats) -> Floats:
    """To the minimum on the pieces where coefficients are, or until the first of them leaves its own."""
    own = np.flatnonzero((b > penalty.convex.low) & (b < penalty.convex.high) & (b != 0))
    (l1, l2, low, high), inner, outer = here = penalty.take(own)
    mine, sign = b[own], np.sign(b[own])
    size = np.abs(mine)
    falls = (size > inner) & (size < outer)
    bend = np.zeros_like(l1)
    bend[falls] = l1[falls] / (outer[falls] - inner[falls])
    hessian = gram[np.ix_(own, own)]
    hessian[np.diag_indices(own.size)] += l2 - bend
    factor, info = lapack.spotrf(hessian.T, lower=1, overwrite_a=1)
    if info:
        return b
    step = lapack.spotrs(factor, u[own] - here.charge(size) * sign - l2 * mine, lower=1)[0]
    ends = np.minimum(np.where(size >= outer, np.inf, np.where(size > inner, outer, inner)), np.where(sign > 0, high, -low))
    starts = np.where(size >= outer, outer, np.where(size > inner, inner, 0.0))
    outward = step * sign
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(outward > 0, (ends - size) / outward, np.where(outward < 0, (starts - size) / outward, np.inf))
    b = b.copy()
    b[own] = mine + min(1.0, float(np.min(room, initial=1.0))) * step
    return b
