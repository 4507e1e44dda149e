"""Products of the many rows of a matrix with a few models, a few rows at a time.

OpenBLAS has kernels for small products, which leave both matrices as they lie; above a million multiplications it copies them
into its own order first, which takes longer than to multiply by a few columns. Read next: ``data/blocks.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]

_SMALL = 1_000_000  # multiplications
_LEAST_ROWS = 32  # fewer are not worth a call


def times(X: Numbers, B: Floats) -> Numbers:
    """X B, [n, L], for X [n, p] whose rows lie one after the other; in the precision of X."""
    B = B.astype(X.dtype, copy=False)
    out = np.empty((X.shape[0], B.shape[1]), X.dtype)
    for rows in _pieces(X.shape, B.shape[1]):
        np.matmul(X[rows], B, out=out[rows])
    return out


def times_turned(X: Numbers, D: Floats) -> Floats:
    """X'D, [p, L], for such an X; products in its precision, sums over pieces of rows in float64."""
    D = D.astype(X.dtype, copy=False)
    first, *others = _pieces(X.shape, D.shape[1])
    out = (D[first].T @ X[first]).astype(np.float64, copy=False)
    for rows in others:
        out += D[rows].T @ X[rows]
    return out.T


def _pieces(shape: tuple[int, int], models: int) -> Iterator[slice]:
    """Ranges of rows: all at once where a product is a sum over one model, or where small ones would be of too few rows."""
    n, p = shape
    rows = _SMALL // max(p * models, 1)
    step = n if models < 2 or rows < _LEAST_ROWS else rows
    for start in range(0, max(n, 1), max(step, 1)):
        yield slice(start, min(start + step, n))
