"""Information criteria along a fitted path: a choice of lambda that costs nothing, since no row is read again.

    AIC   -2 log L + 2 df                              (Akaike 1974)
    BIC   -2 log L + log(n) df                         (Schwarz 1978)
    EBIC  BIC + 2 gamma log binomial(p, nonzeros)      (Chen & Chen 2008)
    GCV   (deviance / n) / (1 - df / n)^2              (Craven & Wahba 1979; for the lasso, Tibshirani 1996)

``df`` is the number of nonzero coefficients, which is unbiased for the lasso with squared loss (Zou, Hastie & Tibshirani
2007), plus one for an intercept; a noise variance is not counted. -2 log L is taken up to what is the same for every lambda:
n log(RSS / n) for squared loss of unknown variance, RSS / variance for a known one, the deviance for logistic and Poisson
loss. n is the number of rows of positive weight, and weights enter the deviance as they were given, as R's ``BIC`` has it.
Read next: ``result.py``, whose ``criterion`` and ``select`` these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from distlasso.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CRITERIA = ("aic", "bic", "ebic", "gcv")


@dataclass(frozen=True, slots=True)
class Fits:
    """What criteria know of the models of a path."""

    loss: str
    mean_loss: Floats  # [k]: loss per weight above its minimum, half the deviance per weight
    nonzeros: Ints  # [k]
    n: int  # rows of positive weight
    weight: float  # their total weight
    p: int  # columns that vary
    intercept: bool

    @property
    def df(self) -> Ints:
        """Degrees of freedom, [k]."""
        return self.nonzeros + int(self.intercept)

    @property
    def deviance(self) -> Floats:
        """Deviance, [k]; for squared loss the residual sum of squares."""
        return np.asarray(2.0 * self.weight * np.maximum(self.mean_loss, 0.0))


def criterion(fits: Fits, name: str, *, gamma: float, variance: float | None) -> Floats:
    """Values of a criterion, [k], smaller is better; infinite where there are as many parameters as rows.

    Raises
    ------
    InputError
        For a criterion that is not known, or a loss that is no likelihood.
    """
    if name not in CRITERIA:
        raise InputError(f"criterion {name!r} is not known: use one of {', '.join(CRITERIA)}")
    if not 0.0 <= gamma <= 1.0:
        raise InputError(f"gamma={gamma} is not in [0, 1]: 0 makes EBIC the BIC, 1 charges most for large p")
    if fits.loss not in ("squared", "logistic", "poisson"):
        raise InputError(f"{fits.loss} loss has no likelihood of known scale, and so no criterion: use cross_validate")
    if variance is not None and (fits.loss != "squared" or name == "gcv"):
        raise InputError("variance= is the noise variance of squared loss, for aic, bic and ebic: leave it out")
    if variance is not None and not (np.isfinite(variance) and variance > 0):
        raise InputError(f"variance={variance} is not a positive number")
    free = 1.0 - fits.df / fits.n
    if name == "gcv":
        return np.where(free > 0, fits.deviance / fits.n / np.where(free > 0, free, 1.0) ** 2, np.inf)
    price = 2.0 if name == "aic" else float(np.log(fits.n))
    value = _fit(fits, variance) + price * fits.df
    if name == "ebic":
        value = value + 2.0 * gamma * _log_binomial(fits.p, fits.nonzeros)
    return np.where(free > 0, value, np.inf)


def _fit(fits: Fits, variance: float | None) -> Floats:
    """-2 log L, up to a constant, [k]."""
    if fits.loss != "squared":
        return fits.deviance
    if variance is not None:
        return fits.deviance / variance
    with np.errstate(divide="ignore"):
        return np.asarray(fits.n * np.log(fits.deviance / fits.n))


def _log_binomial(p: int, k: Ints) -> Floats:
    """log of p over k, [k]."""
    return np.asarray(gammaln(p + 1.0) - gammaln(k + 1.0) - gammaln(p - k + 1.0))
