"""``Dataset``: a lazy handle on a matrix of tiles with its target, in memory or in a store.

Read next: ``blocks.py`` (what a tile can answer), ``store.py`` (where tiles come from on disk), ``ingest.py`` (how
they get there).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from distlasso.data.blocks import Block, CSCBlock, CSRBlock, DenseBlock
from distlasso.data.missing import Code, checked
from distlasso.data.names import column_names
from distlasso.data.statistics import Statistics
from distlasso.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STORED_DTYPES = ("float64", "float32", "int8", "uint8")
_TILE_BYTES = 1 << 20
_BYTES_A_COLUMN = 128  # of a tile of rows: if it were smaller than the gradients of two batches, merging them would cost the most
_MAX_TILES = 32  # unless they had too many rows
_MAX_ROWS = 1 << 17  # of a tile in a band of rows: longer sums lose digits, and what belongs to the rows leaves the cache
_ROWS_A_COLUMN = 12  # of a tile: with half as many, merging its Gram, and those of cells, costs a tenth of the products
_LARGEST = 1e150  # sums of squares of a target or weight must stay within float64


class Reader(Protocol):
    """Where tiles come from."""

    def read(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A matrix of ``n`` rows and ``p`` columns cut into a grid of tiles, with what belongs to its rows and columns.

    Made by ``distlasso.open_dataset``, ``distlasso.ingest`` or ``Dataset.from_arrays``.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    dtype : numpy.dtype
        Stored dtype of the values.
    encoding : {"dense", "csr", "csc"}
        How a tile is stored.
    row_bounds, col_bounds : int64 [tiles + 1]
        The grid of tiles.
    nnz : int
        Stored entries.
    nbytes : int
        Bytes of all tiles, decoded.
    missing_value : int, NaN or None
        Stored value of dense data that means missing; a fit puts the mean of the column there, over the rows of the fit
        (weighted) that have one. None: every value is data.
    y, sample_weight, offset : float64 [n] or None
        Target ([n, q] for q responses), weights and offset of the rows.
    fold : float64 [n] or None
        Fold of every row in a cross-validation; -1 where it always trains.
    feature_names : list of str or None
        Names of the columns.
    statistics : Statistics or None
        Of all columns under the stored target, weights and offset.
    path : str or None
        Where it is stored.
    fingerprint : str
        Identity of the stored data; empty in memory.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    encoding: str
    row_bounds: Ints
    col_bounds: Ints
    nnz: int
    nbytes: int
    reader: Reader
    missing_value: Code | None = None
    y: Floats | None = None
    sample_weight: Floats | None = None
    offset: Floats | None = None
    fold: Floats | None = None
    feature_names: list[str] | None = None
    statistics: Statistics | None = None
    path: str | None = None
    fingerprint: str = ""
    validated: bool = False  # ingest has looked at every value

    def __repr__(self) -> str:
        tiles = f"{self.row_bounds.size - 1} x {self.col_bounds.size - 1} tiles"
        rows = ", ".join(name for name in ("y", "sample_weight", "offset", "fold") if getattr(self, name) is not None)
        place = repr(self.path) if self.path else "in memory" if self.in_memory else "in chunks"
        missing = "" if self.missing_value is None else f", missing value {self.missing_value}"
        return (
            f"Dataset({self.shape[0]} x {self.shape[1]} {self.encoding} {self.dtype.name}, {tiles}, "
            f"{self.nbytes:,} bytes{missing}, with {rows or 'no target'}, {place})"
        )

    @property
    def resident(self) -> NDArray[Any] | None:
        """The whole matrix, if it is dense, in this process, and has its columns one after the other; as stored."""
        matrix = self.reader.matrix if isinstance(self.reader, InMemory) else None
        # Kernels would be compiled anew for what must not be written to.
        if type(matrix) is not np.ndarray or not matrix.flags.writeable:
            return None
        return matrix if matrix.flags.f_contiguous and not matrix.flags.c_contiguous else None

    def tile(self, i: int, j: int) -> Block:
        """Return the tile of row range ``i`` and column range ``j``."""
        return self.reader.read(i, j)

    @property
    def in_memory(self) -> bool:
        """Whether tiles are views of arrays in this process, so that to read one costs nothing."""
        return isinstance(self.reader, InMemory)

    def with_target(
        self, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> Dataset:
        """Override target, weights or offset; what is None stays as stored."""
        n = self.shape[0]
        changed: dict[str, Any] = {}
        if y is not None:
            changed["y"] = check_target(y, n)
        if sample_weight is not None:
            changed["sample_weight"] = check_weights(sample_weight, n)
        if offset is not None:
            changed["offset"] = check_rows("offset", offset, n)
        return replace(self, statistics=None, **changed) if changed else self

    def locator(self) -> str | None:
        """What another process needs to open the same data: the path of its store, or None in memory."""
        return self.path

    @classmethod
    def from_arrays(
        cls, X: Any, y: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None, fold: ArrayLike | None = None, feature_names: Sequence[str] | None = None,
        missing_value: Any = None, row_chunks: int | None = None, col_chunks: int | None = None,
    ) -> Dataset:  # fmt: skip
        """Wrap arrays in memory, without a copy where dtype and layout allow.

        Parameters
        ----------
        X : array [n, p] or scipy.sparse matrix [n, p]
            float64, float32, int8 and uint8 stay as they are, bool becomes int8, other numbers float64.
        y, sample_weight, offset : float [n], optional
            What belongs to the rows.
        fold : int [n], optional
            Fold of every row in a cross-validation; -1 where it always trains.
        feature_names : sequence of str, optional
            Names of the columns; by default those of a data frame, if all of them are text.
        missing_value : int or NaN, optional
            Value of a dense X that means missing: a code in int8 or uint8, NaN in floats.
        row_chunks, col_chunks : int, optional
            Number of row and column ranges; planned from the shape if not given.

        Raises
        ------
        InputError
            For anything that is not a finite numeric matrix with rows of matching length.
        """
        matrix = to_matrix(X)
        n, p = matrix.shape
        if missing_value is not None and sp.issparse(matrix):
            raise InputError("missing_value is for dense X: what a sparse X does not store is 0, not missing")
        code = None if missing_value is None else checked(missing_value, matrix.dtype)
        encoding = matrix.format if sp.issparse(matrix) else "dense"
        nbytes = _nbytes(matrix)
        wide = encoding == "csc" or (encoding == "dense" and p > n)
        least = _TILE_BYTES if wide else max(_TILE_BYTES, _BYTES_A_COLUMN * p)
        most = _MAX_TILES if wide or n >= _MAX_TILES * _ROWS_A_COLUMN * p else _MAX_TILES // 2
        tiles = int(np.clip(nbytes // least, 1, most))
        tiles = tiles if wide else max(tiles, -(-n // _MAX_ROWS))
        row_bounds = even_bounds(n, row_chunks or (1 if wide or col_chunks else tiles))
        col_bounds = even_bounds(p, col_chunks or (tiles if wide and not row_chunks else 1))
        names = column_names(X) if feature_names is None else [str(name) for name in feature_names]
        if names is not None and len(names) != p:
            raise InputError(f"feature_names has {len(names)} names for {p} columns")
        return cls(
            shape=(n, p), dtype=matrix.dtype, encoding=encoding, row_bounds=row_bounds, col_bounds=col_bounds,
            nnz=int(matrix.nnz) if sp.issparse(matrix) else n * p, nbytes=nbytes,
            reader=InMemory.cut(matrix, row_bounds, col_bounds, code), missing_value=code,
            y=None if y is None else check_target(y, n),
            sample_weight=None if sample_weight is None else check_weights(sample_weight, n),
            offset=None if offset is None else check_rows("offset", offset, n),
            fold=None if fold is None else check_folds(fold, n), feature_names=names,
        )  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class InMemory:
    """Tiles that are views of arrays in this process."""

    matrix: Any
    tiles: list[list[Block]]

    @classmethod
    def cut(cls, matrix: Any, row_bounds: Ints, col_bounds: Ints, missing_value: Code | None = None) -> InMemory:
        """Cut a matrix along a grid; sparse matrices are sliced once, here."""
        rows = list(zip(row_bounds[:-1], row_bounds[1:], strict=True))
        columns = list(zip(col_bounds[:-1], col_bounds[1:], strict=True))
        return cls(matrix, [[as_block(_slice(matrix, r, c), missing_value) for c in columns] for r in rows])

    def read(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""
        return self.tiles[i][j]


def as_block(matrix: Any, missing_value: Code | None = None) -> Block:
    """Wrap a dense array, whose missing values are marked by one value, or a CSR or CSC matrix."""
    if not sp.issparse(matrix):
        return DenseBlock(matrix, missing_value)
    kind = CSRBlock if matrix.format == "csr" else CSCBlock
    return kind(matrix.data, matrix.indices, matrix.indptr, matrix.shape)


def strong_bytes(dataset: Dataset) -> int:
    """Bytes of all columns as bundles keep those that are strong."""
    n, p = dataset.shape
    single = 4 if dataset.dtype == np.float64 else 0  # float64 columns are held in float32, in float64, or in both
    return 12 * dataset.nnz if dataset.encoding != "dense" else n * p * (dataset.dtype.itemsize + single)


def even_bounds(size: int, parts: int) -> Ints:
    """Cut ``size`` into at most ``parts`` ranges of nearly equal length."""
    parts = min(max(int(parts), 1), size)
    return np.array([size * k // parts for k in range(parts + 1)], dtype=np.int64)


def check_rows(name: str, values: ArrayLike, n: int) -> Floats:
    """Check that ``values`` are ``n`` finite numbers, and return them as float64."""
    array = real_numbers(name, values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    found = np.array(array, dtype=np.float64)
    if found.ndim != 1:
        raise InputError(f"{name} has shape {found.shape}, expected ({n},)")
    if found.size != n:
        raise InputError(f"{name} has {found.size} values for {n} rows of X")
    bad = np.flatnonzero(~np.isfinite(found))
    if bad.size:
        raise InputError(f"{name} has {found[bad[0]]} in row {bad[0]}: every value must be finite")
    large = np.flatnonzero(np.abs(found) > _LARGEST)
    if large.size:
        raise InputError(f"{name} has {found[large[0]]:g} in row {large[0]}: squares of it overflow float64, rescale it")
    return found


def check_target(values: ArrayLike, n: int) -> Floats:
    """Check a target of one response, [n], or of several, [n, q]."""
    array = real_numbers("y", values)
    if array.ndim != 2 or array.shape[1] < 2:
        return check_rows("y", values, n)
    return np.stack([check_rows(f"column {j} of y", array[:, j], n) for j in range(array.shape[1])], axis=1)


def check_folds(values: ArrayLike, n: int) -> Floats:
    """Check that ``values`` are ``n`` whole numbers; anything else is a column that was named by mistake."""
    folds = check_rows("fold", values, n)
    bad = np.flatnonzero(folds != np.rint(folds))
    if bad.size:
        raise InputError(f"fold has {folds[bad[0]]:g} in row {bad[0]}: folds are whole numbers, -1 where a row always trains")
    return folds


def check_weights(values: ArrayLike, n: int) -> Floats:
    """Check that ``values`` are ``n`` nonnegative weights, not all zero."""
    weights = check_rows("sample_weight", values, n)
    bad = np.flatnonzero(weights < 0)
    if bad.size:
        raise InputError(f"sample_weight has {weights[bad[0]]:g} in row {bad[0]}: weights must not be negative")
    if not weights.any():
        raise InputError("sample_weight is zero in every row: give at least one row a positive weight")
    return weights


def to_matrix(X: Any) -> Any:
    """A dense array in a stored dtype, or CSR or CSC in canonical form."""
    matrix = real_matrix(X)
    return matrix.astype(stored_dtype(matrix.dtype), copy=False)


def is_dask(X: Any) -> bool:
    """Whether X is a dask collection, by its protocol."""
    return callable(getattr(X, "__dask_graph__", None))


def real_matrix(X: Any) -> Any:
    """A dense array of real numbers as it is, or CSR or CSC in canonical form."""
    if is_dask(X):
        raise InputError(
            "X is a dask collection, which would have to be gathered here: fit_path and the estimators take a dask array "
            "where it is; elsewhere, compute() it first"
        )
    matrix = _canonical(X) if sp.issparse(X) else real_numbers("X", X)
    if matrix.ndim != 2:
        raise InputError(f"X has shape {matrix.shape}, expected rows x columns")
    if 0 in matrix.shape:
        raise InputError(f"X is empty: it has {matrix.shape[0]} rows and {matrix.shape[1]} columns")
    return matrix


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype that holds numbers of ``dtype``: its own where it can be stored, int8 of bool, else float64."""
    if dtype.name in STORED_DTYPES:
        return dtype.newbyteorder("=")
    return np.dtype(np.int8 if dtype == np.bool_ else np.float64)


def real_numbers(name: str, values: Any) -> NDArray[Any]:
    """An array of real numbers: text, dates and complex numbers are refused, what is masked becomes NaN."""
    try:
        array = values.astype(np.float64).filled(np.nan) if np.ma.is_masked(values) else np.asarray(values)
        text = array.dtype.kind in "SU" or (array.dtype.kind == "O" and any(isinstance(v, str | bytes) for v in array.flat))
        if array.dtype.kind == "O" and not text:
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} is not numeric: {str(error).splitlines()[0]}") from error
    if text:
        raise InputError(f"{name} is not numeric: it holds text, expected real numbers")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {array.dtype}, expected real numbers")
    return array


def _canonical(X: Any) -> Any:
    """CSR or CSC of real numbers, checked before compiled code follows its indices."""
    matrix = X if X.format in ("csr", "csc") else X.tocsr()
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"X has dtype {matrix.dtype}, expected real numbers")
    if matrix.ndim != 2:
        return matrix
    width = matrix.shape[1] if matrix.format == "csr" else matrix.shape[0]
    problem = sparse_problem(matrix.indptr, matrix.indices[: matrix.indptr[-1]], width)
    if problem:
        raise InputError(f"X is not a sound {matrix.format} matrix: {problem}")
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def sparse_problem(indptr: NDArray[Any], indices: NDArray[Any], width: int) -> str | None:
    """What makes index arrays of a sparse matrix unsafe to follow, if anything does."""
    if indptr[0] != 0 or indptr[-1] != indices.size or (indptr[1:] < indptr[:-1]).any():
        return f"indptr does not rise from 0 to {indices.size}"
    if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= width):
        return f"an index is outside [0, {width})"
    return None


def _nbytes(matrix: Any) -> int:
    if sp.issparse(matrix):
        return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)
    return int(matrix.nbytes)


def _slice(matrix: Any, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    whole = (rows == (0, matrix.shape[0]), columns == (0, matrix.shape[1]))
    if not sp.issparse(matrix):
        return matrix[rows[0] : rows[1], columns[0] : columns[1]]
    if matrix.format == "csr" and not all(whole) and whole[1]:
        return _major(matrix, rows)
    if matrix.format == "csc" and not all(whole) and whole[0]:
        return _major(matrix.T, columns).T
    return matrix[rows[0] : rows[1], columns[0] : columns[1]] if not all(whole) else matrix


def _major(csr: Any, rows: tuple[int, int]) -> Any:
    """Rows of a CSR matrix, as views of its data and, where they are no wider than they need be, of its indices."""
    start, stop = csr.indptr[rows[0]], csr.indptr[rows[1]]
    own = sp.csr_array((rows[1] - rows[0], csr.shape[1]))  # with the parts, SciPy's constructor would copy those of a large matrix
    narrow = np.int32 if max(own.shape) <= np.iinfo(np.int32).max else csr.indices.dtype
    own.data, own.indices = csr.data[start:stop], csr.indices[start:stop].astype(narrow, copy=False)
    own.indptr = csr.indptr[rows[0] : rows[1] + 1] - start
    return own
