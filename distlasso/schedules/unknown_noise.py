"""A prior whose noise nobody has given, as a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from distlasso.priors import Prior
from distlasso.schedules.schedule import Stage, Step, require


@final
@dataclass(frozen=True, slots=True)
class UnknownNoise:
    """A prior whose noise is estimated with the coefficients: lambda and solution in turn, from the largest down."""

    prior: Prior

    def __repr__(self) -> str:
        return f"prior={self.prior!r} without sigma"

    def begin(self, last: Stage) -> Step:
        """The strength that the residuals of the last solution imply."""
        noise = last.value / last.null_value
        require(noise > 1e-6, f"prior={self.prior!r}: the fit leaves {noise:.1e} of the variance, no noise to tell: give sigma")
        lam = self.prior.lam(2.0 * last.value, last.weight)
        if last.is_at(lam, 1e-4):
            return last.then(l1_ratio=self.prior.l1_ratio)
        return last.then(lam=lam, l1_ratio=self.prior.l1_ratio)

    def next(self, last: Stage) -> Step | None:
        """Nothing after."""
        return None
