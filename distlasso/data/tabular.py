"""CSV, Parquet and tables in memory as a source: numbers as they are, text one-hot encoded straight into sparse rows.

Two streaming passes: a scan finds levels, row count, missing values and means; the second encodes. Neither holds more
than some blocks. Types of a CSV are those of its first block, whole numbers read as float64 so that a later fraction or
hole fits; a later value that does not is an error with column and row. Read next: ``one_hot.py``, ``sources.py``.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import json
import os
import re
import shlex
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.dataset as pds
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.batches import Batch, Options
from distlasso.data.missing import recode
from distlasso.data.one_hot import Feature, csr_of, settle
from distlasso.errors import InputError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROWS = 1 << 16  # scanned at a time
_BLOCK = 8 << 20  # bytes of CSV text that decide its types
_LEAST_BLOCK, _MOST_BLOCK = 1 << 16, 1 << 20  # bytes of CSV text, read at a time once the types are known
_QUEUE = 32  # blocks that pyarrow reads ahead
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_FAILURE = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to ([^:]+): (.*)")


def open_table(source: Any, options: Options) -> TableSource:
    """Open a CSV or Parquet file, a folder of Parquet files, a pyarrow.Table or a pandas.DataFrame."""
    name = str(source) if isinstance(source, Path) else "the table"
    if not isinstance(options.target, str):
        raise InputError(f"{name}: name the target column (target=..., --target)")
    for role in ("weight", "offset", "fold"):
        value = getattr(options, role)
        if not isinstance(value, str | None):
            raise InputError(f"{name}: {role} must be the name of a column, not {type(value).__name__}")
    reader = _reader(source, name, options)
    return TableSource(replace(reader, wanted=_wanted(reader.schema, options)), options)


@dataclass(slots=True)
class _Scan:
    """What the first pass found."""

    features: list[Feature]
    roles: list[str]  # target, weight, offset, fold
    folds: Feature | None = None  # if their names are text
    read: int = 0
    rows: int = 0  # that stay
    entries: int = 0
    weight: float = 0.0
    names: list[str] = field(default_factory=list)


@final
class TableSource:
    """A table whose rows become sparse if any column is categorical, dense otherwise."""

    def __init__(self, reader: _Reader, options: Options) -> None:
        self._reader, self._options = reader, options
        self._scan = _plan(reader, options)
        self.sparse = any(feature.categorical for feature in self._scan.features)
        self.dtype: np.dtype[Any] = np.dtype(np.float64) if self.sparse else _dense_dtype(reader, self._scan, options)
        text = next((feature.name for feature in self._scan.features if feature.categorical), None)
        if text is not None:
            options.check_sparse(f"column {text!r} becomes one-hot columns, which are sparse")
        if text is not None and options.missing == "keep":
            raise InputError(f"missing='keep' is for tables of numbers, but column {text!r} is not: use 'mean' or 'drop'")
        self.missing_value = options.stored_code(self.dtype)
        self._look()
        self.feature_names: list[str] | None = self._scan.names
        self.shape = (self._scan.rows, len(self._scan.names))
        self.nnz = self._scan.entries if self.sparse else self.shape[0] * self.shape[1]

    def _look(self) -> None:
        """Read the table once for its levels, means and missing values."""
        scan, name = self._scan, self._reader.name
        for table in self._reader.tables(_ROWS, _QUEUE * _MOST_BLOCK):
            self._look_at(table)
        if scan.rows == 0:
            raise InputError(f"{name} has no rows" + (" left after missing='drop'" if scan.read else ""))
        if self._options.weight is not None and scan.weight == 0:
            raise InputError(f"{name}: weight column {self._options.weight!r} is zero in every row")
        for feature in scan.features:
            if feature.categorical or feature.present == scan.rows or self.missing_value is not None:
                continue
            if feature.present == 0:
                raise InputError(f"{name}: column {feature.name!r} has no value at all: drop it ({_dropping(feature.name)})")
            _check_range(np.array([feature.mean]), self.dtype, feature.name)
            if feature.mean == 0:
                scan.entries -= scan.rows - feature.present  # holes become zeros, which are not stored
        scan.names = settle(scan.features)
        if scan.folds is not None:
            _refuse_numbers(scan.folds)
            settle([scan.folds])
        if not scan.names:
            raise InputError(f"{name} has no feature columns beside the target")

    def _look_at(self, table: Any) -> None:
        scan = self._scan
        part = self._kept(table, scan.read)
        scan.read += table.num_rows
        scan.rows += part.num_rows
        if self._options.weight is not None:
            scan.weight += float(_numbers(part, self._options.weight).sum())
        if scan.folds is not None:
            scan.folds.add_levels(pc.unique(part.column(scan.folds.name)).to_pylist())
        for feature in scan.features:
            if feature.categorical:
                column = part.column(feature.name)
                feature.add_levels(pc.unique(column).to_pylist())
                scan.entries += part.num_rows - int(_holes(column).sum())
            else:
                values = _numbers(part, feature.name)
                feature.add_numbers(values)
                _check_range(values, self.dtype, feature.name)
                scan.entries += int(np.count_nonzero(values))

    @property
    def fingerprint(self) -> str:
        """Identity of the table, and the options."""
        return repr((self._reader.identity(), self._options))

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Encoded rows from ``start`` on; earlier ones are read and passed over."""
        width = 12 * max(1, self.nnz // self.shape[0]) if self.sparse else 8 * self.shape[1]
        row = 0
        for table in self._reader.tables(int(np.clip(budget // width, 256, 1 << 20)), budget):
            part = self._kept(table, 0) if self._options.missing == "drop" else table
            skip = min(max(start - row, 0), part.num_rows)
            row += part.num_rows
            if skip < part.num_rows:
                yield self._encode(part.slice(skip), *(columns or (0, self.shape[1])))

    def _encode(self, table: Any, a: int, b: int) -> Batch:
        within = [f for f in self._scan.features if f.first < b and f.first + f.width > a]
        X = self._sparse(table, within, a, b) if self.sparse else self._dense(table, within)
        roles = (self._options.target, self._options.weight, self._options.offset)
        y, weight, offset = (None if name is None else _numbers(table, name) for name in roles)
        return Batch(X, y, weight, offset, self._folds(table))

    def _folds(self, table: Any) -> Floats | None:
        """Folds of the rows; those of text are numbered in sorted order."""
        name, named = self._options.fold, self._scan.folds
        if named is not None:
            return named.positions(*_levels(table.column(name))).astype(np.float64)
        return None if name is None else _numbers(table, name)

    def _dense(self, table: Any, within: list[Feature]) -> NDArray[Any]:
        out = np.empty((table.num_rows, len(within)), dtype=self.dtype)
        for k, feature in enumerate(within):
            values = _numbers(table, feature.name)
            if self.missing_value is None:
                out[:, k] = feature.filled(values)
            else:
                out[:, k] = recode(values, self._options.missing_value, self.missing_value, self.dtype)
        return out

    def _sparse(self, table: Any, within: list[Feature], a: int, b: int) -> sp.csr_array:
        """One entry a row for each categorical column, and the nonzeros of the numeric ones."""
        n = table.num_rows
        places, values = np.full((n, len(within)), -1, dtype=np.int64), np.ones((n, len(within)))
        for k, feature in enumerate(within):
            if feature.categorical:
                places[:, k] = feature.positions(*_levels(table.column(feature.name)))
            else:
                values[:, k] = feature.filled(_numbers(table, feature.name))
                places[:, k] = np.where(values[:, k] != 0, feature.first, -1)
        return csr_of(places, values, a, b - a)

    def _rule(self, name: str) -> tuple[Callable[[Floats], Mask], str] | None:
        if name == self._options.weight:
            return (lambda values: values < 0), "a negative weight"
        if name == self._options.fold:
            return (lambda values: ~np.isnan(values) & (values != np.rint(values))), "not a whole number, as folds are,"
        return None

    def _kept(self, table: Any, row: int) -> Any:
        """The rows that stay. A value that may not be missing, infinite or negative is an error with row and column."""
        scan, missing = self._scan, self._options.missing
        dropped = np.zeros(table.num_rows, dtype=np.bool_)
        for name, role, numeric in (
            *((role, True, scan.folds is None or role != scan.folds.name) for role in scan.roles),
            *((f.name, False, not f.categorical) for f in scan.features),
        ):
            holes = _checked(table, name, row, self._rule(name)) if numeric else _holes(table.column(name))
            if not holes.any() or (missing in ("mean", "keep") and not role):
                continue
            if missing != "drop":
                ways = "'mean' or 'drop'" if self.sparse else "'mean', 'drop' or 'keep'"
                advice = "remove the row, or pass missing='drop'" if role else f"pass missing={ways}"
                raise InputError(f"column {name!r} has a missing value in row {row + int(np.argmax(holes))}: {advice}")
            dropped |= holes
        return table.filter(pa.array(~dropped)) if dropped.any() else table


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tables of a few rows, in order, as often as asked."""

    name: str
    schema: Any
    origin: Any  # path of a CSV, paths of Parquet files, or a pyarrow.Table
    line: int = 0  # bytes of the longest of the first lines of a CSV
    wanted: tuple[str, ...] = ()  # columns that are read, in the order of the schema

    def tables(self, rows: int, budget: int) -> Iterator[Any]:
        """Tables of at most ``rows`` rows."""
        try:
            for batch in self._batches(rows, budget):
                for start in range(0, batch.num_rows, rows):
                    yield _plain(pa.Table.from_batches([batch.slice(start, rows)]))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError) as error:
            raise InputError(self._explained(error)) from error

    def _batches(self, rows: int, budget: int) -> Iterator[Any]:
        if isinstance(self.origin, pa.Table):
            yield from self.origin.select(self.wanted).to_batches(max_chunksize=rows)
        elif isinstance(self.origin, list):
            schema = pa.schema([self.schema.field(name) for name in self.wanted])
            found = pds.dataset(self.origin, schema=schema, format="parquet")
            yield from found.to_batches(batch_size=rows, batch_readahead=2, fragment_readahead=1)
        else:
            types = {entry.name: entry.type for entry in self.schema}
            # A row must fit into two blocks, and the blocks read ahead into the budget.
            block = max(_LEAST_BLOCK, min(budget // _QUEUE, _MOST_BLOCK), 4 * self.line)
            with _csv(self.origin, block, types, wanted=self.wanted) as reader:
                yield from reader

    def _explained(self, error: BaseException) -> str:
        """Say which column and row of a CSV does not have the type of the first block."""
        failure = _FAILURE.search(str(error))
        if failure is None or not isinstance(self.origin, Path):
            return f"{self.name} cannot be read as a table: {str(error).splitlines()[0]}"
        column, line, kind, what = failure.groups()
        if line is None:
            types = {entry.name: entry.type for entry in self.schema}
            line = _FAILURE.search(_failure_in_order(self.origin, max(_BLOCK, 4 * self.line), types, self.wanted) or "")
            line = line and line[2]
        where = f" in row {int(line) - 2}" if line else ""
        kind = "number" if kind == "double" else kind
        name = self.schema.names[int(column)]
        return f"{self.name}: column {name!r}{where} is not a {kind} like the rows before: {what}"

    def identity(self) -> Any:
        """Paths, sizes and times of files; a sample of a table in memory."""
        if not isinstance(self.origin, pa.Table):
            files = self.origin if isinstance(self.origin, list) else [self.origin]
            return [(os.path.abspath(f), os.stat(f).st_size, os.stat(f).st_mtime_ns) for f in files]
        n = self.origin.num_rows
        sample = self.origin.take(list(range(0, n, max(1, n // 64)))).to_pydict()
        return hashlib.blake2b(repr((n, str(self.schema), sample)).encode(), digest_size=16).hexdigest()


def _reader(source: Any, name: str, options: Options) -> _Reader:
    try:
        if not isinstance(source, Path):
            table = source if isinstance(source, pa.Table) else pa.Table.from_pandas(source, preserve_index=False)
            return _Reader(name, table.schema, table)
        if source.is_dir() or source.name.endswith(".parquet"):
            return _parquet(source, name)
        with (gzip.open if source.suffix == ".gz" else open)(source, "rb") as file:
            line = max(len(file.readline()), len(file.readline()))
        with _csv(source, max(_BLOCK, 4 * line), {}) as reader:
            schema = pa.schema([(entry.name, _widest(entry, options)) for entry in reader.schema])
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: its column names have a byte 0x{error.object[error.start]:02x}") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} cannot be read as a table: {str(error).splitlines()[0]}") from error
    return _Reader(name, schema, source, line)


def _parquet(path: Path, name: str) -> _Reader:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} has no .parquet files in it: expected a folder of Parquet files")
    schemas = {file: pds.dataset(file, format="parquet").schema for file in files}
    first = schemas[files[0]]
    for file, schema in schemas.items():
        if set(schema.names) != set(first.names):
            other = sorted(set(schema.names) ^ set(first.names))
            raise InputError(f"{file} has other columns than {files[0].name}: only one of them has {', '.join(other)}")
    return _Reader(name, first, [str(file) for file in files])


def _csv(path: Path, block: int, types: dict[str, Any], *, wanted: Sequence[str] = (), threads: bool = True) -> Any:
    convert = pv.ConvertOptions(column_types=types, strings_can_be_null=True, include_columns=list(wanted))
    parse = pv.ParseOptions(delimiter="\t" if ".tsv" in path.suffixes else ",")
    return pv.open_csv(path, pv.ReadOptions(block_size=block, use_threads=threads), parse, convert)


def _failure_in_order(path: Path, block: int, types: dict[str, Any], wanted: Sequence[str]) -> str | None:
    """Read again in one thread, the only way in which pyarrow counts rows, up to the failure."""
    try:
        with _csv(path, block, types, wanted=wanted, threads=False) as reader:
            for _ in reader:
                pass
    except pa.ArrowInvalid as error:
        return str(error)
    return None


def _widest(entry: Any, options: Options) -> Any:
    """Type to read a CSV column with: later rows may have a fraction, or a value where the first block has none."""
    if entry.name in options.one_hot:
        return pa.string() if pa.types.is_null(entry.type) else entry.type
    return pa.float64() if pa.types.is_integer(entry.type) or pa.types.is_null(entry.type) else entry.type


def _wanted(schema: Any, options: Options) -> tuple[str, ...]:
    """Columns to read: neither those to drop nor the index of a frame that pandas wrote, unless it is named."""
    named = {options.target, options.weight, options.offset, options.fold, *options.one_hot}
    left_out = (_index_columns(schema) - named).union(options.drop)
    return tuple(name for name in schema.names if name not in left_out)


def _index_columns(schema: Any) -> set[Any]:
    """Columns that pandas has noted as its index in the metadata of a schema."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        return {name for name in noted["index_columns"] if isinstance(name, str)}  # a dictionary stands for a range
    except (ValueError, KeyError, TypeError):
        return set()


def _plan(reader: _Reader, options: Options) -> _Scan:
    names, wanted = reader.schema.names, reader.wanted
    roles = [name for name in (options.target, options.weight, options.offset, options.fold) if name is not None]
    for name in (*roles, *options.one_hot, *options.drop):
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 3) or names[:8]
            raise InputError(f"{reader.name} has no column {name!r}: did you mean {', '.join(near)}?")
    if "" in wanted:
        cure = f"write the file with index=False, or leave it out ({_dropping('')})"
        raise InputError(f"{reader.name}: column {names.index('')} has no name, as where pandas wrote its index: {cure}")
    for name in wanted:
        if wanted.count(name) > 1:
            raise InputError(f"{reader.name} has {wanted.count(name)} columns named {name!r}: give each its own name")
    uses = [*roles, *dict.fromkeys(options.one_hot), *dict.fromkeys(options.drop)]
    for name in uses:
        if uses.count(name) > 1:
            raise InputError(f"column {name!r} is named twice: target, weight, offset, fold, one_hot and drop need one each")
    for name in roles:
        kind = reader.schema.field(name).type
        if not _is_numeric(kind) and not (name == options.fold and _is_text(kind)):
            raise InputError(f"{reader.name}: column {name!r} is not numeric, it holds {kind}")
    text = options.fold is not None and _is_text(reader.schema.field(options.fold).type)
    features = [_feature(reader, name, options) for name in wanted if name not in roles]
    return _Scan(features, roles, Feature(options.fold, True) if text else None)


def _feature(reader: _Reader, name: str, options: Options) -> Feature:
    kind = reader.schema.field(name).type
    if pa.types.is_binary(kind) and isinstance(reader.origin, Path):
        raise InputError(f"{reader.name}: column {name!r} is not UTF-8 text: convert the file")
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        ways = f"drop it or convert it to text or numbers ({_dropping(name)})"
        raise InputError(f"{reader.name}: column {name!r} holds {kind}: {ways}")
    if _is_text(kind) or name in options.one_hot:
        return Feature(name, True)
    if _is_numeric(kind):
        return Feature(name, False)
    ways = f"drop it, convert it, or name it in one_hot ({_dropping(name)})"
    raise InputError(f"{reader.name}: column {name!r} holds {kind}: {ways}")


def _dropping(name: str) -> str:
    """How a column is left out, in Python and in a shell."""
    return f"drop=[{name!r}], --drop {shlex.quote(name)}"


def _is_text(kind: Any) -> bool:
    return any(is_kind(kind) for is_kind in (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary,
    ))  # fmt: skip


def _is_numeric(kind: Any) -> bool:
    return any(is_kind(kind) for is_kind in (
        pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null,
    ))  # fmt: skip


def _dense_dtype(reader: _Reader, scan: _Scan, options: Options) -> np.dtype[Any]:
    """Dtype asked for, else float32 if that is what every feature has, else float64."""
    if options.dtype is not None:
        chosen: np.dtype[Any] = np.dtype(options.dtype)
        return chosen
    narrow = all(pa.types.is_float32(reader.schema.field(f.name).type) for f in scan.features)
    return np.dtype(np.float32 if narrow and scan.features else np.float64)


def _plain(table: Any) -> Any:
    """Text views, which pyarrow cannot filter, as strings."""
    if not any(pa.types.is_string_view(entry.type) for entry in table.schema):
        return table
    return table.cast(pa.schema([
        entry.with_type(pa.string()) if pa.types.is_string_view(entry.type) else entry for entry in table.schema
    ]))  # fmt: skip


def _numbers(table: Any, name: str) -> Floats:
    """Values of a column, NaN where they are missing."""
    column = pc.fill_null(pc.cast(table.column(name), pa.float64(), safe=False), float("nan"))
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _holes(column: Any) -> Mask:
    floating = pa.types.is_floating(column.type)
    return np.asarray(pc.is_null(column, nan_is_null=floating).to_numpy(), dtype=np.bool_)


def _checked(table: Any, name: str, row: int, rule: tuple[Callable[[Floats], Mask], str] | None) -> Mask:
    """Where a column of numbers has none; ``rule`` is what is wrong with the values of a role, and how to call it."""
    values = _numbers(table, name)
    for is_bad, what in ((np.isinf, "infinite"), *(() if rule is None else (rule,))):
        bad = is_bad(values)
        if bad.any():
            raise InputError(f"column {name!r} is {what} in row {row + int(np.argmax(bad))}: clean it")
    return np.isnan(values)


def _refuse_numbers(folds: Feature) -> None:
    """Refuse numbers among names of folds: -1, which is no fold, would become one by a slip in another row."""
    number = next((level for level in sorted(folds.seen) if _NUMBER.fullmatch(str(level).strip())), None)
    if number is not None:
        raise InputError(f"fold column {folds.name!r} is not numeric, but has {number!r} among its names: use numbers or names")


def _levels(column: Any) -> tuple[list[Any], NDArray[np.int64]]:
    """Levels of a batch, and which of them each row has; -1 where it has none."""
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    if not pa.types.is_dictionary(encoded.type):
        encoded = pc.dictionary_encode(encoded)
    indices = pc.fill_null(pc.cast(encoded.indices, pa.int64()), -1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), np.asarray(indices, dtype=np.int64)


def _check_range(values: Floats, dtype: np.dtype[Any], name: str) -> None:
    """Refuse an integer dtype that would change a value."""
    if dtype.kind not in "iu":
        return
    limits, known = np.iinfo(dtype), values[~np.isnan(values)]
    if ((known < limits.min) | (known > limits.max) | (known != np.rint(known))).any():
        raise InputError(f"column {name!r} has values that dtype={dtype.name} cannot hold: use float32 or float64")
