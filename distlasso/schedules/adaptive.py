"""The adaptive lasso: weights of a first fit, for the whole path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from distlasso.schedules.schedule import Stage, Step, require


@final
@dataclass(frozen=True, slots=True)
class Adaptive:
    """Adaptive lasso (Zou 2006): weights ``|b|^-gamma`` of a first fit, for the whole path.

    Parameters
    ----------
    gamma : float
        Positive exponent.
    init : {"ridge", "ols", "lasso"}
        First fit: ridge; no penalty (least squares, or maximum likelihood), for fewer columns than rows; lasso.
    strength : float, optional
        Its lambda. By default ``p / n`` for ridge, the MAP under normal coefficients that explain half of the variance of
        standardised data; for lasso and squared loss ``sigma sqrt(2 log(p) / n)``, sigma estimated together with the
        coefficients (scaled lasso: Sun & Zhang 2012). Ridge and ``ols`` keep all columns, and hold them while they fit.
    """

    gamma: float = 1.0
    init: str = "ridge"
    strength: float | None = None

    def __post_init__(self) -> None:
        require(self.gamma > 0, f"gamma={self.gamma} of Adaptive must be positive")
        require(self.init in ("ridge", "ols", "lasso"), f"init={self.init!r} is not known: use 'ridge', 'ols' or 'lasso'")
        given = self.strength
        require(given is None or given > 0, f"strength={given} of Adaptive must be a positive lambda")
        require(given is None or self.init != "ols", "init='ols' has no penalty: leave strength out")

    def begin(self, last: Stage) -> Step:
        """First fits, then the path under their weights."""
        step = self._first(last)
        if step is not None:
            return step
        with np.errstate(divide="ignore"):
            return last.then(np.abs(last.b) ** -self.gamma)

    def next(self, last: Stage) -> Step | None:
        """Nothing after the path."""
        return None

    def _first(self, last: Stage) -> Step | None:
        n, p = last.n_rows, last.b.size
        if self.init == "lasso" and self.strength is None:
            return self._scaled_lasso(last)
        if last.number > 0:
            return None
        if self.init == "ols":
            require(p < n, f"init='ols' needs more rows than columns, not {n} and {p}: use init='ridge'")
            return last.then(lam=0.0)
        strength = self.strength if self.strength is not None else p / n
        return last.then(lam=strength, l1_ratio=0.0 if self.init == "ridge" else 1.0)

    def _scaled_lasso(self, last: Stage) -> Step | None:
        require(last.loss == "squared", f"init='lasso' has no noise to scale by under {last.loss} loss: give its strength")
        lam = float(np.sqrt(2.0 * last.value * 2.0 * np.log(max(last.b.size, 2)) / last.n_rows))
        return None if last.is_at(lam, 1e-2) else last.then(lam=lam, l1_ratio=1.0)
