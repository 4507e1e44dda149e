"""Proximal operator of the scalar penalty, l1 |b| + l2 b^2 / 2 on [low, high]."""

from __future__ import annotations

from distlasso.kernels import kernel


@kernel
def prox(z: float, curvature: float, l1: float, l2: float, low: float, high: float) -> float:
    """Minimise curvature b^2 / 2 - z b + l1 |b| + l2 b^2 / 2 over low <= b <= high."""
    if z > l1:
        b = (z - l1) / (curvature + l2)
    elif z < -l1:
        b = (z + l1) / (curvature + l2)
    else:
        return 0.0
    return min(max(b, low), high)
