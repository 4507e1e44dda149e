"""Sources: anything that can be read as batches of rows, more than once, within a memory budget.

``open_source`` looks at what it is given and returns a ``Source``; ``ingest.py`` writes it. Arrays live here,
tables in ``tabular.py``, svmlight text in ``svmlight.py``. A new kind of source is one file and one line in ``_SUFFIXES``.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.dataset import STORED_DTYPES, as_block, check_rows, check_weights, to_matrix
from distlasso.errors import InputError, StoreError

Floats = NDArray[np.float64]

MISSING = ("error", "mean", "drop")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows."""

    X: Any  # dense [n, p] in C order, or csr_array of float64
    y: Floats | None
    weight: Floats | None
    offset: Floats | None


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of ``ingest`` wants of a source."""

    target: Any = None
    weight: Any = None
    offset: Any = None
    one_hot: tuple[str, ...] = ()
    dtype: Any = None
    missing: str = "error"


class Source(Protocol):
    """Rows that can be read in order, from any row on, as often as needed."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, dropped rows not counted."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""

    @property
    def sparse(self) -> bool:
        """Whether batches are sparse."""

    @property
    def nnz(self) -> int:
        """Stored entries."""

    @property
    def feature_names(self) -> list[str] | None:
        """Names of the columns."""

    @property
    def fingerprint(self) -> str:
        """Identity: an unfinished store is continued only from the same source."""

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Rows from ``start`` on, about ``budget`` decoded bytes at a time, of a range of columns if given."""


def open_source(
    source: Any, *, target: Any = None, weight: Any = None, offset: Any = None, one_hot: Any = None, dtype: Any = None,
    missing: str = "error",
) -> Source:  # fmt: skip
    """Open arrays or files as a source.

    Raises
    ------
    InputError
        For a kind of source that is not known, and for data or options that cannot be used.
    StoreError
        If a file is missing.
    """
    if missing not in MISSING:
        raise InputError(f"missing={missing!r} is not known: use 'error', 'mean' or 'drop'")
    if dtype is not None and np.dtype(dtype).name not in STORED_DTYPES:
        raise InputError(f"dtype={np.dtype(dtype).name} cannot be stored: use one of {', '.join(STORED_DTYPES)}")
    columns = (one_hot,) if isinstance(one_hot, str) else tuple(one_hot or ())
    options = Options(target, weight, offset, columns, dtype, missing)
    if isinstance(source, str | os.PathLike):
        return _open_file(Path(source), options)
    X, y = source if isinstance(source, tuple) and len(source) == 2 else (source, target)
    if not hasattr(X, "shape") and not isinstance(X, list):
        raise InputError(f"cannot read a {type(X).__name__}: expected (X, y), an array, a sparse matrix or a path")
    return from_arrays(X, y, options)


def from_arrays(X: Any, y: Any, options: Options, names: list[str] | None = None) -> ArraySource:
    """Source of arrays in memory (or memory-mapped)."""
    _refuse_names(options)
    matrix = to_matrix(X)
    if options.dtype is not None and not sp.issparse(matrix):
        matrix = _narrowed(matrix, np.dtype(options.dtype))
    n = matrix.shape[0]
    missing = _missing_entry(matrix) if options.missing == "error" else None
    if missing is not None:
        row, column = missing
        raise InputError(f"X is NaN or infinite in row {row}, column {column}: clean it, or pass missing='mean' or 'drop'")
    rows = np.ones(n, dtype=np.bool_)
    if options.missing == "drop":
        rows = ~_rows_with_nan(matrix)
        if not rows.any():
            raise InputError("every row has a missing value: nothing is left after missing='drop'")
    elif options.missing == "mean":
        matrix = _mean_filled(matrix)
    weight = None if options.weight is None else check_weights(_kept(options.weight, rows, "weight"), int(rows.sum()))
    offset = None if options.offset is None else check_rows("offset", _kept(options.offset, rows, "offset"), int(rows.sum()))
    target = None if y is None else check_rows("y", _kept(y, rows, "y"), int(rows.sum()))
    if not rows.all():
        matrix = matrix[np.flatnonzero(rows)]
    if sp.issparse(matrix):
        matrix = matrix.astype(np.float64) if matrix.dtype != np.float64 else matrix
    return ArraySource(matrix, target, weight, offset, names)


@final
class ArraySource:
    """Arrays, with what belongs to their rows."""

    def __init__(
        self, X: Any, y: Floats | None, weight: Floats | None, offset: Floats | None, names: list[str] | None
    ) -> None:
        self._X, self._y, self._weight, self._offset = X, y, weight, offset
        self.feature_names = names
        self.shape: tuple[int, int] = X.shape
        self.dtype: np.dtype[Any] = X.dtype
        self.sparse = bool(sp.issparse(X))
        self.nnz = int(X.nnz) if self.sparse else X.shape[0] * X.shape[1]

    @property
    def fingerprint(self) -> str:
        """Hash of shape, dtype, rows' values, and a sample of X."""
        digest = hashlib.blake2b(repr((self.shape, self.dtype.str, self.nnz)).encode(), digest_size=16)
        for values in (self._y, self._weight, self._offset):
            digest.update(b"none" if values is None else values.tobytes())
        step = max(1, self.shape[0] // 64)
        for i in range(0, self.shape[0], step):
            row = self._X[[i]].toarray() if self.sparse else self._X[i]
            digest.update(np.ascontiguousarray(row).tobytes())
        return digest.hexdigest()

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Slices of the arrays."""
        n, p = self.shape
        a, b = columns or (0, p)
        X = self._X if columns is None else self._X[:, a:b]
        if self.sparse:
            X = sp.csr_array(X)
        width = 12 * max(1, X.nnz // n) if self.sparse else (b - a) * self.dtype.itemsize
        step = max(1, budget // max(width, 1))
        for i in range(start, n, step):
            rows = slice(i, min(i + step, n))
            yield Batch(X[rows], *(None if v is None else v[rows] for v in (self._y, self._weight, self._offset)))


def _open_file(path: Path, options: Options) -> Source:
    if not path.exists():
        raise StoreError(f"no file at {path}: check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty: expected data")
    name = path.name.removesuffix(".gz")
    for suffix, opener in _SUFFIXES.items():
        if name.endswith(suffix) or (suffix == ".parquet" and path.is_dir()):
            return opener(path, options)
    raise InputError(f"{path} has a suffix that is not known: use one of {', '.join(_SUFFIXES)}")


def _open_npy(path: Path, options: Options) -> Source:
    try:
        X = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not an array that can be read: {error}") from error
    return from_arrays(X, options.target, options)


def _open_npz(path: Path, options: Options) -> Source:
    try:
        with np.load(path, allow_pickle=False) as parts:
            arrays = {name: parts[name] for name in parts.files}
        X = sp.load_npz(path) if {"data", "format", "shape"} <= arrays.keys() else arrays.get("X")
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if X is None:
        raise InputError(f"{path} has no array `X`: expected arrays X and y, or a matrix saved by scipy.sparse.save_npz")
    y = options.target if options.target is not None and not isinstance(options.target, str) else None
    if isinstance(options.target, str):
        if options.target not in arrays:
            raise InputError(f"{path} has no array {options.target!r}: it has {', '.join(sorted(arrays))}")
        y = arrays[options.target]
    weight = options.weight if options.weight is not None else arrays.get("sample_weight")
    offset = options.offset if options.offset is not None else arrays.get("offset")
    rest = Options(None, weight, offset, options.one_hot, options.dtype, options.missing)
    return from_arrays(X, y if y is not None else arrays.get("y"), rest)


def _open_svmlight(path: Path, options: Options) -> Source:
    from distlasso.data.svmlight import SvmlightSource

    return SvmlightSource.scan(path, options)


def _open_table(path: Path, options: Options) -> Source:
    from distlasso.data.tabular import open_table

    return open_table(path, options)


_SUFFIXES: dict[str, Callable[[Path, Options], Source]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".svm": _open_svmlight,
    ".svmlight": _open_svmlight,
    ".libsvm": _open_svmlight,
    ".csv": _open_table,
    ".tsv": _open_table,
    ".parquet": _open_table,
}


def _refuse_names(options: Options) -> None:
    for name in ("target", "weight", "offset"):
        if isinstance(getattr(options, name), str):
            raise InputError(f"{name}={getattr(options, name)!r} names a column, but arrays have no column names: pass values")
    if options.one_hot:
        raise InputError("one_hot names columns of a table: encode arrays before")


def _narrowed(matrix: Any, dtype: np.dtype[Any]) -> Any:
    """Cast where no value changes beyond the rounding of floats."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = matrix.dtype.kind in "iu" or bool((matrix == np.rint(matrix)).all())
        if not whole or matrix.min() < limits.min or matrix.max() > limits.max:
            raise InputError(f"X has values that dtype={dtype.name} cannot hold: use float32 or float64")
    return matrix.astype(dtype, copy=False)


def _missing_entry(matrix: Any) -> tuple[int, int] | None:
    step = max(1, (64 << 20) // max(matrix.shape[1] * 8, 1))
    if sp.issparse(matrix):
        return as_block(matrix).first_not_finite()
    for start in range(0, matrix.shape[0], step):
        found = as_block(matrix[start : start + step]).first_not_finite()
        if found is not None:
            return start + found[0], found[1]
    return None


def _rows_with_nan(matrix: Any) -> NDArray[np.bool_]:
    found = np.zeros(matrix.shape[0], dtype=np.bool_)
    if sp.issparse(matrix):
        entries = sp.coo_array(matrix)
        found[entries.coords[0][np.isnan(entries.data)]] = True
    elif matrix.dtype.kind == "f":
        step = max(1, (64 << 20) // max(matrix.shape[1] * 8, 1))
        for start in range(0, matrix.shape[0], step):
            found[start : start + step] = np.isnan(matrix[start : start + step]).any(axis=1)
    return found


def _mean_filled(matrix: Any) -> Any:
    """Put the mean of the present rows where a value is missing; a copy only if there is one."""
    if sp.issparse(matrix):
        if np.isnan(matrix.data).any():
            raise InputError("X is sparse and has NaN: missing='mean' is for dense data; use missing='drop'")
        return matrix
    if matrix.dtype.kind != "f" or not np.isnan(matrix).any():
        return matrix
    filled = np.array(matrix)
    holes = np.isnan(filled)
    if holes.all(axis=0).any():
        raise InputError(f"column {int(np.argmax(holes.all(axis=0)))} has no value at all: drop it")
    means = np.asarray(np.nanmean(filled, axis=0, dtype=np.float64))
    filled[holes] = means[np.nonzero(holes)[1]]
    return filled


def _kept(values: Any, rows: NDArray[np.bool_], name: str) -> Any:
    """Values of the rows that stay."""
    if rows.all():
        return values
    array = np.asarray(values)
    if array.shape[:1] != rows.shape:
        raise InputError(f"{name} has {array.shape[0] if array.ndim else 0} values for {rows.size} rows of X")
    return array[rows]
