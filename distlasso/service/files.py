"""Where the service keeps what is too large for its store: a folder beside it, every name derived from a job's.

Nothing a client says becomes part of a path here. Read next: ``work.py``.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from distlasso.errors import StoreError

_LOOK_SECONDS = 0.05


@final
@dataclass(frozen=True, slots=True)
class Files:
    """The folder of a store."""

    root: Path

    @classmethod
    def beside(cls, store: str | os.PathLike[str]) -> Files:
        """The folder that belongs to a store, made if it is not there."""
        file = Path(os.path.realpath(store))
        files = cls(file.with_name(f"{file.name}.files"))
        try:
            for folder in ("jobs", "models", "datasets", "predictions"):
                (files.root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"cannot write {files.root}: {error.strerror or error}") from error
        return files

    def job(self, job: str) -> Path:
        """Working folder of a job: checkpoint, log, lock, unfinished output."""
        return self.root / "jobs" / job

    def checkpoint(self, job: str) -> Path:
        """Where a job goes on from."""
        return self.job(job) / "checkpoint"

    def checkpoints(self) -> list[str]:
        """Jobs that have a checkpoint."""
        return [folder.parent.name for folder in (self.root / "jobs").glob("*/checkpoint")]

    def log(self, job: str) -> Path:
        """What its runners printed."""
        return self.job(job) / "log.txt"

    def output(self, kind: str, job: str) -> Path:
        """Where the finished output of a job is."""
        folder, suffix = {"ingest": ("datasets", ".zarr"), "predict": ("predictions", ".npy")}.get(kind, ("models", ""))
        return self.root / folder / f"{job}{suffix}"


@contextmanager
def locked(file: Path, *, wait: float) -> Iterator[None]:
    """Hold a lock that its holder's death releases.

    Raises
    ------
    BlockingIOError
        If another process has it for longer than ``wait`` seconds.
    """
    until = time.monotonic() + wait
    with file.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_LOOK_SECONDS)
        yield
