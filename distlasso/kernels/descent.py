"""The hot loop: cyclic coordinate descent on a quadratic, in three storages of the same update.

    b_j <- prox(u_j + h_j b_j),    u_j = (1/W) x_j' (w r),   h_j = (1/W) x_j' W x_j,   x_j centred

In residual form the kernels hold ``d = w r / W`` over the rows; in Gram form they hold u itself over the
columns. Centring is algebra: dense columns subtract their centre in registers, where their missing values (``code``)
count for ``lift``; for sparse columns the rows that are not stored are carried by one scalar, ``drift``, so that the true
residual is ``d + w drift``.
Read next: ``solvers/block_coordinate.py``, which decides which columns to visit and when to stop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel
from distlasso.kernels.missing import centred
from distlasso.kernels.prox import prox

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@kernel
def descend_gram(
    gram: NDArray[np.floating], u: Floats, l1: Floats, l2: Floats, low: Floats, high: Floats, b: Floats, epochs: int
) -> None:
    """Gram form: u falls by gram[j] times the change of b_j."""
    for _ in range(epochs):
        for j in range(b.size):
            h = gram[j, j]
            new = prox(u[j] + h * b[j], h, l1[j], l2[j], low[j], high[j])
            change = new - b[j]
            if change != 0.0:
                b[j] = new
                row = gram[j]
                for k in range(b.size):
                    u[k] -= change * row[k]


@kernel
def descend_concave(
    gram: NDArray[np.float32], u: NDArray[np.float32], l1: Floats, l2: Floats, low: Floats, high: Floats, inner: Floats,
    outer: Floats, b: Floats, epochs: int, enough: float,
) -> float:  # fmt: skip
    """Gram form where l1 falls to 0 as |b_j| goes from inner to outer; returns sum_j h_j change_j^2 of the last epoch."""
    moved = np.inf
    for _ in range(epochs):
        if moved <= enough:
            break
        moved = 0.0
        for j in range(b.size):
            h, charge = gram[j, j], l1[j]
            size = abs(b[j])
            if size > inner[j]:
                charge *= max(outer[j] - size, 0.0) / (outer[j] - inner[j])
            new = prox(u[j] + h * b[j], h, charge, l2[j], low[j], high[j])
            change = new - b[j]
            if change != 0.0:
                b[j] = new
                moved += h * change * change
                row, narrow = gram[j], np.float32(change)
                for k in range(b.size):
                    u[k] -= narrow * row[k]
    return moved


@kernel
def restrict_gram(gram: NDArray[np.floating], columns: Ints, out: NDArray[np.floating]) -> None:
    """Rows and columns of some columns, in the type of ``out``: a third of the time of taking one and then the other."""
    for i in range(columns.size):
        row = gram[columns[i]]
        for k in range(columns.size):
            out[i, k] = row[columns[k]]


@kernel
def apply_gram(gram: NDArray[np.floating], columns: Ints, v: Floats) -> Floats:
    """Rows and columns of some columns times v, where they lie."""
    out = np.empty(columns.size)
    for i in range(columns.size):
        row, total = gram[columns[i]], 0.0
        for k in range(columns.size):
            total += row[columns[k]] * v[k]
        out[i] = total
    return out


@kernel
def slope_gram(gram: NDArray[np.floating], g: Floats, support: Ints, b: Floats) -> Floats:
    """g - gram b, for b that is 0 outside its support."""
    u = g.copy()
    for j in support:
        row, own = gram[j], b[j]
        for k in range(u.size):
            u[k] -= own * row[k]
    return u


@kernel
def descend_dense(
    X: NDArray[np.generic], at: Ints, centre: Floats, code: Any, lift: Floats, h: Floats, l1: Floats, l2: Floats, low: Floats,
    high: Floats, w: Floats, b: Floats, d: Floats, epochs: int,
) -> None:  # fmt: skip
    """Dense columns x_j = X[:, at_j], stored as they are: d falls by w (x_j - centre_j) times the change of b_j."""
    for _ in range(epochs):
        for j in range(b.size):
            x, c, m = X[:, at[j]], centre[j], lift[j]
            u = 0.0
            for i in range(d.size):
                u += centred(x[i], c, code, m) * d[i]
            new = prox(u + h[j] * b[j], h[j], l1[j], l2[j], low[j], high[j])
            change = new - b[j]
            if change != 0.0:
                b[j] = new
                for i in range(d.size):
                    d[i] -= change * w[i] * centred(x[i], c, code, m)


@kernel
def descend_sparse(
    data: Floats, indices: NDArray[np.int32], indptr: Ints, centre: Floats, h: Floats, l1: Floats,
    l2: Floats, low: Floats, high: Floats, w: Floats, b: Floats, d: Floats, drift: Floats, epochs: int,
) -> None:  # fmt: skip
    """Sparse columns; drift[0] carries what centring does to every row alike."""
    for _ in range(epochs):
        for j in range(b.size):
            start, stop, c = indptr[j], indptr[j + 1], centre[j]
            u = 0.0
            for k in range(start, stop):
                u += data[k] * d[indices[k]]
            # The rows of d + w drift sum to zero, so centring x changes nothing but the drift's own share.
            u += c * drift[0]
            new = prox(u + h[j] * b[j], h[j], l1[j], l2[j], low[j], high[j])
            change = new - b[j]
            if change != 0.0:
                b[j] = new
                for k in range(start, stop):
                    d[indices[k]] -= change * w[indices[k]] * data[k]
                drift[0] += change * c


@kernel
def correlate_dense(
    X: NDArray[np.generic], at: Ints, centre: Floats, code: Any, lift: Floats, d: Floats, out: Floats
) -> None:
    """out_j = sum_i (x_ij - centre_j) d_i."""
    for j in range(out.size):
        x, c, m = X[:, at[j]], centre[j], lift[j]
        total = 0.0
        for i in range(d.size):
            total += centred(x[i], c, code, m) * d[i]
        out[j] = total


@kernel
def square_dense(
    X: NDArray[np.generic], at: Ints, centre: Floats, code: Any, lift: Floats, d: Floats, out: Floats
) -> None:
    """out_j = sum_i (x_ij - centre_j)^2 d_i."""
    for j in range(out.size):
        x, c, m = X[:, at[j]], centre[j], lift[j]
        total = 0.0
        for i in range(d.size):
            z = centred(x[i], c, code, m)
            total += z * z * d[i]
        out[j] = total


@kernel
def correlate_sparse(data: Floats, indices: NDArray[np.int32], indptr: Ints, d: Floats, out: Floats) -> None:
    """out_j = sum_i x_ij d_i."""
    for j in range(out.size):
        total = 0.0
        for k in range(indptr[j], indptr[j + 1]):
            total += data[k] * d[indices[k]]
        out[j] = total


@kernel
def square_sparse(data: Floats, indices: NDArray[np.int32], indptr: Ints, d: Floats, out: Floats) -> None:
    """out_j = sum_i x_ij^2 d_i."""
    for j in range(out.size):
        total = 0.0
        for k in range(indptr[j], indptr[j + 1]):
            total += data[k] * data[k] * d[indices[k]]
        out[j] = total


@kernel
def combine_dense(
    X: NDArray[np.generic], at: Ints, centre: Floats, code: Any, lift: Floats, b: Floats, out: Floats
) -> None:
    """out_i += sum_j (x_ij - centre_j) b_j."""
    for j in range(b.size):
        x, c, m = X[:, at[j]], centre[j], lift[j]
        if b[j] != 0.0:
            for i in range(out.size):
                out[i] += centred(x[i], c, code, m) * b[j]


@kernel
def combine_sparse(data: Floats, indices: NDArray[np.int32], indptr: Ints, b: Floats, out: Floats) -> None:
    """out_i += sum_j x_ij b_j."""
    for j in range(b.size):
        if b[j] != 0.0:
            for k in range(indptr[j], indptr[j + 1]):
                out[indices[k]] += data[k] * b[j]


@kernel
def scale_dense(
    X: NDArray[np.generic], row: int, at: Ints, centre: Floats, code: Any, lift: Floats, scale: Floats, factor: Floats,
    out: NDArray[np.floating],
) -> None:  # fmt: skip
    """out_ji = scale_i (x_ij - centre_j) factor_j, column by column; i counts from ``row`` on."""
    for j in range(out.shape[0]):
        x, z, c, m, f = X[row : row + out.shape[1], at[j]], out[j], centre[j], lift[j], factor[j]
        for i in range(z.size):
            z[i] = scale[row + i] * centred(x[i], c, code, m) * f


@kernel
def apply_sparse(
    data: Floats, indices: NDArray[np.int32], indptr: Ints, centre: Floats, w: Floats, columns: Ints, v: Floats,
    rows: Floats, out: Floats,
) -> None:  # fmt: skip
    """out = (X - centre)' w (X - centre) v on some columns; ``rows`` is scratch. The weights sum to one."""
    rows[:] = 0.0
    constant = 0.0
    for s in range(columns.size):
        j, change = columns[s], v[s]
        constant += centre[j] * change
        for k in range(indptr[j], indptr[j + 1]):
            rows[indices[k]] += data[k] * change
    total = 0.0
    for i in range(rows.size):
        rows[i] = w[i] * (rows[i] - constant)
        total += rows[i]
    for s in range(columns.size):
        j = columns[s]
        u = 0.0
        for k in range(indptr[j], indptr[j + 1]):
            u += data[k] * rows[indices[k]]
        out[s] = u - centre[j] * total
