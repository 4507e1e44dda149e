"""The Dask runtime: one task a worker thread and round, each answering a contiguous run of bundles. The only home of Dask.

Workers hold nothing but caches: they open the store themselves, keep decoded tiles within a byte budget, and merge
whole subtrees of the fixed merge tree, so that the bits do not depend on how many they are, which of them died, or who
answered what. Tasks are pinned softly: a dead worker's task runs elsewhere. Read next: ``local.py`` (what a task does
with a bundle), ``cache.py``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import dask.config
import distributed
import numpy as np
from distributed.comm.core import CommClosedError, connect
from numpy.typing import NDArray

import distlasso
from distlasso.data.blocks import Block
from distlasso.data.dataset import Dataset, InMemory, as_block
from distlasso.data.ingest import ingest
from distlasso.data.store import limit_threads, open_dataset
from distlasso.errors import DistlassoError, InputError, SchedulerError
from distlasso.queries import Ask
from distlasso.runtime.blas import one_blas_thread
from distlasso.runtime.cache import StrongColumns, TileCache
from distlasso.runtime.chunks import Chunks
from distlasso.runtime.local import Part, RowSpace, answer_bundle, merge_all
from distlasso.runtime.plan import Bundle, MergeTree, Plan
from distlasso.runtime.traffic import asked, carried

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CONNECT_SECONDS = 5
_WORKERS_SECONDS = 30
_LOOK_SECONDS = 5
_ATTEMPTS = 3
_GONE = "the scheduler is gone: start it again and repeat the fit"
_CACHE_SHARE = 0.4  # of a worker's memory limit; the rest is for scratch, answers and Dask itself
_UNLIMITED = 2 << 30
# Retried connections stall a gather for minutes after a worker has died; frozen workers must be noticed in a minute.
_CONFIG = {
    "distributed.comm.retry.count": 0,
    "distributed.comm.timeouts.connect": f"{_CONNECT_SECONDS}s",
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-ttl": "60s",
}
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


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
    lacks_rows: bool = False


@final
class Cluster:
    """Answers requests on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client, optional
        A cluster that exists; it is used and never closed.
    address : str, optional
        Address of a scheduler, or the path of a scheduler file (``.json``).
    n_workers : int, optional
        Workers of an embedded local cluster; by default one a processor. Ignored with ``client`` or ``address``.
    memory_limit : str or int
        Memory of each embedded worker, as Dask writes it.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be reached within seconds.
    InputError
        If ``client`` is not a synchronous ``distributed.Client``.
    """

    def __init__(
        self, client: Any = None, *, address: str | None = None, n_workers: int | None = None,
        memory_limit: str | int = "auto",
    ) -> None:  # fmt: skip
        if client is not None and not isinstance(client, distributed.Client):
            raise InputError(f"client is a {type(client).__name__}, expected a distributed.Client")
        if client is not None and client.asynchronous:
            raise InputError("client is asynchronous: pass a synchronous distributed.Client")
        if n_workers is not None and n_workers < 1:
            raise InputError(f"n_workers={n_workers}: at least one worker is needed")
        self._client: Any = client
        self._owns = client is None
        self._address, self._n_workers, self._memory = address, n_workers, memory_limit
        self._local: Any = None
        self._temporary: str | None = None
        self._bytes = self._moved = 0
        self._rounds = itertools.count()
        self._chunks: dict[tuple[int, int], Any] = {}  # futures of the chunks of a dask array
        if address is not None:
            self._client = _connect(address)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    @property
    def dashboard_link(self) -> str:
        """Address of the scheduler's dashboard."""
        self.start()
        return str(self._client.dashboard_link)

    def start(self) -> None:
        """Start the embedded cluster, if it is wanted and not running."""
        if self._client is not None:
            return
        workers = self._n_workers or os.cpu_count() or 1
        dask.config.set(_CONFIG)
        environment = dask.config.get("distributed.nanny.pre-spawn-environ", {}) | _ONE_THREAD
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment})
        try:
            self._local = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=self._memory,
                host="127.0.0.1", dashboard_address="127.0.0.1:0",
            )  # fmt: skip
            self._client = distributed.Client(self._local)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise SchedulerError(f"the local cluster of {workers} workers did not start: {error}") from error

    def shutdown(self) -> None:
        """Close what this object has started."""
        if self._client is not None and self._owns:
            self._client.close()
            if self._local is not None:
                self._local.close()
            self._client = self._local = None

    def place(self, dataset: Dataset) -> Dataset:
        """Put arrays of this process where the workers can read them.

        Workers of this machine reach them through a temporary store; those of another machine cannot see it. The chunks
        of a dask array are computed where they are, and held.
        """
        if self._client is None and isinstance(dataset.reader, Chunks):
            self._client = _present_client()
        self._borrowed = self._client is not None
        if dataset.locator() is not None:
            return dataset
        if isinstance(dataset.reader, Chunks):
            return self._hold(dataset, dataset.reader)
        self.start()
        if not isinstance(getattr(self._client, "cluster", None), distributed.LocalCluster):
            raise InputError(
                'arrays in this process cannot be read by the workers: write them with dl.ingest((X, y), "data.zarr") to '
                "a place that the workers see, and pass the dataset"
            )
        self._temporary = tempfile.mkdtemp(prefix="distlasso-")
        assert isinstance(dataset.reader, InMemory)
        rows, columns = (int(np.diff(bounds).max()) for bounds in (dataset.row_bounds, dataset.col_bounds))
        missing = "error" if dataset.missing_value is None else "keep"
        several = dataset.y is not None and dataset.y.ndim == 2
        store = ingest((dataset.reader.matrix, None if several else dataset.y), Path(self._temporary) / "data.zarr",
                       encoding=dataset.encoding, chunks=(rows, columns), missing=missing,
                       missing_value=dataset.missing_value)  # fmt: skip
        placed = replace(store, feature_names=dataset.feature_names)
        return placed.with_target(dataset.y if several else None, dataset.sample_weight, dataset.offset)

    def _hold(self, dataset: Dataset, chunks: Chunks) -> Dataset:
        """Have every chunk computed on the workers, wherever the scheduler puts it."""
        self.start()
        array = self._client.persist(chunks.array)
        self._chunks = {future.key[-2:]: future for future in distributed.futures_of(array)}
        distributed.wait(list(self._chunks.values()))
        for (i, j), future in self._chunks.items():
            if future.status != "finished":
                raise InputError(f"chunk {i}, {j} of the dask array cannot be computed: {future.exception()}")
        return replace(dataset, reader=Chunks(array))

    def open(self, dataset: Dataset, plan: Plan, rows: Sequence[RowSpace]) -> None:
        """Prepare to answer requests about a dataset in a store."""
        self.start()
        self._plan, self._rows = plan, rows
        self._bytes = self._moved = 0
        self._fit = uuid.uuid4().hex[:8]
        self._seen: set[tuple[str, int, int]] = set()
        self._row_bounds = dataset.row_bounds
        self._check_versions()
        self._store, self._identity = dataset.locator(), dataset.fingerprint or self._fit
        self._grid = (dataset.row_bounds, dataset.col_bounds)
        self._homes: list[str] = []

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Answer requests, each merged over all bundles, in one sweep."""
        tree = MergeTree(len(self._plan.bundles), merge_all(asks, self._plan.axis))
        number = next(self._rounds)
        self._moved += sum(asked(ask, len(self._plan.bundles)) for ask in asks)
        failed = self._shares()
        for attempt in range(_ATTEMPTS * 2):
            try:
                failed = self._collect(self._submit(failed, asks, number, attempt), tree)
            except DistlassoError:
                raise
            except Exception as error:  # a client that has lost its scheduler can raise anything
                if self._client.status == "running":
                    raise
                raise SchedulerError(_GONE) from error
            if not failed:
                return tree.result()
        raise SchedulerError(
            f"bundles {[b.index for share in failed for b in share[1]][:8]} killed the workers that took them, "
            f"{_ATTEMPTS} times over: look at the workers' logs, or give them more memory"
        )

    def bytes_read(self) -> int:
        """Decoded bytes of all tiles visited so far."""
        return self._bytes

    def bytes_moved(self) -> int:
        """Bytes of all requests and answers so far, whoever merged them on the way."""
        return self._moved

    def tiles_at_once(self) -> int:
        """None: the workers do, within their own limits."""
        return 0

    def close(self) -> None:
        """Let go of caches and chunks; an embedded cluster that ``open`` started is shut down."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        self._chunks = {}
        if not self._borrowed:
            self.shutdown()

    def _workers(self) -> list[str]:
        """Addresses of the workers, each as often as it has threads."""
        for wait in (False, True):
            if wait:
                try:
                    self._client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
                except (TimeoutError, OSError) as error:
                    raise SchedulerError(f"no worker joined within {_WORKERS_SECONDS} s: start at least one") from error
            try:
                found = self._client.scheduler_info(n_workers=-1)["workers"]
            except (OSError, CommClosedError, KeyError) as error:  # a closed client knows of no workers at all
                raise SchedulerError(_GONE) from error
            if found:
                return [address for address in sorted(found) for _ in range(found[address]["nthreads"])]
        raise SchedulerError("the cluster has no workers: start at least one")

    def _shares(self) -> list[tuple[str, tuple[Bundle, ...]]]:
        """Contiguous runs of bundles, one a worker thread; the same worker gets the same run in every round."""
        workers, bundles = self._workers(), self._plan.bundles
        if self._chunks:
            return self._shares_at_home(workers)
        count = min(len(workers), len(bundles))
        cuts = [len(bundles) * k // count for k in range(count + 1)]
        return [(workers[k], bundles[cuts[k] : cuts[k + 1]]) for k in range(count)]

    def _shares_at_home(self, workers: list[str]) -> list[tuple[str, tuple[Bundle, ...]]]:
        """Contiguous runs of bundles whose chunks are on the same worker, at most as many tasks a run as it has threads."""
        if not set(self._homes) or not set(self._homes) <= set(workers):
            holders = self._client.who_has(list(self._chunks.values()))
            self._homes = [self._home(bundle, holders, workers) for bundle in self._plan.bundles]
        shares, first = [], 0
        for home, run in itertools.groupby(self._homes):
            size = len(list(run))
            parts = min(size, workers.count(home))
            cuts = [first + size * k // parts for k in range(parts + 1)]
            shares += [(home, self._plan.bundles[a:b]) for a, b in itertools.pairwise(cuts)]
            first += size
        return shares

    def _home(self, bundle: Bundle, holders: dict[Any, Sequence[str]], workers: list[str]) -> str:
        """The worker that holds most of a bundle; any one where its chunks have been lost."""
        held = dict.fromkeys(sorted(set(workers)), 0)
        for place in bundle.tiles():
            rows, columns = (int(bounds[k + 1] - bounds[k]) for bounds, k in zip(self._grid, place, strict=True))
            for address in holders.get(self._chunks[place].key, ()):
                if address in held:
                    held[address] += rows * columns
        return max(held, key=lambda address: held[address]) if any(held.values()) else workers[bundle.index % len(workers)]

    def _submit(
        self, shares: list[tuple[str, tuple[Bundle, ...]]], asks: Sequence[Ask], number: int, attempt: int
    ) -> dict[Any, tuple[str, tuple[Bundle, ...]]]:
        name = "-".join(dict.fromkeys(type(query).__name__.lower() for ask in asks for query in ask.request.queries))
        pending = {}
        for k, (worker, bundles) in enumerate(shares):
            run = self._run_of(worker, bundles, asks, attempt)
            key = f"dl-{name}-{self._fit}-{number}-{attempt}-{k}"
            # A large argument inside a task graph is copied several times; as data of its own it is not.
            payload = self._client.scatter(run, workers=[worker], hash=False) if _is_large(run) else run
            future = self._client.submit(
                answer_run, payload, self._chunks_of(bundles), key=key, workers=[worker], allow_other_workers=True,
                retries=2, pure=False,
            )  # fmt: skip
            pending[future] = (worker, bundles)
        return pending

    def _chunks_of(self, bundles: tuple[Bundle, ...]) -> list[Any]:
        """Futures of the chunks of some bundles: Dask hands their values to the task."""
        return [self._chunks[place] for bundle in bundles for place in bundle.tiles()] if self._chunks else []

    def _run_of(self, worker: str, bundles: tuple[Bundle, ...], asks: Sequence[Ask], attempt: int) -> Run:
        """Cut out what one task needs; the rows go along the first time, and whenever the task was tried before."""
        first, last = int(self._row_bounds[bundles[0].r0]), int(self._row_bounds[bundles[-1].r1])
        seen = (worker, bundles[0].index, bundles[-1].index)
        rows = None
        if attempt or seen not in self._seen:
            rows = tuple(space.cut(first, last) for space in self._rows)
            self._seen.add(seen)
        own = tuple(ask.cut((bundles[0].index, bundles[-1].index + 1), (first, last)) for ask in asks)
        return Run(self._fit, str(self._store), self._identity, self._plan, bundles, own, rows, first,
                   self._grid if self._chunks else None)  # fmt: skip

    def _finished(self, pending: dict[Any, tuple[str, tuple[Bundle, ...]]]) -> Iterator[Any]:
        """Futures as they finish; those of a dead scheduler never do, so its life is looked at meanwhile."""
        left = set(pending)
        while left:
            try:
                for future in distributed.as_completed(list(left), loop=self._client.loop, timeout=_LOOK_SECONDS):
                    left.discard(future)
                    yield future
            except TimeoutError:
                if self._client.status not in ("running", "connecting"):
                    raise SchedulerError(_GONE) from None

    def _collect(self, pending: dict[Any, tuple[str, tuple[Bundle, ...]]], tree: MergeTree[list[list[object]]]) -> list[Any]:
        """Merge answers as they come in; return the shares that must be asked again."""
        again = []
        for future in self._finished(pending):
            try:
                answer: Answer = future.result()
            except DistlassoError:
                raise
            except (distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError):
                again.append(pending[future])
                continue
            except (OSError, CommClosedError):
                if self._client.status != "running":
                    raise
                again.append(pending[future])
                continue
            if answer.lacks_rows:
                again.append(pending[future])
                continue
            self._bytes += answer.nbytes
            self._moved += answer.moved
            for level, position, partial in answer.nodes:
                tree.add(level, position, partial)
        return again

    def _check_versions(self) -> None:
        try:
            self._workers()
            found = self._client.run(_version)
        except SchedulerError:
            raise
        except Exception as error:  # what a worker raises while it unpickles can be anything
            raise SchedulerError(f"a worker cannot import distlasso {distlasso.__version__}: {error}") from error
        for worker, version in found.items():
            if version != distlasso.__version__:
                raise SchedulerError(
                    f"worker {worker} has distlasso {version}, this process {distlasso.__version__}: install one version"
                )


@dataclass(slots=True)
class _Worker:
    """What a worker process keeps between tasks: caches, all of which can be rebuilt."""

    tiles: TileCache
    strong: dict[str, StrongColumns] = field(default_factory=dict)  # by fit
    datasets: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    rows: dict[tuple[str, int, int], tuple[RowSpace, ...]] = field(default_factory=dict)


_STATE: list[_Worker] = []


@dataclass(frozen=True, slots=True)
class _Cached:
    """A dataset behind the cache of tiles; counts the bytes that are visited."""

    dataset: Dataset
    identity: str
    tiles: TileCache
    visited: list[int]

    @property
    def row_bounds(self) -> Ints:
        """Row bounds of the grid."""
        return self.dataset.row_bounds

    @property
    def col_bounds(self) -> Ints:
        """Column bounds of the grid."""
        return self.dataset.col_bounds

    def tile(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""
        key = (self.dataset.path, self.identity, i, j)
        tile = self.tiles.get(key, lambda: self.dataset.tile(i, j))
        self.visited[0] += tile.nbytes
        return tile


@dataclass(frozen=True, slots=True)
class _Given:
    """Chunks of a dask array that came with a task; counts the bytes that are visited."""

    row_bounds: Ints
    col_bounds: Ints
    chunks: dict[tuple[int, int], Any]
    visited: list[int]

    def tile(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""
        tile = as_block(np.asarray(self.chunks[i, j]))
        self.visited[0] += tile.nbytes
        return tile


def answer_run(run: Run, chunks: Sequence[Any] = ()) -> Answer:
    """Answer a run of bundles; this is what a task on a worker does."""
    state = _state()
    key = (run.fit, run.bundles[0].index, run.bundles[-1].index)
    rows = run.rows if run.rows is not None else state.rows.get(key)
    if rows is None:
        return Answer([], 0, lacks_rows=True)
    if run.rows is not None:
        for old in [k for k in state.rows if k[0] != run.fit]:
            state.rows.pop(old, None)
        state.rows[key] = rows
    data = _tiles(state, run, chunks)
    tree = MergeTree(len(run.plan.bundles), merge_all(run.asks, run.plan.axis))
    kept = state.strong.get(run.fit)
    if kept is None:
        state.strong.clear()
        kept = state.strong[run.fit] = StrongColumns()
    moved = 0
    with one_blas_thread():
        for bundle in run.bundles:
            partial = answer_bundle(Part(data, bundle, rows, run.first_row), run.asks, kept)
            moved += carried(partial)
            tree.add(0, bundle.index, partial)
    return Answer(tree.nodes(), data.visited[0], moved)


def _tiles(state: _Worker, run: Run, chunks: Sequence[Any]) -> _Cached | _Given:
    """The data of a run: chunks that came with it, or a store."""
    if run.grid is not None:
        places = [place for bundle in run.bundles for place in bundle.tiles()]
        return _Given(*run.grid, dict(zip(places, chunks, strict=True)), [0])
    place = (run.store, run.identity)
    if place not in state.datasets:
        state.datasets[place] = open_dataset(run.store)
    return _Cached(state.datasets[place], run.identity, state.tiles, [0])


def _present_client() -> Any:
    """The client that dask arrays of this process belong to, if there is one."""
    try:
        return distributed.default_client()
    except ValueError:
        return None


def _state() -> _Worker:
    if not _STATE:
        limit, threads = None, 1
        try:
            worker = distributed.get_worker()
            limit, threads = worker.memory_manager.memory_limit, worker.state.nthreads
        except ValueError:
            pass
        limit_threads(threads)
        _STATE.append(_Worker(TileCache(int(_CACHE_SHARE * (limit or _UNLIMITED)))))
    return _STATE[0]


def _version() -> str:
    return distlasso.__version__


def _is_large(run: Run) -> bool:
    return carried((run.asks, run.rows)) > 1 << 20


def _connect(address: str) -> Any:
    """Connect to a scheduler, or say within seconds that it is not there."""
    if address.endswith(".json"):
        try:
            address = str(json.loads(Path(address).read_text())["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SchedulerError(f"{address} is not a scheduler file that can be read: {error}") from error
    dask.config.set(_CONFIG)
    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(1) as pool:  # asyncio.run is refused where a loop runs already, as in notebooks
            pool.submit(asyncio.run, _knock(address)).result()
        return distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # what is no scheduler can answer anything
        seconds = time.perf_counter() - started
        raise SchedulerError(
            f"no Dask scheduler answered at {address!r} within {seconds:.0f} s: check that it runs, and the address, such "
            "as tcp://10.0.0.1:8786 (not that of the dashboard)"
        ) from error


async def _knock(address: str) -> None:
    """Shake hands and leave: a Client that fails to connect to what is no scheduler hangs when it is collected."""
    security = distributed.Security().get_connection_args("client")
    async with asyncio.timeout(_CONNECT_SECONDS):
        comm = await connect(address, timeout=_CONNECT_SECONDS, **security)
    await comm.close()
