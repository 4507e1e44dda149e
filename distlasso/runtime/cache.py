"""What a worker keeps: decoded tiles within a budget of bytes, the strong columns of its bundles, and what queries have
worked out from them.

Caches and nothing more: everything here can be read again from the store. Read next: ``local.py`` and ``cluster.py``,
which ask them.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.dataset import as_block
from distlasso.queries import Recall
from distlasso.runtime.traffic import carried

Ints = NDArray[np.int64]

_ROWS = 1024


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
                self._shrink(self._budget)
        return tile

    def shrink(self, nbytes: int) -> None:
        """Let go of the tiles that were not asked for longest, until no more than so many bytes are held."""
        with self._lock:
            self._shrink(nbytes)

    def drop(self, chosen: Callable[[Hashable], bool]) -> None:
        """Let go of the tiles of some keys."""
        with self._lock:
            for key in [key for key in self._tiles if chosen(key)]:
                self._held -= self._tiles.pop(key).nbytes

    def _shrink(self, nbytes: int) -> None:
        while self._held > nbytes:
            _, oldest = self._tiles.popitem(last=False)
            self._held -= oldest.nbytes


@final
class StrongColumns:
    """The columns that rounds ask about, of each bundle, gathered once and extended as more are admitted.

    They are held in places: each fit has one of its own, or shares one with others whose columns begin alike.

    Beside them, the last thing that a query has worked out from them, such as a factorisation. Bundles that are not at
    work may be let go of at any time.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], tuple[Ints, Any]] = {}  # by place and bundle
        self._worked: dict[tuple[int, int], tuple[Hashable, Any]] = {}
        self._at_work: Counter[int] = Counter()  # bundles, by how many threads
        self._asked: dict[int, None] = {}  # bundles, the last one that was asked about at the end
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self, bundle: int) -> Iterator[None]:
        """Keep what belongs to a bundle while it is asked about."""
        with self._lock:
            self._at_work[bundle] += 1
            self._asked.pop(bundle, None)
            self._asked[bundle] = None
        try:
            yield
        finally:
            with self._lock:
                self._at_work[bundle] -= 1

    def shrink(self, nbytes: int) -> None:
        """Let go of the bundles that were not asked about longest, until no more than so many bytes are held."""
        with self._lock:
            for bundle in list(self._asked):
                if self._bytes() <= nbytes:
                    return
                if not self._at_work[bundle]:
                    del self._asked[bundle]
                    for kept in (self._held, self._worked):
                        for key in [key for key in kept if key[1] == bundle]:
                            del kept[key]

    def _bytes(self) -> int:
        columns = sum(as_block(matrix).nbytes for _, matrix in list(self._held.values()))
        return columns + sum(carried(worked) for _, worked in list(self._worked.values()))

    def nbytes(self, place: int) -> int:
        """Bytes of all columns that are held in a place."""
        return sum(as_block(matrix).nbytes for (own, _), (_, matrix) in self._held.items() if own == place)

    def lacking(self, place: int, bundle: int, columns: Ints) -> Ints | None:
        """What must be gathered before ``add``, ascending; None if all is held."""
        held = self._held.get((place, bundle))
        if held is not None and np.array_equal(held[0][: columns.size], columns):
            return None
        return np.sort(columns[self._kept(place, bundle, columns) :])

    def add(self, place: int, bundle: int, columns: Ints, gathered: Any, names: Ints) -> None:
        """Hold columns in the order given; ``gathered`` has those that were lacking, and ``names`` them, ascending."""
        kept = self._kept(place, bundle, columns)
        old = self._held[place, bundle][1] if kept else None
        self._held[place, bundle] = (columns, _beside(old, gathered, np.searchsorted(names, columns[kept:])))

    def block(self, place: int, bundle: int, columns: Ints) -> Block:
        """Columns of a bundle that are held: all of them, or the first few, laid out as if there were no more."""
        held, matrix = self._held[place, bundle]
        return as_block(matrix if held.size == columns.size else _beside(None, matrix, np.arange(columns.size)))

    def recall(self, fit: int, bundle: int, columns: Ints) -> Recall:
        """Look up what a fit has worked out of columns of a bundle under a key; one thing is kept for each bundle and fit."""
        own = (fit, bundle)

        def look_up(key: Hashable, work: Callable[[], Any]) -> Any:
            worked, whole = self._worked.get(own), (columns.tobytes(), key)
            if worked is None or worked[0] != whole:
                self._worked.pop(own, None)
                worked = self._worked[own] = (whole, work())
            return worked[1]

        return look_up

    def _kept(self, place: int, bundle: int, columns: Ints) -> int:
        """How many of the first columns are held already; what does not begin like them is of no use."""
        held = self._held.get((place, bundle))
        if held is None or not np.array_equal(held[0], columns[: held[0].size]):
            return 0
        return int(held[0].size)


def _beside(old: Any, new: Any, at: Ints) -> Any:
    """Columns, and others at these places behind them; dense ones row by row in memory, as products over rows want them."""
    if sp.issparse(new):
        return sp.csc_array(new[:, at] if old is None else sp.hstack([old, new[:, at]], format="csc"))
    held = 0 if old is None else old.shape[1]
    both = np.empty((new.shape[0], held + at.size), dtype=new.dtype)
    for start in range(0, len(both), _ROWS):  # what is turned round stays in the cache meanwhile
        rows = slice(start, start + _ROWS)
        if old is not None:
            both[rows, :held] = old[rows]
        both[rows, held:] = new[rows][:, at]
    return both
