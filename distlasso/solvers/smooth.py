"""The smooth part of a restricted problem, as a solver sees it: arrays in, arrays out, wherever the data is.

Coordinates are centred columns, so that the intercept is that of the mean row; without an intercept nothing is centred.
Implemented by rounds over the data (``coordinator/rounds.py``) and by columns that the coordinator holds
(``coordinator/held.py``). Read next: ``proximal_newton.py``, ``proximal_gradient.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Near = tuple[float, int]  # a lambda, and how many Hessians a fit has asked for there before


@dataclass(frozen=True, slots=True)
class Point:
    """Mean loss and its slope at several models."""

    value: Floats  # [L]: above the minimum of the loss
    gradient: Floats  # [S, L]: u = -d value / d b = X' w r
    total: Floats  # [L]: sum_i w_i r_i, the slope in the intercept

    def take(self, k: int) -> Point:
        """One of the models."""
        return Point(self.value[[k]], self.gradient[:, [k]], self.total[[k]])


@dataclass(frozen=True, slots=True)
class Curvature:
    """Hessian of the mean loss at one model."""

    gram: Floats  # [S, S]: X' w h X
    cross: Floats  # [S]: X' w h
    total: float  # sum_i w_i h_i

    def without_intercept(self) -> Floats:
        """Hessian of the coefficients once the intercept is minimised over: a Schur complement, [S, S]."""
        return np.asarray(self.gram - np.outer(self.cross, self.cross / self.total))


class Smooth(Protocol):
    """Mean loss on the strong columns."""

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept to fit."""

    @property
    def kinked(self) -> bool:
        """Whether the curvature of the loss vanishes on an interval."""

    def at(self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = ()) -> tuple[Point, list[Curvature]]:
        """Value and slope at models b [S, L], intercept [L]; the Hessian at some of them."""
