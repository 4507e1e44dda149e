"""Weighted moments of a dense tile from one visit to it: means, and sums about them of squares and of products with a target.

Rows go a piece at a time and columns a strip at a time, so that what was widened is still in the first cache when it is gone
through again, about the means that it turned out to have. Pieces merge by the formula of Chan, Golub & LeVeque (1983). ``dy`` is
the target less its mean over all rows of the tile, and no weight is 0. Read next: ``data/statistics.py``, which merges tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PIECE_ROWS = 64
_STRIP = 64


@kernel
def by_rows(
    X: NDArray[np.generic], rows: Ints, w: Floats, dy: Floats, mean: Floats, m2: Floats, cross: Floats, max_abs: Floats
) -> None:
    """Moments of some rows of a tile; w and dy are theirs, and results are 0 to begin with.

    mean_j = sum_i w_i x_ij / sum_i w_i, m2_j = sum_i w_i (x_ij - mean_j)^2, cross_j = sum_i w_i (x_ij - mean_j) dy_i.
    Four rows go together, so that a sum is fetched and put back for every fourth value.
    """
    Z, own = np.empty((PIECE_ROWS, _STRIP)), np.empty(_STRIP)
    before, before_y = 0.0, 0.0
    for first in range(0, rows.size, PIECE_ROWS):
        at, v, d = rows[first : first + PIECE_ROWS], w[first : first + PIECE_ROWS], dy[first : first + PIECE_ROWS]
        here, here_y = 0.0, 0.0
        for i in range(at.size):
            here += v[i]
            here_y += v[i] * d[i]
        total, fours = before + here, at.size - at.size % 4
        for start in range(0, mean.size, _STRIP):
            centre, square, product = mean[start : start + _STRIP], m2[start : start + _STRIP], cross[start : start + _STRIP]
            largest, size = max_abs[start : start + _STRIP], min(_STRIP, mean.size - start)
            own[:] = 0.0
            for i in range(0, fours, 4):
                a, b = X[at[i], start : start + size], X[at[i + 1], start : start + size]
                c, e = X[at[i + 2], start : start + size], X[at[i + 3], start : start + size]
                za, zb, zc, ze = Z[i], Z[i + 1], Z[i + 2], Z[i + 3]
                for j in range(size):
                    f, g, h, k = np.float64(a[j]), np.float64(b[j]), np.float64(c[j]), np.float64(e[j])
                    za[j], zb[j], zc[j], ze[j] = f, g, h, k
                    own[j] += (v[i] * f + v[i + 1] * g) + (v[i + 2] * h + v[i + 3] * k)
                    largest[j] = max(largest[j], max(max(abs(f), abs(g)), max(abs(h), abs(k))))
            for i in range(fours, at.size):
                a, za = X[at[i], start : start + size], Z[i]
                for j in range(size):
                    za[j] = np.float64(a[j])
                    own[j] += v[i] * za[j]
                    largest[j] = max(largest[j], abs(za[j]))
            for j in range(size):
                own[j] /= here
                step = own[j] - centre[j]
                centre[j] += step * (here / total)
                square[j] += step * step * (before * here / total)
                product[j] += step * ((before * here_y - here * before_y) / total)
            for i in range(0, fours, 4):
                za, zb, zc, ze = Z[i], Z[i + 1], Z[i + 2], Z[i + 3]
                for j in range(size):
                    f, g, h, k = za[j] - own[j], zb[j] - own[j], zc[j] - own[j], ze[j] - own[j]
                    square[j] += (v[i] * f * f + v[i + 1] * g * g) + (v[i + 2] * h * h + v[i + 3] * k * k)
                    product[j] += (v[i] * d[i] * f + v[i + 1] * d[i + 1] * g) + (v[i + 2] * d[i + 2] * h + v[i + 3] * d[i + 3] * k)
            for i in range(fours, at.size):
                for j in range(size):
                    f = Z[i, j] - own[j]
                    square[j] += v[i] * f * f
                    product[j] += v[i] * d[i] * f
        before, before_y = total, before_y + here_y


@kernel
def present_by_rows(
    X: NDArray[np.generic], rows: Ints, w: Floats, dy: Floats, code: Any, present: Floats, present_y: Floats, mean: Floats,
    m2: Floats, cross: Floats, max_abs: Floats,
) -> None:  # fmt: skip
    """The same over the values that are neither ``code`` nor NaN; present_j is their weight, present_y_j their sum of w_i dy_i."""
    Z, own, here, here_y = np.empty((PIECE_ROWS, _STRIP)), np.empty(_STRIP), np.empty(_STRIP), np.empty(_STRIP)
    for first in range(0, rows.size, PIECE_ROWS):
        at, v, d = rows[first : first + PIECE_ROWS], w[first : first + PIECE_ROWS], dy[first : first + PIECE_ROWS]
        for start in range(0, mean.size, _STRIP):
            centre, square, product = mean[start : start + _STRIP], m2[start : start + _STRIP], cross[start : start + _STRIP]
            largest, size = max_abs[start : start + _STRIP], min(_STRIP, mean.size - start)
            before, before_y = present[start : start + _STRIP], present_y[start : start + _STRIP]
            own[:], here[:], here_y[:] = 0.0, 0.0, 0.0
            for i in range(at.size):
                x, z, weight = X[at[i], start : start + size], Z[i], v[i]
                for j in range(size):
                    gone = (x[j] == code) | (x[j] != x[j])
                    # Adding zeros keeps the loop free of branches.
                    value, share = (0.0, 0.0) if gone else (np.float64(x[j]), weight)
                    z[j] = np.nan if gone else value
                    own[j] += share * value
                    here[j] += share
                    here_y[j] += share * d[i]
                    largest[j] = max(largest[j], abs(value))
            for j in range(size):
                if here[j] > 0.0:
                    total = before[j] + here[j]
                    own[j] /= here[j]
                    step = own[j] - centre[j]
                    centre[j] += step * (here[j] / total)
                    square[j] += step * step * (before[j] * here[j] / total)
                    product[j] += step * ((before[j] * here_y[j] - here[j] * before_y[j]) / total)
                    before[j], before_y[j] = total, before_y[j] + here_y[j]
            for i in range(at.size):
                z, weight = Z[i], v[i]
                for j in range(size):
                    value = z[j] - own[j]
                    value = value if value == value else 0.0
                    square[j] += weight * value * value
                    product[j] += weight * value * d[i]


@kernel
def by_columns(X: NDArray[np.generic], w: Floats, dy: Floats, total: float, mean: Floats, m2: Floats, cross: Floats) -> None:
    """The same of all rows, for columns that are stored one behind the other; ``total`` is the sum of w."""
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
def of_cells(
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
