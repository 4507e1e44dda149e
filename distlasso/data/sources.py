"""Sources: anything that can be read as batches of rows, more than once, within a memory budget.

``open_source`` looks at what it is given and returns a ``Source``; ``ingest.py`` writes it. Arrays are read in
``array_source.py``, tables in ``tabular.py``, svmlight text in ``svmlight.py``. A new kind of source is one file and
one line in ``_SUFFIXES``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.batches import Batch, Options
from distlasso.data.dataset import STORED_DTYPES
from distlasso.data.missing import Code
from distlasso.data.npz import DAMAGE, read_npz
from distlasso.errors import InputError, StoreError

Floats = NDArray[np.float64]

MISSING = ("error", "mean", "drop", "keep")


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
    def missing_value(self) -> Code | None:
        """Value that means missing in dense batches; None where every value is data."""

    @property
    def fingerprint(self) -> str:
        """Identity: an unfinished store is continued only from the same source."""

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Rows from ``start`` on, about ``budget`` decoded bytes at a time, of a range of columns if given."""


def open_source(
    source: Any, *, target: Any = None, weight: Any = None, offset: Any = None, fold: Any = None, one_hot: Any = None,
    drop: Any = None, dtype: Any = None, missing: str = "error", missing_value: Any = None,
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
        raise InputError(f"missing={missing!r} is not known: use 'error', 'mean', 'drop' or 'keep'")
    encoded, left_out = _columns("one_hot", one_hot), _columns("drop", drop)
    code = _code(missing_value, missing)
    options = Options(target, weight, offset, fold, encoded, left_out, _stored(dtype), missing, code)
    if isinstance(source, str | os.PathLike):
        return _open_file(Path(source), options)
    if isinstance(target, str) and type(source).__module__.split(".")[0] in ("pandas", "pyarrow"):
        return _open_table(source, options)
    pair = isinstance(source, tuple) and len(source) == 2
    if pair and target is not None and not isinstance(target, str):
        raise InputError("the target is given twice, in (X, y) and as `target`: leave one of them out")
    X, y = source if pair else (source, target)
    if not hasattr(X, "shape") and not isinstance(X, list):
        raise InputError(f"cannot read a {type(X).__name__}: expected (X, y), an array, a sparse matrix or a path")
    return _from_arrays(X, y, options)


def _columns(name: str, given: Any) -> tuple[str, ...]:
    columns = [given] if isinstance(given, str) else given or []
    if not isinstance(columns, list | tuple) or not all(isinstance(column, str) for column in columns):
        raise InputError(f"{name}={given!r} is not a list of column names")
    return tuple(columns)


def _code(missing_value: Any, missing: str) -> Code | None:
    """Value that means missing in the source, besides NaN."""
    if missing_value is None:
        return None
    if missing != "keep":
        raise InputError(f"missing_value={missing_value!r} marks values that are kept: pass missing='keep' with it")
    try:
        return float(missing_value)
    except (TypeError, ValueError) as error:
        raise InputError(f"missing_value={missing_value!r} is not a number") from error


def _stored(dtype: Any) -> np.dtype[Any] | None:
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype={dtype!r} is not known: use one of {', '.join(STORED_DTYPES)}") from error
    if found is not None and found.name not in STORED_DTYPES:
        raise InputError(f"dtype={found.name} cannot be stored: use one of {', '.join(STORED_DTYPES)}")
    return found


def _from_arrays(X: Any, y: Any, options: Options) -> Source:
    from distlasso.data.array_source import from_arrays

    return from_arrays(X, y, options)


def _open_file(path: Path, options: Options) -> Source:
    if not path.exists():
        raise StoreError(f"no file at {path}: check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty: expected data")
    if path.is_dir():
        return _open_table(path, options)
    name = path.name.removesuffix(".gz")
    for suffix, opener in _SUFFIXES.items():
        if name.endswith(suffix) and (name == path.name or suffix in _GZIPPED):
            return opener(path, options)
    more = ", ".join(f"{suffix}.gz" for suffix in _GZIPPED)
    raise InputError(f"{path} has a suffix that is not known: use one of {', '.join(_SUFFIXES)}, {more}")


def ingest_line(path: Path) -> str | None:
    """The command that writes a file to a store; None for a kind of file that is not known."""
    name = path.name.removesuffix(".gz")
    found = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
    if found is None or (name != path.name and found not in _GZIPPED):
        return None
    store = path.with_name(f"{name.removesuffix(found)}.zarr")
    target = " --target COLUMN" if _SUFFIXES[found] is _open_table else ""
    return f"distlasso ingest {shlex.quote(str(path))} {shlex.quote(str(store))}{target}"


def _open_npy(path: Path, options: Options) -> Source:
    try:
        X = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *DAMAGE) as error:
        raise InputError(f"{path} is not an array that can be read: {_reason(error)}") from error
    return _from_arrays(X, options.target, options)


def _open_npz(path: Path, options: Options) -> Source:
    try:
        arrays = read_npz(path, compressed=True)
        X = sp.load_npz(path) if {"data", "format", "shape"} <= arrays.keys() else arrays.get("X")
    except (OSError, *DAMAGE) as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}") from error
    if X is None:
        raise InputError(f"{path} has no array `X`: expected arrays X and y, or a scipy.sparse save_npz file")
    y = options.target if options.target is not None and not isinstance(options.target, str) else None
    if isinstance(options.target, str):
        if options.target not in arrays:
            raise InputError(f"{path} has no array {options.target!r}: it has {', '.join(sorted(arrays))}")
        y = arrays[options.target]
    beside = {"weight": "sample_weight", "offset": "offset", "fold": "fold"}
    own = {role: getattr(options, role) for role in beside}
    found: dict[str, Any] = {role: arrays.get(name) if own[role] is None else own[role] for role, name in beside.items()}
    rest = replace(options, target=None, **found)
    return _from_arrays(X, y if y is not None else arrays.get("y"), rest)


def _reason(error: Exception) -> str:
    """NumPy's own advice for a file that it takes for a pickle is to load it unsafely."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    pickled = "pickle" in text or "Python objects" in text
    return "it is damaged, or holds Python objects instead of numbers" if pickled else text


def _open_svmlight(path: Path, options: Options) -> Source:
    from distlasso.data.svmlight import SvmlightSource

    return SvmlightSource.scan(path, options)


def _open_table(source: Any, options: Options) -> Source:
    from distlasso.data.tabular import open_table

    return open_table(source, options)


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
_GZIPPED = (".svm", ".svmlight", ".libsvm", ".csv", ".tsv")
