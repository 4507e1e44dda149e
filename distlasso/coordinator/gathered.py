"""The strong columns as the coordinator holds them: gathered once, as stored, with room for those that come next.

Those of an array in this process stay where they lie. Fits that go side by side hold one copy: a fold is the same columns
under weights of its own. Read next: ``shared.py``, ``squared.py`` and ``held.py``, which look at them.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.data import csc
from distlasso.data.pieces import Pieces
from distlasso.queries import Gather

Ints = NDArray[np.int64]
Columns = Any  # NDArray [n, S] in the stored dtype and Fortran order, or csc_array of float64

_AHEAD = 4
_PROMISED = 1 << 30  # bytes: systems refuse to promise much more than there is


@final
class Gathered:
    """Columns in order of admission, behind an exchange that gathers them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.columns: Ints = np.empty(0, dtype=np.int64)
        self._held: DenseRoom | SparseRoom | None = None

    def extend(self, columns: Ints) -> None:
        """Gather columns, and put them behind those held."""
        self.columns = np.concatenate([self.columns, columns])
        if self._exchange.resident is not None:
            return
        order = np.argsort(columns, kind="stable")
        new: Pieces = self._exchange.ask(Gather(columns[order]), sweep=False)
        if self._held is None:
            self._held = SparseRoom(new.shape[0]) if new.is_sparse else DenseRoom(new.shape[0], new.dtype)
        self._held.extend(new, order)

    def dense(self, columns: Ints) -> tuple[NDArray[Any], Ints]:
        """An array in Fortran order that has some of the columns, dense and as stored, and their places in it."""
        if self._exchange.resident is not None:
            return self._exchange.resident, columns
        order = np.argsort(self.columns)
        return self.first(self.columns.size), order[np.searchsorted(self.columns, columns, sorter=order)]

    def first(self, count: int) -> Columns:
        """The first few columns: a view, which later columns leave as it is."""
        assert self._held is not None
        return self._held.first(count)


@final
class DenseRoom:
    """Columns as the rows of an array that is larger."""

    def __init__(self, rows: int, dtype: np.dtype[Any]) -> None:
        self._room, self._size = np.empty((0, rows), dtype), 0

    def extend(self, new: Pieces, order: Ints) -> None:
        """Put columns behind those held, each at its place in ``order``."""
        held, self._size = self._size, self._size + new.shape[1]
        self._room = reserve(self._room, held, self._size)
        new.put(self._room.T, held + order)

    def first(self, count: int) -> NDArray[Any]:
        """The first few columns, [n, count] in Fortran order."""
        return self._room[:count].T


@final
class SparseRoom:
    """Columns as CSC, in arrays that are larger."""

    def __init__(self, rows: int) -> None:
        self._rows, self._indptr = rows, np.zeros(1, dtype=np.int64)
        self._data, self._indices = np.empty(0), np.empty(0, dtype=np.int32)

    def extend(self, new: Pieces, order: Ints) -> None:
        """Put columns behind those held, each at its place in ``order``."""
        counts, held = np.empty(order.size, dtype=np.int64), int(self._indptr[-1])
        counts[order] = new.counts()
        starts = held + np.concatenate([[0], np.cumsum(counts)])
        self._data, self._indices = (reserve(room, held, int(starts[-1])) for room in (self._data, self._indices))
        new.put_entries(self._data, self._indices, starts[order])
        self._indptr = np.concatenate([self._indptr, starts[1:]])

    def first(self, count: int) -> sp.csc_array:
        """The first few columns."""
        stored = self._indptr[count]
        return csc.assembled(self._data[:stored], self._indices[:stored], self._indptr[: count + 1], self._rows)


def reserve(room: NDArray[Any], held: int, size: int) -> NDArray[Any]:
    """Room for ``size`` rows, the first ``held`` kept.

    Memory that nobody has written to is only promised: room for several times as much costs nothing, and few copies.
    """
    if room.shape[0] >= size:
        return room
    bounded = _PROMISED // max(int(room[:1].nbytes), room.itemsize)
    larger = np.empty((max(size + size // 2, min(_AHEAD * size, bounded)), *room.shape[1:]), dtype=room.dtype)
    larger[:held] = room[:held]
    return larger
