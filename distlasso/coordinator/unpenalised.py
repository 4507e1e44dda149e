"""Refits what carries no penalty, intercept and free columns, at fixed other coefficients: a dual point must be stationary in it.

Newton steps in the few coordinates concerned, within their bounds. Read next: ``general.py``, which certifies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError
from distlasso.penalties import Bounds4
from distlasso.queries import LookPartial

Floats = NDArray[np.float64]
Look = Callable[[Floats, Floats], LookPartial]

_STEPS = 60
_EPS = float(np.finfo(np.float64).eps)
_RUNS_AWAY = 0.1  # step in eta, after so many, that will never end


@final
@dataclass(frozen=True, slots=True)
class Unpenalised:
    """The free columns come first in the strong set; ``bounds`` are theirs."""

    look: Look
    bounds: Bounds4
    intercept: bool
    offset: float  # largest

    def refit(self, b: Floats, intercept: Floats, free: int, close: float) -> tuple[Floats, Floats]:
        """Newton steps of the intercept and the first ``free`` columns.

        One more step is taken once all decrements are ``close``, relative to the root of the loss, or are rounding.

        Raises
        ------
        InputError
            If there is no finite optimum.
        """
        level = [self.bounds.low.size] * self.intercept
        own = np.append(np.arange(free), level).astype(np.int64)
        if own.size == 0:
            return b, intercept
        low, high = (np.append(ends[:free], [end] * len(level))
                     for ends, end in ((self.bounds.low, -np.inf), (self.bounds.high, np.inf)))  # fmt: skip
        x = np.concatenate([b[:free], intercept[None, :]] if self.intercept else [b[:free]]).T
        b, step, value = b.copy(), np.zeros_like(x), np.full(len(x), np.inf)
        for _ in range(_STEPS):
            found = self.look(b, intercept)
            score, information = found.score[:, own], found.information[:, own[:, None], own]
            scale = np.sqrt(np.maximum(np.einsum("kii->ki", information), 1e-300))
            bend = np.sqrt(np.maximum(found.information[:, -1, -1], 1e-300))
            held = ((x <= low) & (score <= 0)) | ((x >= high) & (score >= 0))
            rose = ~(found.value <= value * (1.0 + 1e-12) + 1e-300)
            size = np.max(np.where(held, 0.0, np.abs(score) / scale), axis=1)
            # eta carries the rounding of its largest part, and the score what that makes of it
            rounding = 1e-15 + 8.0 * _EPS * bend * (self.offset + np.abs(intercept))
            near = size <= close * np.sqrt(np.maximum(found.value, 0.0)) + rounding
            for k in range(len(x)):
                if rose[k]:
                    step[k] *= 0.5
                    x[k] -= step[k]
                else:
                    step[k] = _newton_step(information[k], score[k], scale[k], (x[k] - low, high - x[k]))
                    step[k] *= _room(x[k], step[k], low, high)
                    x[k] = np.clip(x[k] + step[k], low, high)
            value = np.where(rose, value, found.value)
            b[:free] = x[:, :free].T
            intercept = x[:, free].copy() if self.intercept else intercept
            if (near & ~rose).all():
                return b, intercept
        if np.max(np.abs(step) * scale / bend[:, None]) < _RUNS_AWAY:
            return b, intercept
        raise InputError(
            "the unpenalised part of the model has no finite optimum: its columns separate the classes, or leave some rows "
            "without an event; penalise them"
        )


def _newton_step(information: Floats, score: Floats, scale: Floats, room: tuple[Floats, Floats]) -> Floats:
    """Newton step of the coordinates that bounds leave free; columns may be collinear and of any scale."""
    below, above = room
    held = ((below <= 0) & (score <= 0)) | ((above <= 0) & (score >= 0))
    while True:
        step, at = np.zeros_like(score), np.flatnonzero(~held)
        unit = information[np.ix_(at, at)] / np.outer(scale[at], scale[at])
        step[at] = np.linalg.lstsq(unit, score[at] / scale[at], rcond=1e-14)[0] / scale[at]
        leaves = ((below <= 0) & (step < 0)) | ((above <= 0) & (step > 0))
        if not leaves.any():
            return step
        held |= leaves


def _room(x: Floats, step: Floats, low: Floats, high: Floats) -> float:
    """Largest share of a step, at most 1, that stays within bounds."""
    end = np.where(step > 0, high, low)
    tight = (step != 0) & np.isfinite(end)
    return float(np.min((end[tight] - x[tight]) / step[tight], initial=1.0))
