"""Tasks on the workers, and news of them: everything that comes in goes through one queue.

Nothing here waits for a worker, since any of them may be frozen. Tasks stay on the worker that they were sent to: if it dies
Dask would move them on at once, and with them whatever killed it. Read next: ``ledger.py``, which decides who is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Sequence
from concurrent.futures import Future as Promise
from dataclasses import dataclass
from typing import Any, final

from distlasso.runtime.traffic import carried
from distlasso.runtime.worker import Answer, Run, answer_run, forget, versions

_LARGE = 1 << 20
_POLL_SECONDS = 1.0
_CHECK_SECONDS = 10.0  # then it is asked again: questions and answers get lost with connections
_REACH_SECONDS = 2.0
_GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Came:
    """An answer, or why there is none."""

    number: int
    round: int
    result: Answer | BaseException


@dataclass(frozen=True, slots=True)
class Left:
    """A worker is gone."""

    worker: str
    expected: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as the scheduler knows it."""

    threads: int
    limit: int  # bytes; 0 where there is none
    used: int  # bytes, at the last heartbeat
    paused: bool = False  # Dask gives it no task, since its memory is nearly full


@dataclass(frozen=True, slots=True)
class Present:
    """All workers that the scheduler knows."""

    workers: dict[str, Member]


@dataclass(frozen=True, slots=True)
class Checked:
    """A worker has said which versions it has, or why it cannot."""

    worker: str
    result: dict[str, str] | BaseException


News = Came | Left | Present | Checked


@final
class Wire:
    """The line to one scheduler, for one fit."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._tasks: dict[tuple[int, int], Promise[None]] = {}  # by round and number
        self._checks: dict[str, Promise[None]] = {}
        self._reached: set[str] = set()  # workers that answer the client itself: long answers need not go by the scheduler
        self._comm = client.scheduler_comm
        client.subscribe_topic("all", self._hear)
        self._told: dict[str, Member] = {}
        self._poll = self._start(self._look())

    @property
    def alive(self) -> bool:
        """Whether the client has had its scheduler all the time: one that comes again knows nothing of what was before."""
        return str(self._client.status) == "running" and self._client.scheduler_comm is self._comm

    def next(self, seconds: float) -> News | None:
        """What has happened, as soon as something has."""
        try:
            return self._news.get(timeout=seconds)
        except queue.Empty:
            return None

    def send(self, place: tuple[int, int], key: str, run: Run, chunks: Sequence[Any], worker: str) -> None:
        """Have a worker answer; ``place`` is round and number."""
        self._tasks[place] = self._start(self._ask(place, key, run, chunks, worker))

    def drop(self, place: tuple[int, int]) -> None:
        """Stop waiting for an answer; a task that has not begun never will."""
        promise = self._tasks.pop(place, None)
        if promise is not None:
            promise.cancel()

    def check(self, worker: str) -> None:
        """Ask a worker for its versions; a frozen one answers when it wakes."""
        if worker not in self._checks:
            self._checks[worker] = self._start(self._ask_versions(worker))

    def say_goodbye(self, fit: str, tiles: str | None) -> None:
        """Have the workers free what they keep for a fit, and the tiles of a store, as far as they answer within seconds."""
        if not self.alive:
            return
        for promise in self._tasks.values():
            promise.cancel()
        with contextlib.suppress(Exception):  # a client that has lost its scheduler can raise anything
            said = self._start(self._client.run(forget, fit, tiles, on_error="ignore", asynchronous=True))
            said.result(_GOODBYE_SECONDS)

    def close(self) -> None:
        """Stop everything that was begun; answers end with the client where it has lost its scheduler."""
        self._poll.cancel()
        if self.alive:
            with contextlib.suppress(Exception):  # a client that has lost its scheduler can raise anything
                self._client.unsubscribe_topic("all")
            for promise in (*self._tasks.values(), *self._checks.values()):
                promise.cancel()

    def _start(self, coroutine: Any) -> Promise[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)

    async def _ask(self, place: tuple[int, int], key: str, run: Run, chunks: Sequence[Any], worker: str) -> None:
        future = None
        try:
            # A large argument inside a task graph is copied several times; as data of its own it is not.
            large = carried((run.asks, run.rows)) > _LARGE
            work: Any = await self._client.scatter(run, workers=[worker], hash=False, asynchronous=True) if large else run
            future = self._client.submit(answer_run, work, chunks, key=key, workers=[worker], pure=False)
            done, loop = asyncio.Event(), asyncio.get_running_loop()
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
            await done.wait()  # a gather that is given up while it waits complains
            # Gathers of a client join the one that is under way: to cancel that would cancel all of them.
            own, future = future, None
            result = await asyncio.shield(self._fetch(own, worker))
            self._news.put(Came(place[1], place[0], result))
        except asyncio.CancelledError:
            if place in self._tasks:  # not by us: what it waited for was cancelled
                self._news.put(Came(place[1], place[0], ConnectionError("the answer was not fetched")))
            raise
        except Exception as error:  # tasks and broken connections can raise anything; who listens decides
            self._news.put(Came(place[1], place[0], error))
        finally:
            self._tasks.pop(place, None)
            if future is not None:
                future.release()

    async def _fetch(self, future: Any, worker: str) -> Any:
        try:
            return await self._client.gather(future, direct=worker in self._reached, asynchronous=True)
        finally:
            future.release()

    async def _ask_versions(self, worker: str) -> None:
        result: dict[str, str] | BaseException = TimeoutError(f"{worker} did not answer")
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                found = await self._client.run(versions, workers=[worker], on_error="return", asynchronous=True)
                result = found[worker]
            if isinstance(result, dict) and await self._reaches(worker):
                self._reached.add(worker)
        except Exception as error:  # what a worker raises while it unpickles can be anything
            result = error
        if isinstance(result, OSError):
            await asyncio.sleep(_POLL_SECONDS)  # who cannot be reached is asked again
        self._checks.pop(worker, None)
        self._news.put(Checked(worker, result))

    async def _reaches(self, worker: str) -> bool:
        """Whether there is a way to a worker that does not lead by the scheduler."""
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                await self._client.rpc(worker).identity()
        except Exception:  # firewalls, names that nobody knows, other certificates
            return False
        return True

    async def _look(self) -> None:
        """Tell who is there whenever that changes: news of somebody's death may have been lost."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, AttributeError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    found = (await self._client.scheduler.identity(n_workers=-1))["workers"]
                members = {
                    address: Member(
                        own["nthreads"], own["memory_limit"] or 0, own["metrics"].get("memory", 0), own["status"] == "paused"
                    )
                    for address, own in found.items()
                }
                if _outline(members) != _outline(self._told):
                    self._told = members
                    self._news.put(Present(dict(members)))
            await asyncio.sleep(_POLL_SECONDS)

    def _hear(self, event: tuple[float, Any]) -> None:
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action in ("remove-worker", "add-worker"):
            self._told.pop(str(message["worker"]), None)  # another one may come at the same address
        if action == "remove-worker":
            self._news.put(Left(str(message["worker"]), bool(message["expected"])))


def _outline(members: dict[str, Member]) -> set[tuple[str, bool]]:
    return {(address, member.paused) for address, member in members.items()}
