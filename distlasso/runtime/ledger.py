"""The books of one round over the workers: who was asked what, who answered, who died, who is late. No clock, no network.

A round is cut into parts, runs of neighbouring bundles. Each is sent to a worker as a copy with a number of its own; the
first answer to a part counts, and all later ones are ignored. What a dead worker had goes out again bundle by bundle, so that
one which kills whoever takes it is soon alone, and is given up after a few deaths in a row. What is late goes to
another worker besides. No worker has more than it has threads, hence whoever dies was at work on all that it had.
Every method takes what happened and returns what is to be done. Read next: ``cluster.py``, which does it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

from distlasso.runtime.placing import Share

_UNKNOWN = 6  # times as patient where no answer has come yet


@dataclass(frozen=True, slots=True)
class Limits:
    """When to lose patience."""

    deaths: int = 3
    """Workers in a row that a part may kill."""
    failures: int = 3
    """Attempts in a row that may fail while their workers live on."""
    floor: float = 10.0
    """Seconds before which nothing is late."""
    factor: float = 4.0
    """How many times the longest answer known so far makes a part late."""


@dataclass(frozen=True, slots=True)
class Send:
    """Ask a worker about bundles [first, last), under a number."""

    number: int
    first: int
    last: int
    worker: str
    again: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody waits for this number any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A worker is silent or has failed; it gets nothing until it ``joined`` again."""

    worker: str


@dataclass(frozen=True, slots=True)
class Late:
    """A worker has had bundles for too long; another one has been asked too."""

    worker: str
    first: int
    last: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Bundles [first, last) cannot be had: they killed ``deaths`` workers in a row, or failed too often."""

    first: int
    last: int
    deaths: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Bundles [first, last) have to be asked again, since their worker has gone."""

    first: int
    last: int


Command = Send | Drop | Doubt | Late | GiveUp | Lost


@dataclass(slots=True, eq=False)
class _Part:
    first: int
    last: int
    home: str
    deaths: int = 0  # in a row
    failures: int = 0  # in a row
    again: bool = False
    late: bool = False  # and its worker was asked whether it is there
    copies: dict[int, tuple[str, float]] = field(default_factory=dict)  # number: worker, when it was sent


@final
class Round:
    """The state of one round."""

    def __init__(
        self, shares: Sequence[Share], threads: Mapping[str, int], limits: Limits, *, usual: float = math.inf,
        doubted: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        """``usual`` is the longest time that an answer took in an earlier round of this kind, ``doubted`` who is silent."""
        self._limits, self._usual = limits, usual
        self._threads, self._doubted = dict(threads), set(doubted)
        self._waiting = deque(_Part(share.first, share.last, share.worker) for share in shares)
        self._out: dict[int, _Part] = {}
        self._sent = 0
        self.longest = 0.0  # seconds of an answer in this round

    @property
    def done(self) -> bool:
        """Whether every bundle has been answered."""
        return not self._waiting and not self._out

    @property
    def deserted(self) -> bool:
        """Whether nobody is there."""
        return not self._threads

    def worker_of(self, number: int) -> str | None:
        """Who was asked under a number that is out."""
        return self._out[number].copies[number][0] if number in self._out else None

    def outstanding(self) -> list[int]:
        """Numbers that have been sent and neither answered nor lost."""
        return sorted(self._out)

    def assign(self, now: float) -> list[Command]:
        """Give what waits to workers that have a thread free: to its home if it can be, else to the least busy."""
        commands: list[Command] = []
        for _ in range(len(self._waiting)):
            part = self._waiting.popleft()
            worker = self._free(part)
            if worker is None:
                self._waiting.append(part)
            else:
                commands.append(self._send(part, worker, now))
        return commands

    def answered(self, number: int, now: float) -> list[Command] | None:
        """An answer has come; None where it is late, and must not be counted."""
        part = self._out.get(number)
        if part is None:
            return None
        worker, sent = part.copies[number]
        self._doubted.discard(worker)
        self.longest = max(self.longest, now - sent)
        drops: list[Command] = [Drop(other) for other in part.copies if other != number]
        for own in part.copies:
            del self._out[own]
        return drops + self.assign(now)

    def refused(self, number: int, now: float) -> list[Command]:
        """A worker lacks what others have been told before: it is to be told, too."""
        part = self._take(number)
        if part is not None and not part.copies:
            part.again = True
            self._waiting.append(part)
        return self.assign(now)

    def failed(self, number: int, now: float) -> list[Command]:
        """An attempt has failed for a reason that may pass; its worker is doubted until it is heard of."""
        worker, part = self.worker_of(number), self._take(number)
        if worker is None or part is None:
            return []
        part.failures += 1
        if part.failures >= self._limits.failures:
            return [GiveUp(part.first, part.last, 0)]
        if not part.copies:
            part.again = True
            self._waiting.append(part)
        return [*self._doubt(worker), *self.assign(now)]

    def gone(self, worker: str, now: float, *, died: bool) -> list[Command]:
        """A worker has left; ``died`` unless it was meant to."""
        self._threads.pop(worker, None)
        self._doubted.discard(worker)
        commands: list[Command] = []
        for number in [n for n, part in self._out.items() if part.copies[n][0] == worker]:
            part = self._take(number)
            assert part is not None
            commands.append(Drop(number))
            part.deaths += died
            if part.deaths >= self._limits.deaths:
                commands.append(GiveUp(part.first, part.last, part.deaths))
            elif not part.copies:
                commands.append(Lost(part.first, part.last))
                self._waiting.extend(
                    replace(part, first=k, last=k + 1, home="", again=True, copies={}) for k in range(part.first, part.last)
                )
        return commands + self.assign(now)

    def joined(self, worker: str, threads: int, now: float) -> list[Command]:
        """A worker is ready, or is heard of again."""
        self._threads[worker] = threads
        self._doubted.discard(worker)
        return self.assign(now)

    def overdue(self, now: float) -> list[Command]:
        """Ask others about what is late; patience doubles with every copy."""
        allowed, commands = self._allowed(), list[Command]()
        for part in dict.fromkeys(self._out.values(), None):
            worker, sent = max(part.copies.values(), key=lambda copy: copy[1])
            if now - sent <= allowed * 2 ** (len(part.copies) - 1):
                continue
            if not part.late:
                part.late = True
                commands += self._doubt(worker)
            other = self._free(part, without={own for own, _ in part.copies.values()})
            if other is None and worker in self._threads and worker not in self._doubted:
                other = worker  # it has been heard of and nobody else is free: its task may be lost, and is dropped if it is not
            if other is not None:
                part.again, part.late = True, False
                commands += [Late(worker, part.first, part.last, now - sent), self._send(part, other, now)]
        return commands + self.assign(now)

    def _doubt(self, worker: str) -> list[Command]:
        if worker in self._doubted or worker not in self._threads:
            return []
        self._doubted.add(worker)
        return [Doubt(worker)]

    def _allowed(self) -> float:
        """Seconds until a part is late; more as long as nothing is known about how long one takes."""
        known = [seconds for seconds in (self._usual, self.longest) if 0 < seconds < math.inf]
        return max(self._limits.floor, self._limits.factor * max(known)) if known else _UNKNOWN * self._limits.floor

    def _free(self, part: _Part, without: set[str] | frozenset[str] = frozenset()) -> str | None:
        """A worker with a thread free that is not doubted; its home before all others."""
        free = dict(self._threads)
        for other in dict.fromkeys(self._out.values(), None):
            for worker in {own for own, _ in other.copies.values()} & free.keys():
                free[worker] -= 1
        usable = {worker: count for worker, count in free.items() if count > 0 and worker not in self._doubted | without}
        if part.home in usable:
            return part.home
        at_home = part.home in self._threads and part.home not in self._doubted
        if at_home and not part.again and not without:
            return None  # its home has only other shares to answer first, and has its data
        return max(sorted(usable), key=lambda worker: usable[worker]) if usable else None

    def _send(self, part: _Part, worker: str, now: float) -> Send:
        number = self._sent
        self._sent += 1
        part.copies[number] = (worker, now)
        self._out[number] = part
        return Send(number, part.first, part.last, worker, part.again)

    def _take(self, number: int) -> _Part | None:
        """The part of a number, which is out no more."""
        part = self._out.pop(number, None)
        if part is not None:
            del part.copies[number]
        return part
