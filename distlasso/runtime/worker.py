"""What a task on a worker does, and what a worker process keeps between tasks: caches, all of which can be rebuilt.

A task answers a run of bundles and merges whole subtrees of the fixed merge tree. Tiles and strong columns are bounded by
bytes, and let go of before Dask would pause the worker. Read next: ``local.py`` (one bundle), ``cache.py``.
"""

from __future__ import annotations

import platform
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import metadata
from typing import Any

import distributed
import numpy as np
from numpy.typing import NDArray

import distlasso
from distlasso.data.blocks import Block
from distlasso.data.dataset import Dataset, as_block
from distlasso.data.store import StoredDense, StoredSparse, limit_threads, open_dataset
from distlasso.errors import StoreError
from distlasso.queries import Ask
from distlasso.runtime.blas import one_blas_thread
from distlasso.runtime.cache import StrongColumns, TileCache
from distlasso.runtime.local import Part, RowSpace, answer_bundle, merge_all
from distlasso.runtime.memory import give_back, resident_bytes, reuse_freed
from distlasso.runtime.plan import Bundle, MergeTree, Plan
from distlasso.runtime.traffic import carried

Ints = NDArray[np.int64]

CACHE_SHARE = 0.4  # of a worker's memory limit; the rest is for scratch, answers and Dask itself
_STRONG_SHARE = 0.2
_PRESSURE = 0.7  # of the limit: Dask pauses a worker at 0.8
_UNLIMITED = 2 << 30
_FITS = 8  # whose caches are kept; those of fits that were killed go when others come
_FRAMES = 8  # innermost ones that are told of an exception
_SAME = ("distlasso", "zarr", "numcodecs")  # must not differ
_SIMILAR = ("python", "numpy", "scipy", "numba", "llvmlite")  # bits depend on them, answers do not


@dataclass(frozen=True, slots=True)
class Run:
    """Work of one task: neighbouring bundles, and the row quantities they need."""

    fit: str
    store: str
    identity: str  # of the stored data; of the fit where the store has none
    plan: Plan
    bundles: tuple[Bundle, ...]
    asks: tuple[Ask, ...]
    rows: tuple[RowSpace, ...] | None  # None: the worker has seen them before
    first_row: int
    grid: tuple[Ints, Ints] | None = None  # bounds of the tiles, where they come with the task


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task returns: merged subtrees, and the bytes of its tiles and of its answers; or that it lacks the rows."""

    nodes: list[tuple[int, int, list[list[object]]]]
    nbytes: int
    moved: int = 0  # before merging
    read: dict[tuple[int, int], int] = field(default_factory=dict)  # checksums of tiles that were read from the store
    lacks_rows: bool = False
    worker: str = ""  # who answered
    seconds: float = 0.0  # how long it took


@dataclass(slots=True)
class _Fit:
    """What is kept for one fit."""

    strong: StrongColumns
    rows: dict[tuple[int, int], tuple[RowSpace, ...]] = field(default_factory=dict)  # by first and last bundle


@dataclass(slots=True)
class _Worker:
    """What a worker process keeps."""

    address: str
    limit: int | None  # bytes of the process
    tiles: TileCache
    fits: OrderedDict[str, _Fit] = field(default_factory=OrderedDict)
    datasets: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    ended: deque[str] = field(default_factory=lambda: deque(maxlen=64))  # fits whose tasks may stop
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fit(self, name: str) -> _Fit:
        """The caches of a fit."""
        with self.lock:
            if name not in self.fits:
                self.fits[name] = _Fit(StrongColumns())
            self.fits.move_to_end(name)
            while len(self.fits) > _FITS:
                self.fits.popitem(last=False)
            return self.fits[name]

    def relieve(self, name: str) -> None:
        """Keep the columns of a fit within their budget, and let go of all caches when the process comes near its limit."""
        if self.limit is None:
            return
        self.fit(name).strong.shrink(int(_STRONG_SHARE * self.limit))
        if resident_bytes() < _PRESSURE * self.limit:
            return
        with self.lock:
            others = [fit for own, fit in self.fits.items() if own != name]
        for fit in others:
            fit.strong.shrink(0)
        self.tiles.shrink(self.tiles.held // 2)
        give_back()
        if resident_bytes() > _PRESSURE * self.limit:
            self.tiles.shrink(0)
            self.fit(name).strong.shrink(0)
            give_back()


_STATE: list[_Worker] = []


def answer_run(run: Run, chunks: Sequence[Any] = ()) -> Answer:
    """Answer a run of bundles; this is what a task on a worker does."""
    try:
        return _answer(run, chunks)
    except Exception as error:
        # A traceback that cannot be pickled, such as that of a recursion too deep, ends Dask's client in an assertion, and whoever
        # waits for the task is never told. As a note it can.
        error.add_note("".join(traceback.format_exception(error, limit=-_FRAMES)))
        raise error.with_traceback(None) from None


def _answer(run: Run, chunks: Sequence[Any]) -> Answer:
    state, started = _state(), time.perf_counter()
    own = state.fit(run.fit)
    key = (run.bundles[0].index, run.bundles[-1].index)
    rows = run.rows if run.rows is not None else own.rows.get(key)
    if rows is None:
        return Answer([], 0, lacks_rows=True)
    if run.rows is not None:
        for old in [k for k in own.rows if k[0] <= key[1] and k[1] >= key[0]]:
            own.rows.pop(old, None)
        own.rows[key] = rows
    data = _tiles(state, run, chunks)
    tree = MergeTree(len(run.plan.bundles), merge_all(run.asks, run.plan.axis))
    moved = 0
    with one_blas_thread():
        for bundle in run.bundles:
            if run.fit in state.ended:
                return Answer([], 0, lacks_rows=True)
            state.relieve(run.fit)
            with own.strong.at_work(bundle.index):
                found = answer_bundle(Part(data, bundle, rows, run.first_row), run.asks, own.strong)
            moved += carried(found)
            tree.add(0, bundle.index, found)
    seconds = time.perf_counter() - started
    state.relieve(run.fit)  # a worker that is paused gets no task that could
    return Answer(tree.nodes(), data.visited[0], moved, data.read, worker=state.address, seconds=seconds)


def forget(fit: str, store: str | None) -> None:
    """Let go of what is kept for a fit, and of the tiles of a store, unless it is None."""
    if not _STATE:  # which only a task can make: it knows the worker's limit
        return
    state = _STATE[0]
    with state.lock:
        state.ended.append(fit)
        state.fits.pop(fit, None)
        for place in [place for place in state.datasets if place[0] == store or place[1] == fit]:
            del state.datasets[place]
    state.tiles.drop(lambda key: isinstance(key, tuple) and (key[0] == store or key[1] == fit))
    give_back()


def held() -> dict[str, int]:
    """Bytes of tiles, and fits with caches, in this worker."""
    return {"tiles": _STATE[0].tiles.held, "fits": len(_STATE[0].fits)} if _STATE else {"tiles": 0, "fits": 0}


def versions() -> dict[str, str]:
    """Versions in this process that an answer or its bits may depend on."""
    found = {"distlasso": distlasso.__version__, "python": platform.python_version()}
    return found | {name: _installed(name) for name in (*_SAME[1:], *_SIMILAR[1:])}


@cache
def _installed(name: str) -> str:
    """Version of a package; looking it up reads a file, too slow to be done for every worker."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "no version"


def unfit(theirs: dict[str, str]) -> str:
    """Why a worker with these versions cannot be used; empty if it can."""
    return _difference(theirs, _SAME)


def different(theirs: dict[str, str]) -> str:
    """Which versions of a worker differ that bits depend on; empty if none."""
    return _difference(theirs, _SIMILAR)


def _difference(theirs: dict[str, str], names: Sequence[str]) -> str:
    ours = versions()
    found = [f"{name} {theirs.get(name)} (this process {ours[name]})" for name in names if theirs.get(name) != ours[name]]
    return ", ".join(found)


@dataclass(frozen=True, slots=True)
class _Cached:
    """A dataset behind the cache of tiles; counts the bytes that are visited."""

    dataset: Dataset
    identity: str
    tiles: TileCache
    visited: list[int]
    read: dict[tuple[int, int], int]
    relieve: Callable[[], None]

    @property
    def row_bounds(self) -> Ints:
        """Row bounds of the grid."""
        return self.dataset.row_bounds

    @property
    def col_bounds(self) -> Ints:
        """Column bounds of the grid."""
        return self.dataset.col_bounds

    @property
    def in_memory(self) -> bool:
        """The cache may let go of them."""
        return False

    def tile(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""
        key: Hashable = (self.dataset.path, self.identity, i, j)
        tile = self.tiles.get(key, lambda: self._load(i, j))
        self.visited[0] += tile.nbytes
        return tile

    def _load(self, i: int, j: int) -> Block:
        self.relieve()
        tile, reader = self.dataset.tile(i, j), self.dataset.reader
        assert isinstance(reader, StoredDense | StoredSparse)
        self.read[i, j] = reader.seen.of(i, j)
        return tile


@dataclass(frozen=True, slots=True)
class _Given:
    """Chunks of a dask array that came with a task; counts the bytes that are visited."""

    row_bounds: Ints
    col_bounds: Ints
    chunks: dict[tuple[int, int], Any]
    visited: list[int]
    read: dict[tuple[int, int], int]
    in_memory: bool = True

    def tile(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""
        tile = as_block(np.asarray(self.chunks[i, j]))
        self.visited[0] += tile.nbytes
        return tile


def _tiles(state: _Worker, run: Run, chunks: Sequence[Any]) -> _Cached | _Given:
    """The data of a run: chunks that came with it, or a store."""
    if run.grid is not None:
        places = [place for bundle in run.bundles for place in bundle.tiles()]
        return _Given(*run.grid, dict(zip(places, chunks, strict=True)), [0], {})
    place = (run.store, run.identity)
    if place not in state.datasets:
        opened = open_dataset(run.store)
        if opened.fingerprint not in ("", run.identity):
            raise StoreError(f"{run.store} was written anew since the fit began: repeat the fit on data that stand still")
        state.datasets[place] = opened
    return _Cached(state.datasets[place], run.identity, state.tiles, [0], {}, partial(state.relieve, run.fit))


def _state() -> _Worker:
    if not _STATE:
        limit, threads, address = None, 1, ""
        try:
            worker = distributed.get_worker()
            address = worker.address
            limit, threads = worker.memory_manager.memory_limit, worker.state.nthreads
        except ValueError:
            pass
        limit_threads(threads)
        reuse_freed(limit)
        _STATE.append(_Worker(address, limit or None, TileCache(int(CACHE_SHARE * (limit or _UNLIMITED)))))
    return _STATE[0]
