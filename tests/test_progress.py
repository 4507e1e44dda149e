"""The progress display: its numbers without a terminal, its silence without one, its manners on one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import numpy as np
import pytest

import distlasso as dl
from distlasso.events import BatchVerified, Event, FitFinished, FitStarted, IngestProgress, PassFinished, PathGrown
from distlasso.progress import Progress, State, advance, lines

FIT: list[tuple[float, Event]] = [
    (1.0, PassFinished(1, 0, 2_000_000_000, 1.0)),
    (10.0, FitStarted(1000, 50, 100, "gram", 10**6)),
    (11.0, PassFinished(2, 4, 6_000_000_000, 1.0)),
    (12.0, BatchVerified(25, 100, 0.5, 3e-7, 12, 1234)),
]


def after(events: list[tuple[float, Event]]) -> State:
    state = State()
    for now, event in events:
        state = advance(state, event, now)
    return state


def test_the_display_names_lambda_active_set_gap_passes_speed_and_time() -> None:
    """Each number that the terminal promises is on it."""
    text = lines(after(FIT), 20.0)
    assert "lambda 25 of 100, 10 s, about 30 s left" in text
    assert "12 active of 1,234 strong, gap 3.0e-07, 2 passes at 3.00 GB/s" in text


def test_time_left_counts_from_the_start_of_the_fit() -> None:
    """An ingest before the fit does not make it look slow."""
    late = [(now + 1000.0, event) for now, event in FIT]
    ingest: list[tuple[float, Event]] = [(500.0, IngestProgress(1000, 10**6))]
    assert "30 s left" in lines(after(ingest + late), 1020.0)


def test_nothing_is_estimated_before_the_first_certified_lambda() -> None:
    """No gap and no time left are made up."""
    text = lines(after(FIT[:3]), 15.0)
    assert "lambda 0 of 100" in text
    assert "nan" not in text
    assert "left" not in text


def test_ingest_shows_rows_and_bytes() -> None:
    """A shard that is whole moves the display."""
    state = advance(State(started=1.0), IngestProgress(12_345, 50_000_000), 2.0)
    assert lines(state, 3.0) == "ingest: 12,345 rows, 50.0 MB written, 25 MB/s, 2 s"


def test_a_finished_fit_leaves_nothing_on_display_and_nothing_in_the_next() -> None:
    """One display serves several fits."""
    done = after([*FIT, (30.0, FitFinished(100, 2, 9, 20.0, "complete"))])
    assert lines(done, 30.0) == ""
    again = advance(done, FitStarted(10, 5, 7, "gram", 10), 31.0)
    assert again == State(started=31.0, n_lambdas=7)


def test_an_event_of_another_kind_changes_nothing() -> None:
    """New kinds of events may join the stream."""
    state = after(FIT)
    assert advance(state, Event(), 99.0) is state


@pytest.mark.parametrize("seconds", [0.0, 59.7, 3599.6, 3600.0, 500_000.0])
def test_every_line_fits_a_terminal_of_80_columns(seconds: float) -> None:
    """Times and counts of large fits do not wrap."""
    a_pass, a_batch = PassFinished(999, 4, 10**15, 1e4), BatchVerified(25, 100, 0.5, 3e-7, 123_456, 1_234_567)
    text = lines(after([*FIT[:2], (10.0, a_pass), (10.0, a_batch)]), 10.0 + seconds)
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_minute_is_never_sixty_seconds() -> None:
    """Rounding carries over."""
    assert "1 min 00 s" in lines(after(FIT), 69.7)


def test_the_events_of_a_real_fit_are_understood() -> None:
    """The stream that fit_path emits ends with every lambda accepted."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 8))
    states = [State()]
    y = X[:, 0] + rng.standard_normal(50)
    dl.fit_path(X, y, n_lambdas=7, on_event=lambda event: states.append(advance(states[-1], event)))
    assert max(state.accepted for state in states) == 7
    assert states[-1] == State()


def test_nothing_is_written_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when colours are forced, as continuous integration likes to do."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress() as progress:
        for _, event in FIT:
            progress(event)
    assert capfd.readouterr() == ("", "")


PROGRAM = """
import sys, time
from distlasso.events import BatchVerified, FitStarted
from distlasso.progress import Progress
with Progress() as progress:
    progress(FitStarted(10, 5, 100, "gram", 10))
    progress(BatchVerified(25, 100, 0.5, 3e-7, 12, 34))
    print("a result")
    time.sleep(0.3)
    raise KeyboardInterrupt
"""


def on_a_terminal(program: str) -> tuple[str, str]:
    """Standard output through a pipe, standard error on a pseudo terminal."""
    mine, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, env=environment, cwd=os.getcwd()
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(mine, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(mine)
    out, _ = process.communicate(timeout=60)
    return out.decode(), seen.decode()


def test_an_interrupted_display_restores_the_terminal_and_leaves_output_alone() -> None:
    """The cursor is back, and what the program prints to a pipe arrives there."""
    out, shown = on_a_terminal(PROGRAM)
    assert "lambda 25 of 100" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert out == "a result\n"
    assert "a result" not in shown


def test_a_flood_of_events_is_cheap() -> None:
    """Events only change numbers: ten thousand of them take well under a second."""
    progress = Progress()
    started = time.perf_counter()
    for _ in range(2500):
        for _, event in FIT:
            progress(event)
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize("outputs", [1, 2])
def test_events_carry_the_path_as_it_grows(outputs: int) -> None:
    """What listeners are told of every lambda is what the path says in the end, for each response."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((200, 60))
    y = X[:, :30] @ rng.standard_normal((30, outputs)) + rng.standard_normal((200, outputs))
    events: list[Event] = []
    path = dl.fit_path(X, y if outputs > 1 else y[:, 0], n_lambdas=30, on_event=events.append)
    for j in range(outputs):
        own, grown = path.output(j), [event for event in events if isinstance(event, PathGrown) and event.fit == j]
        assert [lam for event in grown for lam in event.lambdas] == own.lambdas.tolist()
        assert [gap for event in grown for gap in event.gaps] == own.gap.tolist()
        assert [count for event in grown for count in event.n_active] == own.n_active.tolist()
        first = 0
        for event in grown:
            rows = own.coef[first : first + len(event.lambdas)].toarray()
            np.testing.assert_array_equal(np.reshape(event.coef, (len(rows), -1)), rows[:, list(event.columns)])
            earlier = own.coef[:first].toarray()[:, list(event.columns)]
            np.testing.assert_array_equal(np.reshape(event.before, earlier.shape), earlier)
            size = np.abs(rows[-1]) * X.std(axis=0)
            assert len(event.columns) == min(20, np.count_nonzero(size))
            assert size[list(event.columns)].min(initial=np.inf) >= np.delete(size, event.columns).max()
            first += len(rows)
