"""Coordinate descent where the unit is a row of coefficients: one column of the data, all outputs at once.

    b_j <- z (1 - l1 / ||z||)_+ / (h_j + l2),    z = u_j + h_j b_j,   rows b_j, u_j of length q

Read next: ``solvers/multi_task.py``; ``descent.py``, where the unit is one coefficient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel

Floats = NDArray[np.float64]


@kernel
def descend_rows(gram: Floats, u: Floats, l1: Floats, l2: Floats, b: Floats, epochs: int) -> None:
    """Gram form: u falls by the outer product of gram[j] and the change of b_j."""
    change = np.empty(b.shape[1])
    for _ in range(epochs):
        for j in range(b.shape[0]):
            h, square = gram[j, j], 0.0
            for k in range(change.size):
                change[k] = u[j, k] + h * b[j, k]
                square += change[k] * change[k]
            norm, moved = np.sqrt(square), 0.0
            shrink = (norm - l1[j]) / (norm * (h + l2[j])) if norm > l1[j] else 0.0
            for k in range(change.size):
                new = shrink * change[k]
                change[k] = new - b[j, k]
                b[j, k] = new
                moved = max(moved, abs(change[k]))
            if moved > 0.0:
                row = gram[j]
                for i in range(b.shape[0]):
                    for k in range(change.size):
                        u[i, k] -= row[i] * change[k]
