"""Weighted moments of a dense tile from one visit to it: means, and sums about them of squares and of products with a target.

Rows go a piece at a time and columns a strip at a time, so that what was widened is still in the first cache when it is gone
through again, about the means that it turned out to have. Pieces merge by the formula of Chan, Golub & LeVeque (1983). All of it is
done on what a value is above the first of its column, so that a mean is as exact as the values are close, wherever they are.
``dy`` is the target less its mean over all rows of the tile, and no weight is 0. Read next: ``data/statistics.py``, which
merges tiles.
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
    Z, own, e = np.empty((PIECE_ROWS, _STRIP)), np.empty(_STRIP), np.empty(PIECE_ROWS)
    base, before, before_y = np.zeros(mean.size), 0.0, 0.0
    if rows.size:
        base[:] = X[rows[0], : mean.size]
    for first in range(0, rows.size, PIECE_ROWS):
        at, v, d = rows[first : first + PIECE_ROWS], w[first : first + PIECE_ROWS], dy[first : first + PIECE_ROWS]
        here, here_y = 0.0, 0.0
        for i in range(at.size):
            here += v[i]
            here_y += v[i] * d[i]
        here_y /= here
        for i in range(at.size):
            e[i] = v[i] * (d[i] - here_y)  # sums to 0 in every piece, so that an error of a mean of x times it is none
        total, fours = before + here, at.size - at.size % 4
        for start in range(0, mean.size, _STRIP):
            centre, square, product = mean[start : start + _STRIP], m2[start : start + _STRIP], cross[start : start + _STRIP]
            largest, zero, size = max_abs[start : start + _STRIP], base[start : start + _STRIP], min(_STRIP, mean.size - start)
            own[:] = 0.0
            for i in range(0, fours, 4):
                a, b = X[at[i], start : start + size], X[at[i + 1], start : start + size]
                c, r = X[at[i + 2], start : start + size], X[at[i + 3], start : start + size]
                za, zb, zc, zr = Z[i], Z[i + 1], Z[i + 2], Z[i + 3]
                for j in range(size):
                    f, g, h, k = np.float64(a[j]), np.float64(b[j]), np.float64(c[j]), np.float64(r[j])
                    largest[j] = max(largest[j], max(max(abs(f), abs(g)), max(abs(h), abs(k))))
                    f, g, h, k = f - zero[j], g - zero[j], h - zero[j], k - zero[j]
                    za[j], zb[j], zc[j], zr[j] = f, g, h, k
                    own[j] += (v[i] * f + v[i + 1] * g) + (v[i + 2] * h + v[i + 3] * k)
            for i in range(fours, at.size):
                a, za = X[at[i], start : start + size], Z[i]
                for j in range(size):
                    largest[j] = max(largest[j], abs(np.float64(a[j])))
                    za[j] = a[j] - zero[j]
                    own[j] += v[i] * za[j]
            for j in range(size):
                own[j] /= here
                step = own[j] - centre[j]
                centre[j] += step * (here / total)
                square[j] += step * step * (before * here / total)
                product[j] += step * (here_y - before_y) * (before * here / total)
            for i in range(0, fours, 4):
                za, zb, zc, zr = Z[i], Z[i + 1], Z[i + 2], Z[i + 3]
                for j in range(size):
                    f, g, h, k = za[j] - own[j], zb[j] - own[j], zc[j] - own[j], zr[j] - own[j]
                    square[j] += (v[i] * f * f + v[i + 1] * g * g) + (v[i + 2] * h * h + v[i + 3] * k * k)
                    product[j] += (e[i] * f + e[i + 1] * g) + (e[i + 2] * h + e[i + 3] * k)
            for i in range(fours, at.size):
                for j in range(size):
                    f = Z[i, j] - own[j]
                    square[j] += v[i] * f * f
                    product[j] += e[i] * f
        before, before_y = total, before_y + (here_y - before_y) * (here / total)
    mean += base


@kernel
def present_by_rows(
    X: NDArray[np.generic], rows: Ints, w: Floats, dy: Floats, code: Any, present: Floats, present_y: Floats, mean: Floats,
    m2: Floats, cross: Floats, max_abs: Floats,
) -> None:  # fmt: skip
    """The same over the values that are neither ``code`` nor NaN; present_j is their weight, present_y_j their mean of dy."""
    Z, own, here, here_y = np.empty((PIECE_ROWS, _STRIP)), np.empty(_STRIP), np.empty(_STRIP), np.empty(_STRIP)
    base = np.zeros(mean.size)
    for j in range(mean.size):
        for i in rows:
            if X[i, j] != code and X[i, j] == X[i, j]:
                base[j] = X[i, j]
                break
    for first in range(0, rows.size, PIECE_ROWS):
        at, v, d = rows[first : first + PIECE_ROWS], w[first : first + PIECE_ROWS], dy[first : first + PIECE_ROWS]
        for start in range(0, mean.size, _STRIP):
            centre, square, product = mean[start : start + _STRIP], m2[start : start + _STRIP], cross[start : start + _STRIP]
            largest, zero, size = max_abs[start : start + _STRIP], base[start : start + _STRIP], min(_STRIP, mean.size - start)
            before, before_y = present[start : start + _STRIP], present_y[start : start + _STRIP]
            own[:], here[:], here_y[:] = 0.0, 0.0, 0.0
            for i in range(at.size):
                x, z, weight = X[at[i], start : start + size], Z[i], v[i]
                for j in range(size):
                    gone = (x[j] == code) | (x[j] != x[j])
                    # Adding zeros keeps the loop free of branches.
                    value, share = (zero[j], 0.0) if gone else (np.float64(x[j]), weight)
                    largest[j] = max(largest[j], abs(value))
                    z[j] = np.nan if gone else value - zero[j]
                    own[j] += share * (value - zero[j])
                    here[j] += share
                    here_y[j] += share * d[i]
            for j in range(size):
                if here[j] > 0.0:
                    total = before[j] + here[j]
                    own[j], here_y[j] = own[j] / here[j], here_y[j] / here[j]
                    step, step_y, share = own[j] - centre[j], here_y[j] - before_y[j], here[j] / total
                    centre[j] += step * share
                    square[j] += step * step * (before[j] * share)
                    product[j] += step * step_y * (before[j] * share)
                    before[j], before_y[j] = total, before_y[j] + step_y * share
            for i in range(at.size):
                z, weight = Z[i], v[i]
                for j in range(size):
                    value = z[j] - own[j]
                    value = value if value == value else 0.0
                    square[j] += weight * value * value
                    product[j] += weight * value * (d[i] - here_y[j])
    mean += base


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
