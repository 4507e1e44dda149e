"""Losses: negative log-likelihoods per row, acting on arrays [rows, models].

A loss is one small final class; passes, solvers and the certificate see only its methods. A new one is one more class
here and its name in ``LOSSES``. Every value is taken above the loss's own minimum over eta, so that a perfect fit costs
nothing and D0 is half the null deviance per weight. Read next: ``queries.py`` (who calls it in a pass) and
``certificate.py`` (who needs its conjugate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, logit, xlog1py

from distlasso.errors import InputError

Floats = NDArray[np.float64]

_FAR = 300.0  # e^300, even squared, is still a number: beyond it a rate is held, and a step refused

_BEND = 1e-3  # curvature of a row, relative to its slope, below which a Newton step would leap into the blue


class Loss(Protocol):
    """What a fit needs of a loss; ``y`` is [rows, 1], ``eta`` and ``resid`` [rows, models]."""

    @property
    def name(self) -> str:
        """Name as users write it."""

    @property
    def quadratic(self) -> bool:
        """Whether the curvature is one everywhere, so that a Newton step is exact."""

    @property
    def steepest(self) -> float:
        """Largest curvature anywhere; infinite where there is none."""

    @property
    def kinked(self) -> bool:
        """Whether the curvature vanishes on an interval, so that shortening a residual costs dual value in proportion."""

    def target(self, y: Floats, weight: Floats, *, intercept: bool) -> Floats:
        """Return y [n] as the loss needs it, or say which value cannot be used."""

    def value(self, y: Floats, eta: Floats) -> Floats:
        """Loss less its minimum over eta."""

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """Negative derivative in eta."""

    def curvature(self, y: Floats, eta: Floats) -> Floats:
        """Second derivative in eta, or a positive stand-in where it vanishes against the slope."""

    def dual(self, y: Floats, resid: Floats) -> Floats:
        """min over eta of loss + resid eta, less the minimum of the loss; -inf outside the domain."""

    def link(self, mean: float) -> float:
        """Intercept whose fit without columns and offset has this mean."""

    def mean(self, eta: Floats) -> Floats:
        """Response on the scale of y."""


@final
@dataclass(frozen=True, slots=True)
class Squared:
    """Squared loss, 1/2 (y - eta)^2: the Gaussian negative log-likelihood up to constants."""

    name: str = "squared"
    quadratic: bool = True
    kinked: bool = False
    steepest: float = 1.0

    def target(self, y: Floats, weight: Floats, *, intercept: bool) -> Floats:
        """Any finite y."""
        return y

    def value(self, y: Floats, eta: Floats) -> Floats:
        """1/2 (y - eta)^2."""
        return 0.5 * np.square(y - eta)

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """y - eta."""
        return y - eta

    def curvature(self, y: Floats, eta: Floats) -> Floats:
        """1."""
        return np.ones_like(eta)

    def dual(self, y: Floats, resid: Floats) -> Floats:
        """resid y - 1/2 resid^2, at eta = y - resid."""
        return resid * y - 0.5 * resid * resid

    def link(self, mean: float) -> float:
        """The mean itself."""
        return mean

    def mean(self, eta: Floats) -> Floats:
        """Return eta."""
        return eta


@final
@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic loss, log(1 + e^eta) - y eta: the Bernoulli negative log-likelihood, y in [0, 1]."""

    name: str = "logistic"
    quadratic: bool = False
    kinked: bool = False
    steepest: float = 0.25

    def target(self, y: Floats, weight: Floats, *, intercept: bool) -> Floats:
        """Classes 0 and 1 (or -1 and 1), or proportions; both classes must occur where there is an intercept."""
        if np.isin(y, (-1.0, 1.0)).all() and (y == -1.0).any():
            y = (y + 1.0) / 2.0
        bad = np.flatnonzero((y < 0) | (y > 1))
        if bad.size:
            raise InputError(
                f"y has {y[bad[0]]:g} in row {bad[0]}: logistic loss needs classes 0 and 1 (or -1 and 1), or proportions"
            )
        used = y[weight > 0]
        if intercept and (used == used[0]).all() and used[0] in (0.0, 1.0):
            raise InputError(f"y is {used[0]:g} in every row: logistic loss with an intercept needs both classes")
        return y

    def value(self, y: Floats, eta: Floats) -> Floats:
        """log(1 + e^eta) - y eta - H(y), H the binary entropy; for classes, log(1 + e^((1 - 2y) eta))."""
        away = (1.0 - 2.0 * y) * eta
        value = np.exp(-np.abs(away))
        np.log1p(value, out=value)  # in place: to fill fresh memory takes as long as the arithmetic
        value += np.maximum(away, 0.0, out=away)
        rows = np.flatnonzero((y > 0.0) & (y < 1.0))
        if rows.size:
            value[rows] = _divergence(y[rows], eta[rows])
        return np.asarray(value)

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """y - mu, mu = 1 / (1 + e^-eta)."""
        return np.asarray(y - self.mean(eta))

    def curvature(self, y: Floats, eta: Floats) -> Floats:
        """mu (1 - mu), or the stand-in for a row that is far on the wrong side."""
        mu = self.mean(eta)
        return np.maximum(mu * (1.0 - mu), _BEND * np.abs(y - mu))

    def dual(self, y: Floats, resid: Floats) -> Floats:
        """H(mu) - H(y) at mu = y - resid in [0, 1]."""
        mu = y - resid
        value = entr(mu) + entr(1.0 - mu)
        rows = np.flatnonzero((y > 0.0) & (y < 1.0))
        if rows.size:
            inner, r = y[rows], resid[rows]
            value[rows] = r * logit(inner) - _relative(inner, -r) - _relative(1.0 - inner, r)
        return np.asarray(value)

    def link(self, mean: float) -> float:
        """log(mean / (1 - mean))."""
        return float(logit(mean))

    def mean(self, eta: Floats) -> Floats:
        """1 / (1 + e^-eta), the probability of class 1."""
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-eta)))


@final
@dataclass(frozen=True, slots=True)
class Poisson:
    """Poisson loss with log link, e^eta - y eta, y >= 0."""

    name: str = "poisson"
    quadratic: bool = False
    kinked: bool = False
    steepest: float = float("inf")

    def target(self, y: Floats, weight: Floats, *, intercept: bool) -> Floats:
        """Nonnegative counts, not all zero where there is an intercept."""
        bad = np.flatnonzero(y < 0)
        if bad.size:
            raise InputError(f"y has {y[bad[0]]:g} in row {bad[0]}: Poisson loss needs counts, none below 0")
        if intercept and not y[weight > 0].any():
            raise InputError("y is 0 in every row: Poisson loss with an intercept needs at least one event")
        return y

    def value(self, y: Floats, eta: Floats) -> Floats:
        """e^eta - y eta - (y - y log y); y (e^d - 1 - d), d = eta - log y, where y > 0."""
        some = y > 0.0
        d = np.minimum(eta - np.log(np.where(some, y, 1.0)), _FAR)
        value = np.empty_like(d)
        np.subtract(np.expm1(d, where=some, out=value), d, where=some, out=value)
        np.multiply(y, value, where=some, out=value)
        return np.exp(d, where=~some, out=value)

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """y - mu, mu = e^eta."""
        return np.asarray(y - self.mean(eta))

    def curvature(self, y: Floats, eta: Floats) -> Floats:
        """Return mu, or the stand-in for a row that is far below its count."""
        mu = self.mean(eta)
        return np.maximum(mu, _BEND * np.abs(y - mu))

    def dual(self, y: Floats, resid: Floats) -> Floats:
        """(mu - mu log mu) - (y - y log y) at mu = y - resid >= 0."""
        some = np.where(y > 0.0, y, 1.0)
        return np.asarray(np.where(y > 0.0, resid * np.log(some) - _relative(some, -resid), entr(-resid) - resid))

    def link(self, mean: float) -> float:
        """log(mean)."""
        return float(np.log(mean))

    def mean(self, eta: Floats) -> Floats:
        """e^eta, the expected count."""
        return np.asarray(np.exp(np.minimum(eta, _FAR)))


@final
@dataclass(frozen=True, slots=True)
class Huber:
    """Huber loss: 1/2 (y - eta)^2 where |y - eta| <= delta, else delta |y - eta| - delta^2 / 2 (Huber 1964).

    Parameters
    ----------
    delta : float
        Residual, in units of y, from which on the loss grows linearly.
    """

    delta: float = 1.35
    name: str = "huber"
    quadratic: bool = False
    kinked: bool = True
    steepest: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.delta) and self.delta > 0):
            raise InputError(f"delta={self.delta} is not a positive number: it is a residual in units of y")

    def target(self, y: Floats, weight: Floats, *, intercept: bool) -> Floats:
        """Any finite y."""
        return y

    def value(self, y: Floats, eta: Floats) -> Floats:
        """See the class."""
        size = np.abs(y - eta)
        inner = np.minimum(size, self.delta)
        return inner * (size - 0.5 * inner)

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """y - eta, clipped to [-delta, delta]."""
        return np.clip(y - eta, -self.delta, self.delta)

    def curvature(self, y: Floats, eta: Floats) -> Floats:
        """1 inside; outside, where it vanishes, a small share of delta / |y - eta|, the curvature of a majoriser."""
        size = np.abs(y - eta)
        return np.where(size <= self.delta, 1.0, 0.01 * self.delta / np.maximum(size, self.delta))

    def dual(self, y: Floats, resid: Floats) -> Floats:
        """resid y - 1/2 resid^2 where |resid| <= delta."""
        inside = np.abs(resid) <= self.delta * (1.0 + 1e-15)
        return np.where(inside, resid * y - 0.5 * resid * resid, -np.inf)

    def link(self, mean: float) -> float:
        """The mean: a start only, since the null model is an M-estimate."""
        return mean

    def mean(self, eta: Floats) -> Floats:
        """Return eta."""
        return eta


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (Squared(), Logistic(), Poisson(), Huber())}


def _divergence(y: Floats, eta: Floats) -> Floats:
    """Logistic loss above its minimum for 0 < y < 1, in digits of its own size: a difference of logarithms has lost them."""
    d = eta - logit(y)
    near = np.clip(d, -1.0, 1.0)
    far = np.logaddexp(0.0, eta) - y * eta - entr(y) - entr(1.0 - y)
    return np.asarray(np.where(d == near, np.log1p(y * np.expm1(near)) - y * near, far))


def _relative(y: Floats, change: Floats) -> Floats:
    """m log(m / y) - m + y at m = y + change, y > 0, in digits of its own size; infinite where m < 0."""
    m = y + change
    return np.asarray(np.where(m < 0.0, np.inf, xlog1py(m, np.maximum(change / y, -1.0)) - change))


def null_intercept(loss: Loss, y: Floats, weight: Floats, offset: Floats | None) -> float:
    """Intercept whose residuals sum to zero beside an offset, to a few digits.

    Bracketed, since Newton steps from afar overflow or crawl; the sum falls as the intercept grows.
    """

    def slope(level: float) -> float:
        return float(weight @ loss.residual(y, np.full(y.size, level) if offset is None else offset + level))

    start = loss.link(float(weight @ y)) - (0.0 if offset is None else float(weight @ offset))
    low = high = start
    width, enough = 1.0, 1e-9 * float(weight @ np.abs(loss.residual(y, np.zeros(y.size))))
    while slope(low) < -enough:
        low, width = low - width, 2.0 * width
    while slope(high) > enough:
        high, width = high + width, 2.0 * width
    for end in (low, high):  # at neither need the sum have the sign that a bracket wants: far from all rows it is rounding only
        if abs(slope(end)) <= enough:
            return end
    from scipy.optimize import brentq  # a third of the time that importing this package takes, for few fits

    return float(brentq(slope, low, high, rtol=1e-6))


def as_loss(loss: str | Loss) -> Loss:
    """Return a loss by name, or the loss itself.

    Raises
    ------
    InputError
        For a name that is not known.
    """
    if not isinstance(loss, str):
        if type(loss) not in {type(known) for known in LOSSES.values()}:
            raise InputError(f"loss={loss!r} is not a loss: use one of {', '.join(sorted(LOSSES))}, or dl.Huber(delta)")
        return loss
    if loss not in LOSSES:
        raise InputError(f"loss={loss!r} is not known: use one of {', '.join(sorted(LOSSES))}")
    return LOSSES[loss]
