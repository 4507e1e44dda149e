"""Coordinate descent for several models abreast: a stored entry is visited once for all of them.

    b_jm <- prox(u_jm + h_jm b_jm),    u_jm = sum_i x_ij s_im,    s_im falls by w_im (x_ij - c_jm) times the change of b_jm

A row of ``rows`` is one line of the cache: the slopes s_im of all models, and behind them their weights w_im. Where the
models share their weights these are in the data instead, x_ij times their root, and s_im is divided by it. Centring is
carried by one scalar a model, ``drift``: the true slope is ``s_im + w_im drift_m``. Read next: ``solvers/abreast.py``;
``descent.py``, for one model.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel
from distlasso.kernels.prox import prox
from distlasso.kernels.vectors import gather, gather_moments, move, move_weighted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Indices = NDArray[np.int32]


def _moments(models: int) -> Callable[..., None]:
    """As ``_descent``."""

    @kernel
    def moments(data: Floats, indices: Indices, indptr: Ints, at: Ints, w: Floats, first: Floats, second: Floats) -> None:
        """first_jm = sum_i w_im x_ij, second_jm = sum_i w_im x_ij^2 of columns ``at``."""
        sums = np.empty(2 * models)
        for j in range(first.shape[0]):
            sums[:] = 0.0
            gather_moments(data, indices, indptr[at[j]], indptr[at[j] + 1], w, sums, models)
            first[j], second[j] = sums[:models], sums[models:]

    return moments


def _descent(models: int) -> Callable[..., None]:
    """The kernel for a number of models that is known when it is compiled: a row becomes a vector."""

    @kernel
    def descend(
        data: Floats, indices: Indices, indptr: Ints, at: Ints, centre: Floats, total: Floats, h: Floats, l1: Floats,
        l2: Floats, low: Floats, high: Floats, b: Floats, rows: Floats, drift: Floats, fall: Floats,
    ) -> None:  # fmt: skip
        """One epoch over columns ``at``; total_m is the sum of the weights, and fall_m becomes sum_j h_jm (change of b_jm)^2."""
        shared = rows.shape[1] == models
        state = np.empty(models)  # slopes, and then what is taken from b
        fall[:] = 0.0
        for j in range(b.shape[0]):
            start, stop = indptr[at[j]], indptr[at[j] + 1]
            for m in range(models):
                state[m] = total[m] * centre[j, m] * drift[m]
            gather(data, indices, start, stop, rows, state, models)
            moved = False
            for m in range(models):
                new = prox(state[m] + h[j, m] * b[j, m], h[j, m], l1[j, m], l2[j, m], low[j, m], high[j, m])
                change = new - b[j, m]
                state[m] = -change
                b[j, m] = new
                moved |= change != 0.0
                fall[m] += h[j, m] * change * change
                drift[m] += centre[j, m] * change
            if moved and shared:
                move(data, indices, start, stop, rows, state, models)
            elif moved:
                move_weighted(data, indices, start, stop, rows, state, models)

    return descend


@kernel
def scale_columns(
    data: Floats, indices: Indices, indptr: Ints, at: Ints, root: Floats, starts: Ints, out: Floats, rows: Indices, first: Floats,
    second: Floats,
) -> None:  # fmt: skip
    """Copy columns ``at``, rows times their root, each from its start on; first_j and second_j as of weights root^2."""
    for j in range(at.size):
        begin, to = indptr[at[j]], starts[j]
        mean = square = 0.0
        for k in range(indptr[at[j] + 1] - begin):
            i = indices[begin + k]
            x = data[begin + k] * root[i]
            out[to + k], rows[to + k] = x, i
            mean += x * root[i]
            square += x * x
        first[j, 0], second[j, 0] = mean, square


WIDEST = 4  # models whose slopes and weights fill a line of the cache; with eight, weighted epochs go through two lines a row
DESCENTS = tuple(_descent(models) for models in range(1, WIDEST + 1))
MOMENTS = tuple(_moments(models) for models in range(1, WIDEST + 1))
