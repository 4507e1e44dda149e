"""The Dask runtime: the workers of a cluster answer, whoever of them dies, freezes, leaves or joins.

Workers hold nothing but caches: they open the store themselves, keep decoded tiles within a byte budget, and merge
whole subtrees of the fixed merge tree, so that the bits do not depend on how many they are, which of them died, or who
answered what. This process holds everything else, so that another scheduler with other workers can take over as well.
Read next: ``ledger.py`` (the books of a round), ``wire.py`` (tasks and news), ``worker.py`` (what a task does).
"""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import distributed
import numpy as np
from distributed.comm.core import CommClosedError
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset, InMemory
from distlasso.data.ingest import ingest
from distlasso.errors import DistlassoError, InputError, SchedulerError, StoreError
from distlasso.events import (
    BlockQuarantined,
    Listener,
    RoundResubmitted,
    SchedulerFound,
    SchedulerLost,
    WorkerJoined,
    WorkerLost,
    ignore,
)
from distlasso.queries import Ask
from distlasso.runtime import ledger, placing
from distlasso.runtime.chunks import Chunks
from distlasso.runtime.connect import GONE, Connection
from distlasso.runtime.crew import Crew
from distlasso.runtime.held_chunks import HeldChunks
from distlasso.runtime.local import RowSpace, merge_all
from distlasso.runtime.plan import MergeTree, Plan
from distlasso.runtime.room import check_room
from distlasso.runtime.security import Tls
from distlasso.runtime.settings import patience
from distlasso.runtime.traffic import asked
from distlasso.runtime.watch import Watch
from distlasso.runtime.wire import Came, Checked, Left, Present, Wire
from distlasso.runtime.worker import Answer, Run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TICK_SECONDS = 0.5
_SILENT_SECONDS = 10.0  # after which a fit begins without those who have not said which versions they have
_PASSING = (OSError, CommClosedError, MemoryError, distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError)


@dataclass(slots=True)
class _Turn:
    """A round that is under way."""

    number: int
    name: str
    asks: Sequence[Ask]
    tree: MergeTree[list[list[object]]]
    books: ledger.Round
    why: str = ""  # the last attempt failed


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
    tls : bool, path or (path, path, path)
        Encrypt everything, and refuse a scheduler that does not. True has certificates made for an embedded cluster, and
        takes those of Dask's configuration for another; a folder has ``ca.pem``, ``client.pem`` and ``client.key``; three
        files are CA, certificate and key.
    on_start : callable, optional
        Told of this object once there is a client: an embedded cluster starts when it is first used, by a fit not before
        its options have been found good.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be reached within seconds.
    InputError
        If ``client`` is not a synchronous ``distributed.Client``.
    """

    def __init__(
        self, client: Any = None, *, address: str | None = None, n_workers: int | None = None,
        memory_limit: str | int = "auto", tls: Tls = False, on_start: Callable[[Cluster], None] | None = None,
    ) -> None:  # fmt: skip
        self._on_start = on_start
        self._connection = Connection(client, address, n_workers, memory_limit, tls)
        self._temporary: str | None = None
        self._user: int | None = None  # the thread whose fit this is
        self._wire: Wire | None = None
        self._watch: Watch | None = None
        self._chunks: HeldChunks | None = None
        self._turn: _Turn | None = None
        self._rounds = itertools.count()
        self._bytes = self._moved = 0

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
        return str(self.client.dashboard_link)

    @property
    def client(self) -> Any:
        """A client of the cluster, to look at it."""
        return self._open()

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return str(self.client.scheduler.address)

    def describe(self) -> dict[str, Any]:
        """The workers as plain values: how many, their threads, their memory; and the dashboard's address.

        Raises
        ------
        SchedulerError
            If the scheduler is gone.
        """
        try:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        except (OSError, CommClosedError, KeyError) as error:
            raise SchedulerError(f"{GONE}: start it again") from error
        threads, memory = (sum(worker[name] or 0 for worker in workers) for name in ("nthreads", "memory_limit"))
        return {"workers": len(workers), "threads": threads, "memory_bytes": memory, "dashboard": self.dashboard_link}

    def start(self) -> None:
        """Start the embedded cluster, if it is wanted and not running."""
        self._open()

    def shutdown(self) -> None:
        """Close what this object has started."""
        self._connection.shutdown()

    def place(self, dataset: Dataset) -> Dataset:
        """Put arrays of this process where the workers can read them.

        Workers of this machine reach them through a temporary store; those of another machine cannot see it. The chunks
        of a dask array are computed where they are, and held.
        """
        if self._user not in (None, threading.get_ident()):
            raise InputError("this Cluster is at work on another fit: give each fit that runs beside others one of its own")
        self._user = threading.get_ident()
        self._stays = self._connection.is_open or not self._connection.embedded
        held = isinstance(dataset.reader, Chunks)
        client = self._open(arrays=held)
        if dataset.locator() is not None:
            return dataset
        if isinstance(dataset.reader, Chunks):
            self._chunks = HeldChunks(client, dataset.reader, (dataset.row_bounds, dataset.col_bounds))
            return replace(dataset, reader=Chunks(self._chunks.array, client))
        if not self._connection.on_this_machine:
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

    def open(self, dataset: Dataset, plan: Plan, rows: Sequence[RowSpace], listener: Listener = ignore) -> Listener:
        """Prepare to answer requests about a dataset in a store; workers that cannot take part are refused by name.

        Returns who is to hear of the fit: the listener and the scheduler's dashboard.
        """
        self._patience = patience()
        self._dataset, self._plan, self._rows = dataset, plan, rows
        self._bytes = self._moved = 0
        self._fit = uuid.uuid4().hex[:8]
        self._watch = Watch(self._connection.client, self._fit, dataset.feature_names)
        self._listener = self._watch.beside(listener)
        self._store, self._identity = dataset.locator(), dataset.fingerprint or self._fit
        self._read: dict[tuple[int, int], int] = {}  # checksums of tiles, whoever read them
        self._usual: dict[str, float] = {}  # seconds of the longest answer in the last round of a name
        self._attach()
        self._muster()
        check_room(dataset, plan, rows, {worker: self._crew.present[worker] for worker in self._crew.threads})
        return self._listener

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Answer requests, each merged over all bundles, in one sweep."""
        tree = MergeTree(len(self._plan.bundles), merge_all(asks, self._plan.axis))
        name = "-".join(dict.fromkeys(type(query).__name__.lower() for ask in asks for query in ask.request.queries))
        self._moved += sum(asked(ask, len(self._plan.bundles)) for ask in asks)
        while self._listen(0.0):
            pass  # what has happened since the last round
        if not self._line.alive:
            self._fail_over()
        if not self._crew.threads:
            self._muster()
        books = ledger.Round(self._shares(), self._crew.threads, self._patience.limits, usual=self._usual.get(name, math.inf),
                             doubted=frozenset(self._crew.doubted))  # fmt: skip
        turn = self._turn = _Turn(next(self._rounds), name, asks, tree, books)
        try:
            self._carry_out(books.assign(time.monotonic()))
            self._finish(books)
        finally:
            for number in books.outstanding():
                self._line.drop((turn.number, number))
            self._turn = None
        self._usual[name] = books.longest
        return tree.result()

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
        """Let go of tasks, caches and chunks; an embedded cluster that ``place`` started is shut down."""
        if self._user != threading.get_ident():
            return
        self._user = None
        if self._watch is not None:
            self._watch.close(alive=self._wire is not None and self._wire.alive)
            self._watch = None
        if self._wire is not None:
            # A cluster of one's own may keep its tiles for the next fit; on one of others memory is theirs.
            self._wire.say_goodbye(self._fit, None if self._connection.embedded and self._stays else str(self._store))
            self._wire.close()
            self._wire = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        self._chunks = None
        self._connection.leave()
        if not self._stays:
            self.shutdown()

    def _open(self, *, arrays: bool = False) -> Any:
        client = self._connection.open(arrays=arrays)
        on_start, self._on_start = self._on_start, None
        if on_start is not None:
            on_start(self)
        return client

    @property
    def _line(self) -> Wire:
        assert self._wire is not None
        return self._wire

    def _attach(self) -> None:
        """Begin to listen to a scheduler; nothing is known of its workers."""
        self._wire = Wire(self._connection.client)
        self._crew = Crew(self._wire, self._listener)
        self._homes = [""] * len(self._plan.bundles)
        self._seen: set[tuple[str, int, int]] = set()

    def _muster(self) -> None:
        """Wait until workers are ready: all that are there, or some where the others are silent."""
        began = time.monotonic()
        while not self._crew.complete and not self._crew.hopeless:
            waited = time.monotonic() - began
            if self._crew.threads and waited > _SILENT_SECONDS:
                break
            if not self._line.alive:
                self._fail_over()
            if waited > self._patience.workers:
                raise SchedulerError(f"no worker joined within {self._patience.workers:.0f} s: start at least one")
            self._listen(_TICK_SECONDS)
        if self._crew.refused:
            raise SchedulerError("; ".join(self._crew.refused.values()) + ": install one version everywhere")

    def _finish(self, books: ledger.Round) -> None:
        """Go on until every bundle is answered."""
        deserted = paused = math.inf
        while not books.done:
            self._listen(min(_TICK_SECONDS, self._patience.limits.floor / 4))
            if not self._line.alive:
                self._fail_over()
            now = time.monotonic()
            self._carry_out(books.overdue(now))
            deserted = min(deserted, now) if books.deserted else math.inf
            paused = min(paused, now) if self._crew.paused else math.inf
            if now - paused > self._patience.workers:
                raise SchedulerError("the memory of all workers is nearly full, so that Dask gives them no tasks: give them more "
                                     "memory or fewer threads, or ingest with smaller chunks")  # fmt: skip
            if now - deserted > self._patience.workers:
                raise SchedulerError(f"all workers are gone, and none joined within {self._patience.workers:.0f} s")

    def _listen(self, seconds: float) -> bool:
        """Take in one piece of news; say whether there was one."""
        news, now = self._line.next(seconds), time.monotonic()
        match news:
            case Came():
                if self._turn is not None and news.round == self._turn.number:
                    self._take(self._turn, news, now)
            case Left():
                self._lose(news.worker, now, expected=news.expected)
            case Present():
                for worker in self._crew.see(news):
                    self._lose(worker, now, expected=False)
            case Checked():
                if self._crew.admit(news) and self._turn is not None:
                    self._listener(WorkerJoined(news.worker))
                    self._carry_out(self._turn.books.joined(news.worker, self._crew.threads[news.worker], now))
        return news is not None

    def _lose(self, worker: str, now: float, *, expected: bool) -> None:
        if not self._crew.lose(worker):
            return
        commands: list[ledger.Command] = []
        if self._turn is not None:
            commands = self._turn.books.gone(worker, now, died=not expected)
        lost = sum(one.last - one.first for one in commands if isinstance(one, ledger.Lost))
        self._listener(WorkerLost(worker, expected, lost))
        self._carry_out(commands)

    def _take(self, turn: _Turn, news: Came, now: float) -> None:
        """Merge an answer, or see to it that another one comes."""
        result = news.result
        if isinstance(result, Answer) and not result.lacks_rows:
            commands = turn.books.answered(news.number, now)
            if commands is None:
                return
            self._compare(result.read)
            self._bytes += result.nbytes
            self._moved += result.moved
            if self._watch is not None:
                self._watch.count(result.worker, result.nbytes, result.seconds)
            for level, position, partial in result.nodes:
                turn.tree.add(level, position, partial)
        elif isinstance(result, Answer):
            commands = turn.books.refused(news.number, now)
        elif isinstance(result, DistlassoError) or not isinstance(result, _PASSING):
            raise result
        elif getattr(result, "reason", "") == "scheduler-connection-lost":
            self._fail_over()
            return
        else:
            turn.why = f"{type(result).__name__}: {result}".splitlines()[0]
            commands = turn.books.failed(news.number, now)
        self._carry_out(commands)

    def _compare(self, read: dict[tuple[int, int], int]) -> None:
        """Refuse what one worker read otherwise than another one had."""
        for (i, j), checksum in read.items():
            if self._read.setdefault((i, j), checksum) != checksum:
                rows, columns = self._dataset.row_bounds[i : i + 2].tolist(), self._dataset.col_bounds[j : j + 2].tolist()
                raise StoreError(f"rows {rows[0]} to {rows[1]}, columns {columns[0]} to {columns[1]} of {self._store} have changed "
                                 "since the fit read them first: repeat the fit on data that stand still")  # fmt: skip

    def _carry_out(self, commands: Sequence[ledger.Command]) -> None:
        """Do what the books of the round say."""
        turn = self._turn
        for command in commands:
            assert turn is not None
            match command:
                case ledger.Send(number, first, last, worker, again):
                    run = self._run_of(worker, first, last, again=again)
                    chunks = [] if self._chunks is None else self._chunks.of(run.bundles)
                    key = f"dl-{turn.name}-{self._fit}-{turn.number}-{number}"
                    self._line.send((turn.number, number), key, run, chunks, worker)
                case ledger.Drop(number):
                    self._line.drop((turn.number, number))
                case ledger.Doubt(worker):
                    self._crew.doubt(worker)
                case ledger.Late(worker, first, last, seconds):
                    self._listener(RoundResubmitted(worker, last - first, seconds))
                case ledger.GiveUp(first, last, deaths):
                    self._give_up(turn, first, last, deaths)

    def _give_up(self, turn: _Turn, first: int, last: int, deaths: int) -> None:
        """Name the part of the data that cannot be had."""
        own = self._plan.bundles[first:last]
        rows, columns = self._dataset.row_bounds, self._dataset.col_bounds
        spans = ((int(rows[own[0].r0]), int(rows[own[-1].r1])), (int(columns[own[0].c0]), int(columns[own[-1].c1])))
        self._listener(BlockQuarantined(*spans, deaths))
        what = "rows {} to {}, columns {} to {} of {}".format(*spans[0], *spans[1], self._store or "the dask array")
        if deaths:
            raise SchedulerError(
                f"{what} killed {deaths} workers one after the other: give workers more memory, or write the store in "
                "smaller chunks; their logs say how they died"
            )
        raise SchedulerError(f"{what} cannot be worked on, time after time: {turn.why}")

    def _fail_over(self) -> None:
        """Go on with another scheduler, as soon as one answers where this one was."""
        began = time.monotonic()
        address = str(self._connection.known)
        self._listener(SchedulerLost(address))
        self._line.close()
        client = self._connection.again(self._patience.failover)
        if client is None:
            raise SchedulerError(f"{GONE}, and none answered at {address} within {self._patience.failover:.0f} s: start it "
                                 "again and repeat the fit")  # fmt: skip
        now = time.monotonic()
        if self._turn is not None:
            for worker in self._crew.threads:
                self._turn.books.gone(worker, now, died=False)
        self._attach()
        if self._watch is not None:
            self._watch.move(client)
        if self._chunks is not None:
            self._chunks = self._chunks.again(client)
        self._listener(SchedulerFound(address, now - began))

    def _shares(self) -> list[placing.Share]:
        """Runs of bundles for workers; the same worker gets the same run in every round."""
        if self._chunks is None:
            self._homes = placing.rehome(self._homes, self._crew.trusted)
        else:
            self._homes = self._chunks.homes(self._plan.bundles, self._homes, self._crew.trusted)
        return placing.shares(self._homes, self._crew.threads)

    def _run_of(self, worker: str, first: int, last: int, *, again: bool) -> Run:
        """Cut out what one task needs; the rows go along the first time, and whenever the task was tried before."""
        assert self._turn is not None
        bundles, bounds = self._plan.bundles[first:last], self._dataset.row_bounds
        start, stop = int(bounds[bundles[0].r0]), int(bounds[bundles[-1].r1])
        rows = None
        if again or (worker, first, last) not in self._seen:
            rows = tuple(space.cut(start, stop) for space in self._rows)
            self._seen.add((worker, first, last))
        own = tuple(ask.cut((first, last), (start, stop)) for ask in self._turn.asks)
        grid = None if self._chunks is None else (bounds, self._dataset.col_bounds)
        return Run(self._fit, str(self._store), self._identity, self._plan, bundles, own, rows, start, grid)
