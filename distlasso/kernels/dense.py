"""What a pass does with a dense tile: widen it into float64 scratch that stays in cache.

The products themselves are BLAS on that scratch: a tile is never stored, sent or kept in a wider type, and its missing
values get what stands in for them here and nowhere else. Kernels are given whole tiles and where a piece begins, not the
piece: how a view lies in memory depends on its shape, and each way would be compiled on its own. They take a row or column
of the piece before they go along it: an index that is a sum might be negative, and asking that for every value takes six
times as long as the widening.
Read next: ``data/blocks.py``, which cuts the tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel
from distlasso.kernels.missing import centred

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TILE = 64  # rows and columns: both triangles' tiles stay in cache


@kernel
def widen(X: NDArray[np.generic], row: int, column: int, shift: Floats, code: Any, lift: Floats, out: Floats) -> None:
    """out_ij = x_ij - shift_j, or lift_j where x_ij is missing, row by row; i and j count from ``row`` and ``column``."""
    for i in range(out.shape[0]):
        x, wide = X[row + i, column : column + out.shape[1]], out[i]
        for j in range(wide.size):
            wide[j] = centred(x[j], shift[j], code, lift[j])


@kernel
def widen_scaled(
    X: NDArray[np.generic], row: int, shift: Floats, code: Any, lift: Floats, scale: Floats, out: NDArray[np.floating[Any]]
) -> None:
    """out_ij = scale_i (x_ij - shift_j), or scale_i lift_j where x_ij is missing, row by row."""
    for i in range(out.shape[0]):
        x, wide = X[row + i], out[i]
        for j in range(wide.size):
            wide[j] = scale[i] * centred(x[j], shift[j], code, lift[j])


@kernel
def widen_columns(
    X: NDArray[np.generic], row: int, columns: Ints, shift: Floats, code: Any, lift: Floats, out: Floats
) -> None:
    """out_ik = x_i,columns[k] - shift_k, or lift_k where it is missing."""
    for i in range(out.shape[0]):
        x, wide = X[row + i], out[i]
        for k in range(columns.size):
            wide[k] = centred(x[columns[k]], shift[k], code, lift[k])


@kernel
def gather_columns(X: NDArray[np.generic], start: int, stop: int, columns: Ints, out: NDArray[np.generic]) -> None:
    """out_ki = x_i,columns[k] as stored, missing or not, for some rows; ``out`` is the transpose of what is wanted."""
    for i in range(start, stop):
        for k in range(columns.size):
            out[k, i] = X[i, columns[k]]


@kernel
def mirror(out: NDArray[np.floating[Any]], first: int) -> None:
    """Put the upper triangle of a matrix below its diagonal, too, in rows from ``first`` on.

    Tile by tile: a fifth of the time of NumPy's triangles.
    """
    for i in range(first, out.shape[0], _TILE):
        for j in range(0, i + _TILE, _TILE):
            for row in range(i, min(i + _TILE, out.shape[0])):
                for column in range(j, min(j + _TILE, row)):
                    out[row, column] = out[column, row]


@kernel
def take_outer(out: Floats, one: Floats, other: Floats) -> None:
    """out_jk -= one_j other_k, in place."""
    for j in range(one.size):
        if one[j] != 0.0:
            row = out[j]
            for k in range(other.size):
                row[k] -= one[j] * other[k]
