"""Block-coordinate descent over blocks of the strong set, for strong sets whose Hessian is too large to hold.

A round updates one block: every lambda gets the minimiser of its quadratic model in the columns of that block and the
intercept, all other columns standing still (Tseng & Yun 2009). The same round that looks where these steps lead brings the
slope of every column, and the Hessian of the block that comes next: the one whose columns violate their optimality
condition most (Gauss & Southwell's order, by blocks). For squared loss that is exact minimisation over one block after the
other, and a block's Gram is asked for once; for other losses its Hessian is taken where the lambda that has farthest to go
stands, and a step is taken only if the objective falls.

Blocks that are correlated make this slow, so each lambda also tries the best combination of the step with its last moves:
their curvature is known from the slopes at their ends (conjugate directions, as in Knyazev 2001, preconditioned by
blocks). Read next: ``block_coordinate.py``, which solves the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap
from distlasso.penalties import Bounds4
from distlasso.solvers.block_coordinate import solve
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import GramForm
from distlasso.solvers.smooth import Curvature, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_ROUNDS = 2000
_MOVES = 6  # last moves of a lambda that a step is combined with
_BACK = (0.5, 0.25, 0.0625)  # lengths tried at once after a step that raised the objective
_ROUNDING = 1e-13  # of the loss: a gap tells nothing below
_EPOCHS = 4  # of descent after that: slopes go on falling where a gap no longer shows it
_RIDGE = 1e-5  # on the diagonal: Hessians may come in float32, and collinear columns must not look concave


class Blocked(Protocol):
    """Mean loss on the strong columns, with Hessians of some of them."""

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept to fit."""

    @property
    def kinked(self) -> bool:
        """Whether the loss runs straight somewhere, so that its dual value falls faster than the slope tells."""

    def at(
        self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = (), within: Ints | None = None
    ) -> tuple[Point, list[Curvature]]:
        """Value and slope at models b [S, L], intercept [L]; at some of them the Hessian of the columns ``within``."""


@dataclass(slots=True)
class _Track:
    """One lambda on its way: an accepted model and the step that is being tried."""

    penalty: Bounds4
    b: Floats
    intercept: float
    at: Point | None = None
    gap: float = np.inf
    step: Floats = field(default_factory=lambda: np.empty(0))  # [S + 1], the intercept last
    combined: Floats | None = None  # [S + 1]: where the step and the last moves lead together
    moves: list[tuple[Floats, Floats]] = field(default_factory=list)  # [S + 1]: a move, and how the slope fell over it
    length: float = 1.0  # longest that may be tried next
    backing: bool = False

    @property
    def slope(self) -> Floats:
        """u of every strong column at the accepted model."""
        assert self.at is not None
        return self.at.gradient[:, 0]

    def objective(self) -> float:
        """Objective at the accepted model."""
        return np.inf if self.at is None else float(self.at.value[0]) + self.penalty.value(self.b)

    def trials(self) -> list[tuple[float, Floats]]:
        """Points to look at next, [S + 1], with the lengths of the step that lead there."""
        z = np.append(self.b, self.intercept)
        if not self.backing:
            return [(1.0, z + self.step), *([] if self.combined is None else [(1.0, self.combined)])]
        found = []
        for share in _BACK:
            moved = z + self.length * share * self.step
            # A shortened step stops at zero, where it would change a sign.
            moved[:-1][(self.penalty.l1 > 0) & (self.b * moved[:-1] < 0)] = 0.0
            found.append((self.length * share, moved))
        return found

    def accept(self, z: Floats, at: Point) -> None:
        """Go to a point; remember the move."""
        assert self.at is not None
        fall = np.append(self.at.gradient[:, 0] - at.gradient[:, 0], self.at.total - at.total)
        self.moves = [*self.moves[1 - _MOVES :], (z - np.append(self.b, self.intercept), fall)]
        self.b, self.intercept, self.at, self.backing = z[:-1].copy(), float(z[-1]), at, False


@final
class StrongBlocks:
    """Solves batches of lambdas one after the other.

    Parameters
    ----------
    width, held : int
        Columns of a block, and how many Grams may be kept where they do not change.
    fixed : bool
        Whether the Hessian is the same everywhere: squared loss.
    """

    def __init__(self, *, width: int, held: int, fixed: bool) -> None:
        self._newton = Newton()
        self._width, self._most, self._fixed = width, held, fixed

    def solve(
        self, smooth: Blocked, penalties: list[Bounds4], b: Floats, intercept: Floats, *, target: float,
        columns: Floats, names: Ints,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Minimise loss plus penalty on the strong columns, for every lambda.

        Parameters
        ----------
        smooth : Blocked
            The loss.
        penalties : list of Bounds4
            The penalty at each lambda.
        b, intercept : float64 [S, L], [L]
            Starting points.
        target : float
            Gap to reach, absolute, as far as the slope alone tells it.
        columns : float64 [S]
            Mean square of each centred column.
        names : int64 [S]
            Columns of the strong set, in a numbering that outlives it.

        Returns
        -------
        b, intercept : float64 [S, L], [L]
        """
        tracks = [_Track(penalty, b[:, k].copy(), float(intercept[k])) for k, penalty in enumerate(penalties)]
        deviation = np.sqrt(columns)
        blocks = _cut(b, names, self._width)
        point, found = smooth.at(b, intercept, (0,), blocks[0])
        for k, track in enumerate(tracks):
            track.at = point.take(k)
        block, kept = 0, {0: found[0]}
        for _ in range(_MAX_ROUNDS):
            moving = [track for track in tracks if not self._done(track, smooth, deviation, kept[block].total, target)]
            if not moving:
                break
            for track in moving:
                if not track.backing:
                    self._step(track, blocks[block], kept[block], smooth, target, names)
            block = self._try(smooth, moving, blocks, block, kept, columns)
        return np.stack([track.b for track in tracks], axis=1), np.array([track.intercept for track in tracks])

    def _done(self, track: _Track, smooth: Blocked, deviation: Floats, bend: float, target: float) -> bool:
        assert track.at is not None
        if not track.backing:
            value = float(track.at.value[0])
            track.gap = slope_gap(value, track.slope, track.b, track.penalty, kinked=smooth.kinked)
        # The slope in the intercept is not in the gap. It is refitted later, which moves u_j by about ``total`` times the
        # deviation of column j at most (Cauchy-Schwarz) and must not move the gap.
        total, reach = abs(float(track.at.total[0])), float(np.abs(track.b) @ deviation)
        level = (total <= 1e-3 * np.sqrt(target * bend) and total * reach <= 0.1 * target) or not smooth.intercept
        # Nothing shorter can be told from standing still.
        return (track.gap <= target and level) or track.length < 1e-9

    def _step(
        self, track: _Track, block: Ints, hessian: Curvature, smooth: Blocked, target: float, names: Ints
    ) -> None:
        """Minimise the quadratic model of one lambda over a block and the intercept."""
        assert track.at is not None
        value, total, b = float(track.at.value[0]), float(track.at.total[0]), track.b[block]
        shift = hessian.cross / hessian.total if smooth.intercept else np.zeros_like(b)
        gram = hessian.without_intercept() if smooth.intercept else hessian.gram.copy()
        gram[np.diag_indices_from(gram)] *= 1.0 + _RIDGE
        slope = track.slope[block] - shift * total
        fit = gram @ b
        # The model's own constant only scales its gap: the loss itself stands in.
        form = GramForm(gram, slope + fit, 2.0 * value + 2.0 * float(slope @ b) + float(b @ fit))
        penalty = track.penalty.take(block)
        paid = track.penalty.value(track.b) + value * smooth.kinked  # what 1 - t costs, in proportion
        aim = _aim(max(0.1 * target, 0.01 * track.gap), value, paid)
        found = solve(form, penalty, b, target=aim, newton=self._newton, names=names[block]).b
        form.move(found)
        form.descend(penalty, found, _EPOCHS)
        track.step, track.length = np.zeros(track.b.size + 1), 1.0
        track.step[block] = found - b
        if smooth.intercept:
            track.step[-1] = total / hessian.total - float(shift @ (found - b))
        step = track.step[block]
        bend = float(step @ hessian.gram @ step + 2.0 * track.step[-1] * (hessian.cross @ step))
        track.combined = _combine(track, bend + float(track.step[-1] ** 2 * hessian.total))

    def _try(
        self, smooth: Blocked, moving: list[_Track], blocks: list[Ints], block: int, kept: dict[int, Curvature],
        columns: Floats,
    ) -> int:  # fmt: skip
        """One exchange: look where the steps lead, take those that go down; returns the block that comes next."""
        trials = [(track, *trial) for track in moving for trial in track.trials()]
        models = [z for _, _, z in trials]
        following = _most_violated(moving, blocks, block, columns)
        wanted: tuple[int, ...] = ()
        if following not in kept or not self._fixed:
            farthest = max(moving, key=lambda track: track.gap)
            wanted = (len(models),)
            models.append(np.append(farthest.b, farthest.intercept))
        z = np.stack(models, axis=1)
        point, found = smooth.at(z[:-1], z[-1], wanted, blocks[following])
        for hessian in found:
            if len(kept) >= (self._most if self._fixed else 1):
                kept.pop(next(iter(kept)))
            kept[following] = hessian
        for track in moving:
            _take(track, [(k, length) for k, (other, length, _) in enumerate(trials) if other is track], z, point)
        return following


def _cut(b: Floats, names: Ints, width: int) -> list[Ints]:
    """Blocks of the strong set: what is active comes first; neighbours stay together, since they are often correlated."""
    size = b.shape[0]
    order = np.lexsort((names, ~(b != 0).any(axis=1)))
    return [np.sort(order[k : k + width]) for k in range(0, max(size, 1), width)]


def _aim(enough: float, value: float, paid: float) -> float:
    """Gap of a block at which it no longer matters to the gap of all.

    A block with gap g may leave 1 - t = (2 g / value)^(1/2), the share by which the residual is too long, and every other
    block pays (1 - t) of its penalty for that, and a kinked loss as much of its value.
    """
    share = enough / max(paid, enough)
    return max(min(enough, 0.5 * value * share * share), _ROUNDING * value)


def _most_violated(moving: list[_Track], blocks: list[Ints], present: int, columns: Floats) -> int:
    """The block, other than the present one, that promises most: by what its coordinates would gain one at a time."""
    if len(blocks) == 1:
        return 0
    gain = np.zeros(columns.size)
    for track in moving:
        v, (l1, l2, low, high) = track.b * columns + track.slope, track.penalty
        best = np.clip(np.sign(v) * np.maximum(np.abs(v) - l1, 0.0) / (columns + l2), low, high)
        gain += columns * np.square(best - track.b)
    score = [float(gain[block].sum()) for block in blocks]
    score[present] = -1.0
    return int(np.argmax(score))


def _combine(track: _Track, bend: float) -> Floats | None:
    """Minimise the quadratic model over the step and the last moves together, with the signs that the step leads to.

    ``bend`` is the curvature along the step. Signs that flip become zeros; whether the objective falls is seen later.
    """
    if not track.moves:
        return None
    assert track.at is not None
    z, penalty, last = np.append(track.b, track.intercept), track.penalty, track.b.size
    sign = np.sign(z + track.step)
    l1, l2 = (np.append(v, 0.0) for v in (penalty.l1, penalty.l2))
    inside = (sign != 0) | (l1 == 0)
    span = np.stack([*(move for move, _ in track.moves), track.step], axis=1) * inside[:, None]
    falls = np.stack([fall for _, fall in track.moves], axis=1)
    square = np.empty((span.shape[1], span.shape[1]))
    square[:, :-1] = span.T @ falls
    square[-1, -1] = bend
    square[:-1, -1] = square[-1, :-1]
    square = 0.5 * (square + square.T) + span.T @ (l2[:, None] * span)
    slope = np.append(track.at.gradient[:, 0], track.at.total) - l1 * sign - l2 * z
    scale = np.sqrt(np.maximum(np.diag(square), 1e-300))
    share = np.linalg.lstsq(square / np.outer(scale, scale), (span.T @ slope) / scale, rcond=1e-10)[0] / scale
    moved = z + span @ share
    moved[(l1 > 0) & (moved * sign < 0)] = 0.0
    moved[:last] = np.clip(moved[:last], penalty.low, penalty.high)
    return np.asarray(moved)


def _take(track: _Track, own: list[tuple[int, float]], z: Floats, point: Point) -> None:
    """Accept the best trial of a lambda if it is no worse than where it stands."""
    before = track.objective()
    values = np.array([float(point.value[k]) + track.penalty.value(z[:-1, k]) for k, _ in own])
    usable = np.isfinite(values) & np.array([np.isfinite(point.gradient[:, k]).all() for k, _ in own])
    best = int(np.argmin(np.where(usable, values, np.inf)))
    if usable[best] and values[best] <= before + 1e-13 * abs(before):
        track.accept(z[:, own[best][0]], point.take(own[best][0]))
    else:
        track.backing, track.length = True, own[-1][1]
