"""Decoded tiles that a worker keeps, within a budget of bytes: the least recently used go first.

A cache and nothing more: every tile can be read again from the store. Read next: ``cluster.py``, which asks it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import final

from distlasso.data.blocks import Block


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
