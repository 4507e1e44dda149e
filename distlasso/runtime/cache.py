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
    """The columns of each bundle that rounds ask about, gathered once and extended as more are admitted.

    Beside them, the last thing that a query has worked out from them, such as a factorisation.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Ints, Any]] = {}
        self._worked: dict[int, tuple[Hashable, Any]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all columns held."""
        return sum(as_block(matrix).nbytes for _, matrix in self._held.values())

    def block(self, bundle: int, columns: Ints, gather: Callable[[Ints], Any]) -> Block:
        """Columns of a bundle in the order asked for; only what is not held is gathered."""
        held = self._held.get(bundle)
        if held is None or not np.array_equal(held[0], columns[: held[0].size]):
            held = None
        new = columns if held is None else columns[held[0].size :]
        if new.size or held is None:
            order = np.argsort(new)
            found = gather(new[order])[:, np.argsort(order)]
            held = (columns, _beside(None if held is None else held[1], found))
            self._held[bundle] = held
        return as_block(held[1])

    def recall(self, bundle: int, columns: Ints) -> Recall:
        """Look up what a bundle has worked out of some columns under a key; one thing is kept for each bundle."""

        def look_up(key: Hashable, work: Callable[[], Any]) -> Any:
            worked, whole = self._worked.get(bundle), (columns.tobytes(), key)
            if worked is None or worked[0] != whole:
                self._worked.pop(bundle, None)
                worked = self._worked[bundle] = (whole, work())
            return worked[1]

        return look_up

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._worked.clear()


def _beside(old: Any, new: Any) -> Any:
    """Columns side by side; dense ones row by row in memory, as products over rows want them."""
    if sp.issparse(new):
        return sp.csc_array(new if old is None else sp.hstack([old, new], format="csc"))
    return np.ascontiguousarray(new if old is None else np.concatenate([old, new], axis=1))
