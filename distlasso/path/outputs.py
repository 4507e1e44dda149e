"""From the solutions of every response to the arrays of a ``Path``, [k] for one response and [k, q] for several.

Read next: ``result.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.drive import Solutions
from distlasso.path.course import CONSTANT, Fitted

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Arrays of a path; see ``Path``."""

    lambdas: Floats
    coef: Any  # csr_array [k, p], or a tuple of q of them
    intercept: Floats
    gap: Floats
    deviance_ratio: Floats
    d0: Any  # float, or float64 [q]
    certificate: str
    solver: str
    ended: str
    stages: NDArray[np.int64]
    history: NDArray[np.void]


def gather_outputs(lambdas: Floats, fitted: Sequence[Fitted]) -> Outputs:
    """Put responses beside each other, as far as all of them came."""
    length = min(len(one.solutions.gap) for one in fitted)
    gap = np.array([one.solutions.gap[:length] for one in fitted]).T
    ratio = np.array([_deviance_ratio(one, length) for one in fitted]).T
    level = np.array([one.solutions.intercept[:length] for one in fitted], dtype=np.float64)
    coef = [own for one in fitted for own in _coefficients(one.solutions, length)]
    d0 = np.array([one.d0 for one in fitted])
    single = len(fitted) == 1
    certificates = dict.fromkeys(one.certificate for one in fitted)
    return Outputs(
        lambdas=lambdas[:length], coef=coef[0] if len(coef) == 1 else tuple(coef),
        intercept=level[0] if single else level.T, gap=gap[:, 0] if single else gap,
        deviance_ratio=ratio[:, 0] if single else ratio, d0=float(d0[0]) if single else d0,
        certificate="; ".join(certificates), solver=fitted[0].solver,
        ended=next((one.solutions.ended for one in fitted if one.solutions.ended), ""),
        stages=fitted[0].stages[:length], history=fitted[0].history,
    )  # fmt: skip


def _coefficients(solutions: Solutions, length: int) -> list[sp.csr_array]:
    """The path of every output of one fit, csr_array [k, p] each."""
    stacked = sp.csr_array(sp.vstack(solutions.coef[:length], format="csr"))
    outputs = solutions.coef[0].shape[0]
    return [stacked] if outputs == 1 else [sp.csr_array(stacked[k::outputs]) for k in range(outputs)]


def _deviance_ratio(one: Fitted, length: int) -> Floats:
    value = np.array(one.solutions.value[:length])
    return np.zeros_like(value) if one.certificate == CONSTANT else 1.0 - value / one.d0
