"""svmlight text as a source; scikit-learn parses byte ranges of the file, one batch at a time.

Read next: ``sources.py``.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import scipy.sparse as sp

from distlasso.data.dataset import check_weights
from distlasso.data.sources import Batch, Options
from distlasso.errors import InputError

_BYTES = 16 << 20  # of text, parsed at a time


@final
class SvmlightSource:
    """An svmlight file; the column numbers start at 1 unless a 0 occurs anywhere in it."""

    feature_names: list[str] | None = None
    dtype: np.dtype[Any] = np.dtype(np.float64)
    sparse = True

    def __init__(self, path: Path, options: Options, shape: tuple[int, int], nnz: int, base: int) -> None:
        self._path, self._options, self._base = path, options, base
        self.shape, self.nnz = shape, nnz

    @classmethod
    def scan(cls, path: Path, options: Options) -> SvmlightSource:
        """Read the file once for its shape."""
        if options.target is not None or options.one_hot:
            raise InputError(f"{path}: svmlight text has its target in the first place of each row; leave `target` out")
        rows = nnz = 0
        low, high = 1, 0
        for X, y in _pieces(path, _BYTES):
            if not (np.isfinite(X.data).all() and np.isfinite(y).all()):
                raise InputError(f"{path} has NaN or infinite values near row {rows}: clean it")
            rows, nnz = rows + X.shape[0], nnz + X.nnz
            if X.nnz:
                low, high = min(low, int(X.indices.min())), max(high, int(X.indices.max()))
        if rows == 0 or nnz == 0:
            raise InputError(f"{path} is empty: it has {rows} rows and {nnz} values")
        if options.weight is not None:
            check_weights(options.weight, rows)
        return cls(path, options, (rows, high + 1 - low), nnz, low)

    @property
    def fingerprint(self) -> str:
        """Path, size and time of the file."""
        about = os.stat(self._path)
        return f"{self._path.absolute()} {about.st_size} {about.st_mtime_ns}"

    def batches(self, budget: int, columns: tuple[int, int] | None = None, start: int = 0) -> Iterator[Batch]:
        """Rows from ``start`` on; earlier ones are parsed and passed over."""
        a, b = columns or (0, self.shape[1])
        row = 0
        for X, y in _pieces(self._path, max(1 << 16, min(budget, _BYTES))):
            skip = min(max(start - row, 0), X.shape[0])
            row += X.shape[0]
            if skip < X.shape[0]:
                rows = slice(row - X.shape[0] + skip, row)
                indices = X.indices - self._base
                whole = sp.csr_array((X.data, indices, X.indptr), shape=(X.shape[0], self.shape[1]))
                weight, offset = (
                    None if v is None else np.asarray(v, dtype=np.float64)[rows]
                    for v in (self._options.weight, self._options.offset)
                )  # fmt: skip
                yield Batch(whole[skip:, a:b], y[skip:], weight, offset)


def _pieces(path: Path, size: int) -> Iterator[tuple[Any, Any]]:
    """Parse the file ``size`` bytes of text at a time, at line ends."""
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise InputError("svmlight text needs scikit-learn: pip install 'distlasso[sklearn]'") from error
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        while text := file.read(size):
            text += file.readline()
            try:
                X, y = load_svmlight_file(io.BytesIO(text), zero_based=True)
            except ValueError as error:
                raise InputError(f"{path} is not svmlight text: {error}") from error
            if X.shape[0]:
                yield X, y
