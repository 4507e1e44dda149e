"""How a matrix is cut before it is written: chunk sizes from shape, density and memory, and the order of writing.

A chunk is what a worker reads at once, so it is large enough that decoding outweighs overhead and small enough that
each processor gets several. Read next: ``ingest.py``.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError, ResourceError

Ints = NDArray[np.int64]

_CHUNK_BYTES = 16 << 20  # decoded; 1 to 16 MiB measured as the flat part of the cost per byte
_LEAST_BYTES = 1 << 20
_LEAST_CHUNKS = 16
_LEAST_ROWS = 256
ENTRY_BYTES = 12  # a stored entry of a sparse matrix: float64 value, int32 index

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


@dataclass(frozen=True, slots=True)
class Layout:
    """Encoding, chunk sizes, and the rectangles written one after the other, column range by column range."""

    encoding: str
    chunk_rows: int
    chunk_columns: int
    unit_rows: int
    unit_columns: int
    by_columns: bool = False  # values of a column lie one after the other in a chunk, as wide data are worked on

    def units(self, n: int, p: int, done: int) -> list[tuple[int, int, int, int]]:
        """Rectangles (r0, r1, c0, c1) still to be written."""
        rows = [(a, min(a + self.unit_rows, n)) for a in range(0, n, self.unit_rows)]
        columns = [(a, min(a + self.unit_columns, p)) for a in range(0, p, self.unit_columns)]
        return [(*r, *c) for c in columns for r in rows][done:]


def parse_bytes(size: str | float) -> int:
    """Read a number of bytes such as 500000000, "500MB" or "2GiB"."""
    found = math.nan
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([KMGT]?I?)B?\s*", size.upper())
        if match is not None and match[2] in _UNITS:
            found = float(match[1]) * _UNITS[match[2]]
    elif isinstance(size, Real):
        found = float(size)
    if not 1 <= found < math.inf:
        raise InputError(f"memory={size!r} is not a size: write it as 500MB or 2GiB")
    return int(found)


def plan_layout(
    shape: tuple[int, int], itemsize: int, *, sparse: bool, nnz: int, encoding: str, chunks: tuple[int, int] | None,
    memory: int,
) -> Layout:  # fmt: skip
    """Plan chunks and the order of writing within a memory budget.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    itemsize : int
        Bytes of a dense value.
    sparse : bool
        Whether the source is sparse; decides ``encoding="auto"``.
    nnz : int
        Stored entries of the source.
    encoding : {"auto", "dense", "csr", "csc"}
        What is written.
    chunks : (int, int), optional
        Rows and columns of a chunk.
    memory : int
        Bytes that ingest may hold.

    Raises
    ------
    InputError, ResourceError
        For options that are not known, and for chunks that do not fit the memory.
    """
    if encoding not in ("auto", "dense", "csr", "csc"):
        raise InputError(f"encoding={encoding!r} is not known: use 'auto', 'dense', 'csr' or 'csc'")
    kind = ("csr" if sparse else "dense") if encoding == "auto" else encoding
    n, p = shape
    room = max(memory // 8, 1)
    if kind == "dense":
        rows, columns = _checked(chunks, shape) if chunks else _dense_chunks(n, p, itemsize, memory // 16)
        if rows * columns * itemsize > memory // 2:
            raise ResourceError(
                f"a chunk of {rows} x {columns} values takes {rows * columns * itemsize / 1e6:.0f} MB, more than half of "
                f"memory={memory / 1e6:.0f} MB: pass smaller `chunks` or more `memory`"
            )
        across = max(1, room // (rows * columns * itemsize))
        return Layout("dense", rows, columns, rows, min(p, across * columns), by_columns=p > n)
    rows, columns = _checked(chunks, shape) if chunks else shape
    entries = max(1, min(room, 4 * _CHUNK_BYTES) // ENTRY_BYTES)
    if kind == "csr":
        return Layout("csr", rows, columns, _share(n, nnz, entries), p)
    return Layout("csc", rows, columns, n, _share(p, nnz, entries))


def _dense_chunks(n: int, p: int, itemsize: int, room: int) -> tuple[int, int]:
    """Full-width bands of rows when rows are many, full-height bands of columns when columns are."""
    total = n * p * itemsize
    most = max(_LEAST_BYTES, min(_CHUNK_BYTES, room))  # reading, joining and encoding hold several copies
    target = int(np.clip(total // _LEAST_CHUNKS, _LEAST_BYTES, most)) // itemsize
    long, short = max(n, p), min(n, p)
    across = min(short, max(target // _LEAST_ROWS, 1))
    along = min(long, max(target // across, 1))
    return (along, across) if n >= p else (across, along)


def _share(size: int, nnz: int, entries: int) -> int:
    """Rows (or columns) that hold about ``entries`` stored entries."""
    return int(np.clip(size * entries // max(nnz, 1), 1, size))


def _checked(chunks: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    try:
        rows, columns = (operator.index(size) for size in chunks)
    except (TypeError, ValueError) as error:
        raise InputError(f"chunks={chunks!r} is not (rows, columns)") from error
    if rows < 1 or columns < 1:
        raise InputError(f"chunks={chunks!r}: rows and columns of a chunk must be positive")
    return min(rows, shape[0]), min(columns, shape[1])
