"""The penalty as four numbers per coefficient, which is all that solvers and certificates ever see.

For coefficient b on the original scale of its column the penalty is

    pen(b) = l1 |b| + l2 b^2 / 2    if low <= b <= high, else infinite,

with, for the elastic net of glmnet (Zou & Hastie 2005; Friedman et al. 2010) at strength ``lam``,

    l1 = lam a v s,    l2 = lam (1 - a) v s^2        (a: l1_ratio, v: penalty factor, s: scale of the column).

Read next: ``certificate.py`` (the conjugate at work) and ``kernels/descent.py`` (the prox at work).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_RATIO = 1e-3  # stands in for smaller l1_ratios, so that ridge has a finite grid (as glmnet)


class Bounds4(NamedTuple):
    """The scalar penalty of some columns, four float64 vectors of one length."""

    l1: Floats
    l2: Floats
    low: Floats
    high: Floats

    def take(self, columns: NDArray[np.int64]) -> Bounds4:
        """Restrict to some columns."""
        return Bounds4(self.l1[columns], self.l2[columns], self.low[columns], self.high[columns])

    def value(self, b: Floats) -> float:
        """Penalty of coefficients; infinite outside their bounds."""
        if (b < self.low).any() or (b > self.high).any():
            return np.inf
        return float(self.l1 @ np.abs(b) + 0.5 * (self.l2 @ (b * b)))

    def conjugate(self, u: Floats) -> Floats:
        """Fenchel conjugate per coefficient: sup over b of u b - pen(b), possibly infinite."""
        excess = np.sign(u) * np.maximum(np.abs(u) - self.l1, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            best = np.where(excess == 0.0, 0.0, np.clip(excess / self.l2, self.low, self.high))
            value = excess * best - 0.5 * self.l2 * best * best
        return np.where(excess == 0.0, 0.0, np.where(np.isinf(best), np.inf, value))

    def along(self, t: float, u: Floats) -> tuple[float, float]:
        """First and second derivative in t of the conjugate at t u, summed; between kinks."""
        excess = np.abs(t * u) - self.l1
        beyond = np.flatnonzero(excess > 0.0)
        size, steep, l2, outward = excess[beyond], np.abs(u[beyond]), self.l2[beyond], self._outward(u)[beyond]
        with np.errstate(invalid="ignore"):  # where nothing holds a coefficient back, it is infinite
            soft = size < l2 * outward
        best = outward.copy()
        best[soft] = size[soft] / l2[soft]
        return float(steep @ best), float(np.sum(steep[soft] ** 2 / l2[soft]))

    def kinks(self, u: Floats) -> Floats:
        """Where the slope of the conjugate bends on the way from 0 along ``u``, in no order."""
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.concatenate([self.l1, self.l1 + self.l2 * self._outward(u)])
            return np.asarray(reached / np.abs(np.concatenate([u, u])))

    def _outward(self, u: Floats) -> Floats:
        """How far a coefficient may go to where ``u`` points."""
        return np.where(u > 0, self.high, -self.low)

    def is_free(self) -> NDArray[np.bool_]:
        """Which coefficients carry no penalty; they may have bounds."""
        return np.asarray((self.l1 == 0) & (self.l2 == 0))

    def is_pressed(self, u: Floats, b: Floats) -> NDArray[np.bool_]:
        """Which coefficients are at a bound that the gradient ``u`` presses them against."""
        return np.asarray(((b <= self.low) & (u <= 0)) | ((b >= self.high) & (u >= 0)))


@final
@dataclass(frozen=True, slots=True)
class ElasticNet:
    """Elastic net with penalty factors and bounds, at any strength.

    Parameters
    ----------
    l1_ratio : float
        Mixing ``a`` in [0, 1]; 1 is the lasso, 0 is ridge.
    scale : float64 [p]
        ``s_j``: population standard deviation if standardised, else 1.
    factors : float64 [p]
        ``v_j >= 0``; 0 leaves a column unpenalised.
    low, high : float64 [p]
        Bounds on the original scale, ``low <= 0 <= high``.
    weights : float64 [p], optional
        Multiply the L1 part alone (adaptive elastic net: Zou & Zhang 2009); finite.
    """

    l1_ratio: float
    scale: Floats
    factors: Floats
    low: Floats
    high: Floats
    weights: Floats | None = None

    def at(self, lam: float) -> Bounds4:
        """Return the four vectors at strength ``lam``."""
        weight = lam * self.factors * self.scale
        l1 = self.l1_ratio * weight if self.weights is None else self.l1_ratio * weight * self.weights
        return Bounds4(l1, (1.0 - self.l1_ratio) * weight * self.scale, self.low, self.high)

    def take(self, columns: NDArray[np.int64]) -> ElasticNet:
        """Restrict to some columns."""
        weights = None if self.weights is None else self.weights[columns]
        return ElasticNet(self.l1_ratio, self.scale[columns], self.factors[columns], self.low[columns], self.high[columns], weights)

    def on(self, columns: NDArray[np.int64]) -> list[object]:
        """What it says about some columns, value by value."""
        vectors = (self.scale, self.factors, self.low, self.high, self.weights)
        return [self.l1_ratio, *(None if vector is None else vector[columns] for vector in vectors)]

    def strength(self, gradient: Floats) -> Floats:
        """Smallest lambda, per column, at which a zero coefficient with this gradient stays zero.

        Columns without a penalty never decide a grid: they get 0.
        """
        allowed, shut = np.abs(gradient), np.flatnonzero((self.high <= 0) | (self.low >= 0))
        own = gradient[shut]
        allowed[shut] = np.maximum(np.where(self.high[shut] > 0, own, 0.0), np.where(self.low[shut] < 0, -own, 0.0))
        charge = self.charge()
        return np.divide(allowed, charge, out=np.zeros_like(allowed), where=charge > 0)

    def charge(self) -> Floats:
        """What a gradient is divided by to become a strength, per column."""
        charge = self.factors * self.scale * max(self.l1_ratio, LEAST_RATIO)
        return charge if self.weights is None else charge * self.weights

    def reweighted(self, weights: Floats, l1_ratio: float, reach: Floats) -> ElasticNet:
        """The same penalty under weights of the L1 part: inf excludes a column, 0 leaves it without L1.

        A column that no penalty holds any more is bounded by ``reach`` instead: inside such a box the certificate needs
        no exact orthogonality to the column, and where no solution touches the box it changes nothing.

        Parameters
        ----------
        weights : float64 [p]
            Nonnegative, possibly inf. Unpenalised columns stay as they are.
        l1_ratio : float
            Mixing.
        reach : float64 [p]
            Size of the box.
        """
        charged = self.factors > 0
        excluded = np.isinf(weights) & charged
        bare = (weights == 0) & charged & (l1_ratio == 1.0)
        low = np.where(excluded, 0.0, np.where(bare, np.maximum(self.low, -reach), self.low))
        high = np.where(excluded, 0.0, np.where(bare, np.minimum(self.high, reach), self.high))
        finite = np.where(np.isinf(weights), 1.0, weights)
        return ElasticNet(l1_ratio, self.scale, self.factors, low, high, finite)


@final
@dataclass(frozen=True, slots=True)
class Folded:
    """Slope of a folded concave penalty over that of the lasso: 1 up to ``inner`` lam, then falls to 0 at ``outer`` lam."""

    inner: float
    outer: float

    def slope(self, size: Floats) -> Floats:
        """At sizes of coefficients as they are penalised, over lam."""
        return np.clip((self.outer - size) / (self.outer - self.inner), 0.0, 1.0)


@final
@dataclass(frozen=True, slots=True, eq=False)
class AtLambda:
    """An elastic net at one strength: one convex problem of a fit, itself the key of what is known of its solution."""

    penalty: ElasticNet
    lam: float

    def take(self, columns: NDArray[np.int64]) -> Bounds4:
        """The four vectors of some columns."""
        return self.penalty.take(columns).at(self.lam)

    def confined_to(self, columns: NDArray[np.int64]) -> bool:
        """Whether only some columns may have a coefficient other than zero."""
        open_ = (self.penalty.high > 0) | (self.penalty.low < 0)
        open_[columns] = False
        return not open_.any()


def spelled(batch: Sequence[AtLambda], columns: NDArray[np.int64]) -> list[object]:
    """All that problems take from their penalties on some columns, and which of them have the same one."""
    own = {id(at.penalty): at.penalty for at in batch}
    places = {key: place for place, key in enumerate(own)}
    return [[[at.lam, places[id(at.penalty)]] for at in batch], [penalty.on(columns) for penalty in own.values()]]
