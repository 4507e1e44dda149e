"""Consensus ADMM for one lambda, on the coordinator: agreement, duals and penalty parameter; no data in sight.

Every bundle i of rows has its own copy x_i of the coefficients, and all are to agree on z (Boyd et al. 2011, sec. 7.1).
With scaled duals u_i, N bundles and w_i = z + u_i, a round is

    z   = prox of pen / (N rho) at the mean of the w_i       exact zeros come from here
    x_i = argmin f_i(x) + rho/2 |x - z + u_i|^2              the bundle's part, ``local_step.py``
    w_i = w_i + a (x_i - z)                                  over-relaxed by a

which is Douglas-Rachford splitting on the w_i, a fixed-point iteration w <- w + F(w) with a non-expansive map. On the
signs of the solution it is affine for squared loss and nearly so for others, which is where Anderson mixing of the last
few iterates is worth most: it takes a third of the rounds off where rho is good and two thirds where it is not, and needs
no more from the data. It is safeguarded: where F has grown too long, mixing is undone by the plain step it replaced.

The dual of a bundle at the optimum is its own slope there, u_i = slope_i / rho. So a warm start is a model and one round
that asks every bundle for its slope: nothing else has to survive a batch of lambdas. Read next: ``local_step.py``;
``../coordinator/consensus.py``, which runs the rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.penalties import Bounds4

Floats = NDArray[np.float64]

_RELAX = 1.6
_MEMORY = 10
_GROWN = 2.0  # length of F, relative to the shortest since mixing began, beyond which mixing is undone
_RIDGE = 1e-10  # relative to the steps: where F stands still, its changes are rounding and say nothing
_REACH = 100.0  # length of a mixed step, relative to the plain one
_BALANCED = 2.0  # factor by which rho may be off
_LEAP = 5.0  # factor by which it changes at most


def scaled(penalty: Bounds4, scale: Floats) -> Bounds4:
    """Penalty of coefficients times ``scale``; coordinates behind those of the penalty are left free."""
    extra = scale.size - penalty.l1.size

    def with_rest(values: Floats, rest: float) -> Floats:
        return np.append(values, np.full(extra, rest))

    return Bounds4(
        with_rest(penalty.l1, 0.0) / scale, with_rest(penalty.l2, 0.0) / scale**2,
        with_rest(penalty.low, -np.inf) * scale, with_rest(penalty.high, np.inf) * scale,
    )  # fmt: skip


def prox(v: Floats, curvature: float, penalty: Bounds4) -> Floats:
    """Minimise curvature (z - v)^2 / 2 + pen(z), coordinate by coordinate."""
    pulled = curvature * v
    shrunk = np.sign(pulled) * np.maximum(np.abs(pulled) - penalty.l1, 0.0)
    return np.asarray(np.clip(shrunk / (curvature + penalty.l2), penalty.low, penalty.high))


@final
@dataclass(slots=True)
class Mixing:
    """Anderson mixing of a fixed-point iteration w <- w + F(w) (Walker & Ni 2011, type II), safeguarded."""

    steps: Floats = field(default_factory=lambda: np.empty((0, 0)))  # [k, size]: last changes of w, newest last
    bends: Floats = field(default_factory=lambda: np.empty((0, 0)))  # [k, size]: changes of F
    last: tuple[Floats, Floats] | None = None  # w and F
    shortest: float = np.inf  # length of F

    def next(self, w: Floats, f: Floats) -> Floats:
        """The next iterate, from F at this one."""
        length = float(np.linalg.norm(f))
        if self.last is not None:
            if not length <= _GROWN * self.shortest:
                plain = self.last[0] + self.last[1]
                self.forget()
                return np.asarray(plain)
            self.steps = _remember(self.steps, w - self.last[0])
            self.bends = _remember(self.bends, f - self.last[1])
        self.last, self.shortest = (w, f), min(length, self.shortest)
        return np.asarray(w + f - self._correction(f.ravel()).reshape(w.shape))

    def forget(self) -> None:
        """Start anew."""
        self.steps, self.bends, self.last, self.shortest = np.empty((0, 0)), np.empty((0, 0)), None, np.inf

    def _correction(self, f: Floats) -> Floats:
        """What least squares takes off the plain step, so that F vanishes as far as the last changes of F tell."""
        if not self.bends.size:
            return np.zeros_like(f)
        gram = self.bends @ self.bends.T
        gram[np.diag_indices_from(gram)] += _RIDGE * np.sum(self.steps * self.steps, axis=1)
        size = np.sqrt(np.maximum(np.diag(gram), 1e-300))
        share = np.linalg.lstsq(gram / np.outer(size, size), self.bends @ f / size, rcond=1e-13)[0] / size
        found = share @ self.steps + share @ self.bends
        return np.asarray(found * min(1.0, _REACH * float(np.linalg.norm(f)) / max(float(np.linalg.norm(found)), 1e-300)))


def _remember(held: Floats, new: Floats) -> Floats:
    """The last few of a series."""
    return np.concatenate([held[1 - _MEMORY :], new.reshape(1, -1)]) if held.size else new.reshape(1, -1)


@final
@dataclass(slots=True)
class Track:
    """One lambda on its way."""

    penalty: Bounds4  # in the coordinates of the consensus
    rho: float
    w: Floats  # [bundles, S + 1]: consensus plus scaled dual
    z: Floats = field(default_factory=lambda: np.empty(0))  # [S + 1]: the consensus
    mixing: Mixing = field(default_factory=Mixing)
    apart: float = 0.0  # how far the bundles are from agreement, relative to z
    adrift: float = 0.0  # how far z still moves, relative to the duals

    def __post_init__(self) -> None:
        self.z = self._agree(self.w)

    @property
    def dual(self) -> Floats:
        """Scaled duals of the bundles, [bundles, S + 1]."""
        return self.w - self.z

    def advance(self, step: Floats) -> None:
        """Take the bundles' steps x_i - z, [bundles, S + 1]."""
        f = _RELAX * step
        ahead = self._agree(self.w + f)
        bundles = np.sqrt(self.w.shape[0])
        self.apart = float(np.linalg.norm(step) / max(bundles * np.linalg.norm(self.z), 1e-300))
        self.adrift = float(bundles * np.linalg.norm(ahead - self.z) / max(np.linalg.norm(self.dual), 1e-300))
        self.w = self.mixing.next(self.w, f)
        self.z = self._agree(self.w)

    def retune(self, rho: float) -> None:
        """Go on with another rho from the same consensus and the same unscaled duals."""
        self.w, self.rho = self.z + self.dual * (self.rho / rho), rho
        self.z = self._agree(self.w)
        self.mixing.forget()

    def _agree(self, w: Floats) -> Floats:
        return prox(w.mean(axis=0), w.shape[0] * self.rho, self.penalty)


def start(penalty: Bounds4, rho: float, z: Floats, slope: Floats) -> Track:
    """Begin at a model z [S + 1] with the duals that belong to the bundles' slopes [bundles, S + 1] there.

    Their sum is moved to where z is the consensus, so that the first round looks at z itself and no step is taken without
    knowing how the loss bends.
    """
    total = slope.sum(axis=0)
    return Track(penalty, rho, z + (slope + (_subgradient(penalty, z, total) - total) / len(slope)) / rho)


def _subgradient(penalty: Bounds4, z: Floats, slope: Floats) -> Floats:
    """The subgradient of the penalty at z, bounds included, that is nearest to a slope."""
    inner = np.where(z == 0.0, np.clip(slope, -penalty.l1, penalty.l1), np.sign(z) * penalty.l1 + penalty.l2 * z)
    inner = np.where(z >= penalty.high, np.maximum(slope, inner), inner)
    return np.where(z <= penalty.low, np.minimum(slope, inner), inner)


def balanced(rho: float, tracks: list[Track]) -> float:
    """Rho at which disagreement and drift would be alike, relative to what they are of (He et al. 2000; Wohlberg 2017)."""
    apart = float(np.sqrt(sum(track.apart**2 for track in tracks)))
    adrift = float(np.sqrt(sum(track.adrift**2 for track in tracks)))
    if not (apart > 0 and adrift > 0):
        return rho
    factor = float(np.sqrt(apart / adrift))
    return rho if 1.0 / _BALANCED <= factor <= _BALANCED else rho * min(max(factor, 1.0 / _LEAP), _LEAP)
