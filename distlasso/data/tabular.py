"""CSV and Parquet as a source: numeric columns as they are, text columns one-hot encoded straight into sparse rows.

Two streaming passes: a scan finds levels, row count, missing values and means; the second encodes. Neither holds more
than a batch. Types are taken from the first block of a CSV; a later value that does not fit is an error that says so.
Read next: ``sources.py``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.dataset as pds
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.sources import Batch, Options
from distlasso.errors import InputError

_ROWS = 1 << 16  # scanned at a time
_CSV_BLOCK = 8 << 20


@dataclass(slots=True)
class _Column:
    """What the scan found out about one feature."""

    name: str
    categorical: bool
    levels: NDArray[Any] | None = None
    total: float = 0.0
    present: int = 0
    first: int = 0  # its first column in the matrix

    @property
    def width(self) -> int:
        return len(self.levels) if self.levels is not None else 1

    @property
    def mean(self) -> float:
        return self.total / max(self.present, 1)

    def names(self) -> list[str]:
        if self.levels is None:
            return [self.name]
        return [f"{self.name}={level}" for level in self.levels]


@dataclass(slots=True)
class _Scan:
    """Features in the order of the file, rows that stay, stored entries."""

    features: list[_Column]
    roles: list[str] = field(default_factory=list)  # target, weight, offset
    rows: int = 0
    entries: int = 0


def open_table(path: Path, options: Options) -> TableSource:
    """Open a CSV or Parquet file, or a folder of Parquet files."""
    if not isinstance(options.target, str):
        raise InputError(f"{path}: name the target column (target=..., --target)")
    return TableSource.scan(path, options)


@final
class TableSource:
    """A table whose rows become sparse if any column is categorical, dense otherwise."""

    def __init__(self, path: Path, options: Options, scan: _Scan) -> None:
        self._path, self._options, self._scan = path, options, scan
        self.feature_names = [name for feature in scan.features for name in feature.names()]
        self.sparse = any(feature.categorical for feature in scan.features)
        self.shape = (scan.rows, len(self.feature_names))
        self.dtype: np.dtype[Any] = np.dtype(np.float64 if self.sparse else options.dtype or np.float64)
        self.nnz = scan.entries if self.sparse else self.shape[0] * self.shape[1]

    @classmethod
    def scan(cls, path: Path, options: Options) -> TableSource:
        """Read the table once for its levels, means and missing values."""
        scan: _Scan | None = None
        rows = 0
        for table in _tables(path, _ROWS):
            if scan is None:
                scan = _plan(path, table.schema, options)
            rows = _scan_table(scan, table, options, rows)
        if scan is None or scan.rows == 0:
            raise InputError(f"{path} has no rows" + (" left after missing='drop'" if rows else ""))
        first = 0
        for feature in scan.features:
            feature.first = first
            if feature.categorical:
                assert feature.levels is not None
                feature.levels = np.sort(feature.levels)
            first += feature.width
        if first == 0:
            raise InputError(f"{path} has no feature columns beside the target")
        return cls(path, options, scan)

    @property
    def fingerprint(self) -> str:
        """Paths, sizes and times of the files, and the options."""
        files = sorted(self._path.rglob("*.parquet")) if self._path.is_dir() else [self._path]
        about = [(str(f.absolute()), os.stat(f).st_size, os.stat(f).st_mtime_ns) for f in files]
        return repr((about, self._options))

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Encoded rows from ``start`` on; earlier ones are read and passed over."""
        width = 12 * max(1, self.nnz // self.shape[0]) if self.sparse else 8 * self.shape[1]
        row = 0
        for table in _tables(self._path, int(np.clip(budget // width, 256, 1 << 20))):
            kept = _kept(table, self._scan, self._options)
            part = table if kept is None else table.filter(pa.array(kept))
            skip = min(max(start - row, 0), part.num_rows)
            row += part.num_rows
            if skip < part.num_rows:
                yield self._encode(part.slice(skip), columns)

    def _encode(self, table: Any, columns: tuple[int, int] | None) -> Batch:
        target, weight, offset = self._options.target, self._options.weight, self._options.offset
        X = self._sparse(table) if self.sparse else self._dense(table)
        if columns is not None:
            X = X[:, columns[0] : columns[1]]
        y = _numbers(table, target)
        return Batch(X, y, *(None if name is None else _numbers(table, name) for name in (weight, offset)))

    def _dense(self, table: Any) -> NDArray[Any]:
        out = np.empty((table.num_rows, self.shape[1]), dtype=self.dtype)
        for feature in self._scan.features:
            values = _numbers(table, feature.name)
            out[:, feature.first] = np.where(np.isnan(values), feature.mean, values)
        return out

    def _sparse(self, table: Any) -> Any:
        """CSR with one entry a row for each categorical column, and the nonzeros of the numeric ones."""
        n = table.num_rows
        places, values = np.full((n, len(self._scan.features)), -1, dtype=np.int32), np.ones((n, len(self._scan.features)))
        for k, feature in enumerate(self._scan.features):
            if feature.categorical:
                codes = _codes(table.column(feature.name), feature)
                places[:, k] = np.where(codes >= 0, codes + feature.first, -1)
            else:
                numbers = _numbers(table, feature.name)
                values[:, k] = np.where(np.isnan(numbers), feature.mean, numbers)
                places[:, k] = np.where(values[:, k] != 0, feature.first, -1)
        stored = places >= 0
        indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
        return sp.csr_array((values[stored], places[stored], indptr), shape=(n, self.shape[1]))


def _tables(path: Path, rows: int) -> Iterator[Any]:
    """The file as tables of at most ``rows`` rows."""
    try:
        if path.is_dir() or path.name.endswith(".parquet"):
            for batch in pds.dataset(path, format="parquet").to_batches(batch_size=rows):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
            return
        parse = pv.ParseOptions(delimiter="\t" if ".tsv" in path.suffixes else ",")
        convert = pv.ConvertOptions(strings_can_be_null=True)
        with pv.open_csv(path, pv.ReadOptions(block_size=_CSV_BLOCK), parse, convert) as reader:
            for batch in reader:
                for start in range(0, batch.num_rows, rows):
                    yield pa.Table.from_batches([batch.slice(start, rows)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _plan(path: Path, schema: Any, options: Options) -> _Scan:
    roles = [name for name in (options.target, options.weight, options.offset) if name is not None]
    for name in (*roles, *options.one_hot):
        if name not in schema.names:
            near = difflib.get_close_matches(str(name), schema.names, 3) or schema.names[:8]
            raise InputError(f"{path} has no column {name!r}: did you mean {', '.join(near)}?")
    for name in roles:
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise InputError(f"{path}: column {name!r} is not numeric, it holds {kind}")
    features = [_feature(path, schema.field(name), options) for name in schema.names if name not in roles]
    return _Scan(features, roles)


def _feature(path: Path, column: Any, options: Options) -> _Column:
    kind = column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    if text or column.name in options.one_hot:
        return _Column(column.name, True, np.empty(0, dtype=object))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return _Column(column.name, False)
    raise InputError(f"{path}: column {column.name!r} holds {kind}: drop it, convert it, or name it in one_hot")


def _scan_table(scan: _Scan, table: Any, options: Options, row: int) -> int:
    """Take one table into the scan; return the number of rows read so far."""
    kept = _kept(table, scan, options, row)
    part = table if kept is None else table.filter(pa.array(kept))
    scan.rows += part.num_rows
    for feature in scan.features:
        column = part.column(feature.name)
        if feature.categorical:
            assert feature.levels is not None
            fresh = np.array(pc.unique(column).drop_null().to_pylist(), dtype=object)
            feature.levels = np.array(sorted({*feature.levels, *fresh}), dtype=object)
            scan.entries += part.num_rows - column.null_count
        else:
            values = _numbers(part, feature.name)
            holes = np.isnan(values)
            feature.total += float(values[~holes].sum())
            feature.present += int((~holes).sum())
            scan.entries += int(np.count_nonzero(np.where(holes, 1.0, values)))
    return row + int(table.num_rows)


def _kept(table: Any, scan: _Scan, options: Options, row: int = 0) -> NDArray[np.bool_] | None:
    """Rows that stay; None for all of them. Values that may not be missing are errors with row and column."""
    bad = np.zeros(table.num_rows, dtype=np.bool_)
    required = [*scan.roles, *(f.name for f in scan.features if options.missing != "mean")]
    for name in dict.fromkeys([*required, *(f.name for f in scan.features)]):
        column = table.column(name)
        numeric = name in scan.roles or not next(f.categorical for f in scan.features if f.name == name)
        if numeric:
            values = _numbers(table, name)
            if np.isinf(values).any():
                raise InputError(f"column {name!r} is infinite in row {row + int(np.argmax(np.isinf(values)))}: clean it")
            holes = np.isnan(values)
        else:
            holes = np.asarray(column.is_null().to_numpy(), dtype=np.bool_)
        if name not in required or not holes.any():
            continue
        if options.missing != "drop":
            advice = "remove the row" if name in scan.roles else "pass missing='mean' or 'drop'"
            raise InputError(f"column {name!r} has a missing value in row {row + int(np.argmax(holes))}: {advice}")
        bad |= holes
    return ~bad if bad.any() else None


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    column = table.column(name)
    if not pa.types.is_floating(column.type):
        column = pc.cast(column, pa.float64(), safe=False) if not pa.types.is_boolean(column.type) else pc.cast(
            pc.cast(column, pa.int8()), pa.float64()
        )  # fmt: skip
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy(), dtype=np.float64)


def _codes(column: Any, feature: _Column) -> NDArray[np.int64]:
    """Position of each value among the levels; -1 where it is missing."""
    assert feature.levels is not None
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(encoded.type):
        encoded = pc.dictionary_encode(encoded)
    own = np.array(encoded.dictionary.to_pylist(), dtype=object)
    lookup = {level: k for k, level in enumerate(feature.levels)}
    places = np.array([lookup.get(level, -1) for level in own] + [-1], dtype=np.int64)
    indices = pc.fill_null(encoded.indices, len(own)).to_numpy(zero_copy_only=False)
    return np.asarray(places[indices], dtype=np.int64)
