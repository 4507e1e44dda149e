"""The chunks of a dask array on the workers: computed where the scheduler puts them, and held there for a fit.

Read next: ``chunks.py``, ``cluster.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import distributed
import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError
from distlasso.runtime.chunks import Chunks
from distlasso.runtime.plan import Bundle

Ints = NDArray[np.int64]


@final
class HeldChunks:
    """Futures of all chunks, by row and column of their grid."""

    def __init__(self, client: Any, chunks: Chunks, grid: tuple[Ints, Ints]) -> None:
        """Have every chunk computed, wherever that is; ``grid`` are the bounds of rows and columns."""
        self._client, self._chunks, self._grid = client, chunks, grid
        self.array = client.persist(chunks.array)
        self._futures = {future.key[-2:]: future for future in distributed.futures_of(self.array)}
        distributed.wait(list(self._futures.values()))
        for (i, j), future in self._futures.items():
            if future.status != "finished":
                raise InputError(f"chunk {i}, {j} of the dask array cannot be computed: {future.exception()}")

    def again(self, client: Any) -> Self:
        """Have them computed on another cluster."""
        return type(self)(client, self._chunks, self._grid)

    def of(self, bundles: Sequence[Bundle]) -> list[Any]:
        """Futures of the chunks of some bundles: Dask hands their values to the task."""
        return [self._futures[place] for bundle in bundles for place in bundle.tiles()]

    def homes(self, bundles: Sequence[Bundle], homes: Sequence[str], threads: Mapping[str, int]) -> list[str]:
        """The worker that holds most of each bundle; looked up only where a home has gone."""
        if set(homes) <= set(threads):
            return list(homes)
        holders = self._client.who_has(list(self._futures.values()))
        workers = [worker for worker in sorted(threads) for _ in range(threads[worker])]
        return [self._home(bundle, holders, workers) for bundle in bundles]

    def _home(self, bundle: Bundle, holders: Mapping[Any, Sequence[str]], workers: Sequence[str]) -> str:
        """The worker that holds most of a bundle; any one where its chunks have been lost."""
        held = dict.fromkeys(sorted(set(workers)), 0)
        for place in bundle.tiles():
            rows, columns = (int(bounds[k + 1] - bounds[k]) for bounds, k in zip(self._grid, place, strict=True))
            for address in holders.get(self._futures[place].key, ()):
                if address in held:
                    held[address] += rows * columns
        return max(held, key=lambda address: held[address]) if any(held.values()) else workers[bundle.index % len(workers)]
