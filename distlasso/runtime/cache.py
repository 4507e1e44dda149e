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
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.blocks import Block, DenseBlock
from distlasso.data.dataset import as_block
from distlasso.queries import Place, Recall
from distlasso.runtime.traffic import carried

Ints = NDArray[np.int64]

_ROWS = 1024
_LEAST_ROOM = 8


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
class Keeping:
    """A reader that keeps the tiles that it has read, as far as they have room."""

    def __init__(self, reader: Any, tiles: TileCache) -> None:
        """``tiles`` are to be those of this reader alone."""
        self._reader, self._tiles = reader, tiles

    def read(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""
        return self._tiles.get((i, j), lambda: self._reader.read(i, j))


@final
class StrongColumns:
    """The columns that rounds ask about, of each bundle, gathered once and extended as more are admitted.

    They are held in places: each fit has one of its own, or shares one with others whose columns begin alike.

    Beside them, the last thing that a query has worked out from them, such as a factorisation. Bundles that are not at
    work may be let go of at any time.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[Place, int], _Strong] = {}  # by bundle too
        self._worked: dict[tuple[Hashable, int], tuple[Hashable, Any]] = {}  # by whose it is, and bundle
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
                    for place in [place for place in self._held if place[1] == bundle]:
                        del self._held[place]
                    for own in [own for own in self._worked if own[1] == bundle]:
                        del self._worked[own]

    def _bytes(self) -> int:
        columns = sum(held.block.nbytes for held in list(self._held.values()))
        return columns + sum(carried(worked) for _, worked in list(self._worked.values()))

    def nbytes(self, place: Place) -> int:
        """Bytes of all columns that are held in a place."""
        return sum(held.nbytes for (own, _), held in self._held.items() if own == place)

    def lacking(self, place: Place, bundle: int, columns: Ints) -> Ints | None:
        """What must be gathered before ``add``, ascending; None if all is held."""
        held = self._held.get((place, bundle))
        if held is not None and np.array_equal(held.columns[: columns.size], columns):
            return None
        return np.sort(columns[self._kept(place, bundle, columns) :])

    def add(self, place: Place, bundle: int, columns: Ints, gathered: Any, names: Ints, most: int) -> None:
        """Hold columns in the order given, of ``most``; ``gathered`` has those that were lacking, ``names`` them, ascending."""
        kept = self._kept(place, bundle, columns)
        old = self._held[place, bundle] if kept else _Strong(columns[:0], None, most, place[1])
        self._held[place, bundle] = old.with_others(columns, gathered, np.searchsorted(names, columns[kept:]))

    def block(self, place: Place, bundle: int, columns: Ints) -> Block:
        """Columns of a bundle that are held: all of them, or the first few, laid out as if there were no more."""
        return self._held[place, bundle].first(columns.size).block

    def recall(self, fit: int, bundle: int, about: Ints | int) -> Recall:
        """Look up what a fit has worked out of a bundle under a key; one thing is kept for each bundle and fit.

        ``about`` are columns that are held, or, of rows that are not, where they begin: one thing is kept for each of these.
        """
        own, columns = ((fit, about), b"") if isinstance(about, int) else (fit, about.tobytes())

        def look_up(key: Hashable, work: Callable[[], Any]) -> Any:
            worked, whole = self._worked.get((own, bundle)), (columns, key)
            if worked is None or worked[0] != whole:
                self._worked.pop((own, bundle), None)
                worked = self._worked[own, bundle] = (whole, work())
            return worked[1]

        return look_up

    def _kept(self, place: Place, bundle: int, columns: Ints) -> int:
        """How many of the first columns are held already; what does not begin like them is of no use."""
        held = self._held.get((place, bundle))
        if held is None or not np.array_equal(held.columns, columns[: held.columns.size]):
            return 0
        return int(held.columns.size)


@dataclass(frozen=True, slots=True)
class _Strong:
    """Columns of a bundle; dense ones lie row by row, as products over rows want them, with room for more behind each row."""

    columns: Ints
    matrix: Any
    most: int  # columns that the bundle has
    single: bool = False  # in float32, where they came in float64

    @property
    def block(self) -> Block:
        """All of them as a tile."""
        size = self.columns.size
        return as_block(self.matrix) if sp.issparse(self.matrix) else DenseBlock(self.matrix, width=size, single=self.single)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns alone."""
        return self.block.nbytes if sp.issparse(self.matrix) else len(self.matrix) * self.columns.size * self.matrix.itemsize

    def first(self, size: int) -> _Strong:
        """The first few, laid out as if there were no more; copied only if they would have less room."""
        if size == self.columns.size:
            return self
        columns = self.columns[:size]
        if not sp.issparse(self.matrix) and room_of(size, self.most) == self.matrix.shape[1]:
            return replace(self, columns=columns)
        return replace(self, columns=columns[:0], matrix=None).with_others(columns, self.matrix, np.arange(size))

    def with_others(self, columns: Ints, gathered: Any, at: Ints) -> _Strong:
        """More columns, which are in these places of what was gathered; in the same memory while there is room."""
        old, held = self.matrix, self.columns.size
        if sp.issparse(gathered):
            new = gathered[:, at]
            return replace(self, columns=columns, matrix=sp.csc_array(sp.hstack([old, new], format="csc") if held else new))
        n, room = gathered.shape[0], room_of(columns.size, self.most)
        dtype = np.dtype(np.float32) if self.single and gathered.dtype == np.float64 else gathered.dtype
        both = old if held and old.shape[1] == room else np.empty((n, room), dtype)
        for start in range(0, n, _ROWS):  # what is turned round stays in the cache meanwhile
            rows = slice(start, start + _ROWS)
            if held and both is not old:
                both[rows, :held] = old[rows, :held]
            both[rows, held : columns.size] = gathered[rows][:, at]
        return replace(self, columns=columns, matrix=both)


def room_of(size: int, most: int) -> int:
    """Columns that there is room for where so many are held, up to half as many again.

    Nothing else decides, not even how the columns came in: bits may depend on how far rows are apart.
    """
    room = _LEAST_ROOM
    while room < size:
        room += _LEAST_ROOM * -(-room // (2 * _LEAST_ROOM))
    return min(room, most)
