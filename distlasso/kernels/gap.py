"""What the gaps of a whole problem need of every column or row, in one visit to each: numpy takes a fresh vector for most.

The certificate does without: it shares nothing with the solvers. Read next: ``../coordinator/squared.py``, which puts
gradients at their worst.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel

Floats = NDArray[np.float64]


@kernel
def at_worst(u: Floats, radius: float, spread: Floats, lam: float, unit: Floats, low: Floats, high: Floats) -> None:
    """Move u_j, which is off by radius spread_j at most, to where it is worst, if that is beyond lam unit_j."""
    for j in range(u.size):
        away = radius * spread[j]
        up, down = u[j] + away if high[j] > 0.0 else 0.0, away - u[j] if low[j] < 0.0 else 0.0
        if not max(up, down) <= lam * unit[j]:
            u[j] = up if up >= down else -down


@kernel
def told(u: Floats, lam: float, unit: Floats, inside: NDArray[np.bool_], out: NDArray[np.bool_]) -> None:
    """out_j = whether u_j is beyond lam unit_j, or NaN, of those inside; True stays."""
    for j in range(u.size):
        out[j] = inside[j] & (out[j] | (not abs(u[j]) <= lam * unit[j]))


@kernel
def strengths(u: Floats, weight: Floats, low: Floats, high: Floats, out: Floats) -> None:
    """out_j = how far u_j goes where its bounds let a coefficient go, over weight_j; 0 where that is 0."""
    for j in range(u.size):
        up, down = u[j] if high[j] > 0.0 else 0.0, -u[j] if low[j] < 0.0 else 0.0
        beyond = max(up, down, 0.0)
        if np.isnan(up) or np.isnan(down):  # which max may pass over
            beyond = np.nan
        out[j] = beyond / weight[j] if weight[j] > 0.0 else 0.0


@kernel
def sums_of_rows(d: Floats, weight: Floats, total: Floats, square: Floats) -> None:
    """total_l += sum_i d_il, square_l += sum_i d_il^2 / w_i, for d = w r that is 0 where w is."""
    for i in range(d.shape[0]):
        if weight[i] > 0.0:
            share = 1.0 / weight[i]
            for k in range(d.shape[1]):
                total[k] += d[i, k]
                square[k] += d[i, k] * d[i, k] * share
