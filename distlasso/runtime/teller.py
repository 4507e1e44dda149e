"""Telling a scheduler how a fit goes, for its dashboard: a few small messages a second, whatever happens.

A listener of the one stream of events: it collects what has changed, and sends it as soon as it may. Read next:
``../dashboard/board.py`` (what is sent), ``watch.py`` (how).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from distlasso.events import (
    BatchVerified,
    BlockQuarantined,
    CheckpointWritten,
    ConsensusRound,
    Event,
    FitFinished,
    FitStarted,
    PassFinished,
    PathGrown,
    Resumed,
    RoundResubmitted,
    SchedulerFound,
    SchedulerLost,
    StageVerified,
    WorkerJoined,
    WorkerLost,
    WorkerRefused,
)
from distlasso.runtime.memory import resident_bytes

_BURST = 4  # messages that may follow each other at once; with two more a second and the last, at most ten in any one
_RATE = 2.0  # what a page that is drawn twice a second can show
_HELD = 200  # of what is waiting to be sent
_NAME = 60  # characters of a feature's name

Send = Callable[[dict[str, Any]], None]
Later = Callable[[float, Callable[[], None]], None]


def said(event: Event) -> str:
    """One line about an event that is no number to be drawn; empty for all others."""
    match event:
        case StageVerified():
            return f"stage {event.stage} of the schedule is certified at {event.n_lambdas:,} lambdas, gap {event.gap:.1e}"
        case WorkerLost():
            again = f"; {event.n_bundles:,} bundles are asked again" if event.n_bundles else ""
            return f"worker {event.worker} {'was retired' if event.expected else 'was lost'}{again}"
        case WorkerJoined():
            return f"worker {event.worker} has joined"
        case WorkerRefused():
            return event.reason
        case RoundResubmitted():
            return f"worker {event.worker} is silent for {event.seconds:.0f} s: another is asked about {event.n_bundles:,} bundles"
        case BlockQuarantined():
            rows, columns = ("{:,} to {:,}".format(*span) for span in (event.rows, event.columns))
            return f"rows {rows}, columns {columns} cannot be had: {event.deaths} workers died over them"
        case Resumed():
            return f"resumed from a checkpoint of {event.rounds:,} rounds"
        case SchedulerLost():
            return f"the scheduler at {event.address} is gone"
        case SchedulerFound():
            return f"the fit goes on with the scheduler at {event.address}, after {event.seconds:.1f} s"
    return ""


@final
class Teller:
    """Listens to one fit, and sends what the board wants to know.

    Parameters
    ----------
    send : callable
        Takes a message.
    fit, client : str
        Names of the fit and of this process on the cluster.
    names : sequence of str, optional
        Of the features.
    workers : callable
        Bytes visited and seconds spent by each worker so far.
    later : callable
        Has something done after so many seconds, on whatever thread: what waits must not wait for another event, which may
        be a long pass away.
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self, send: Send, fit: str, client: str, names: Sequence[str] | None,
        workers: Callable[[], Mapping[str, tuple[int, float]]], later: Later, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._send, self._fit, self._client, self._names = send, fit, client, names
        self._workers, self._later, self._clock = workers, later, clock
        self._lock = threading.Lock()
        self._waiting = False
        self._tokens, self._since = float(_BURST), clock()
        self._about: dict[str, Any] = {}
        self._now: dict[str, Any] = {}
        self._state = "running"
        self._reason = ""
        self._lists: dict[str, deque[Any]] = {}
        self._told_last: set[int] = set()
        self._read = 0

    def __call__(self, event: Event) -> None:
        """Take in an event; send what has changed, or have it sent as soon as a message is allowed."""
        with self._lock:
            self._take(event)
            if isinstance(event, FitFinished) or self._allowed():
                self._flush()
            elif not self._waiting:
                self._waiting = True
                self._later((1.0 - self._tokens) / _RATE, self._due)

    def close(self) -> None:
        """The fit is over; one that did not say so has failed."""
        with self._lock:
            if self._state == "running":
                self._state, self._reason = "failed", "the fit ended by an error or an interruption"
                self._flush()

    def _take(self, event: Event) -> None:
        match event:
            case FitStarted():
                self._about = {"rows": event.n_rows, "columns": event.n_columns, "lambdas": event.n_lambdas,
                               "form": event.form, "planned": event.planned_bytes}  # fmt: skip
            case PassFinished():
                self._now |= {"passes": event.number, "read": event.bytes_read}
                self._add("swept", [event.number, event.seconds, event.bytes_read - self._read])
                self._read = event.bytes_read
            case BatchVerified():
                self._now |= {"accepted": event.n_accepted, "lam": event.lam, "gap": event.gap,
                              "active": event.n_active, "strong": event.n_strong}  # fmt: skip
            case PathGrown() if event.fit == 0:
                self._add("grown", self._told(event))
            case ConsensusRound():
                self._add("consensus", [event.rho, event.apart, event.adrift, event.n_moving])
            case CheckpointWritten():
                self._now |= {"checkpoint": event.round}
            case FitFinished():
                self._state, self._reason = "finished", event.reason
            case _:
                text = said(event)
                if text:
                    self._add("notes", [time.time(), text])

    def _due(self) -> None:
        """Send what waits; what has been sent meanwhile, or ended, does not."""
        with self._lock:
            if self._waiting and self._state == "running" and self._allowed():
                self._flush()

    def _told(self, event: PathGrown) -> dict[str, Any]:
        """What is new: of columns that were not told last, all that the board may have missed."""
        names = [self._names[j][:_NAME] if self._names else f"column {j}" for j in event.columns]
        fresh = [place for place, j in enumerate(event.columns) if j not in self._told_last]
        self._told_last = set(event.columns)
        before = [[row[place] for row in event.before[-_HELD:]] for place in fresh]
        return {"lambdas": event.lambdas, "gaps": event.gaps, "active": event.n_active, "columns": event.columns,
                "names": names, "coef": event.coef, "fresh": fresh, "before": before,
                "strong": self._now.get("strong", 0)}  # fmt: skip

    def _add(self, name: str, value: Any) -> None:
        self._lists.setdefault(name, deque(maxlen=_HELD)).append(value)

    def _allowed(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._since) * _RATE, float(_BURST))
        self._since = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _flush(self) -> None:
        self._waiting = False
        message = {
            "fit": self._fit, "client": self._client, "at": time.time(), "state": self._state, "reason": self._reason,
            "now": self._now | {"resident": resident_bytes()}, "workers": {k: list(v) for k, v in self._workers().items()},
        }  # fmt: skip
        if self._about:
            message["about"] = self._about
        message |= {name: list(values) for name, values in self._lists.items()}
        self._lists = {}
        self._send(message)
