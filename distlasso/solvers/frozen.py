"""Lassos on frozen supports at several gentler strengths, from one Cholesky factor for neighbouring supports.

On a support S, where the signs s of a solution hold, it is linear in the strength (Osborne et al. 2000):

    b(lam) = G_SS^-1 (g_S - lam l1_S s)

so that two triangular solves answer every strength. Columns whose sign would change leave, and come back when their
slope asks for it: the active-set method of quadratic programming, in terms of the few that have left. With D those,
P = G_SS^-1 and r = b(lam) as if none had left, the multipliers are mu = P_DD^-1 r_D and the solution is r - P_D mu.
Supports of neighbouring lambdas share a factor: its columns are in order of entry, so that every lambda sees a leading
block, and what has left the path since is in D for good. Read next: ``../coordinator/frozen.py``, which proves and falls back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SLACK = 0.125  # of a factor: columns that may have left the path before a fresh one costs less
_FEWEST = 4
_MAX_SWAPS = 30
_ROUNDING = 1e-9  # of its l1: how far a slope must exceed it for a column to come back


@dataclass(frozen=True, slots=True)
class Support:
    """What survived at one lambda of a path."""

    columns: Ints  # [s]: positions in the Gram
    signs: Floats  # [s]
    lam: float


class Refined(NamedTuple):
    """Solutions at every strength of one lambda, and their slopes ``g - G b``, [s, q] each."""

    b: Floats
    u: Floats


def refine(gram: Floats, g: Floats, l1: Floats, supports: Sequence[Support], shares: Floats) -> list[Refined | None]:
    """Solve ``min b' G b / 2 - g'b + share lam sum_j l1_j |b_j|`` on every support, for every share of its lambda.

    Parameters
    ----------
    gram, g : float64 [m, m], [m]
        ``(1/W) X' w X`` and ``(1/W) X' w y``, centred.
    l1 : float64 [m]
        Positive L1 penalty at lambda 1.
    supports : sequence of Support
        In order of falling lambda.
    shares : float64 [q]
        Between 0 and 1, falling.

    Returns
    -------
    list of Refined or None
        None where the Gram of a support has no Cholesky factor.
    """
    found: list[Refined | None] = []
    while len(found) < len(supports):
        found += _together(gram, g, l1, _neighbours(supports[len(found) :], g.size), shares)
    return found


def _neighbours(supports: Sequence[Support], size: int) -> Sequence[Support]:
    """The first supports, as many as may share a factor."""
    seen = np.zeros(size, dtype=np.bool_)
    for count, own in enumerate(supports):
        seen[own.columns] = True
        there = int(np.count_nonzero(seen))
        if count and there - own.columns.size > _FEWEST + _SLACK * there:
            return supports[:count]
    return supports


def _together(
    gram: Floats, g: Floats, l1: Floats, supports: Sequence[Support], shares: Floats
) -> list[Refined | None]:
    """Refine supports on one factor; where there is none, on smaller ones."""
    order, sizes = _in_order_of_entry(supports, g.size)
    own = gram[np.ix_(order, order)]
    factor, info = lapack.dpotrf(own.T, lower=1)
    if info:
        half = len(supports) // 2
        if half == 0:
            return [None]
        return [*_together(gram, g, l1, supports[:half], shares), *_together(gram, g, l1, supports[half:], shares)]
    place = np.empty(g.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    inside = [place[one.columns] for one in supports]
    right = np.zeros((order.size, 2 * len(supports)), order="F")
    right[:, 0::2] = g[order, None]
    for k, one in enumerate(supports):
        right[inside[k], 2 * k + 1] = l1[one.columns] * one.signs
    straight = _solve(factor, right, np.repeat(sizes, 2))
    solved = np.zeros((order.size, len(supports) * shares.size))
    for k, one in enumerate(supports):
        block = _Block(factor, int(sizes[k]), inside[k], straight[:, 2 * k : 2 * k + 2])
        b = _at_strengths(block, one.signs, l1[one.columns], one.lam * shares)
        solved[inside[k], k * shares.size : (k + 1) * shares.size] = b
    slopes = g[order, None] - own @ solved
    parts = [np.s_[inside[k], k * shares.size : (k + 1) * shares.size] for k in range(len(supports))]
    return [Refined(solved[part], slopes[part]) for part in parts]


def _in_order_of_entry(supports: Sequence[Support], size: int) -> tuple[Ints, Ints]:
    """Columns of all supports, and how many of them each support may see."""
    seen, order, sizes = np.zeros(size, dtype=np.bool_), [], []
    for own in supports:
        order.append(own.columns[~seen[own.columns]])
        seen[own.columns] = True
        sizes.append(int(np.count_nonzero(seen)))
    return np.concatenate(order), np.array(sizes)


def _solve(factor: Floats, right: Floats, sizes: Ints) -> Floats:
    """Solve with a leading block of ``L L'`` for each right-hand side: what lies behind it is 0 between the two solves."""
    if right.size == 0:
        return right
    half = lapack.dtrtrs(factor, right, lower=1)[0]
    half *= np.arange(len(half))[:, None] < sizes
    return np.asarray(lapack.dtrtrs(factor, half, lower=1, trans=1, overwrite_b=1)[0])


class _Block:
    """The inverse of the Gram of one support, column by column as they are asked for."""

    def __init__(self, factor: Floats, size: int, inside: Ints, straight: Floats) -> None:
        self._factor, self._size, self._inside = factor, size, inside
        away = np.ones(size, dtype=np.bool_)
        away[inside] = False
        self._away = np.flatnonzero(away)
        self._tie, self._toll = np.empty((0, 0)), np.empty((size, 0))
        if self._away.size:
            self._toll = self._columns(self._away)
            self._tie = lapack.dpotrf(self._toll[self._away], lower=1)[0]
        self.straight = self._within(straight)  # [s, 2]: G^-1 g and G^-1 (l1 s)

    def inverse(self, columns: Ints) -> Floats:
        """Some columns of the inverse, [s, |columns|]."""
        return self._within(self._columns(self._inside[columns]))

    def _columns(self, columns: Ints) -> Floats:
        units = np.zeros((len(self._factor), columns.size), order="F")
        units[columns, np.arange(columns.size)] = 1.0
        return _solve(self._factor, units, np.array([self._size]))[: self._size]

    def _within(self, solved: Floats) -> Floats:
        """What is left of solutions when the columns that are away are held at 0."""
        if self._away.size:
            solved = solved[: self._size]
            solved = solved - self._toll @ lapack.dpotrs(self._tie, solved[self._away], lower=1)[0]
        return np.asarray(solved[self._inside])


def _at_strengths(block: _Block, signs: Floats, l1: Floats, strengths: Floats) -> Floats:
    """Solutions [s, q] at falling strengths, each from the signs at the one before."""
    free, shrink = block.straight.T
    b = free[:, None] - shrink[:, None] * strengths
    turned = np.flatnonzero((b * signs[:, None] < 0.0).any(axis=0) & (strengths > 0.0))
    if turned.size:
        left = _Left(block, signs.copy(), l1, free, shrink.copy())
        for k in turned:
            b[:, k] = left.solve(float(strengths[k]))
    return np.asarray(b)


class _Left:
    """Columns that have left a support for now, as its strength falls."""

    def __init__(self, block: _Block, signs: Floats, l1: Floats, free: Floats, shrink: Floats) -> None:
        self._block, self._signs, self._l1, self._free, self._shrink = block, signs, l1, free, shrink
        self._out = np.empty(0, dtype=np.int64)
        self._inverse = np.empty((free.size, 0))

    def solve(self, strength: float) -> Floats:
        """Let columns leave and come back until all signs and slopes are right, or swaps go in circles."""
        for _ in range(_MAX_SWAPS):
            b = self._free - strength * self._shrink
            multipliers = np.linalg.solve(self._inverse[self._out], b[self._out])
            b -= self._inverse @ multipliers
            b[self._out] = 0.0
            gone = np.flatnonzero(b * self._signs < 0.0)
            level = strength * self._l1[self._out]
            slope = level * self._signs[self._out] + multipliers
            back = np.abs(slope) > level * (1.0 + _ROUNDING)
            if not (gone.size or back.any()):
                break
            self._swap(gone, back, slope)
        return b

    def _swap(self, gone: Ints, back: NDArray[np.bool_], slope: Floats) -> None:
        """Take columns back, with the sign of their slope, and let others go."""
        own = self._out[back]
        turn = np.sign(slope[back]) - self._signs[own]
        self._shrink += self._inverse[:, back] @ (turn * self._l1[own])
        self._signs[own] += turn
        self._out = np.concatenate([self._out[~back], gone])
        self._inverse = np.hstack([self._inverse[:, ~back], self._block.inverse(gone)])
