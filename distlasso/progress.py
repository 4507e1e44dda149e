"""The progress display: one subscriber of the event stream, on a terminal only.

``advance`` turns (state, event) into the next state, ``lines`` turns a state into text, ``Progress`` shows it.
Read next: ``events.py``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from distlasso.events import BatchVerified, Event, FitFinished, FitStarted, IngestProgress, PassFinished, Resumed

_BAR = 24
_REFRESH = 8  # a second; events only change the state, so that their number costs nothing


@dataclass(frozen=True, slots=True)
class State:
    """Numbers on display."""

    started: float = 0.0
    """When the current work began, in seconds."""
    rows: int = 0
    bytes_written: int = 0
    n_lambdas: int = 0
    """Of the path; 0 before a fit."""
    accepted: int = 0
    n_active: int = 0
    n_strong: int = 0
    gap: float = float("nan")
    passes: int = 0
    bytes_read: int = 0
    pass_seconds: float = 0.0
    """Wall time of all passes."""
    resumed: int = 0
    """Rounds that a checkpoint had."""


def advance(state: State, event: Event, now: float = 0.0) -> State:
    """Numbers after an event that happened at ``now``, in seconds."""
    match event:
        case IngestProgress():
            return replace(state, n_lambdas=0, rows=event.rows, bytes_written=event.bytes_written)
        case FitStarted():
            # The pass for the statistics, if there was one, is over by now and stays counted.
            return replace(state, started=now, n_lambdas=event.n_lambdas, accepted=0)
        case PassFinished():
            earlier = state.pass_seconds if event.number > 1 else 0.0
            seconds = earlier + event.seconds
            return replace(state, passes=event.number, bytes_read=event.bytes_read, pass_seconds=seconds)
        case BatchVerified():
            counts = replace(state, accepted=event.n_accepted, gap=event.gap)
            return replace(counts, n_active=event.n_active, n_strong=event.n_strong)
        case Resumed():
            return replace(state, resumed=event.rounds)
        case FitFinished():
            return State(started=now)
    return state


def lines(state: State, now: float) -> str:
    """Text of a state at ``now``: at most two lines of 80 characters; empty while there is nothing to say."""
    elapsed = now - state.started
    if state.n_lambdas == 0:
        return _ingest(state, elapsed) if state.rows else ""
    done = _BAR * state.accepted // state.n_lambdas
    bar = "━" * done + "╌" * (_BAR - done)
    head = f"{bar} lambda {state.accepted} of {state.n_lambdas}, {_clock(elapsed)}{_left(state, elapsed)}"
    speed = f" at {state.bytes_read / state.pass_seconds / 1e9:.2f} GB/s" if state.pass_seconds > 0 else ""
    plural = "" if state.passes == 1 else "es"
    passes = f"{state.passes:,} pass{plural}{speed}"
    if state.accepted == 0:
        return f"{head}\n{passes}{f', on from round {state.resumed:,}' if state.resumed else ''}"
    return f"{head}\n{state.n_active:,} active of {state.n_strong:,} strong, gap {state.gap:.1e}, {passes}"


def _ingest(state: State, elapsed: float) -> str:
    rate = f", {state.bytes_written / elapsed / 1e6:,.0f} MB/s" if elapsed > 0 else ""
    return f"ingest: {state.rows:,} rows, {state.bytes_written / 1e6:,.1f} MB written{rate}, {_clock(elapsed)}"


def _left(state: State, elapsed: float) -> str:
    if not 0 < state.accepted < state.n_lambdas:
        return ""
    return f", about {_clock(elapsed / state.accepted * (state.n_lambdas - state.accepted))} left"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s"


@final
class Progress:
    """Shows events on standard error while it is a terminal, and nothing anywhere else.

    Use as a context manager, which restores the terminal whatever happens, and pass it as ``on_event``.

    Parameters
    ----------
    enabled : bool
        Whether to show anything at all.

    Examples
    --------
    >>> from distlasso.progress import Progress
    >>> with Progress() as progress:
    ...     pass  # fit_path(..., on_event=progress)
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._state = State(started=time.perf_counter())
        self._live = self._display() if enabled and _on_terminal() else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._state = advance(self._state, event, time.perf_counter())

    def _display(self) -> Live:
        # What the program prints to a file or pipe must go there, not to this display.
        return Live(
            console=Console(stderr=True), get_renderable=self._text, refresh_per_second=_REFRESH, transient=True,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )  # fmt: skip

    def _text(self) -> Text:
        return Text(lines(self._state, time.perf_counter()), no_wrap=True, overflow="ellipsis")


def _on_terminal() -> bool:
    """Whether standard error can be drawn on; rich alone would take FORCE_COLOR for a terminal."""
    return sys.stderr is not None and sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal
