"""Consensus ADMM on the strong set: rows stay in their bundles, and a round moves O(|S|) numbers a bundle and lambda.

All lambdas of a batch are right-hand sides of the same round; one that has reached its gap leaves. The gap is taken from
loss and slope at the consensus, which every round brings along, and never from residuals of ADMM. The coordinator owns
consensus, duals and rho; what a bundle keeps, the factorisation of its Hessian, can be made again from the request.
Read next: ``../solvers/consensus_admm.py`` (the iteration), ``../solvers/local_step.py`` (what a bundle does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap
from distlasso.coordinator.problem import Task
from distlasso.coordinator.rounds import Rounds
from distlasso.events import ConsensusRound
from distlasso.penalties import AtLambda, Bounds4
from distlasso.queries import Dual, Look, Query, Value
from distlasso.solvers.consensus_admm import balanced, scaled, start
from distlasso.solvers.local_step import Frame, LocalSlope, LocalStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LAMBDAS = 16  # of a batch: more take fewer rounds for the path, and start further from where they end
_MAX_ROUNDS = 1000
_CHECK = 20  # rounds between looks at rho, and at where the Hessian was taken
_FAR = 1e4  # factor by which rho may leave the curvature
_FLAT = 1e-12  # curvature that counts as some: rows of a loss may all be saturated
_SHORTER = 1e-2  # share by which residuals are shortened to see how fast the dual value falls
_NOBODY: Ints = np.empty(0, dtype=np.int64)


@final
class Consensus:
    """Implements ``general.Restricted``; keeps only how rho compares with the curvature from batch to batch."""

    def __init__(self, task: Task, rounds: Rounds) -> None:
        self._task, self._rounds = task, rounds
        self._share = 1.0

    def admit(self, columns: Ints) -> None:
        """Nothing is kept that depends on the strong set."""

    def solve(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        """Solve a batch from its starting points."""
        if self._rounds.columns.size == 0:
            return b, intercept  # the intercept alone is refitted with the certificate
        penalties = [at.take(self._rounds.columns) for at in batch]
        together = _Batch(self._task, self._rounds, penalties, b, intercept, self._share)
        for number in range(1, _MAX_ROUNDS + 1):
            together.step(target)
            self._task.exchange.listener(together.told(number))
            if not together.moving:
                break
            if number % _CHECK == 0:
                together.renew()
        self._share = together.share
        return together.b, together.intercept


@final
class _Batch:
    """Lambdas that advance together, from a model each; making one takes a round."""

    def __init__(
        self, task: Task, rounds: Rounds, penalties: list[Bounds4], b: Floats, intercept: Floats, share: float
    ) -> None:
        space, columns = task.space, rounds.columns
        self._rounds, self._penalties = rounds, penalties
        self._quadratic = task.exchange.loss.quadratic
        scale = np.sqrt(space.curvature[columns])
        self._frame = Frame(space.remainder[columns], scale, rounds.intercept)
        own = np.append(scale, 1.0) if rounds.intercept else scale
        x = (np.concatenate([b, intercept[None, :]]) if rounds.intercept else b) * own[:, None]

        curvature, slope = self._look(b, intercept)
        self._curvature, self._whole = curvature, curvature / slope.shape[0]
        self._rho = share * self._whole
        self._reference = x[:, x.shape[1] // 2].copy()
        self._tracks = [
            start(scaled(penalty, own), self._rho, x[:, k], slope[:, :, k]) for k, penalty in enumerate(penalties)
        ]
        self.moving = list(range(len(penalties)))
        self.b, self.intercept, self._gaps = b.copy(), intercept.copy(), np.full(len(penalties), np.inf)

    def _look(self, b: Floats, intercept: Floats) -> tuple[float, Floats]:
        """Curvature of the loss, and every bundle's slope where the batch starts; neighbours may start at one model."""
        same = bool((b == b[:, :1]).all() and (intercept == intercept[0]).all())
        asked = slice(0, 1) if same else slice(None)
        found, local = self._rounds.ask([Look(_NOBODY), LocalSlope(self._frame)], b[:, asked], intercept[asked])
        slope = np.broadcast_to(local.slope, (*local.slope.shape[:2], b.shape[1]))
        return max(float(np.mean(found.information[:, 0, 0])), _FLAT), slope

    @property
    def share(self) -> float:
        """Rho, relative to a bundle's share of the curvature where the batch began."""
        return float(self._rho / self._whole)

    def step(self, target: float) -> None:
        """One round: every bundle steps from the consensus; lambdas whose gap is small enough leave."""
        tracks = [self._tracks[k] for k in self.moving]
        b = np.stack([self._coefficients(k) for k in self.moving], axis=1)
        level = np.array([track.z[-1] if self._rounds.intercept else 0.0 for track in tracks])
        told = np.ascontiguousarray(np.stack([track.dual for track in tracks], axis=2))
        queries: list[Query] = [Value(), LocalStep(self._frame, self._rho, self._reference)]
        if not self._quadratic:
            queries.append(Dual(np.full(level.size, 1.0 - _SHORTER)))
        value, local, *dual = self._rounds.ask(queries, b, level, told=told)
        slope, fall = local.slope.sum(axis=0), np.zeros(level.size)
        if dual:
            fall = (value + np.sum(slope * np.stack([track.z for track in tracks], axis=1), axis=0) - dual[0]) / _SHORTER
        arrived = []
        for i, k in enumerate(self.moving):
            gap = self._gap(k, float(value[i]), slope[:, i], b[:, i], float(fall[i]))
            if gap < self._gaps[k]:
                self._gaps[k], self.b[:, k], self.intercept[k] = gap, b[:, i], level[i]
            if gap <= target:
                arrived.append(k)
            else:
                tracks[i].advance(local.step[:, :, i])
        self.moving = [k for k in self.moving if k not in arrived]

    def told(self, number: int) -> ConsensusRound:
        """How the round went."""
        tracks = [self._tracks[k] for k in self.moving] or self._tracks
        apart, adrift = max(track.apart for track in tracks), max(track.adrift for track in tracks)
        return ConsensusRound(number, self._rho, apart, adrift, len(self.moving))

    def renew(self) -> None:
        """Balance rho; other losses take their Hessians where the middle of the batch is now."""
        tracks = [self._tracks[k] for k in self.moving]
        self._rho = min(max(balanced(self._rho, tracks), self._whole / _FAR), self._whole * _FAR)
        for track in tracks:
            if track.rho != self._rho:
                track.retune(self._rho)
        if not self._quadratic:
            self._reference = tracks[len(tracks) // 2].z.copy()

    def _coefficients(self, k: int) -> Floats:
        """Consensus in the units of the columns; rounding may not carry it over a bound."""
        penalty = self._penalties[k]
        b = self._tracks[k].z[: self._frame.scale.size] / self._frame.scale
        return np.clip(b, penalty.low, penalty.high)

    def _gap(self, k: int, value: float, slope: Floats, b: Floats, fall: float) -> float:
        """Gap at the consensus, with a charge for what the slope in the intercept lets a refit move."""
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return np.inf
        columns = self._frame.scale.size
        charge = 0.0
        if self._rounds.intercept:
            reach = float(np.abs(b) @ self._frame.scale) + np.sqrt(2.0 * value / self._curvature)
            charge = abs(float(slope[-1])) * reach
        return slope_gap(value, slope[:columns] * self._frame.scale, b, self._penalties[k], fall) + charge
