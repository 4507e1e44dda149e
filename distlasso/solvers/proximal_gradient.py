"""Proximal gradient for any smooth loss, plain or accelerated: the textbook method, reference and fallback.

A step goes against the slope and through the prox of the penalty, in the metric that makes all columns alike,

    b_j <- prox( b_j + u_j / (c m_j) ),   m_j = L h_j,  h_j the mean square of the centred column,

L the largest eigenvalue of the Gram of the columns so scaled, found by power iteration, and c the curvature of the loss
per row. Since columns are centred the intercept is a coordinate of its own, with m = 1. Accelerated, steps start from an
extrapolated point (FISTA: Beck & Teboulle 2009), and momentum is dropped where it points uphill (O'Donoghue & Candes
2015). c starts at the bound of the loss where it has one; a step along which the loss bends more is repeated shorter.
All lambdas of a batch advance in the same exchange, which evaluates the new point and the extrapolated one; a lambda
leaves the batch when its gap is reached. Read next: ``smooth.py``, ``../certificate.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import slope_gap
from distlasso.penalties import Bounds4
from distlasso.solvers.smooth import Smooth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_ROUNDS = 5000
_VECTORS = 4  # of the power iteration: several, so that a small gap in the spectrum does not slow it
_POWER_ROUNDS = 20
_SETTLED = 0.01  # growth of the eigenvalue at which the power iteration ends
_LONGER = 0.5  # c is lowered to this share at most when momentum is dropped
_SHORTER = 2.0  # and raised by this at least when a step is repeated
_LEAST = 1e-13  # of the loss: a smaller gap is rounding
_ROUNDING = 1e-11  # of the loss: smaller differences say nothing about curvature


class Bounded(Smooth, Protocol):
    """Mean loss on the strong columns, and their Gram as an operator."""

    def gram_times(self, v: Floats) -> Floats:
        """X' W X v over the centred columns, [S, k]."""


@dataclass(frozen=True, slots=True)
class _Metric:
    """Metric and penalty of the coefficients with the intercept behind them."""

    m: Floats  # [S + 1, 1]
    l1: Floats  # [S + 1, L]
    l2: Floats
    low: Floats
    high: Floats

    def prox(self, z: Floats, u: Floats, c: Floats, own: Ints) -> Floats:
        """Step from z against the slope -u for the lambdas ``own``."""
        scale = c * self.m
        v = z + u / scale
        shrunk = np.sign(v) * np.maximum(np.abs(v) - self.l1[:, own] / scale, 0.0)
        return np.asarray(np.clip(shrunk / (1.0 + self.l2[:, own] / scale), self.low[:, own], self.high[:, own]))

    def square(self, v: Floats) -> Floats:
        """Squared length of every column, [L]."""
        return np.asarray(np.sum(self.m * v * v, axis=0))


@dataclass(slots=True)
class _State:
    """All lambdas of a batch; a column of every array is one of them."""

    x: Floats  # [S + 1, L]: accepted
    y: Floats  # where the next step starts
    u: Floats  # negative slope there
    value: Floats  # [L]: loss there
    t: Floats  # [L]: grows with momentum
    c: Floats  # [L]: curvature that steps assume
    bend: Floats  # [L]: largest curvature met since momentum was dropped

    def take(self, own: NDArray[np.bool_]) -> _State:
        """Some of the lambdas."""
        return _State(self.x[:, own], self.y[:, own], self.u[:, own], self.value[own],
                      self.t[own], self.c[own], self.bend[own])  # fmt: skip


@final
class ProximalGradient:
    """Solves batches of lambdas one after the other; keeps the eigenvectors that one can reuse of the last."""

    def __init__(self, *, accelerated: bool) -> None:
        self._accelerated = accelerated
        self._vectors = np.empty((0, _VECTORS))
        self._eigenvalue: float | None = None

    def admit(self, count: int) -> None:
        """``count`` columns have come behind the others: their Gram is a new one."""
        new = np.random.default_rng(self._vectors.shape[0]).standard_normal((count, _VECTORS))
        self._vectors, self._eigenvalue = np.concatenate([self._vectors, new]), None

    def solve(
        self, smooth: Bounded, penalties: list[Bounds4], b: Floats, intercept: Floats, *, target: float,
        columns: Floats, curvature: float,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Minimise loss plus penalty on the strong columns, for every lambda.

        Parameters
        ----------
        smooth : Bounded
            The loss.
        penalties : list of Bounds4
            The penalty at each lambda.
        b, intercept : float64 [S, L], [L]
            Starting points.
        target : float
            Gap to reach, absolute, as far as the slope alone tells it.
        columns : float64 [S]
            Mean square of each centred column.
        curvature : float
            What to assume of the loss per row at first: its bound, or a typical value where it has none.

        Returns
        -------
        b, intercept : float64 [S, L], [L]
        """
        deviation = np.sqrt(columns)
        metric = _metric(penalties, self._largest(smooth, columns) * columns)
        z = np.concatenate([b, intercept[None, :]])
        value, u = _ask(smooth, z)
        ones = np.ones(value.size)
        state = _State(z.copy(), z.copy(), u, value, ones, curvature * ones, 0.0 * ones)
        own = np.arange(value.size)  # lambdas that are still moving
        own, state = self._leave(smooth, penalties, own, state, (z, value, u), deviation, target)
        for _ in range(_MAX_ROUNDS):
            if own.size == 0:
                break
            at = self._advance(smooth, metric, own, state)
            z[:, own] = state.x
            own, state = self._leave(smooth, penalties, own, state, at, deviation, target)
        return z[:-1], z[-1]

    def _advance(self, smooth: Bounded, metric: _Metric, own: Ints, s: _State) -> tuple[Floats, Floats, Floats]:
        """One exchange: evaluate a step of every lambda and the point after it; take it where the loss bends as assumed.

        Returns the new points, and loss and slope there; what was not taken has an infinite loss.
        """
        new = metric.prox(s.y, s.u, s.c, own)
        uphill = np.sum(metric.m * (s.y - new) * (new - s.x), axis=0) > 0
        t = np.where(uphill, 1.0, s.t)
        after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        share = (t - 1.0) / after if self._accelerated else np.zeros_like(t)
        ahead = new + share * (new - s.x)
        values, slopes = _ask(smooth, np.concatenate([new, ahead[:, share > 0]], axis=1))
        value, u = values[: own.size], slopes[:, : own.size]
        value_ahead, u_ahead = value.copy(), u.copy()
        value_ahead[share > 0], u_ahead[:, share > 0] = values[own.size :], slopes[:, own.size :]

        bend = _bend(metric, new - s.y, (s.u, u), (s.value, value))
        taken = bend <= s.c * (1.0 + 1e-6)
        lost = taken & ~(np.isfinite(value_ahead) & np.isfinite(u_ahead).all(axis=0))
        ahead[:, lost], u_ahead[:, lost], value_ahead[lost] = new[:, lost], u[:, lost], value[lost]
        s.x = np.where(taken, new, s.x)
        s.y, s.u, s.value = np.where(taken, ahead, s.y), np.where(taken, u_ahead, s.u), np.where(taken, value_ahead, s.value)
        s.t = np.where(taken, np.where(lost, 1.0, after), s.t)
        peak, dropped = np.maximum(s.bend, bend), taken & uphill
        shorter = np.clip(bend, _SHORTER * s.c, _SHORTER**4 * s.c)
        s.c = np.where(dropped, np.maximum(_LONGER * s.c, peak), np.where(taken, s.c, shorter))
        s.bend = np.where(dropped, 0.0, np.where(taken, peak, s.bend))
        return new, np.where(taken, value, np.inf), u

    def _leave(
        self, smooth: Bounded, penalties: list[Bounds4], own: Ints, s: _State, at: tuple[Floats, Floats, Floats],
        deviation: Floats, target: float,
    ) -> tuple[Ints, _State]:  # fmt: skip
        """Let go of the lambdas that have reached the gap."""
        z, value, u = at
        moving = np.ones(own.size, dtype=np.bool_)
        # The slope in the intercept is not in the gap. It is refitted later, which moves u_j by about ``total`` times the
        # deviation of column j at most (Cauchy-Schwarz) and must not move the gap.
        total, reach = np.abs(u[-1]), deviation @ np.abs(z[:-1])
        level = (total <= 1e-3 * np.sqrt(target * s.c)) & (total * reach <= 0.1 * target)
        for k in np.flatnonzero(np.isfinite(value) & level):
            enough = max(target, _LEAST * float(value[k]))
            gap = slope_gap(float(value[k]), u[:-1, k], z[:-1, k], penalties[own[k]], kinked=smooth.kinked)
            moving[k] = gap > enough
        return own[moving], s.take(moving)

    def _largest(self, smooth: Bounded, columns: Floats) -> float:
        """Largest eigenvalue of the scaled Gram, by power iteration with several vectors (Rayleigh & Ritz)."""
        if self._eigenvalue is not None or columns.size == 0:
            return self._eigenvalue or 1.0
        root, found = np.sqrt(columns)[:, None], 0.0
        for _ in range(_POWER_ROUNDS):
            basis, _ = np.linalg.qr(self._vectors)
            self._vectors[:, : basis.shape[1]] = 0.0
            image = smooth.gram_times(basis / root) / root
            last, found = found, float(np.linalg.eigvalsh(basis.T @ image)[-1])
            self._vectors[:, : basis.shape[1]] = image
            if found <= last * (1.0 + _SETTLED) or columns.size <= _VECTORS:
                break
        self._eigenvalue = found * (1.0 + _SETTLED)
        return self._eigenvalue


def _metric(penalties: list[Bounds4], m: Floats) -> _Metric:
    def stack(name: str, last: float) -> Floats:
        vectors = np.stack([getattr(penalty, name) for penalty in penalties], axis=1)
        return np.concatenate([vectors, np.full((1, vectors.shape[1]), last)])

    return _Metric(np.append(m, 1.0)[:, None], stack("l1", 0.0), stack("l2", 0.0), stack("low", -np.inf), stack("high", np.inf))


def _ask(smooth: Bounded, z: Floats) -> tuple[Floats, Floats]:
    """One exchange: loss [L] and its negative slope [S + 1, L]."""
    point, _ = smooth.at(np.ascontiguousarray(z[:-1]), z[-1].copy())
    total = point.total if smooth.intercept else np.zeros_like(point.total)
    return point.value, np.concatenate([point.gradient, total[None, :]])


def _bend(metric: _Metric, step: Floats, slopes: tuple[Floats, Floats], values: tuple[Floats, Floats]) -> Floats:
    """Curvature of the loss along a step, relative to the metric, [L]; infinite where the loss is.

    Once from the slopes at both ends, once from the rise of the loss above its tangent: they agree for a quadratic. The
    second guards against curvature that falls along the step, and drowns in rounding once steps are short (Becker,
    Candes & Grant 2011, sec. 5.3).
    """
    (u, u_new), (value, value_new) = slopes, values
    size = np.where((step == 0).all(axis=0), np.inf, metric.square(step))
    with np.errstate(invalid="ignore", over="ignore"):
        above = value_new - value + np.sum(u * step, axis=0)
        bend = np.sum((u - u_new) * step, axis=0) / size
        bend = np.where(np.abs(above) > _ROUNDING * value, np.maximum(bend, 2.0 * above / size), bend)
    return np.where(np.isfinite(value_new) & np.isfinite(bend), bend, np.inf)
