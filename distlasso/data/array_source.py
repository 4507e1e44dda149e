"""Arrays as a source: in memory or memory-mapped, looked through once for missing values and cut into batches.

A dense array is never copied as a whole, so that a mapped file may be larger than memory: rows are dropped, holes
filled or marked and values cast a batch at a time. Read next: ``sources.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.batches import Batch, Options
from distlasso.data.dataset import as_block, check_folds, check_rows, check_weights, real_matrix, stored_dtype
from distlasso.data.missing import Code, recode
from distlasso.data.names import column_names
from distlasso.errors import InputError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PIECE = 64 << 20  # bytes looked through at a time


def from_arrays(X: Any, y: Any, options: Options) -> ArraySource:
    """Source of arrays in memory or memory-mapped.

    Raises
    ------
    InputError
        For missing or infinite values (with row and column), for lengths that differ, for bad weights.
    """
    _refuse_names(options)
    matrix = real_matrix(X)
    if options.missing == "keep" and sp.issparse(matrix):
        raise InputError("missing='keep' is for dense X: pass a dense array, or missing='mean' or 'drop'")
    if sp.issparse(matrix):
        options.check_sparse("X is sparse")
    n = matrix.shape[0]
    dropped, means = (_sparse_holes if sp.issparse(matrix) else _dense_holes)(matrix, options.missing)
    parts = {"y": y, "weight": options.weight, "offset": options.offset, "fold": options.fold}
    if options.missing == "drop":
        for values in parts.values():
            dropped |= _holes_in(values, n)
        if dropped.all():
            raise InputError("every row has a missing value: nothing is left after missing='drop'")
    rows = np.flatnonzero(~dropped) if dropped.any() else None
    left = n if rows is None else rows.size
    kept: dict[str, Any] = {name: None if v is None else _kept(name, v, rows, n) for name, v in parts.items()}
    target = None if y is None else check_rows("y", kept["y"], left)
    weight = None if options.weight is None else check_weights(kept["weight"], left)
    offset = None if options.offset is None else check_rows("offset", kept["offset"], left)
    fold = None if options.fold is None else check_folds(kept["fold"], left)
    beside, names = _Rows(target, weight, offset, fold), column_names(X)
    if sp.issparse(matrix):
        return ArraySource(_csr(matrix, rows, means), beside, None, None, np.dtype(np.float64), None, names)
    dtype = np.dtype(options.dtype or stored_dtype(matrix.dtype))
    _check_range(matrix, dtype, means)
    return ArraySource(matrix, beside, rows, means, dtype, _codes(options, dtype), names)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What belongs to the rows that stay."""

    y: Floats | None
    weight: Floats | None
    offset: Floats | None
    fold: Floats | None

    @property
    def all(self) -> tuple[Floats | None, ...]:
        return self.y, self.weight, self.offset, self.fold

    def cut(self, rows: slice) -> tuple[Floats | None, ...]:
        return tuple(None if v is None else v[rows] for v in self.all)


@dataclass(frozen=True, slots=True)
class _Codes:
    """Which value means missing: in the array (besides NaN), and in the store."""

    given: Code | None
    stored: Code


def _codes(options: Options, dtype: np.dtype[Any]) -> _Codes | None:
    stored = options.stored_code(dtype)
    return None if stored is None else _Codes(options.missing_value, stored)


@final
class ArraySource:
    """An array, the rows of it that stay, and what is put where a value is missing: a mean or a code."""

    def __init__(
        self, X: Any, rows: _Rows, kept: NDArray[np.int64] | None, means: Floats | None, dtype: np.dtype[Any],
        codes: _Codes | None, names: list[str] | None,
    ) -> None:  # fmt: skip
        self._X, self._rows, self._kept, self._means, self._codes = X, rows, kept, means, codes
        self.missing_value = None if codes is None else codes.stored
        self.feature_names = names
        self.dtype = dtype
        self.sparse = bool(sp.issparse(X))
        self.shape: tuple[int, int] = (X.shape[0] if kept is None else kept.size, X.shape[1])
        self.nnz = int(X.nnz) if self.sparse else self.shape[0] * self.shape[1]

    @property
    def fingerprint(self) -> str:
        """Hash of shape, dtype, what belongs to the rows, and a sample of X."""
        about = (self._X.shape, self.dtype.str, self.nnz, self._codes, self.feature_names)
        digest = hashlib.blake2b(repr(about).encode(), digest_size=16)
        for values in (*self._rows.all, self._kept, self._means):
            digest.update(b"none" if values is None else values.tobytes())
        for i in range(0, self._X.shape[0], max(1, self._X.shape[0] // 64)):
            row = self._X[[i]].toarray() if self.sparse else self._X[i]
            digest.update(np.ascontiguousarray(row).tobytes())
        return digest.hexdigest()

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Slices of the array, from row ``start`` of those that stay."""
        n, p = self.shape
        a, b = columns or (0, p)
        X = self._X if not self.sparse or columns is None else sp.csr_array(self._X[:, a:b])
        width = 12 * max(1, X.nnz // n) if self.sparse else (b - a) * max(self.dtype.itemsize, self._X.dtype.itemsize)
        step = max(1, budget // max(width, 1))
        for i in range(start, n, step):
            rows = slice(i, min(i + step, n))
            yield Batch(_narrow(X[rows]) if self.sparse else self._dense(rows, a, b), *self._rows.cut(rows))

    def _dense(self, rows: slice, a: int, b: int) -> NDArray[Any]:
        piece = self._X[rows, a:b] if self._kept is None else self._X[self._kept[rows], a:b]
        if self._means is not None:
            piece = np.where(np.isnan(piece), self._means[a:b].astype(piece.dtype), piece)
        if self._codes is not None:
            return recode(piece, self._codes.given, self._codes.stored, self.dtype)
        return np.ascontiguousarray(piece, dtype=self.dtype)


def _refuse_names(options: Options) -> None:
    for name in ("target", "weight", "offset", "fold"):
        value = getattr(options, name)
        if isinstance(value, str):
            raise InputError(f"{name}={value!r} names a column, but arrays have no column names: pass values")
    if options.one_hot:
        raise InputError("one_hot names columns of a table: encode arrays before")
    if options.drop:
        raise InputError("drop names columns of a table: leave them out of arrays before")


def _pieces(matrix: Any) -> Iterator[tuple[int, Any]]:
    step = max(1, _PIECE // max(matrix.shape[1] * 8, 1))
    for start in range(0, matrix.shape[0], step):
        yield start, matrix[start : start + step]


def _refuse(row: int, column: int, value: float) -> InputError:
    what, advice = ("infinite", "") if np.isinf(value) else ("NaN", ", or pass missing='mean', 'drop' or 'keep'")
    return InputError(f"X is {what} in row {row}, column {column}: clean it{advice}")


def _dense_holes(matrix: Any, missing: str) -> tuple[Mask, Floats | None]:
    """Rows to drop and means to put, from one look at the whole array."""
    n, p = matrix.shape
    dropped, total, present = np.zeros(n, dtype=np.bool_), np.zeros(p), np.full(p, n, dtype=np.int64)
    if matrix.dtype.kind != "f":
        return dropped, None
    for start, raw in _pieces(matrix):
        holes, piece = None, raw.astype(stored_dtype(matrix.dtype), copy=False)
        if as_block(piece).first_not_finite() is not None:
            bad = np.argwhere(~np.isfinite(piece) if missing == "error" else np.isinf(piece))
            if bad.size:
                raise _refuse(start + int(bad[0, 0]), int(bad[0, 1]), float(piece[tuple(bad[0])]))
            holes = np.isnan(piece)
        if missing == "mean":
            add = np.sum if holes is None else np.nansum
            total += add(piece, axis=0, dtype=np.float64)
        if holes is not None:
            dropped[start : start + len(piece)] = holes.any(axis=1) if missing == "drop" else False
            present -= holes.sum(axis=0)
    if missing == "mean":
        return np.zeros(n, dtype=np.bool_), _means(total, present, n)
    return dropped, None


def _sparse_holes(matrix: Any, missing: str) -> tuple[Mask, Floats | None]:
    """Rows to drop and means to put; what is not stored is a zero that is present."""
    n, p = matrix.shape
    dropped = np.zeros(n, dtype=np.bool_)
    if np.isfinite(matrix.data).all():
        return dropped, None
    entries = sp.coo_array(matrix)
    rows, columns = entries.coords
    bad = np.isinf(entries.data) if missing != "error" else ~np.isfinite(entries.data)
    if bad.any():
        first = np.flatnonzero(bad)[np.lexsort((columns[bad], rows[bad]))[0]]
        raise _refuse(int(rows[first]), int(columns[first]), float(entries.data[first]))
    holes = np.isnan(entries.data)
    if missing == "mean":
        total = np.bincount(columns[~holes], weights=entries.data[~holes], minlength=p).astype(np.float64)
        return dropped, _means(total, n - np.bincount(columns[holes], minlength=p), n)
    dropped[rows[holes]] = True
    return dropped, None


def _means(total: Floats, present: NDArray[np.int64], n: int) -> Floats | None:
    if (present == n).all():
        return None
    if (present == 0).any():
        raise InputError(f"X has no value at all in column {int(np.argmax(present == 0))}: drop that column")
    return np.where(present < n, total / present, 0.0)


def _csr(matrix: Any, rows: NDArray[np.int64] | None, means: Floats | None) -> sp.csr_array:
    """Rows that stay, filled, as CSR of float64, sorted."""
    whole = sp.csr_array(matrix if rows is None else sp.csr_array(matrix)[rows])
    data = whole.data.astype(np.float64, copy=False)
    if means is not None:
        data = np.where(np.isnan(data), means[whole.indices], data)
    csr = sp.csr_array((data, whole.indices, whole.indptr), shape=whole.shape)
    csr.sort_indices()
    return csr


def _narrow(csr: sp.csr_array) -> sp.csr_array:
    """Number columns in int32: scipy keeps int64 wherever it was given once."""
    csr.indices = csr.indices.astype(np.int32, copy=False)
    csr.indptr = csr.indptr.astype(np.int32, copy=False)
    return csr


def _check_range(matrix: Any, dtype: np.dtype[Any], means: Floats | None) -> None:
    """Refuse an integer dtype that would change a value."""
    if dtype.kind not in "iu" or matrix.dtype == dtype:
        return
    limits = np.iinfo(dtype)
    for values in (*(piece for _, piece in _pieces(matrix)), *(() if means is None else (means,))):
        known = values[np.isfinite(values)]
        if known.size and (known.min() < limits.min or known.max() > limits.max or (known != np.rint(known)).any()):
            raise InputError(f"X has values that dtype={dtype.name} cannot hold: use float32 or float64")


def _holes_in(values: Any, n: int) -> Mask:
    """Rows where a target, weight, offset or fold is missing; none if it is not numbers, which is refused later."""
    try:
        found = np.asarray([] if values is None else values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.zeros(n, dtype=np.bool_)
    if found.shape[:1] != (n,):
        return np.zeros(n, dtype=np.bool_)
    return np.asarray(np.isnan(found.reshape(n, -1)).any(axis=1), dtype=np.bool_)


def _kept(name: str, values: Any, rows: NDArray[np.int64] | None, n: int) -> Any:
    """Values of the rows that stay."""
    if rows is None:
        return values
    array = np.asarray(values)
    if array.shape[:1] != (n,):
        raise InputError(f"{name} has {array.shape[0] if array.ndim else 0} values for {n} rows of X")
    return array[rows]
