"""Losses: negative log-likelihoods per row, acting on arrays [rows, outputs].

A loss is one small final class; solvers and passes see only its methods. Read next: ``queries.py`` (who calls
it in a pass) and ``certificate.py`` (who needs its conjugate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Loss(Protocol):
    """What a pass needs of a loss."""

    @property
    def name(self) -> str:
        """Name as users write it."""

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """Negative derivative in eta, [rows, models]."""

    def value(self, y: Floats, eta: Floats) -> Floats:
        """Loss minus its minimum over eta, [rows, models]."""


@final
@dataclass(frozen=True, slots=True)
class Squared:
    """Squared loss, 1/2 (y - eta)^2: the Gaussian negative log-likelihood up to constants."""

    name: str = "squared"

    def residual(self, y: Floats, eta: Floats) -> Floats:
        """y - eta."""
        return y[:, None] - eta

    def value(self, y: Floats, eta: Floats) -> Floats:
        """1/2 (y - eta)^2, whose minimum over eta is 0."""
        return 0.5 * np.square(y[:, None] - eta)


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (Squared(),)}
