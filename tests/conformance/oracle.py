"""Plain numpy in extended precision: the objective, a duality gap and a slow solver that share nothing with the package.

The suite (``test_conformance.py``) and the attacks on the certificate (``test_certificate_attacked.py``) take this
file's word for the truth. Everything is a few lines of textbook algebra on the dense matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Long = np.longdouble
Array = Any


@dataclass(frozen=True)
class Formulas:
    """A loss in three formulas: value above its minimum, negative slope, and min over eta of value + r eta."""

    value: Callable[[Array, Array], Array]
    resid: Callable[[Array, Array], Array]
    dual: Callable[[Array, Array], Array]


def xlogx(x: Array) -> Array:
    return np.where(x > 0, x * np.log(np.where(x > 0, x, 1)), 0)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def huber(delta: float) -> Formulas:
    def value(y: Array, eta: Array) -> Array:
        size = np.abs(y - eta)
        return np.where(size <= delta, size**2 / 2, delta * size - Long(delta) ** 2 / 2)

    def dual(y: Array, r: Array) -> Array:
        return np.where(np.abs(r) <= delta * (1 + 1e-15), r * y - r**2 / 2, -np.inf)

    return Formulas(value, lambda y, eta: np.clip(y - eta, -delta, delta), dual)


SQUARED = Formulas(lambda y, eta: (y - eta) ** 2 / 2, lambda y, eta: y - eta, lambda y, r: r * y - r**2 / 2)
LOGISTIC = Formulas(
    lambda y, eta: y * softplus(-eta) + (1 - y) * softplus(eta) + xlogx(y) + xlogx(1 - y),
    lambda y, eta: y * sigmoid(-eta) - (1 - y) * sigmoid(eta),
    lambda y, r: xlogx(y) + xlogx(1 - y) - xlogx(y - r) - xlogx(1 - y + r),
)
POISSON = Formulas(
    lambda y, eta: np.exp(eta) - y * eta - y + xlogx(y),
    lambda y, eta: y - np.exp(eta),
    lambda y, r: -r - xlogx(y - r) + xlogx(y),
)


class Truth:
    """One problem: loss, data, and the penalty at one lambda as four vectors."""

    def __init__(
        self, formulas: Formulas, X: Array, y: Array, *, lam: float, l1_ratio: float = 1.0, standardize: bool = False,
        fit_intercept: bool = True, sample_weight: Array = None, offset: Array = None, penalty_factors: Array = None,
        bounds: Any = None,
    ) -> None:  # fmt: skip
        self.formulas, self.X = formulas, np.asarray(X, dtype=Long)
        n, p = self.X.shape
        w = np.ones(n) if sample_weight is None else np.asarray(sample_weight)
        used = w > 0
        self.X, self.y = self.X[used], np.asarray(y, dtype=Long)[used]
        self.w = np.asarray(w[used], dtype=Long) / np.asarray(w[used], dtype=Long).sum()
        self.o = np.zeros(self.y.size, dtype=Long) if offset is None else np.asarray(offset, dtype=Long)[used]
        self.intercept = fit_intercept
        mean = self.w @ self.X
        sd = np.sqrt(self.w @ (self.X - mean) ** 2)
        v = np.ones(p) if penalty_factors is None else np.asarray(penalty_factors, dtype=float)
        self.out = (sd <= 1e-12 * np.abs(self.X).max(axis=0)) | np.isinf(v)
        s, v = (sd if standardize else np.ones(p, dtype=Long)), np.where(np.isinf(v), 1.0, v)
        self.l1, self.l2 = lam * l1_ratio * v * s, lam * (1 - l1_ratio) * v * s**2
        low, high = (-np.inf, np.inf) if bounds is None else bounds
        self.low, self.high = np.broadcast_to(low, p).astype(float), np.broadcast_to(high, p).astype(float)
        self.X = self.X - mean if fit_intercept else self.X
        self.mean = mean if fit_intercept else np.zeros(p, dtype=Long)
        self.null = self.o + (self._level() if fit_intercept else 0)
        self.d0 = self.loss(self.null)

    def _level(self) -> Any:
        """The intercept of the null model, by bisection."""

        def slope(level: Any) -> Any:
            return self.w @ self.formulas.resid(self.y, self.o + level)

        low, high = Long(-1), Long(1)
        while slope(low) < 0:
            low *= 2
        while slope(high) > 0:
            high *= 2
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        return (low + high) / 2

    def loss(self, eta: Array) -> Any:
        return self.w @ self.formulas.value(self.y, eta)

    def eta(self, b0: Any, b: Array) -> Array:
        return self.o + (b0 + self.mean @ b) + self.X @ b

    def penalty(self, b: Array) -> Any:
        return self.l1 @ np.abs(b) + self.l2 @ b**2 / 2

    def objective(self, b0: Any, b: Array) -> Any:
        b = np.asarray(b, dtype=Long)
        inside = (b >= self.low) & (b <= self.high) & (~self.out | (b == 0))
        return self.loss(self.eta(Long(b0), b)) + self.penalty(b) if inside.all() else np.inf

    def gap(self, b0: Any, b: Array) -> float:
        """Objective less a dual value, absolute: no solution is further from the optimum than this."""
        b = np.asarray(b, dtype=Long)
        eta = self.eta(Long(b0), b)
        free = (self.l1 == 0) & (self.l2 == 0) & ~self.out
        free &= (np.isinf(self.low) & np.isinf(self.high)) | ((b > self.low) & (b < self.high) & (b != 0))
        refitted = self._newton(np.column_stack([np.ones((self.y.size, int(self.intercept))), self.X[:, free]]), eta)
        r = self.formulas.resid(self.y, refitted)
        u = np.where(free | self.out, 0, self.X.T @ (self.w * r))
        hard = (self.l2 == 0) & (np.abs(u) > self.l1) & np.where(u > 0, np.isinf(self.high), np.isinf(self.low))
        right = np.min(self.l1[hard] / np.abs(u[hard]), initial=Long(1))
        exceeds = np.abs(u) > self.l1

        def dual(t: Any) -> Any:
            return self.w @ (self.formulas.dual(self.y, t * r) - t * r * self.o) - self._conjugate(t * u, hard).sum()

        # Any scale of the residual is a bound; a weak ridge part is better met by a shorter one.
        inside = np.min(self.l1[exceeds] / np.abs(u[exceeds]), initial=right)
        left, end = Long(0), right
        for _ in range(80 if exceeds.any() else 0):
            third = (end - left) / 3
            left, end = (left + third, end) if dual(left + third) < dual(end - third) else (left, end - third)
        return float(self.objective(b0, b) - max(dual(t) for t in (right, inside, left)))

    def best(self) -> tuple[Any, Array]:
        """The solution, by Newton steps whose quadratic models are solved by cyclic coordinate descent."""
        Z = np.column_stack([np.ones((self.y.size, int(self.intercept))), self.X]).astype(float)
        k = Z.shape[1] - self.l1.size
        norm = np.sqrt(self.w.astype(float) @ Z**2)
        norm[norm == 0] = 1.0
        Z = Z / norm
        l1, l2 = (np.concatenate([np.zeros(k), a.astype(float)]) for a in (self.l1, self.l2))
        low, high = (np.concatenate([[end] * k, a * norm[k:]]) for end, a in ((-np.inf, self.low), (np.inf, self.high)))
        low[k:][self.out], high[k:][self.out] = 0.0, 0.0
        l1, l2 = l1 / norm, l2 / norm**2
        at = np.zeros(Z.shape[1], dtype=Long)
        if k:
            at[0] = (self.null - self.o)[0]

        def objective(at: Array) -> Any:
            return self.loss(self.o + Z @ at) + l1 @ np.abs(at) + l2 @ at**2 / 2

        here = objective(at)
        for _ in range(300):
            eta = self.o + Z @ at
            u = np.asarray(Z.T @ (self.w * self.formulas.resid(self.y, eta)), dtype=float)
            H = Z.T @ (Z * np.asarray(self.w * self._curvature(eta), dtype=float)[:, None])
            H[np.diag_indices_from(H)] += 1e-13 * np.trace(H) + 1e-300
            found = _descend(H, u, at.astype(float), (l1, l2, low, high))
            step, length = found - at, Long(1)
            while length > 1e-12:
                moved = np.clip(at + length * step, low, high)
                there = objective(moved)
                if there < here:
                    break
                length /= 2
            else:
                break
            at, here = moved, there
        b = np.clip(at[k:] / norm[k:], self.low, self.high)
        return (at[0] - self.mean @ b if k else Long(0)), b

    def _curvature(self, eta: Array) -> Array:
        """By a central difference of the slope: enough for a Newton step."""
        step = Long(1e-6)
        resid = self.formulas.resid
        slope = np.abs(resid(self.y, eta))
        return np.maximum((resid(self.y, eta - step) - resid(self.y, eta + step)) / (2 * step), 1e-3 * slope + 1e-15)

    def _newton(self, Z: Array, eta: Array) -> Array:
        """Minimise the loss over the span of some columns; returns eta."""
        Z = Z / np.where((Z != 0).any(axis=0), np.sqrt(self.w @ Z**2), 1)
        if not Z.shape[1]:
            return eta
        for _ in range(200):
            here = self.loss(eta)
            score = Z.T @ (self.w * self.formulas.resid(self.y, eta))
            H = np.asarray(Z.T @ (Z * (self.w * self._curvature(eta))[:, None]), dtype=float)
            step, length = np.linalg.lstsq(H, np.asarray(score, dtype=float), rcond=1e-14)[0], Long(1)
            while length > 1e-12 and not self.loss(eta + length * (Z @ step)) <= here:
                length /= 2
            eta = eta + length * (Z @ step)
            if length <= 1e-12 or np.max(np.abs(step)) < 1e-14:
                break
        return eta

    def _conjugate(self, u: Array, hard: Array) -> Array:
        excess = np.where(hard, 0, np.sign(u) * np.maximum(np.abs(u) - self.l1, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            b = np.where(excess == 0, 0, np.clip(excess / self.l2, self.low, self.high))
        return excess * b - self.l2 * b**2 / 2


def _descend(H: Array, u: Array, at: Array, penalty: Any) -> Array:
    """min over x of (x - at)'H(x - at)/2 - u'(x - at) + penalty(x), by cycles, then by equations."""
    l1, l2, low, high = penalty
    x, slope = at.copy(), u.copy()
    for _ in range(200):
        largest = 0.0
        for j in range(x.size):
            z = slope[j] + H[j, j] * x[j]
            new = np.clip(np.sign(z) * max(abs(z) - l1[j], 0.0) / (H[j, j] + l2[j]), low[j], high[j])
            change = new - x[j]
            if change:
                slope -= H[j] * change
                x[j] = new
                largest = max(largest, abs(change) * np.sqrt(H[j, j]))
        if largest <= 1e-15:
            break
    inside = np.flatnonzero(((x != 0) | (l1 == 0)) & (x > low) & (x < high))
    if inside.size:
        A = H[np.ix_(inside, inside)] + np.diag(l2[inside])
        polished = x.copy()
        polished[inside] += np.linalg.lstsq(A, (slope - l1 * np.sign(x) - l2 * x)[inside], rcond=None)[0]
        if (polished * x >= 0).all() and (polished >= low).all() and (polished <= high).all():
            return polished
    return x
