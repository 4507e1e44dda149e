"""The relaxed lasso: less shrinkage on what the lasso selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from distlasso.coordinator.frozen import Frozen
from distlasso.schedules.schedule import Schedule, Stage, Step, require

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@final
@dataclass(frozen=True, slots=True)
class Relaxed:
    """Relaxed lasso: less shrinkage on what the lasso selected, at every lambda.

    Parameters
    ----------
    gamma : float, optional
        glmnet's: this share of the lasso's coefficients, the rest of those without any penalty on the same support
        (Hastie, Tibshirani & Tibshirani 2020). 1 is the lasso. By default 0 for a path; ``cross_validate`` chooses it.
    phi : float, optional
        Meinshausen's (2007): the lasso on the support at ``phi lam``. Instead of gamma.
    """

    gamma: float | None = None
    phi: float | None = None

    def choices(self) -> tuple[Schedule, ...]:
        """What a cross-validation chooses from: glmnet's five shares where none is given."""
        return tuple(Relaxed(share) for share in _SHARES) if self.gamma is None and self.phi is None else (self,)

    def frozen(self) -> Frozen:
        """One refit, mixed with the lasso."""
        return Frozen(self.phi or 0.0, self.gamma or 0.0)

    def __post_init__(self) -> None:
        require(self.gamma is None or self.phi is None, "Relaxed takes gamma or phi, not both")
        share = self.gamma if self.gamma is not None else self.phi
        require(share is None or 0 <= share <= 1, f"Relaxed takes a share in [0, 1], not {share}")

    def begin(self, last: Stage) -> Step:
        """The lasso path."""
        return last.then()

    def next(self, last: Stage) -> Step | None:
        """Refit the support, then mix."""
        if last.number == 0:
            return last.then(last.survivors, lam=0.0 if self.phi is None else self.phi * last.lam)
        if last.number == 1 and self.gamma:
            return last.mixed(self.gamma)
        return None
