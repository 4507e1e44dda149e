"""The strong columns as the coordinator holds them: gathered once, as stored, with room for those that come next.

Fits that go side by side hold one copy: a fold is the same columns under weights of its own. Read next: ``shared.py``,
``squared.py`` and ``held.py``, which look at them.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.queries import Gather

Ints = NDArray[np.int64]
Columns = Any  # NDArray [n, S] in the stored dtype and Fortran order, or csc_array of float64


@final
class Gathered:
    """Columns in order of admission, behind an exchange that gathers them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.columns: Ints = np.empty(0, dtype=np.int64)
        self._held: Columns = None  # dense columns lie as the rows of an array that is larger

    def extend(self, columns: Ints) -> None:
        """Gather columns, and put them behind those held."""
        order = np.argsort(columns, kind="stable")
        new: Any = self._exchange.ask(Gather(columns[order]), sweep=False)
        held, size = self.columns.size, self.columns.size + columns.size
        self.columns = np.concatenate([self.columns, columns])
        if sp.issparse(new):
            own = sp.csc_array(new) if (order[1:] > order[:-1]).all() else sp.csc_array(new[:, np.argsort(order)])
            self._held = own if self._held is None else sp.csc_array(sp.hstack([self._held, own], format="csc"))
            return
        self._held = reserve(np.empty((0, new.shape[0]), new.dtype) if self._held is None else self._held, held, size)
        self._held[held + order] = new.T

    def first(self, count: int) -> Columns:
        """The first few columns; dense ones are a view, which later columns leave as it is."""
        if sp.issparse(self._held):
            return self._held if count == self.columns.size else sp.csc_array(self._held[:, :count])
        return self._held[:count].T


def reserve(room: NDArray[Any], held: int, size: int) -> NDArray[Any]:
    """Room for ``size`` rows, the first ``held`` kept: fresh memory costs more than a copy."""
    if room.shape[0] >= size:
        return room
    larger = np.empty((max(size, room.shape[0] + room.shape[0] // 2), room.shape[1]), dtype=room.dtype)
    larger[:held] = room[:held]
    return larger
