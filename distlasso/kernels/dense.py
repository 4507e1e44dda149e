"""What a pass does with a dense tile: widen it into float64 scratch that stays in cache, and take its moments.

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
def add_moments(
    Z: Floats, w: Floats, dy: Floats, total: float, mean: Floats, m2: Floats, cross: Floats, max_abs: Floats
) -> None:
    """Moments of one tile about its own means: two sweeps over values that are in cache.

    mean_j = sum_i w_i z_ij / total, m2_j = sum_i w_i (z_ij - mean_j)^2, cross_j = sum_i w_i (z_ij - mean_j) dy_i. No weight is 0.
    Four rows go together, so that a sum is fetched and put back for every fourth value.
    """
    fours = Z.shape[0] - Z.shape[0] % 4
    for i in range(0, fours, 4):
        a, b, c, d = Z[i], Z[i + 1], Z[i + 2], Z[i + 3]
        for j in range(mean.size):
            mean[j] += (w[i] * a[j] + w[i + 1] * b[j]) + (w[i + 2] * c[j] + w[i + 3] * d[j])
            max_abs[j] = max(max_abs[j], max(max(abs(a[j]), abs(b[j])), max(abs(c[j]), abs(d[j]))))
    for i in range(fours, Z.shape[0]):
        for j in range(mean.size):
            mean[j] += w[i] * Z[i, j]
            max_abs[j] = max(max_abs[j], abs(Z[i, j]))
    for j in range(mean.size):
        mean[j] /= total
    for i in range(0, fours, 4):
        a, b, c, d = Z[i], Z[i + 1], Z[i + 2], Z[i + 3]
        for j in range(mean.size):
            e, f, g, h = a[j] - mean[j], b[j] - mean[j], c[j] - mean[j], d[j] - mean[j]
            m2[j] += (w[i] * e * e + w[i + 1] * f * f) + (w[i + 2] * g * g + w[i + 3] * h * h)
            cross[j] += (w[i] * dy[i] * e + w[i + 1] * dy[i + 1] * f) + (w[i + 2] * dy[i + 2] * g + w[i + 3] * dy[i + 3] * h)
    for i in range(fours, Z.shape[0]):
        for j in range(mean.size):
            z = Z[i, j] - mean[j]
            m2[j] += w[i] * z * z
            cross[j] += w[i] * z * dy[i]


@kernel
def column_moments(X: NDArray[np.generic], w: Floats, dy: Floats, total: float, mean: Floats, m2: Floats, cross: Floats) -> None:
    """The same for columns that are stored one behind the other and have no row without a weight."""
    for j in range(X.shape[1]):
        x, average, square, product = X[:, j], 0.0, 0.0, 0.0
        for i in range(w.size):
            average += w[i] * x[i]
        average /= total
        for i in range(w.size):
            z = x[i] - average
            square += w[i] * z * z
            product += w[i] * z * dy[i]
        mean[j], m2[j], cross[j] = average, square, product


@kernel
def cell_moments(
    X: NDArray[np.generic], rows: Ints, bounds: Ints, w: Floats, dy: Floats, total: Floats, mean: Floats, m2: Floats,
    cross: Floats, max_abs: Floats,
) -> None:  # fmt: skip
    """The same, cell by cell: ``rows[bounds[c]:bounds[c + 1]]`` are those of cell c, and w and dy are theirs; results [cells, p].

    Each column is put in the order of the cells first, in cache, where sums then run along it.
    """
    x = np.empty(rows.size)
    for j in range(X.shape[1]):
        stored = X[:, j]
        for i in range(rows.size):
            x[i] = stored[rows[i]]
        for c in range(total.size):
            own, weight, deviation = x[bounds[c] : bounds[c + 1]], w[bounds[c] : bounds[c + 1]], dy[bounds[c] : bounds[c + 1]]
            average, square, product, largest = 0.0, 0.0, 0.0, 0.0
            for i in range(own.size):
                average += weight[i] * own[i]
                largest = max(largest, abs(own[i]))
            average /= total[c]
            for i in range(own.size):
                z = own[i] - average
                square += weight[i] * z * z
                product += weight[i] * z * deviation[i]
            mean[c, j], m2[c, j], cross[c, j], max_abs[c, j] = average, square, product, largest


@kernel
def add_present_moments(
    Z: Floats, w: Floats, dy: Floats, present: Floats, present_y: Floats, mean: Floats, m2: Floats, cross: Floats,
    max_abs: Floats,
) -> None:  # fmt: skip
    """``add_moments`` over the values that are not NaN, with present_j their weight and present_y_j their mean of dy."""
    for i in range(Z.shape[0]):
        if w[i] > 0.0:
            for j in range(Z.shape[1]):
                z = Z[i, j]
                here, z = (w[i], z) if z == z else (0.0, 0.0)  # adding zeros keeps the loop free of branches
                present[j] += here
                present_y[j] += here * dy[i]
                mean[j] += here * z
                max_abs[j] = max(max_abs[j], abs(z))
    for j in range(Z.shape[1]):
        if present[j] > 0.0:
            present_y[j] /= present[j]
            mean[j] /= present[j]
    for i in range(Z.shape[0]):
        if w[i] > 0.0:
            for j in range(Z.shape[1]):
                z = Z[i, j] - mean[j]
                z = z if z == z else 0.0
                m2[j] += w[i] * z * z
                cross[j] += w[i] * z * (dy[i] - present_y[j])


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
