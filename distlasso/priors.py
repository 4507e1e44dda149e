"""Priors on the coefficients: L1 and L2 penalties as the maximum a posteriori (MAP) estimates that they are.

With a noise variance ``sigma^2`` and total weight ``W`` (the number of rows where there are no weights), the negative
log posterior is ``(1/sigma^2) sum_i w_i loss_i - sum_j log p(s_j b_j)``. Times ``sigma^2 / W`` it is the objective of
``fit_path`` at

    Laplace   p(b) ~ exp(-|b| / scale)             lambda = sigma^2 / (W scale),      L1
    Gaussian  p(b) ~ exp(-b^2 / (2 scale^2))       lambda = sigma^2 / (W scale^2),    L2

(Tibshirani 1996, sec. 5; Hoerl & Kennard 1970). Logistic and Poisson loss have no free noise variance: sigma = 1.
Read next: ``penalties.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from distlasso.errors import InputError

_FREE_NOISE = ("squared", "huber")


class Prior(Protocol):
    """A density of the coefficients that is an elastic net at one lambda."""

    @property
    def sigma(self) -> float | None:
        """Standard deviation of the noise; None where it is estimated, or the loss has none."""

    @property
    def l1_ratio(self) -> float:
        """1 for L1, 0 for L2."""

    def lam(self, variance: float, weight: float) -> float:
        """Lambda implied by a noise variance and a total weight."""

    def formula(self) -> str:
        """The same in words."""


@final
@dataclass(frozen=True, slots=True)
class Laplace:
    """Independent Laplace priors on the coefficients, ``p(b) = exp(-|b| / scale) / (2 scale)``: the lasso.

    The prior is on coefficients as they are penalised: of columns scaled to unit deviation if ``standardize``, as they
    stand otherwise. A penalty factor ``v_j`` makes it ``scale / v_j``; bounds at 0 make it exponential.

    Parameters
    ----------
    scale : float
        Mean of ``|b|``; the standard deviation is ``sqrt(2) scale``.
    sigma : float, optional
        Standard deviation of the noise, for squared and Huber loss. By default squared loss estimates it together with
        the coefficients, as the joint MAP under a flat prior on sigma: ``sigma^2 = (1/W) sum_i w_i r_i^2``. That is too
        small where many coefficients fit the noise: give sigma unless rows far outnumber columns. Huber takes 1.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> path = dl.fit_path(X, X @ [1.0, 0, 0], prior=dl.Laplace(0.5, sigma=1.0))
    >>> float(path.lambdas[0])
    0.02
    """

    scale: float
    sigma: float | None = None

    def __post_init__(self) -> None:
        _check(self.scale, self.sigma)

    @property
    def l1_ratio(self) -> float:
        """L1."""
        return 1.0

    def lam(self, variance: float, weight: float) -> float:
        """sigma^2 / (W scale)."""
        return variance / (weight * self.scale)

    def formula(self) -> str:
        """See the module."""
        return "sigma^2 / (W scale)"


@final
@dataclass(frozen=True, slots=True)
class Gaussian:
    """Independent normal priors on the coefficients, with mean 0 and standard deviation ``scale``: ridge.

    The prior is on coefficients as they are penalised: of columns scaled to unit deviation if ``standardize``, as they
    stand otherwise. A penalty factor ``v_j`` divides the variance; bounds truncate it.

    Parameters
    ----------
    scale : float
        Standard deviation of a coefficient.
    sigma : float, optional
        Standard deviation of the noise, as for ``Laplace``.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> path = dl.fit_path(X, X @ [1.0, 0, 0], prior=dl.Gaussian(0.5, sigma=1.0))
    >>> float(path.lambdas[0])
    0.04
    """

    scale: float
    sigma: float | None = None

    def __post_init__(self) -> None:
        _check(self.scale, self.sigma)

    @property
    def l1_ratio(self) -> float:
        """L2."""
        return 0.0

    def lam(self, variance: float, weight: float) -> float:
        """sigma^2 / (W scale^2)."""
        return variance / (weight * self.scale**2)

    def formula(self) -> str:
        """See the module."""
        return "sigma^2 / (W scale^2)"


def noise_variance(prior: Prior, loss: str) -> float | None:
    """Variance that a prior and a loss imply; None where it has to be estimated.

    Raises
    ------
    InputError
        If a noise is given to a loss that has none.
    """
    if loss not in _FREE_NOISE and prior.sigma is not None:
        raise InputError(f"prior={prior!r}: {loss} loss has no noise variance; leave sigma out")
    if prior.sigma is not None:
        return prior.sigma**2
    return None if loss == "squared" else 1.0


def describe(prior: Prior, lam: float, variance: float, *, estimated: bool) -> str:
    """The prior and what it implied, in one line."""
    noise = f"sigma = {np.sqrt(variance):.6g}" + (" (estimated)" if estimated else "")
    return f"{prior!r}: lambda = {prior.formula()} = {lam:.6g}, {noise}"


def _check(scale: float, sigma: float | None) -> None:
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale={scale} is not a positive number: it is the spread of a coefficient")
    if sigma is not None and not (np.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma={sigma} is not a positive number: it is the standard deviation of the noise")
