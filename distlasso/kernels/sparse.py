"""What a pass does with a CSR or CSC tile. Only stored entries are visited; centring is algebra elsewhere.

Read next: ``data/blocks.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel
from distlasso.kernels.vectors import gather, move

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Data = NDArray[np.generic]
Indices = NDArray[np.generic]


@kernel
def eta_csr(data: Data, indices: Indices, indptr: Ints, position: NDArray[np.int32], coef: Floats, out: Floats) -> None:
    """out_il += sum_j x_ij coef_position[j],l; position -1 marks columns without coefficients."""
    for i in range(out.shape[0]):
        for k in range(indptr[i], indptr[i + 1]):
            s = position[indices[k]]
            if s >= 0:
                for m in range(out.shape[1]):
                    out[i, m] += data[k] * coef[s, m]


@kernel
def gradient_csr(data: Data, indices: Indices, indptr: Ints, d: Floats, out: Floats) -> None:
    """out_jl += sum_i x_ij d_il."""
    for i in range(d.shape[0]):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            for m in range(d.shape[1]):
                out[j, m] += data[k] * d[i, m]


@kernel
def cross_csr(data: Data, indices: Indices, indptr: Ints, rows: Ints, weight: Floats, first: int, out: Floats) -> None:
    """out_j,k-first += sum_i w_i x_ij x_ik over some rows, for columns k from ``first`` on."""
    for at in range(rows.size):
        start, stop = indptr[rows[at]], indptr[rows[at] + 1]
        for b in range(start, stop):
            if indices[b] >= first:
                x, column = weight[at] * data[b], indices[b] - first
                for a in range(start, stop):
                    out[indices[a], column] += x * data[a]


def residuals_csr(
    data: Data, indices: Indices, indptr: Ints, places: NDArray[np.int32], coef: Floats, intercept: Floats, y: Floats,
    weight: Floats, ends: Ints, out: Floats, total: Floats, square: Floats,
) -> None:  # fmt: skip
    """out_jl += sum_i x_ij d_il, total_l += sum_i d_il, square_l += sum_i d_il^2 / w_ig, for the models l of several fits g.

    d_il = w_ig (y_ig - intercept_l - sum_j x_ij coef_sl), s being the place of the entry, with y and weight [rows, fits]; models
    of fit g are those from ``ends[g]`` up to but without ``ends[g + 1]``. ``coef`` and ``out`` have one of ``WIDTHS`` columns.
    """
    _RESIDUALS[coef.shape[1]](data, indices, indptr, places, coef, intercept, y, weight, ends, out, total, square)


def eta_csc(data: Data, indices: Indices, indptr: Ints, columns: Ints, coef: Floats, out: Floats) -> None:
    """out_il += sum_s x_i,columns[s] coef_sl."""
    for models, width in _parts(coef.shape[1]):
        whole = width == out.shape[1] and out.flags.c_contiguous
        part = out if whole else np.zeros((out.shape[0], width))
        _ETAS[width](data, indices, indptr, columns, _padded(coef[:, models], width), part)
        if not whole:
            out[:, models] += part[:, : models.stop - models.start]


def gradient_csc(data: Data, indices: Indices, indptr: Ints, d: Floats, out: Floats) -> None:
    """out_jl += sum_i x_ij d_il."""
    for models, width in _parts(d.shape[1]):
        part = np.zeros((out.shape[0], width))
        _GRADIENTS[width](data, indices, indptr, _padded(d[:, models], width), part)
        out[:, models] += part[:, : models.stop - models.start]


def _parts(models: int) -> Iterator[tuple[slice, int]]:
    """A few models at a time, whose numbers lie next to each other, and how many the kernel is for that takes them."""
    for first in range(0, models, _WIDEST):
        last = min(first + _WIDEST, models)
        yield slice(first, last), next(width for width in _WIDTHS if width >= last - first)


def padded(v: Floats) -> Floats:
    """Numbers of a few models, [n, L], with zeros for so many more that no tile has to be given a copy; all where they are many."""
    return v if v.shape[1] > _WIDEST else _padded(v, next(_parts(v.shape[1]))[1])


def _padded(v: Floats, width: int) -> Floats:
    """Numbers of some models, contiguous, with zeros for those that there are too few of."""
    if v.shape[1] == width:
        return np.ascontiguousarray(v)
    out = np.zeros((v.shape[0], width))
    out[:, : v.shape[1]] = v
    return out


def _eta_csc(width: int) -> Callable[..., None]:
    """The kernel for a number of models that is known when it is compiled: a row of out becomes a vector."""

    @kernel
    def eta(data: Data, indices: Indices, indptr: Ints, columns: Ints, coef: Floats, out: Floats) -> None:
        """As ``eta_csc``."""
        for s in range(columns.size):
            move(data, indices, indptr[columns[s]], indptr[columns[s] + 1], out, coef[s], width)

    return eta


def _gradient_csc(width: int) -> Callable[..., None]:
    """As ``_eta_csc``, a row of d."""

    @kernel
    def gradient(data: Data, indices: Indices, indptr: Ints, d: Floats, out: Floats) -> None:
        """As ``gradient_csc``."""
        for j in range(out.shape[0]):
            gather(data, indices, indptr[j], indptr[j + 1], d, out[j], width)

    return gradient


def _residuals_csr(width: int) -> Callable[..., None]:
    """The kernel for so many models."""

    @kernel
    def residuals(
        data: Data, indices: Indices, indptr: Ints, places: NDArray[np.int32], coef: Floats, intercept: Floats, y: Floats,
        weight: Floats, ends: Ints, out: Floats, total: Floats, square: Floats,
    ) -> None:  # fmt: skip
        """As ``residuals_csr``."""
        d = np.zeros(width)
        for i in range(y.shape[0]):
            d[:] = 0.0
            gather(data, places, indptr[i], indptr[i + 1], coef, d, width)
            for g in range(y.shape[1]):
                target, w = y[i, g], weight[i, g]
                share = 1.0 / w if w > 0.0 else 0.0
                for m in range(ends[g], ends[g + 1]):
                    d[m] = w * (target - (intercept[m] + d[m]))
                    total[m] += d[m]
                    square[m] += d[m] * d[m] * share
            move(data, indices, indptr[i], indptr[i + 1], out, d, width)

    return residuals


RUN = 4096  # entries of a column that are summed up before they are added to others: shorter sums lose fewer digits
_WIDEST = 8  # models whose numbers fill a line of the cache
_WIDTHS = (1, 4, _WIDEST)  # few: each is compiled for every dtype
_ETAS = {width: _eta_csc(width) for width in _WIDTHS}
_GRADIENTS = {width: _gradient_csc(width) for width in _WIDTHS}
WIDTHS = (8, 16)  # of ``residuals_csr``: models whose numbers of a row stay in registers
_RESIDUALS = {width: _residuals_csr(width) for width in WIDTHS}


@kernel
def take_columns(
    data: Data, indices: Indices, indptr: Ints, columns: Ints, starts: Ints, out: Floats, rows: NDArray[np.int32]
) -> None:
    """Copy the entries of some columns, each column from its start on."""
    for s in range(columns.size):
        first, to = indptr[columns[s]], starts[s]
        for k in range(indptr[columns[s] + 1] - first):
            out[to + k], rows[to + k] = data[first + k], indices[first + k]


@kernel
def count_places(indices: Indices, place: NDArray[np.int32], counts: Ints) -> None:
    """counts_place(index) += 1 for every index that has a place; -1 marks those that have none."""
    for k in range(indices.size):
        s = place[indices[k]]
        if s >= 0:
            counts[s] += 1


@kernel
def turn(
    data: Data, indices: Indices, indptr: Ints, place: NDArray[np.int32], ends: Ints, out: Floats, majors: NDArray[np.int32]
) -> None:
    """Put every entry whose index has a place to the end of those that are there, which moves on, with its major index."""
    for i in range(indptr.size - 1):
        for k in range(indptr[i], indptr[i + 1]):
            s = place[indices[k]]
            if s >= 0:
                out[ends[s]], majors[ends[s]] = data[k], i
                ends[s] += 1


@kernel
def count_band(indices: Indices, indptr: Ints, at: Ints, first: int, stop: int, counts: Ints) -> None:
    """counts_i += how many indices are first + i, from ``at`` on, where each major index is, and before ``stop``; they ascend."""
    for j in range(at.size):
        k = at[j]
        while k < indptr[j + 1] and indices[k] < stop:
            counts[indices[k] - first] += 1
            k += 1


@kernel
def turn_band(
    data: Data, indices: Indices, indptr: Ints, at: Ints, first: int, stop: int, ends: Ints, out: Floats, majors: NDArray[np.int32]
) -> None:
    """Put the entries that ``count_band`` counts to the ends of those with the same index, which move on, as ``at`` does."""
    for j in range(at.size):
        k = at[j]
        while k < indptr[j + 1] and indices[k] < stop:
            to = ends[indices[k] - first]
            out[to], majors[to] = data[k], j
            ends[indices[k] - first] += 1
            k += 1
        at[j] = k


@kernel
def put_columns(
    data: Data, indices: Indices, indptr: Indices, first_row: int, ends: Ints, out: Floats, rows: NDArray[np.int32]
) -> None:
    """Copy the entries of all columns to their ends, which move on; rows are counted from ``first_row``."""
    for j in range(ends.size):
        for k in range(indptr[j], indptr[j + 1]):
            out[ends[j]], rows[ends[j]] = data[k], indices[k] + first_row
            ends[j] += 1


@kernel
def square_csr(data: Data, indices: Indices, indptr: Ints, w: Floats, out: Floats) -> None:
    """out_jk += sum_i w_i x_ij x_ik."""
    for i in range(w.size):
        for a in range(indptr[i], indptr[i + 1]):
            value = w[i] * data[a]
            row = out[indices[a]]
            for b in range(indptr[i], indptr[i + 1]):
                row[indices[b]] += value * data[b]


@kernel
def lower_square_csr(
    data: Floats, indices: Indices, indptr: Ints, w: Floats, centre: Floats, out: Floats, narrow: NDArray[np.float32]
) -> None:
    """narrow_jk = sum_i w_i x_ij x_ik - centre_j centre_k for k <= j; indices ascend, ``out`` is zero at first."""
    for i in range(w.size):
        for a in range(indptr[i], indptr[i + 1]):
            value = w[i] * data[a]
            row = out[indices[a]]
            for b in range(indptr[i], a + 1):
                row[indices[b]] += value * data[b]
    for j in range(centre.size):
        for k in range(j + 1):
            narrow[j, k] = out[j, k] - centre[j] * centre[k]


@kernel
def first_moments_csr(
    data: Data, indices: Indices, indptr: Ints, w: Floats, mean: Floats, stored: Floats, max_abs: Floats
) -> None:
    """mean_j += sum_i w_i x_ij, stored_j += sum of the weights of stored entries, max_abs_j = max |x_ij|."""
    for i in range(w.size):
        if w[i] > 0.0:
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                mean[j] += w[i] * data[k]
                stored[j] += w[i]
                max_abs[j] = max(max_abs[j], abs(data[k]))


@kernel
def second_moments_csr(
    data: Data, indices: Indices, indptr: Ints, w: Floats, dy: Floats, mean: Floats, m2: Floats, cross: Floats
) -> None:
    """m2_j += sum_i w_i (x_ij - mean_j)^2 and cross_j += sum_i w_i x_ij dy_i, over stored entries."""
    for i in range(w.size):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            x = data[k] - mean[j]
            m2[j] += w[i] * x * x
            cross[j] += w[i] * dy[i] * data[k]


@kernel
def first_moments_csc(
    data: Data, indices: Indices, indptr: Ints, w: Floats, mean: Floats, stored: Floats, max_abs: Floats
) -> None:
    """As ``first_moments_csr``, column by column, a run of entries at a time."""
    for j in range(mean.size):
        for first in range(indptr[j], indptr[j + 1], RUN):
            total, here, largest = 0.0, 0.0, max_abs[j]
            for k in range(first, min(first + RUN, indptr[j + 1])):
                weight = w[indices[k]]
                if weight > 0.0:
                    total += weight * data[k]
                    here += weight
                    largest = max(largest, abs(data[k]))
            mean[j], stored[j], max_abs[j] = mean[j] + total, stored[j] + here, largest


@kernel
def second_moments_csc(
    data: Data, indices: Indices, indptr: Ints, w: Floats, dy: Floats, mean: Floats, m2: Floats, cross: Floats
) -> None:
    """As ``second_moments_csr``, column by column, a run of entries at a time."""
    for j in range(mean.size):
        for first in range(indptr[j], indptr[j + 1], RUN):
            square, product = 0.0, 0.0
            for k in range(first, min(first + RUN, indptr[j + 1])):
                i = indices[k]
                x = data[k] - mean[j]
                square += w[i] * x * x
                product += w[i] * dy[i] * data[k]
            m2[j], cross[j] = m2[j] + square, cross[j] + product


def chain_of_moments(rows: int) -> int:
    """Additions, one after the other, behind the moments of a CSC tile at most."""
    return min(rows, RUN) + -(-rows // RUN)
