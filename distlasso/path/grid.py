"""The lambdas of a path: as given, or a geometric grid from the largest useful one.

Read next: ``course.py``, which finds out what is useful.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError, warn

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The lambdas as given, or how to choose them."""

    lambdas: Floats | None
    n_lambdas: int
    min_ratio: float | None

    @property
    def size(self) -> int:
        """Number of lambdas."""
        return self.n_lambdas if self.lambdas is None else int(self.lambdas.size)

    def at(self, lam_max: float | None, shape: tuple[int, int]) -> Floats:
        """The lambdas of a fit whose largest useful one is ``lam_max``; None where the target is constant."""
        if self.lambdas is not None:
            return self.lambdas
        if lam_max is None:
            raise InputError("constant target: every coefficient is 0 at any lambda; pass explicit `lambdas` for that model")
        if lam_max <= 0:
            raise InputError("no penalised column has any correlation with the target: pass explicit `lambdas`")
        n, p = shape
        ratio = self.min_ratio if self.min_ratio is not None else (1e-4 if n >= p else 1e-2)
        return np.asarray(lam_max * np.geomspace(1.0, ratio, self.n_lambdas))


def warn_constant(which: str = "") -> None:
    """Say that a target has nothing to explain."""
    warn(f"constant target{which}: the null model is returned with gap 0")
