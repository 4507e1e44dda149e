"""Starts a process for every job that may run, stops it when asked, and notices when it is gone.

One thread; what is decided is decided by the state machine. Read next: ``jobs.py``, ``runner.py``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from distlasso.service.files import Files
from distlasso.service.jobs import Command, Fence, Looked, Lost, Stop, Stopped
from distlasso.service.runner import FENCED, STOPPED
from distlasso.service.store import JobRecord, Store
from distlasso.service.work import discard

_TICK_SECONDS = 0.1
_GRACE_SECONDS = 10.0  # between asking a runner to end and killing it


@dataclass(slots=True)
class _Child:
    job: str
    attempt: int
    process: subprocess.Popen[bytes]
    kill_at: float = field(default=float("inf"))
    told: bool = False

    def stop(self) -> None:
        """Ask it to end, once."""
        if not self.told and self.process.stdin is not None:
            self.told, self.kill_at = True, time.monotonic() + _GRACE_SECONDS
            with contextlib.suppress(OSError):  # it has ended already
                self.process.stdin.write(b"stop\n")


@final
class Supervisor:
    """Runs jobs of a store, at most ``most`` at once."""

    def __init__(self, store: Store, file: str, files: Files, *, roots: Iterable[str], scheduler: str, most: int) -> None:
        self._store, self._files, self._most = store, files, most
        options = [part for root in roots for part in ("--root", root)]
        self._command = [sys.executable, "-m", "distlasso.service.runner", file]
        self._options = [*options, "--scheduler", scheduler]
        self._children: dict[tuple[str, int], _Child] = {}
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take over what an earlier service left running, and begin."""
        for record in self._store.jobs.running():
            self._store.jobs.apply(record.id, Stopped(record.job.attempt))
        for job in self._files.checkpoints():
            known = self._store.jobs.get(job)
            if known is None or known.job.state == "succeeded":  # its runner was killed before it could clear up
                discard(self._files, job)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    def carry_out(self, job: str, commands: Iterable[Command]) -> None:
        """Do what the state machine wants done."""
        with self._lock:
            for command in commands:
                if isinstance(command, Stop | Fence) and (job, command.attempt) in self._children:
                    child = self._children[job, command.attempt]
                    child.stop() if isinstance(command, Stop) else child.process.kill()

    def shutdown(self) -> None:
        """Have all runners end; their jobs are taken up by the next service."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for child in self._children.values():
                child.stop()
        while self._children:
            self._reap()
            time.sleep(_TICK_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether jobs are being looked after."""
        return self._thread is not None and self._thread.is_alive()

    def _loop(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            try:
                self._reap()
                self._look()
                while (record := self._store.jobs.claim(most=self._most)) is not None:
                    self._spawn(record)
            except Exception:  # a store that is busy or a disk that is full may recover; jobs wait meanwhile
                traceback.print_exc()

    def _spawn(self, record: JobRecord) -> None:
        self._files.job(record.id).mkdir(exist_ok=True)
        attempt = record.job.attempt
        command = [*self._command, record.id, str(attempt), *self._options]
        with self._files.log(record.id).open("ab") as log:
            # Unbuffered: what a runner that has ended was not told would be written once more when its pipe is closed.
            process = subprocess.Popen(
                command, bufsize=0, stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment()
            )  # fmt: skip
        with self._lock:
            self._children[record.id, attempt] = _Child(record.id, attempt, process)

    def _reap(self) -> None:
        with self._lock:
            children = list(self._children.values())
        for child in children:
            if time.monotonic() >= child.kill_at:
                child.process.kill()
            if child.process.poll() is not None:
                self._ended(child)

    def _ended(self, child: _Child) -> None:
        code = child.process.returncode
        if code != FENCED:
            stopped = code == STOPPED or child.told
            why = f"its runner ended with signal {-code}" if code < 0 else f"its runner ended with code {code}"
            event = Stopped(child.attempt) if stopped else Lost(child.attempt, time.time(), why)
            self._store.jobs.apply(child.job, event)  # after a last word of the runner's own this changes nothing
        if child.process.stdin is not None:
            child.process.stdin.close()
        with self._lock:
            del self._children[child.job, child.attempt]

    def _look(self) -> None:
        for record in self._store.jobs.running():
            if time.time() >= record.job.lease_until:
                _, commands = self._store.jobs.apply(record.id, Looked(time.time()))
                self.carry_out(record.id, commands)


def _environment() -> dict[str, str]:
    # Runners import what the service has imported, also where it was started from a checkout.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUNBUFFERED": "1"}
