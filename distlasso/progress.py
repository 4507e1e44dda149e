"""The progress display: one subscriber of the event stream, on a terminal only.

``advance`` turns (state, event) into the next state; ``Progress`` shows it. Read next: ``events.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from distlasso.events import BatchVerified, Event, FitFinished, FitStarted, IngestProgress, PassFinished


@dataclass(frozen=True, slots=True)
class State:
    """Numbers on display."""

    rows: int = 0
    bytes_written: int = 0
    n_lambdas: int = 0
    accepted: int = 0
    n_active: int = 0
    n_strong: int = 0
    gap: float = float("nan")
    passes: int = 0
    bytes_read: int = 0
    pass_seconds: float = 0.0
    finished: bool = False


def advance(state: State, event: Event) -> State:
    """Numbers after an event."""
    match event:
        case IngestProgress():
            return replace(state, rows=event.rows, bytes_written=event.bytes_written)
        case FitStarted():
            return State(n_lambdas=event.n_lambdas)
        case PassFinished():
            seconds = state.pass_seconds + event.seconds
            return replace(state, passes=event.number, bytes_read=event.bytes_read, pass_seconds=seconds)
        case BatchVerified():
            return replace(
                state, accepted=event.n_accepted, n_active=event.n_active, n_strong=event.n_strong, gap=event.gap
            )
        case FitFinished():
            return replace(state, finished=True)
    return state


def line(state: State, elapsed: float) -> str:
    """Return one line of text; ``elapsed`` in seconds."""
    if state.n_lambdas == 0:
        return f"ingest: {state.rows:,} rows, {state.bytes_written / 1e6:,.0f} MB, {elapsed:.0f} s"
    speed = state.bytes_read / state.pass_seconds / 1e9 if state.pass_seconds else 0.0
    left = f", about {elapsed / state.accepted * (state.n_lambdas - state.accepted):.0f} s left" if state.accepted else ""
    return (
        f"lambda {state.accepted} of {state.n_lambdas}: {state.n_active:,} active of {state.n_strong:,} strong, gap "
        f"{state.gap:.1e}, {state.passes} passes at {speed:.1f} GB/s, {elapsed:.0f} s{left}"
    )


@final
class Progress:
    """Shows events on standard error while it is a terminal; restores the terminal whatever happens.

    Use as a context manager and pass it as ``on_event``.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._console = Console(stderr=True)
        self._shown = enabled and self._console.is_terminal
        self._live = Live(console=self._console, refresh_per_second=8, transient=True, auto_refresh=True)
        self._state, self._started = State(), time.perf_counter()

    def __enter__(self) -> Self:
        if self._shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._state = advance(self._state, event)
        if self._shown:
            self._live.update(Text(line(self._state, time.perf_counter() - self._started)))
