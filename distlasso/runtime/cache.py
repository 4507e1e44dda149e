"""What a worker keeps: decoded tiles within a budget of bytes, the strong columns of its bundles, and what queries have
worked out from them.

Caches and nothing more: everything here can be read again from the store. Read next: ``local.py`` and ``cluster.py``,
which ask them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.dataset import as_block
from distlasso.queries import Recall

Ints = NDArray[np.int64]


@final
class TileCache:
    """A thread-safe map from keys to tiles of bounded total size."""

    def __init__(self, budget: int) -> None:
        """``budget`` is in bytes, decoded."""
        self._budget, self._held = budget, 0
        self._tiles: OrderedDict[Hashable, Block] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    @property
    def held(self) -> int:
        """Bytes of all tiles held."""
        return self._held

    def get(self, key: Hashable, load: Callable[[], Block]) -> Block:
        """Return the tile of a key, loaded if it is not held; what is larger than the budget is not kept."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                self.hits += 1
                return tile
            self.misses += 1
        tile = load()
        with self._lock:
            if key not in self._tiles and tile.nbytes <= self._budget:
                self._tiles[key] = tile
                self._held += tile.nbytes
                while self._held > self._budget:
                    _, oldest = self._tiles.popitem(last=False)
                    self._held -= oldest.nbytes
        return tile


@final
class StrongColumns:
    """The columns that rounds ask about, of each bundle and for each fit, gathered once and extended as more are admitted.

    Beside them, the last thing that a query has worked out from them, such as a factorisation.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], tuple[Ints, Any]] = {}  # by fit and bundle
        self._worked: dict[tuple[int, int], tuple[Hashable, Any]] = {}

    def nbytes(self, fit: int) -> int:
        """Bytes of all columns that are held for a fit."""
        return sum(as_block(matrix).nbytes for (own, _), (_, matrix) in self._held.items() if own == fit)

    def lacking(self, fit: int, bundle: int, columns: Ints) -> Ints | None:
        """What must be gathered before ``add``, ascending; None if all is held."""
        held = self._held.get((fit, bundle))
        if held is not None and np.array_equal(held[0], columns):
            return None
        return np.sort(columns[self._kept(fit, bundle, columns) :])

    def add(self, fit: int, bundle: int, columns: Ints, gathered: Any) -> None:
        """Hold columns in the order given; ``gathered`` are those that were lacking."""
        kept = self._kept(fit, bundle, columns)
        order = np.argsort(columns[kept:])
        old = self._held[fit, bundle][1] if kept else None
        self._held[fit, bundle] = (columns, _beside(old, gathered[:, np.argsort(order)]))

    def block(self, fit: int, bundle: int) -> Block:
        """The columns of a bundle that a fit asked for last."""
        return as_block(self._held[fit, bundle][1])

    def recall(self, fit: int, bundle: int) -> Recall:
        """Look up what was worked out of the columns of a bundle under a key; one thing is kept for each bundle and fit."""
        place, columns = (fit, bundle), self._held[fit, bundle][0]

        def look_up(key: Hashable, work: Callable[[], Any]) -> Any:
            worked, whole = self._worked.get(place), (columns.tobytes(), key)
            if worked is None or worked[0] != whole:
                self._worked.pop(place, None)
                worked = self._worked[place] = (whole, work())
            return worked[1]

        return look_up

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._worked.clear()

    def _kept(self, fit: int, bundle: int, columns: Ints) -> int:
        """How many of the first columns are held already; what does not begin like them is of no use."""
        held = self._held.get((fit, bundle))
        if held is None or not np.array_equal(held[0], columns[: held[0].size]):
            return 0
        return int(held[0].size)


def _beside(old: Any, new: Any) -> Any:
    """Columns side by side; dense ones row by row in memory, as products over rows want them."""
    if sp.issparse(new):
        return sp.csc_array(new if old is None else sp.hstack([old, new], format="csc"))
    return np.ascontiguousarray(new if old is None else np.concatenate([old, new], axis=1))
