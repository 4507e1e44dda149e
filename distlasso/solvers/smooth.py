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

_STRAIGHT = 1e-3  # of the curvature that was expected along a step: less is rounding, or a kink


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
class Secant:
    """A step, and by how much the slopes fell on its way."""

    step: Floats  # [S]
    level: float  # step of the intercept
    fall: Floats  # [S]: of u
    total: float  # of the slope in the intercept


@dataclass(frozen=True, slots=True)
class Curvature:
    """Hessian of the mean loss at one model."""

    gram: Floats  # [S, S]: X' w h X
    cross: Floats  # [S]: X' w h
    total: float  # sum_i w_i h_i

    def without_intercept(self) -> Floats:
        """Hessian of the coefficients once the intercept is minimised over: a Schur complement, [S, S]."""
        return np.asarray(self.gram - np.outer(self.cross, self.cross / self.total))

    def bent(self, secant: Secant) -> Curvature:
        """The same across a step; along it, what the slopes at both ends say (the BFGS update: Nocedal & Wright 2006, 6.19)."""
        along = self.gram @ secant.step + secant.level * self.cross
        across = float(self.cross @ secant.step) + secant.level * self.total
        expected = float(secant.step @ along) + secant.level * across
        seen = float(secant.step @ secant.fall) + secant.level * secant.total
        if not seen > _STRAIGHT * expected:
            return self
        return Curvature(
            self.gram + np.outer(secant.fall, secant.fall / seen) - np.outer(along, along / expected),
            self.cross + secant.fall * (secant.total / seen) - along * (across / expected),
            self.total + secant.total**2 / seen - across**2 / expected,
        )


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
