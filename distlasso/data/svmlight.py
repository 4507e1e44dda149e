"""svmlight text as a source; scikit-learn parses byte ranges of the file, one batch at a time.

Compressed files are streamed too: what is parsed is always a piece of decompressed text that ends with a line. Columns
are numbered from 1 unless a 0 occurs anywhere in the file. Read next: ``sources.py``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.batches import Batch, Options
from distlasso.data.dataset import check_folds, check_rows, check_weights
from distlasso.data.missing import Code
from distlasso.errors import InputError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BYTES = 16 << 20  # of text, parsed at a time
_LEAST_BYTES = 1 << 16
_EXPANSION = 4  # "1:1 " is four bytes of text and twelve decoded


@final
class SvmlightSource:
    """An svmlight file, with the weights, offsets and folds that were given beside it."""

    feature_names: list[str] | None = None
    dtype: np.dtype[Any] = np.dtype(np.float64)
    sparse = True
    missing_value: Code | None = None

    def __init__(
        self, path: Path, shape: tuple[int, int], nnz: int, base: int, missing: str,
        beside: tuple[Floats | None, Floats | None, Floats | None],
    ) -> None:  # fmt: skip
        self._path, self._base, self._missing, self._beside = path, base, missing, beside
        self.shape, self.nnz = shape, nnz

    @classmethod
    def scan(cls, path: Path, options: Options) -> SvmlightSource:
        """Read the file once for its shape and its missing values."""
        if options.target is not None or options.one_hot:
            raise InputError(f"{path}: svmlight text has its target in the first place of each row; leave `target` out")
        if options.drop:
            raise InputError(f"{path}: drop names columns of a table, and those of svmlight text have no names")
        options.check_sparse(f"{path} is svmlight text, which is sparse")
        if options.missing in ("mean", "keep"):
            raise InputError(f"{path}: missing={options.missing!r} is not for svmlight text: use 'error' or 'drop'")
        kept: list[Mask] = []
        nnz = read = 0
        low, high = 1, 0
        for X, y in _pieces(path, _BYTES):
            rows = _whole_rows(path, X, y, read, options.missing)
            read, nnz = read + X.shape[0], nnz + int(np.diff(X.indptr)[rows].sum())
            kept.append(rows)
            if X.nnz:
                low, high = min(low, int(X.indices.min())), max(high, int(X.indices.max()))
        mask = np.concatenate(kept) if kept else np.zeros(0, dtype=np.bool_)
        n = int(mask.sum())
        if n == 0 or nnz == 0:
            raise InputError(f"{path} is empty: it has {n} rows and {nnz} values")
        weight = None if options.weight is None else check_weights(_of(mask, options.weight, "sample_weight"), n)
        offset = None if options.offset is None else check_rows("offset", _of(mask, options.offset, "offset"), n)
        fold = None if options.fold is None else check_folds(_of(mask, options.fold, "fold"), n)
        return cls(path, (n, high + 1 - low), nnz, low, options.missing, (weight, offset, fold))

    @property
    def fingerprint(self) -> str:
        """Path, size and time of the file, and everything given beside it."""
        about = os.stat(self._path)
        digest = hashlib.blake2b(repr((self._missing, self._base, self.shape)).encode(), digest_size=16)
        for values in self._beside:
            digest.update(b"none" if values is None else values.tobytes())
        return f"{self._path.absolute()} {about.st_size} {about.st_mtime_ns} {digest.hexdigest()}"

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Rows from ``start`` on; earlier ones are parsed and passed over."""
        a, b = columns or (0, self.shape[1])
        row = 0
        for X, y in _pieces(self._path, int(np.clip(budget // _EXPANSION, _LEAST_BYTES, _BYTES))):
            rows = np.flatnonzero(_whole_rows(self._path, X, y, 0, self._missing))
            taken = rows[max(start - row, 0) :]
            row += rows.size
            if taken.size:
                at = slice(row - taken.size, row)
                beside = (None if v is None else v[at] for v in self._beside)
                yield Batch(self._shifted(X, taken)[:, a:b], y[taken], *beside)

    def _shifted(self, X: Any, rows: NDArray[np.int64]) -> sp.csr_array:
        """The rows that are taken, with columns numbered from 0 whatever the file does."""
        part = sp.csr_array(X[rows] if rows.size < X.shape[0] else X)
        indices = (part.indices - self._base).astype(np.int32)
        indptr = part.indptr.astype(np.int32)  # scipy widens the indices to what this is
        return sp.csr_array((part.data, indices, indptr), shape=(rows.size, self.shape[1]))


def _pieces(path: Path, size: int) -> Iterator[tuple[Any, Floats]]:
    """Parse the file ``size`` bytes of text at a time, at line ends."""
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise InputError("svmlight text needs scikit-learn: pip install 'distlasso[sklearn]'") from error
    for text in _texts(path, size):
        try:
            X, y = load_svmlight_file(io.BytesIO(text), zero_based=True)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{path} is not svmlight text: {str(error).splitlines()[0]}") from error
        if X.shape[0]:
            yield X, y


def _texts(path: Path, size: int) -> Iterator[bytes]:
    """Decompressed text, cut after the line that reaches ``size``."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            while text := file.read(size):
                yield text + file.readline()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _whole_rows(path: Path, X: Any, y: Floats, row: int, missing: str) -> Mask:
    """Rows without a missing value; infinite values are always errors, missing ones unless they are dropped."""
    entries = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    whole = np.ones(X.shape[0], dtype=np.bool_)
    for is_bad, what in ((np.isinf, "an infinite"), (np.isnan, "a missing")):
        bad = is_bad(y)
        bad[entries[is_bad(X.data)]] = True
        if bad.any() and (is_bad is np.isinf or missing == "error"):
            raise InputError(f"{path} has {what} value in row {row + int(np.argmax(bad))}: clean it, or drop the row")
        whole &= ~bad
    return whole


def _of(kept: Mask, values: Any, name: str) -> Any:
    """Values of the rows that stay."""
    if kept.all():
        return values
    array = np.asarray(values)
    if array.shape[:1] != kept.shape:
        raise InputError(f"{name} has {array.shape[0] if array.ndim else 0} values for {kept.size} rows of X")
    return array[kept]
