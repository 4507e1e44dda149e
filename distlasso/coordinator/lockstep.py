"""Fits that go side by side over the same data: what they ask at the same time is answered by one sweep.

Every fit is ordinary code on a thread of its own. Where it asks, it waits until every other fit has asked too, or has
ended; then the calling thread has all questions answered by one exchange. Each question is computed on its own, so that the
bits of a fit do not depend on its company, unless it marks Hessians that may be those of another fit (``borrowed.py``); how many
sweeps are made depends on the fits alone, not on who is faster.
Responses go side by side, and so can the folds of a cross-validation: fits differ in the row space that they ask about.
Read next: ``exchange.py``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, final

from distlasso.coordinator.borrowed import borrow
from distlasso.coordinator.exchange import Exchange
from distlasso.events import Event
from distlasso.queries import Ask
from distlasso.solvers.lanes import Turns

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Table:
    """What the seats share; to be looked at and changed under its lock only."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    stopped: BaseException | None = None  # what every fit must raise where it asks next
    turns: Turns = field(default_factory=Turns)  # of those that are at work


@final
@dataclass(slots=True, eq=False)
class _Seat(Generic[T]):
    """Where one fit sits: to the fit it is a runtime, which answers once everyone has asked."""

    table: _Table
    fit: int
    events: deque[Event] = field(default_factory=deque)  # not announced yet
    asks: Sequence[Ask] | None = None  # waiting for answers
    change: Callable[[], None] | None = None  # waiting for all others to be at rest
    answers: list[list[object]] = field(default_factory=list)
    ended: bool = False
    result: list[T] = field(default_factory=list)  # empty where the work has failed
    failure: BaseException | None = None

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Ask, and wait for the others."""
        with self._waiting(), self.table.changed:
            self.asks = asks
            self._wait_for(lambda: self.asks is None)
            self.asks = None
        self._raise_if_stopped()
        return self.answers

    def meet(self, change: Callable[[], None]) -> None:
        """Have a change made while no fit is at work; changes are made in the order of fits."""
        with self._waiting(), self.table.changed:
            self.change = change
            self._wait_for(lambda: self.change is None)
            self.change = None
        self._raise_if_stopped()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let another fit work meanwhile."""
        self.table.turns.release()
        try:
            yield
        finally:
            self.table.turns.acquire()

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        self.table.changed.notify_all()
        self.table.changed.wait_for(lambda: ready() or self.table.stopped is not None)

    def _raise_if_stopped(self) -> None:
        if self.table.stopped is not None:
            raise self.table.stopped

    def at_rest(self) -> bool:
        """Whether the fit has ended, or waits."""
        return self.ended or self.asks is not None or self.change is not None

    def bytes_read(self) -> int:
        """Nothing of its own: the exchange behind all seats counts."""
        return 0

    def bytes_moved(self) -> int:
        """Nothing of its own either."""
        return 0

    def sit(self, work: Callable[[], T]) -> None:
        """Do the work, and leave its result or its failure."""
        result: list[T] = []
        failure: BaseException | None = None
        with self.table.turns:
            try:
                result = [work()]
            except BaseException as error:  # raised again by the calling thread
                failure = error
        with self.table.changed:
            self.result, self.failure, self.ended = result, failure, True
            self.table.changed.notify_all()


@final
class Lockstep:
    """Runs fits over one exchange; fit ``k`` asks about row space ``k``, unless it is told another, through ``exchanges[k]``."""

    def __init__(
        self, exchange: Exchange, count: int, *, at_once: int = 32, turns: int = 1,
        announce: Callable[[int, Event], None] | None = None,
    ) -> None:  # fmt: skip
        """Prepare for ``count`` fits, of which ``at_once`` share a sweep, and ``turns`` are at work at the same time.

        ``exchange`` is ready to be asked: its shift and imputation hold for every fit. ``announce`` receives the events
        of each fit with its number, on the calling thread.
        """
        self._exchange, self._count, self._at_once = exchange, count, at_once
        self._table = _Table(turns=Turns(turns))
        self._announce_to = announce or (lambda k, event: exchange.listener(event))
        self.exchanges = [replace(exchange, rows=k, fit=k) for k in range(count)] if count > 1 else [exchange]
        self._seats: dict[int, _Seat[Any]] = {}

    @property
    def together(self) -> bool:
        """Whether all fits go side by side, and are more than one."""
        return 1 < self._count <= self._at_once

    def meet(self, fit: int, change: Callable[[], None]) -> None:
        """Have a change made for a fit while none of those beside it is at work."""
        self._seats[fit].meet(change)

    def run(self, works: Sequence[Callable[[], T]]) -> list[T]:
        """Do one piece of work a fit; return when all have ended. One alone needs no thread.

        The failure of one is raised at all others where they ask next, and so is Ctrl-C.
        """
        if self._count == 1:
            return [work() for work in works]
        results: list[T] = []
        for first in range(0, self._count, self._at_once):
            results += self._run(works[first : first + self._at_once], first)
        return results

    def _run(self, works: Sequence[Callable[[], T]], first: int) -> list[T]:
        seats: list[_Seat[T]] = [_Seat(self._table, k) for k in range(first, first + len(works))]
        for seat in seats:
            self.exchanges[seat.fit].runtime, self.exchanges[seat.fit].listener = seat, seat.events.append
            self._seats[seat.fit] = seat
        with ThreadPoolExecutor(len(works)) as pool:
            try:
                for seat, work in zip(seats, works, strict=True):
                    pool.submit(copy_context().run, seat.sit, work)  # which holds the caller's np.errstate
                while not all(seat.ended for seat in seats):
                    self._meet(seats)
            except BaseException as error:  # Ctrl-C, or a sweep that failed
                self._stop(error)
        self._announce(seats)
        return self._results(seats)

    def _meet(self, seats: Sequence[_Seat[T]]) -> None:
        """Wait until every fit has asked or ended; have everything answered by one exchange."""
        with self._table.changed:
            self._table.changed.wait_for(lambda: all(seat.at_rest() for seat in seats))
            if self._table.stopped is None and any(seat.change is not None for seat in seats):
                for seat in seats:
                    if seat.change is not None:
                        seat.change()
                for seat in seats:
                    seat.change = None
                self._table.changed.notify_all()
                return
        failure = next((seat.failure for seat in seats if seat.failure is not None), None)
        if failure is not None:
            self._stop(failure)
        waiting = [(seat, list(seat.asks)) for seat in seats if seat.asks is not None]
        # A sweep waits until every fit wants one: those that are still busy with their own columns get ahead.
        quick = [(seat, asks) for seat, asks in waiting if not any(ask.sweep for ask in asks)]
        waiting = quick or waiting
        self._announce(seats)
        if not waiting or self._table.stopped is not None:
            return
        borrowed = borrow([ask for _, asks in waiting for ask in asks])
        answers = iter(borrowed.complete(self._exchange.send(borrowed.asks)))
        with self._table.changed:
            for seat, asks in waiting:
                seat.answers, seat.asks = [next(answers) for _ in asks], None
            self._table.changed.notify_all()

    def _stop(self, error: BaseException) -> None:
        with self._table.changed:
            self._table.stopped = self._table.stopped or error
            self._table.changed.notify_all()

    def _results(self, seats: Sequence[_Seat[T]]) -> list[T]:
        stopped = self._table.stopped
        if stopped is not None and not isinstance(stopped, KeyboardInterrupt):
            raise stopped
        for seat in seats:
            if seat.failure is not None:
                raise seat.failure
        return [seat.result[0] for seat in seats]

    def _announce(self, seats: Sequence[_Seat[T]]) -> None:
        """Pass on what the fits had to say, fit by fit."""
        for seat in seats:
            while seat.events:
                self._announce_to(seat.fit, seat.events.popleft())
