"""A block: one tile of rows x columns, in the encoding in which it is stored, and what a pass asks of it.

Dense tiles that are stored by rows are widened into float64 scratch piece by piece, small enough to stay in cache, less a fixed
shift per column; the products are BLAS. Those that are stored by columns are widened in registers (``kernels/several.py``).
That is also where a missing value becomes the mean of its column, which the tile is told by ``imputed``: it depends on the rows
of the fit. Sparse tiles are visited entry by entry and never shifted, and have no
missing values. Shapes of pieces depend on the shape and dtype of the tile and on the number of models only, so that the
same tile gives the same bits anywhere.
Read next: ``kernels/dense.py``, ``kernels/sparse.py``; a new encoding is one more class here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data import csc
from distlasso.data.missing import Code, Imputation
from distlasso.data.statistics import MERGED, Statistics, of_target
from distlasso.kernels import dense, few, moments, several, sparse
from distlasso.kernels.rank_k import add_square

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Item = TypeVar("_Item")

_PIECE_ROWS, _PIECE_COLUMNS = 128, 1024  # 1 MiB of float64 scratch: half of a core's L2 cache
_SYRK_ROWS = 1024  # of twice as many, scratch for 2,000 columns would be fresh memory every time
_ABREAST = 16  # models of sparse gradients: with a hundred the gradients leave the cache, with two its lines are half empty
_WORTH_ALL = 8  # columns of such rows for each that is asked about: the same lines of memory are read, and none is copied


class Block(Protocol):
    """One tile; columns are relative to it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def nbytes(self) -> int:
        """Bytes held, decoded."""

    def eta(self, columns: Ints, coef: Floats, shift: Floats) -> Floats:
        """sum_s (x_i,columns[s] - shift_s) coef_sl, float64 [rows, L]."""

    def etas(self, models: Sequence[tuple[Ints, Floats]], shift: Floats) -> list[Floats]:
        """``eta`` for each pair of columns and coef, as if it were asked alone; the shift is that of all columns."""

    def gradient(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        """sum_i (x_ij - shift_j) d_il, float64 [columns, L], for each d of the slopes: as if it were asked alone."""

    def imputed(self, imputation: Imputation) -> Block:
        """The tile with the means of its columns where a value is missing; nothing is copied."""

    def widened(self, rows: slice, shift: Floats) -> Floats:
        """x_ij - shift_j of some rows, float64 [rows, columns]."""

    def take(self, columns: Ints) -> Block:
        """Some columns as a tile of their own."""

    def some(self, rows: Ints) -> Block:
        """Some rows as a tile of their own."""

    def gather(self, columns: Ints) -> NDArray[np.generic] | sp.csc_array:
        """Some columns as stored, missing values too: a Fortran-ordered array, or CSC of float64."""

    def square(self, weight: Floats, shift: Floats, *, single: bool = False) -> Floats:
        """sum_i w_i (x_ij - shift_j) (x_ik - shift_k), float64 [columns, columns]; products in float32 if ``single``.

        Only the upper triangle counts: see ``symmetric``.
        """

    def moments(self, weight: Floats, y: Floats) -> Statistics:
        """Weighted statistics of all columns."""

    def first_not_finite(self) -> tuple[int, int] | None:
        """Row and column of the first infinity, or NaN that does not mean missing, if any."""


@final
class DenseBlock:
    """A dense tile of float64, float32, int8 or uint8, in any memory order.

    ``missing_value`` is the stored value that means missing; until the tile is ``imputed``, algebra makes NaN of it.
    """

    def __init__(
        self, values: NDArray[np.generic], missing_value: Code | None = None, fill: Floats | None = None, *,
        width: int | None = None, single: bool = False,
    ) -> None:  # fmt: skip
        """The tile is the first ``width`` columns, all by default; what is behind them is never looked at.

        With ``single``, products of float32 values are in float32 where they need no shift.
        """
        self._stored = values  # whole, for kernels: they take contiguous arrays only
        self._X = values[:, :width]
        self._code = None if missing_value is None else values.dtype.type(missing_value)
        self._fill = np.full(self.shape[1], np.nan) if fill is None and missing_value is not None else fill
        self._single = single

    @property
    def shape(self) -> tuple[int, int]:
        return self._X.shape[0], self._X.shape[1]

    @property
    def nbytes(self) -> int:
        return int(self._stored.nbytes)

    def imputed(self, imputation: Imputation) -> DenseBlock:
        return DenseBlock(self._stored, imputation.code, imputation.fill, width=self.shape[1], single=self._single)

    def widened(self, rows: slice, shift: Floats) -> Floats:
        start, stop, _ = rows.indices(self.shape[0])
        out = np.empty((stop - start, self.shape[1]))
        dense.widen(self._stored, start, 0, shift, self._code, self._lift(slice(None), shift), out)
        return out

    def eta(self, columns: Ints, coef: Floats, shift: Floats) -> Floats:
        if self._is_plain(self._precision) and not shift.any() and _WORTH_ALL * columns.size >= self.shape[1]:
            full = np.zeros((self.shape[1], coef.shape[1]))
            full[columns] = coef
            return few.times(self._X.astype(self._precision, copy=False), full).astype(np.float64, copy=False)
        lift = self._lift(columns, shift)
        if self._X.flags.f_contiguous:
            return several.combine(self._stored, slice(0, self.shape[0]), columns, shift, self._code, lift, coef)
        out = np.zeros((self.shape[0], coef.shape[1]))
        height = max(_PIECE_ROWS, min(_SYRK_ROWS, _PIECE_ROWS * _PIECE_COLUMNS // max(columns.size, 1)))
        room = np.empty(height * min(columns.size, _PIECE_COLUMNS))
        for rows in _pieces(self.shape[0], height):
            for part in _pieces(columns.size, _PIECE_COLUMNS):
                scratch = _within_room(room, rows, part)
                dense.widen_columns(self._stored, rows.start, columns[part], shift[part], self._code, lift[part], scratch)
                out[rows] += scratch @ coef[part]
        return out

    def etas(self, models: Sequence[tuple[Ints, Floats]], shift: Floats) -> list[Floats]:
        return [self.eta(columns, np.ascontiguousarray(coef), shift[columns]) for columns, coef in models]

    def gradient(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        if self._is_plain(self._precision) and not shift.any():
            X = self._X.astype(self._precision, copy=False)
            return [few.times_turned(X, d) for d in slopes]
        return self._gradient_by_columns(slopes, shift) if self._X.flags.f_contiguous else self._gradient_by_rows(slopes, shift)

    def take(self, columns: Ints) -> DenseBlock:
        code = None if self._code is None else self._code.item()
        return DenseBlock(self.gather(columns), code, None if self._fill is None else self._fill[columns])

    def some(self, rows: Ints) -> DenseBlock:
        code = None if self._code is None else self._code.item()
        by_columns = self._X.flags.f_contiguous and not self._X.flags.c_contiguous
        return DenseBlock(np.take(self._X.T, rows, axis=1).T if by_columns else self._X[rows], code, self._fill)

    def gather(self, columns: Ints) -> NDArray[np.generic]:
        if self._X.flags.f_contiguous:
            return np.take(self._X.T, columns, axis=0).T
        out = np.empty((columns.size, self.shape[0]), self._X.dtype)
        for rows in _pieces(self.shape[0], _PIECE_ROWS):
            dense.gather_columns(self._stored, rows.start, rows.stop, columns, out)
        return out.T

    def square(self, weight: Floats, shift: Floats, *, single: bool = False) -> Floats:
        p = self.shape[1]
        if p == 0:
            return np.zeros((0, 0))
        dtype = np.float32 if single else np.float64
        total = np.zeros((p, p), dtype, order="F")
        if self._as_is(dtype, weight, shift):
            # A copy, even in cache, would cost a fifth of the product.
            add_square(self._X, weight[0], total)
            return total.astype(np.float64, copy=False)
        room = np.empty((min(_SYRK_ROWS, self.shape[0]), p), dtype)  # fresh memory for every piece would cost more than to fill it
        root, lift = np.sqrt(weight), self._lift(slice(None), shift)
        for rows in _pieces(self.shape[0], _SYRK_ROWS):
            scratch = room[: rows.stop - rows.start]
            dense.widen_scaled(self._stored, rows.start, shift, self._code, lift, root[rows], scratch)
            add_square(scratch, 1.0, total)
        return total.astype(np.float64, copy=False)

    def moments(self, weight: Floats, y: Floats) -> Statistics:
        there = np.flatnonzero(weight)
        whole = there.size == weight.size
        if self._X.flags.f_contiguous and self._code is None and there.size:
            return _column_moments(self._X if whole else self.some(there)._X, weight[there], y[there])
        w, size = weight[there], self.shape[1]
        total, y_mean, y_m2, deviation = of_target(w, y[there])
        mean, m2, cross, max_abs = (np.zeros(size) for _ in range(4))
        if self._code is None:
            present, present_y = np.full(size, total), np.full(size, y_mean)
            moments.by_rows(self._stored, there, w, deviation, mean, m2, cross, max_abs)
        else:
            present, present_y = np.zeros(size), np.zeros(size)
            moments.present_by_rows(self._stored, there, w, deviation, self._code, present, present_y, mean, m2, cross, max_abs)
            present_y += y_mean * (present > 0.0)
        of_pieces = moments.PIECE_ROWS + MERGED * (-(-there.size // moments.PIECE_ROWS) - 1)
        chain = max(of_pieces, sparse.chain_of_moments(there.size))  # those of the target are summed up run by run
        return Statistics(total, mean, m2, max_abs, cross, present, present_y, y_mean, y_m2, there.size, there.size * size, chain)

    def first_not_finite(self) -> tuple[int, int] | None:
        if self._X.dtype.kind != "f":
            return None
        for rows in _pieces(self.shape[0], _SYRK_ROWS):
            piece = self._X[rows]
            if self._code is not None or not np.isfinite(piece.sum(dtype=np.float64)):
                bad = np.argwhere(~np.isfinite(piece) if self._code is None else np.isinf(piece))
                if bad.size:
                    return rows.start + int(bad[0, 0]), int(bad[0, 1])
        return None

    @property
    def _precision(self) -> type[np.floating[Any]]:
        """In which products are where values are as they should be."""
        return np.float32 if self._single else np.float64

    def _is_plain(self, dtype: type[np.floating[Any]]) -> bool:
        """Whether rows lie one after the other, in this dtype and without missing values."""
        return self._X.dtype == dtype and self._stored.flags.c_contiguous and self._code is None

    def _as_is(self, dtype: type[np.floating[Any]], weight: Floats, shift: Floats) -> bool:
        """Whether products of the stored values, times one number, are those that are wanted."""
        return self._is_plain(dtype) and not shift.any() and bool((weight == weight[:1]).all()) and weight.size > 0

    def _lift(self, columns: Ints | slice, shift: Floats) -> Floats:
        """What a missing value of some columns counts for; unread where none is missing."""
        return shift if self._fill is None else self._fill[columns] - shift

    def _gradient_by_rows(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        found, room = [np.zeros((d.shape[1], self.shape[1])) for d in slopes], np.empty(_PIECE_ROWS * _PIECE_COLUMNS)
        lift = self._lift(slice(None), shift)
        for part in _pieces(self.shape[1], _PIECE_COLUMNS):
            for rows in _pieces(self.shape[0], _PIECE_ROWS):
                scratch = _within_room(room, rows, part)
                dense.widen(self._stored, rows.start, part.start, shift[part], self._code, lift[part], scratch)
                for out, d in zip(found, slopes, strict=True):
                    out[:, part] += d[rows].T @ scratch  # BLAS takes half as long for it as for the transpose
        return [out.T for out in found]

    def _gradient_by_columns(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        every, at = np.concatenate(slopes, axis=1), np.arange(self.shape[1])
        found = several.correlate(self._stored, at, shift, self._code, self._lift(slice(None), shift), every)
        return np.split(found, np.cumsum([d.shape[1] for d in slopes])[:-1], axis=1)


class _SparseBlock:
    """What CSR and CSC tiles share."""

    def __init__(self, data: NDArray[np.generic], indices: NDArray[np.generic], indptr: Ints, shape: tuple[int, int]) -> None:
        self._data, self._indices, self._indptr = data, indices, np.asarray(indptr, dtype=np.int64)
        self._shape = shape

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def nbytes(self) -> int:
        return int(self._data.nbytes + self._indices.nbytes + self._indptr.nbytes)

    @property
    def parts(self) -> tuple[NDArray[np.generic], NDArray[np.generic], Ints]:
        """Entries, their column or row numbers, and where each row or column begins."""
        return self._data, self._indices, self._indptr

    def _position_not_finite(self) -> int | None:
        if self._data.dtype.kind != "f" or np.isfinite(self._data.sum(dtype=np.float64)):
            return None
        bad = np.flatnonzero(~np.isfinite(self._data))
        return int(bad[0]) if bad.size else None

    def _statistics(
        self, weight: Floats, y: Floats, gather: Callable[[Ints], sp.csc_array], first: object, second: object, chain: int
    ) -> Statistics:
        assert callable(first) and callable(second)
        p = self._shape[1]
        mean, stored, max_abs, m2, cross = (np.zeros(p) for _ in range(5))
        total, y_mean, y_m2, deviation = of_target(weight, y)
        first(*self.parts, weight, mean, stored, max_abs)
        mean /= total or 1.0
        second(*self.parts, weight, deviation, mean, m2, cross)
        # The entries that are not stored are zeros: each contributes (0 - mean)^2.
        absent = np.maximum(total - stored, 0.0)
        for j in np.flatnonzero(absent < 1e-6 * total):
            # A difference would leave rounding, and a constant column would seem to vary.
            rows = weight.copy()
            rows[gather(np.array([j])).indices] = 0.0
            absent[j] = rows.sum()
        with np.errstate(invalid="ignore"):  # infinite means are found by who asked
            m2 += absent * mean * mean
        return Statistics(
            total, mean, m2, max_abs, cross, np.full(p, total), np.full(p, y_mean), y_mean, y_m2,
            int(np.count_nonzero(weight)), int(self._data.size), chain,
        )  # fmt: skip


@final
class CSRBlock(_SparseBlock):
    """A sparse tile, compressed by rows."""

    def imputed(self, imputation: Imputation) -> CSRBlock:
        return self

    def widened(self, rows: slice, shift: Floats) -> Floats:
        return np.asarray(sp.csr_array(self.parts, shape=self._shape)[rows].toarray(), dtype=np.float64)

    def eta(self, columns: Ints, coef: Floats, shift: Floats) -> Floats:
        position = np.full(self._shape[1], -1, dtype=np.int32)
        position[columns] = np.arange(columns.size, dtype=np.int32)
        out = np.zeros((self._shape[0], coef.shape[1]))
        sparse.eta_csr(*self.parts, position, coef, out)
        return out

    def etas(self, models: Sequence[tuple[Ints, Floats]], shift: Floats) -> list[Floats]:
        return _etas(self.eta, models, shift)

    def gradient(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        found: list[Floats] = []
        for group in neighbours(slopes, lambda own: own.shape[1], _ABREAST):
            d = group[0] if len(group) == 1 else np.concatenate(group, axis=1)
            out = np.zeros((self._shape[1], d.shape[1]))
            sparse.gradient_csr(*self.parts, d, out)
            found += np.split(out, np.cumsum([own.shape[1] for own in group])[:-1], axis=1)
        return found

    def take(self, columns: Ints) -> CSCBlock:
        return _as_tile(self.gather(columns))

    def some(self, rows: Ints) -> CSRBlock:
        own = sp.csr_array(self.parts, shape=self._shape)[rows]
        return CSRBlock(own.data, own.indices, own.indptr, own.shape)

    def gather(self, columns: Ints) -> sp.csc_array:
        return csc.take_of_rows(*self.parts, columns, self._shape)

    def square(self, weight: Floats, shift: Floats, *, single: bool = False) -> Floats:
        out = np.zeros((self._shape[1], self._shape[1]))
        sparse.square_csr(*self.parts, weight, out)
        return out

    def moments(self, weight: Floats, y: Floats) -> Statistics:
        kernels = sparse.first_moments_csr, sparse.second_moments_csr
        return self._statistics(weight, y, self.gather, *kernels, weight.size)

    def first_not_finite(self) -> tuple[int, int] | None:
        at = self._position_not_finite()
        if at is None:
            return None
        return int(np.searchsorted(self._indptr, at, side="right")) - 1, int(self._indices[at])


@final
class CSCBlock(_SparseBlock):
    """A sparse tile, compressed by columns."""

    def imputed(self, imputation: Imputation) -> CSCBlock:
        return self

    def widened(self, rows: slice, shift: Floats) -> Floats:
        return np.asarray(sp.csc_array(self.parts, shape=self._shape)[rows].toarray(), dtype=np.float64)

    def eta(self, columns: Ints, coef: Floats, shift: Floats) -> Floats:
        out = np.zeros((self._shape[0], coef.shape[1]))
        sparse.eta_csc(*self.parts, columns, coef, out)
        return out

    def etas(self, models: Sequence[tuple[Ints, Floats]], shift: Floats) -> list[Floats]:
        return _etas(self.eta, models, shift)

    def gradient(self, slopes: Sequence[Floats], shift: Floats) -> list[Floats]:
        found = [np.zeros((self._shape[1], d.shape[1])) for d in slopes]
        for d, out in zip(slopes, found, strict=True):
            sparse.gradient_csc(*self.parts, d, out)
        return found

    def take(self, columns: Ints) -> CSCBlock:
        return _as_tile(self.gather(columns))

    def some(self, rows: Ints) -> CSCBlock:
        return _as_tile(sp.csc_array(sp.csc_array(self.parts, shape=self._shape)[rows]))

    def gather(self, columns: Ints) -> sp.csc_array:
        return csc.take(*self.parts, columns, self._shape[0])

    def square(self, weight: Floats, shift: Floats, *, single: bool = False) -> Floats:
        rows = sp.csr_array(sp.csc_array(self.parts, shape=self._shape))
        return CSRBlock(rows.data, rows.indices, rows.indptr, self._shape).square(weight, shift)

    def moments(self, weight: Floats, y: Floats) -> Statistics:
        kernels = sparse.first_moments_csc, sparse.second_moments_csc
        return self._statistics(weight, y, self.gather, *kernels, sparse.chain_of_moments(weight.size))

    def first_not_finite(self) -> tuple[int, int] | None:
        at = self._position_not_finite()
        if at is None:
            return None
        return int(self._indices[at]), int(np.searchsorted(self._indptr, at, side="right")) - 1


def symmetric(upper: Floats) -> Floats:
    """The matrix of which this is the upper triangle, whatever is below; in its place, where the memory is our own."""
    out = upper if upper.flags.writeable else upper.copy()
    dense.mirror(out, 0)
    return out if out.flags.c_contiguous else out.T


def _etas(
    eta: Callable[[Ints, Floats, Floats], Floats], models: Sequence[tuple[Ints, Floats]], shift: Floats
) -> list[Floats]:  # fmt: skip
    """Eta of several models from one visit to the entries of a tile: coefficients that a model does not have add zeros."""
    if len(models) < 2:
        return [eta(columns, np.ascontiguousarray(coef), shift[columns]) for columns, coef in models]
    every, ends = np.unique(np.concatenate([columns for columns, _ in models])), np.cumsum([b.shape[1] for _, b in models])
    coef = np.zeros((every.size, ends[-1]))
    for (columns, b), stop in zip(models, ends, strict=True):
        coef[np.searchsorted(every, columns), stop - b.shape[1] : stop] = b
    return np.split(eta(every, coef, shift[every]), ends[:-1], axis=1)


def neighbours(items: Sequence[_Item], models: Callable[[_Item], int], most: int) -> Iterator[list[_Item]]:
    """Neighbours in groups that are visited together, of so many models at most; one alone may have more."""
    group: list[_Item] = []
    for own in items:
        if group and sum(models(one) for one in (*group, own)) > most:
            yield group
            group = []
        group.append(own)
    if group:
        yield group


def _as_tile(own: sp.csc_array) -> CSCBlock:
    return CSCBlock(own.data, own.indices, own.indptr, own.shape)


def _column_moments(X: NDArray[np.generic], weight: Floats, y: Floats) -> Statistics:
    """Statistics of all rows from columns as they are stored."""
    total, y_mean, y_m2, deviation = of_target(weight, y)
    mean, m2, cross = (np.zeros(X.shape[1]) for _ in range(3))
    moments.by_columns(X, weight, deviation, total, mean, m2, cross)
    low, high = (np.asarray(end, dtype=np.float64) for end in (X.min(axis=0), X.max(axis=0)))
    return Statistics(
        total, mean, m2, np.maximum(-low, high), cross, np.full(mean.size, total), np.full(mean.size, y_mean), y_mean, y_m2,
        weight.size, X.size, weight.size,
    )  # fmt: skip


def _within_room(room: Floats, rows: slice, columns: slice) -> Floats:
    """Scratch of some rows and columns, where there was other scratch before: fresh memory would cost more than to fill it."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return room[: height * width].reshape(height, width)


def _pieces(size: int, step: int) -> Iterator[slice]:
    """Ranges of ``step`` that cover ``size``."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
