"""Proximal Newton for any smooth loss: all lambdas of a batch advance together, under Hessians that are rarely renewed.

In every exchange with the data each lambda gets its own value and slope; the quadratic model between two exchanges is
solved by the same coordinate descent as least squares (Lee, Sun & Saunders 2014; Friedman et al. 2010). One Hessian
serves many lambdas: it is taken where the batch begins and where it ends, interpolated between, bent to the slopes at both
ends of a lambda's last step, and renewed where a step gains too little. An old Hessian costs exchanges and never the
answer: a step is taken only if the objective falls.
Read next: ``block_coordinate.py``, which solves the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap, within
from distlasso.errors import InputError
from distlasso.penalties import Bounds4
from distlasso.solvers.block_coordinate import solve
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import GramForm
from distlasso.solvers.smooth import Curvature, Near, Point, Secant, Smooth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_ROUNDS = 100
_PATIENCE = 4.0  # exchanges that a lambda may still need at its pace before a new Hessian is worth its cost
_PACE = 0.1  # share of the gap that a step is trusted to leave at best
_BACK = (0.5, 0.25, 0.0625)  # lengths tried at once after a step that raised the objective
_RIDGE = 1e-5  # on the diagonal: Hessians come in float32, and collinear columns must not look concave
_SLACK = 0.01  # of the gap that is asked for: how far the objective may seem to rise, because sums are rounded
_MOVED = 0.5  # of the gap that is asked for: what a later refit of the intercept may add to it, at most
_HELD = 3  # Hessians kept
_SHARED = 2  # times that a Hessian near a lambda may be that of a fit beside this one


@dataclass(slots=True)
class _Track:
    """One lambda on its way: an accepted model and the step that is being tried."""

    lam: float
    penalty: Bounds4
    b: Floats
    intercept: float
    at: Point | None = None
    gap: float = np.inf
    step: Floats = field(default_factory=lambda: np.empty(0))
    intercept_step: float = 0.0
    length: float = 1.0  # longest that may be tried next
    backing: bool = False
    last: Secant | None = None  # what the last step has shown
    fresh: bool = False  # a Hessian was taken at this very model
    done: bool = False

    def objective(self) -> float:
        """Objective at the accepted model."""
        return np.inf if self.at is None else float(self.at.value[0]) + self.penalty.value(self.b)


class Shareable(Smooth, Protocol):
    """A loss whose Hessian may be that of a fit beside this one, where both say the same ``near``."""

    def at(
        self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = (), *, near: Near | None = None
    ) -> tuple[Point, list[Curvature]]:
        """Value and slope at models b [S, L], intercept [L]; the Hessian at some of them."""


@final
class ProximalNewton:
    """Solves batches of lambdas one after the other; keeps what one can reuse of the last."""

    def __init__(self) -> None:
        """With nothing of a last one."""
        self._newton = Newton()
        self._hessians: list[tuple[float, Curvature]] = []  # at which lambda, newest last
        self._times: dict[float, int] = {}  # that one was asked for at a lambda

    def forget(self) -> None:
        """Drop the Hessians: they are of another strong set."""
        self._hessians, self._times = [], {}

    def solve(
        self, smooth: Shareable, lams: Floats, penalties: list[Bounds4], b: Floats, intercept: Floats, *, target: float,
        names: Ints,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Minimise loss plus penalty on the strong columns, for every lambda.

        Parameters
        ----------
        smooth : Shareable
            The loss.
        lams, penalties : float64 [L], list of Bounds4
            Strengths, descending, and the penalties there.
        b, intercept : float64 [S, L], [L]
            Starting points.
        target : float
            Gap to reach, absolute, as far as the slope alone tells it.
        names : int64 [S]
            Columns of the strong set, in a numbering that outlives it.

        Returns
        -------
        b, intercept : float64 [S, L], [L]
        """
        tracks = [_Track(float(lam), penalty, b[:, k].copy(), float(intercept[k]))
                  for k, (lam, penalty) in enumerate(zip(lams, penalties, strict=True))]  # fmt: skip
        renew = self._start(smooth, tracks)
        for _ in range(_MAX_ROUNDS):
            moving = [track for track in tracks if not track.done]
            for track in moving:
                self._aim(smooth, track, target, names)
            moving = [track for track in moving if not track.done]
            if not moving:
                break
            renew = self._try(smooth, moving, renew, target)
        return np.stack([track.b for track in tracks], axis=1), np.array([track.intercept for track in tracks])

    def _start(self, smooth: Shareable, tracks: list[_Track]) -> _Track | None:
        """Value and slope where the batch begins; returns the lambda whose Hessian is wanted next."""
        first = tracks[0]
        same = all(np.array_equal(track.b, first.b) and track.intercept == first.intercept for track in tracks)
        asked = tracks[:1] if same else tracks
        b = np.stack([track.b for track in asked], axis=1)
        wanted = (0,) if not self._hessians else ()
        point, hessians = smooth.at(b, np.array([track.intercept for track in asked]), wanted, near=self._mark(first.lam))
        for hessian in hessians:
            self._keep(first.lam, hessian)
        if not self._hessians:
            raise InputError("sums of squares of the columns overflow float32: rescale columns whose values are beyond 1e15")
        for k, track in enumerate(tracks):
            track.at = point.take(0 if same else k)
        return tracks[-1] if len(tracks) > 1 else None

    def _aim(self, smooth: Smooth, track: _Track, target: float, names: Ints) -> None:
        """Find the step of one lambda from its quadratic model, unless it has arrived."""
        if track.backing:
            return
        assert track.at is not None
        hessian = self._hessian(track.lam)
        if track.last is not None:
            hessian = hessian.bent(track.last)
        u, total, value = track.at.gradient[:, 0], float(track.at.total[0]), float(track.at.value[0])
        shift = hessian.cross / hessian.total if smooth.intercept else np.zeros_like(u)
        gram = hessian.without_intercept() if smooth.intercept else hessian.gram.copy()
        gram[np.diag_indices_from(gram)] *= 1.0 + _RIDGE
        slope = u - shift * total
        track.gap = slope_gap(value, slope, track.b, track.penalty, kinked=smooth.kinked)
        # The slope in the intercept is not in the gap. It is refitted later, which moves u_j by at most ``total`` times the
        # deviation of column j (Cauchy-Schwarz) and must not move the gap.
        reach = float(np.abs(track.b) @ np.sqrt(np.maximum(np.diag(gram), 0.0) / hessian.total))
        small = abs(total) <= 1e-3 * np.sqrt(target * hessian.total) and abs(total) * reach <= _MOVED * target
        if track.gap <= target and (small or not smooth.intercept):
            track.done = True
            return
        fit = gram @ track.b
        # The model's own constant only scales its gap: the loss itself stands in.
        yy = 2.0 * value + 2.0 * float(slope @ track.b) + float(track.b @ fit)
        form = GramForm(gram, slope + fit, yy)
        aim = within(max(0.1 * target, 1e-3 * track.gap), value, kinked=smooth.kinked)
        found = solve(form, track.penalty, track.b, target=aim, newton=self._newton, names=names,
                      polish=smooth.kinked).b  # fmt: skip
        track.step = found - track.b
        track.intercept_step = total / hessian.total - float(shift @ track.step) if smooth.intercept else 0.0
        track.length = 1.0

    def _try(
        self, smooth: Shareable, moving: list[_Track], renew: _Track | None, target: float
    ) -> _Track | None:
        """One exchange: look where the steps lead; take those that go down."""
        trials = [(track, track.length * share) for track in moving for share in (_BACK if track.backing else (1.0,))]
        if renew is not None and renew.backing and not renew.done:
            trials.append((renew, 0.0))  # a Hessian where it stands, for the next aim if no step goes down
        b = np.stack([track.b + length * track.step for track, length in trials], axis=1)
        intercept = np.array([track.intercept + length * track.intercept_step for track, length in trials])
        for k, (track, length) in enumerate(trials):
            if length == 1.0:
                continue
            flipped = track.b * b[:, k] < 0
            b[flipped, k] = 0.0
        wanted = next((k for k, (track, length) in enumerate(trials) if track is renew and length in (0.0, 1.0)), None)
        near = None if renew is None or wanted is None else self._mark(renew.lam)
        point, hessians = smooth.at(b, intercept, () if wanted is None else (wanted,), near=near)
        worst, longest = None, _PATIENCE
        for track in moving:
            own = [k for k, (other, _) in enumerate(trials) if other is track]
            rate = min(max(_take(track, own, trials, b, intercept, point, target, kinked=smooth.kinked), _PACE), 0.99)
            if wanted in own and (trials[wanted][1] == 0.0 or not track.backing):  # not where a step was refused
                self._keep(track.lam, hessians[0])
                track.fresh = np.array_equal(track.b, b[:, wanted])
            left = np.log(max(track.gap * rate / target, 1.0)) / -np.log(rate)
            if left > longest and not track.fresh:
                worst, longest = track, left
        return worst

    def _mark(self, lam: float) -> Near | None:
        """What says that the Hessian of another fit will do; where several have been of little use, it will not."""
        time = self._times.get(lam, 0)
        self._times[lam] = time + 1
        return (lam, time) if time < _SHARED else None

    def _keep(self, lam: float, hessian: Curvature) -> None:
        if not (np.isfinite(hessian.gram).all() and hessian.total > 0):
            return
        others = [(at, held) for at, held in self._hessians if at != lam]
        self._hessians = [*others[1 - _HELD :], (lam, hessian)]

    def _hessian(self, lam: float) -> Curvature:
        """Interpolate between the Hessians at the nearest lambdas, in log lambda; outside, the nearest."""
        held = sorted(self._hessians, key=lambda pair: pair[0])
        above = next((k for k, (at, _) in enumerate(held) if at >= lam), None)
        if above is None:
            return held[-1][1]
        if above == 0 or held[above][0] == lam:
            return held[above][1]
        (low, left), (high, right) = held[above - 1], held[above]
        s = float(np.log(lam / low) / np.log(high / low))
        return Curvature(
            (1 - s) * left.gram + s * right.gram, (1 - s) * left.cross + s * right.cross,
            (1 - s) * left.total + s * right.total,
        )  # fmt: skip


def _take(
    track: _Track, own: list[int], trials: list[tuple[_Track, float]], b: Floats, intercept: Floats, point: Point,
    target: float, *, kinked: bool,
) -> float:  # fmt: skip
    """Accept the best trial of a lambda if it is no worse than where it stands; returns how much of the gap it left."""
    before = track.objective()
    values = [float(point.value[k]) + track.penalty.value(b[:, k]) for k in own]
    finite = [v if np.isfinite(v) else np.inf for v in values]
    best = int(np.argmin(finite))
    slack = max(1e-13 * abs(before), _SLACK * target)
    k = own[best]
    if not (finite[best] <= before + slack and np.isfinite(point.gradient[:, k]).all()):
        track.length = trials[own[-1]][1]
        track.backing = True
        # Nothing shorter can be told from standing still.
        track.done = track.length < 1e-9
        return 1.0
    track.fresh = track.fresh and trials[k][1] == 0.0
    assert track.at is not None
    if trials[k][1] > 0.0:
        fall, total = track.at.gradient[:, 0] - point.gradient[:, k], float(track.at.total[0] - point.total[k])
        track.last = Secant(b[:, k] - track.b, float(intercept[k]) - track.intercept, fall, total)
    track.b, track.intercept, track.at = b[:, k].copy(), float(intercept[k]), point.take(k)
    was, track.backing = track.gap, False
    now = slope_gap(float(point.value[k]), point.gradient[:, k], track.b, track.penalty, kinked=kinked)
    return now / was if was > 0 else 0.0
