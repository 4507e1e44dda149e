"""What a pass does with a dense tile: widen it into float64 scratch that stays in cache, and take its moments.

The products themselves are BLAS on that scratch: a tile is never stored, sent or kept in a wider type.
Read next: ``data/blocks.py``, which cuts the tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@kernel
def widen(X: NDArray[np.generic], shift: Floats, out: Floats) -> None:
    """out_ij = x_ij - shift_j, row by row."""
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            out[i, j] = X[i, j] - shift[j]


@kernel
def widen_scaled(X: NDArray[np.generic], shift: Floats, scale: Floats, out: NDArray[np.floating[Any]]) -> None:
    """out_ij = scale_i (x_ij - shift_j), row by row."""
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            out[i, j] = scale[i] * (X[i, j] - shift[j])


@kernel
def widen_columns(X: NDArray[np.generic], columns: Ints, shift: Floats, out: Floats) -> None:
    """out_ik = x_i,columns[k] - shift_k."""
    for i in range(X.shape[0]):
        for k in range(columns.size):
            out[i, k] = X[i, columns[k]] - shift[k]


@kernel
def gather_columns(X: NDArray[np.generic], columns: Ints, out: NDArray[np.generic]) -> None:
    """out_ki = x_i,columns[k], in the stored dtype; ``out`` is the transpose of what is wanted."""
    for i in range(X.shape[0]):
        for k in range(columns.size):
            out[k, i] = X[i, columns[k]]


@kernel
def add_moments(
    Z: Floats, w: Floats, dy: Floats, total: float, mean: Floats, m2: Floats, cross: Floats, max_abs: Floats
) -> None:
    """Moments of one tile about its own means: two sweeps over values that are in cache.

    mean_j = sum_i w_i z_ij / total, m2_j = sum_i w_i (z_ij - mean_j)^2, cross_j = sum_i w_i (z_ij - mean_j) dy_i.
    """
    for i in range(Z.shape[0]):
        if w[i] > 0.0:
            for j in range(Z.shape[1]):
                mean[j] += w[i] * Z[i, j]
                max_abs[j] = max(max_abs[j], abs(Z[i, j]))
    for j in range(Z.shape[1]):
        mean[j] /= total
    for i in range(Z.shape[0]):
        if w[i] > 0.0:
            for j in range(Z.shape[1]):
                z = Z[i, j] - mean[j]
                m2[j] += w[i] * z * z
                cross[j] += w[i] * z * dy[i]
