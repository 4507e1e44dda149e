"""A job in a process of its own: ``python -m distlasso.service.runner STORE JOB ATTEMPT``.

It dies with the service, whose end of its standard input then closes; a fence, another attempt's number in the store,
ends it as well. Whatever happens to it, the checkpoint and the store have what the next attempt needs. Read next:
``work.py`` (what it does), ``supervisor.py`` (who starts it).
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import distlasso as dl
from distlasso.errors import DistlassoError, ResumableError, SchedulerError
from distlasso.events import Event, PassFinished
from distlasso.service.files import Files, locked
from distlasso.service.jobs import Beat, Failed, Fence, Lost, Stop, Succeeded
from distlasso.service.jobs import Event as JobEvent
from distlasso.service.roots import Roots
from distlasso.service.spec import parse_job
from distlasso.service.store import JobRecord, SQLiteStore, Store
from distlasso.service.stream import advance, data_of, kind_of
from distlasso.service.work import Work, discard

STOPPED, FENCED, HUNG_UP = 75, 76, 77  # exit codes: told to stop; another attempt has the job; the service is gone

_BEAT_SECONDS, _FLUSH_SECONDS, _LOCK_SECONDS = 2.0, 0.2, 60.0


@final
class Reporter:
    """Writes events and heartbeats to the store, on a thread of its own."""

    def __init__(self, store: Store, record: JobRecord) -> None:
        self._store, self._job, self._attempt = store, record.id, record.job.attempt
        self._progress, self._kept = record.progress, record.progress
        self._pending: list[tuple[float, str, dict[str, Any]]] = []
        self._lock, self._writing, self._beaten = threading.Lock(), threading.Lock(), 0.0
        self._ended = False

    def start(self) -> None:
        """Begin to write."""
        threading.Thread(target=self._loop, name="reporter", daemon=True).start()

    def __call__(self, event: Event) -> None:
        """Take in an event of the fit."""
        data = data_of(event)
        with self._lock:
            self._progress = advance(self._progress, event)
            # Passes can be shorter than the time between two writes: of those in a row the last says it all.
            if isinstance(event, PassFinished) and self._pending and self._pending[-1][1] == kind_of(event):
                self._pending.pop()
            if data is not None:
                self._pending.append((time.time(), kind_of(event), data))

    def warn(self, message: Any, category: Any, *_: Any, **__: Any) -> None:
        """Take in a warning, as ``warnings.showwarning``."""
        print(f"{category.__name__}: {message}", file=sys.stderr)
        with self._lock:
            self._pending.append((time.time(), "warning", {"category": category.__name__, "message": str(message)}))

    def end(self, event: JobEvent, publication: Any = None) -> None:
        """Write what is left, then the last word."""
        self.flush()
        with self._writing:
            self._ended = True
            self._store.jobs.apply(self._job, event, publication)

    def flush(self) -> None:
        """Write what has come in; end this process if it is no longer wanted."""
        with self._writing:
            if self._ended:
                return
            with self._lock:
                pending, progress, self._pending = self._pending, self._progress, []
            moved = progress != self._kept
            if (pending or moved) and not self._store.jobs.record(self._job, self._attempt, pending, progress):
                os._exit(FENCED)
            self._kept = progress
            if time.monotonic() - self._beaten >= _BEAT_SECONDS:
                self._beat(moved)

    def _beat(self, moved: bool) -> None:
        self._beaten = time.monotonic()
        _, commands = self._store.jobs.apply(self._job, Beat(self._attempt, time.time(), moved))
        for command in commands:
            if isinstance(command, Fence | Stop):
                os._exit(FENCED if isinstance(command, Fence) else STOPPED)

    def _loop(self) -> None:
        while not self._ended:
            time.sleep(_FLUSH_SECONDS)
            try:
                self.flush()
            except Exception:  # a store that cannot be written for long is a lost lease, which the supervisor sees
                traceback.print_exc()


def main(given: list[str] | None = None) -> int:
    """Run one attempt of one job."""
    parser = argparse.ArgumentParser(prog="python -m distlasso.service.runner")
    parser.add_argument("store")
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("--scheduler", default="threads")
    asked = parser.parse_args(given)
    store = SQLiteStore(asked.store)
    record = store.jobs.get(asked.job)
    if record is None or record.job.state != "running" or record.job.attempt != asked.attempt:
        return FENCED
    reporter = Reporter(store, record)
    threading.Thread(target=_listen, args=(reporter,), name="listener", daemon=True).start()
    files = Files.beside(asked.store)
    files.job(record.id).mkdir(exist_ok=True)
    reporter.start()
    warnings.showwarning = reporter.warn
    try:
        with locked(files.job(record.id) / "lock", wait=_LOCK_SECONDS):
            _run(Work(store, files, Roots.of(*asked.root), listener=reporter), record, asked.scheduler, reporter)
    except BlockingIOError:  # an earlier runner does not die
        reporter.end(Lost(asked.attempt, time.time(), "an earlier runner of the job still holds its checkpoint"))
    return 0


def _run(work: Work, record: JobRecord, scheduler: str, reporter: Reporter) -> None:
    """Do the job and say how it ended; nothing else ends an attempt but death."""
    attempt = record.job.attempt
    try:
        with _runtime(scheduler) as runtime:
            placed = Work(work.store, work.files, work.roots, runtime, work.listener)
            result, publication = placed.do(record.id, record.output, parse_job(record.spec))
        reporter.end(Succeeded(attempt, result), publication)
        discard(work.files, record.id)
    except (ResumableError, SchedulerError) as error:  # it may come back, and the checkpoint waits for it
        reporter.end(Lost(attempt, time.time(), str(error)))
    except DistlassoError as error:
        reporter.end(Failed(attempt, str(error)))
    except Exception as error:
        traceback.print_exc()
        reporter.end(Failed(attempt, f"unexpected {type(error).__name__}: {str(error)[:500]} (the job's log has the place)"))


@contextmanager
def _runtime(scheduler: str) -> Iterator[Any]:
    if scheduler in ("threads", "serial"):
        yield scheduler
        return
    with dl.Cluster(address=scheduler) as cluster:
        yield cluster


def _listen(reporter: Reporter) -> None:
    """End with the service, or when it says so."""
    said = os.read(sys.stdin.fileno(), 64)  # not through the buffer, whose lock would be missed at exit
    try:
        if said:
            reporter.flush()
    finally:
        os._exit(STOPPED if said else HUNG_UP)


if __name__ == "__main__":
    raise SystemExit(main())
