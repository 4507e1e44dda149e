"""Checkpoints on the command line: which may be continued, and what a signal does to a fit that has one.

Batch systems warn before they kill: SLURM by SIGTERM, or by the signal that was asked for, often SIGUSR1. Everything up to the
last round is in the checkpoint by then, so the process only has to say so and go. Read next: ``models.py``.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from distlasso.errors import InputError, ResumableError, StoreError

RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later
_SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
_PATIENCE = 5.0  # seconds for compiled code to come back, and for a cluster to close

CheckpointDir = Annotated[str | None, typer.Option("--checkpoint", help="Folder that lets the fit go on after its death.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the checkpoint; begin one where there is none.")]


def check_checkpoint(checkpoint: str | None, *, resume: bool) -> None:
    """Refuse to go on with work of an earlier command by accident.

    Raises
    ------
    InputError
        For ``--resume`` without a checkpoint.
    StoreError
        If the checkpoint has been begun, and ``--resume`` was not given.
    """
    if checkpoint is None:
        if resume:
            raise InputError("--resume needs the checkpoint to go on with: add --checkpoint DIR")
        return
    from distlasso.coordinator.checkpoint import holds_work

    if not resume and holds_work(checkpoint):
        line = shlex.join(["distlasso", *sys.argv[1:], "--resume"])
        raise StoreError(f"{checkpoint} is not empty: choose another folder, or go on from there with: {line}")


@contextmanager
def stoppable(checkpoint: str | None) -> Iterator[None]:
    """Have signals end a fit that has a checkpoint, within seconds and with an error that says that it can go on."""
    if checkpoint is None:
        yield
        return
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(target=_watch, args=(reader, checkpoint), daemon=True)
    watcher.start()
    after: dict[int, Any] = {
        number: signal.signal(number, lambda number, frame: _stop(checkpoint, number, frame)) for number in numbers
    }
    told = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
        after = dict.fromkeys(numbers, signal.SIG_IGN)  # what is left is to write the model: stopping would only lose it
    finally:
        signal.set_wakeup_fd(told)
        os.close(writer)
        for number, handler in after.items():
            signal.signal(number, handler)


def _stop(checkpoint: str, number: int, frame: FrameType | None) -> NoReturn:
    for name in _SIGNALS:  # once is enough
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise ResumableError(_message(checkpoint, number))


def _watch(reader: int, checkpoint: str) -> None:
    """End the process where compiled code does not come back, as handlers only run between two steps of Python."""
    number = os.read(reader, 1)  # nothing once the fit has ended
    os.close(reader)
    if number:
        time.sleep(_PATIENCE)
        print(f"distlasso: {_message(checkpoint, number[0])}", file=sys.stderr, flush=True)
        os._exit(RESUMABLE)


def _message(checkpoint: str, number: int) -> str:
    return f"stopped by {signal.Signals(number).name}: add --resume to go on from the checkpoint {checkpoint}"
