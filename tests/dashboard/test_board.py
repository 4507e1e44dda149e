"""What a scheduler is told of a fit and keeps of it: all of the path, in few messages, within bounds, whatever is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest

import distlasso as dl
from distlasso.dashboard.board import Board, Watched
from distlasso.events import BatchVerified, ConsensusRound, Event, FitFinished, PassFinished, PathGrown
from distlasso.runtime.teller import Teller


def problem() -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 120))
    return X, X[:, :40] @ rng.standard_normal(40) + 3.0 * rng.standard_normal(60)


class Wire:
    """A clock, a board behind msgpack, and the times at which something was sent."""

    def __init__(self) -> None:
        self.now, self.board = 0.0, Board()
        self.sent: list[float] = []
        self.sizes: list[int] = []
        self.due: list[tuple[float, Callable[[], None]]] = []

    def send(self, message: dict[str, Any]) -> None:
        packed = msgpack.packb(message)
        self.sent.append(self.now)
        self.sizes.append(len(packed))
        self.board.take(msgpack.unpackb(packed, use_list=False))

    def teller(self, names: list[str] | None = None) -> Teller:
        return Teller(self.send, "f", "c", names, dict, self.later, clock=lambda: self.now)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        self.due.append((self.now + seconds, work))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        while self.due and self.due[0][0] <= self.now:
            self.due.pop(0)[1]()


def agrees(fit: Watched, path: dl.Path) -> None:
    assert fit.lambdas == path.lambdas.tolist()
    assert fit.gaps == path.gap.tolist()
    assert fit.active == path.n_active.tolist()
    dense = path.coef.toarray()
    assert len(fit.coef) == 20 and int(np.argmax(np.abs(dense[-1]))) in fit.coef
    for j, line in fit.coef.items():
        np.testing.assert_array_equal(line, dense[:, j])


@pytest.mark.parametrize("second", [0.0, 0.05, 1.0])
def test_the_board_has_the_whole_path_however_seldom_it_is_told(second: float) -> None:
    """From a clock that stands still, so that almost nothing may be sent, to one on which everything may."""
    X, y = problem()
    wire = Wire()
    teller = wire.teller()

    def listen(event: Event) -> None:
        wire.wait(second)
        teller(event)

    path = dl.fit_path(X, y, n_lambdas=80, on_event=listen)
    agrees(wire.board.fits["f"], path)
    assert wire.board.fits["f"].state == "finished"
    assert wire.board.fits["f"].numbers["passes"] == path.passes
    assert max(wire.sizes) < 40_000


def test_no_second_has_more_than_ten_messages() -> None:
    """Whatever happens: a thousand events a second, for five seconds, and an end."""
    wire = Wire()
    teller = wire.teller()
    for k in range(5000):
        wire.wait(0.001)
        teller(ConsensusRound(k, 1.0, 0.1, 0.1, 3))
    teller(FitFinished(1, 1, 1, 1.0, "complete"))
    sent = np.array(wire.sent)
    assert max(np.count_nonzero((sent >= start) & (sent < start + 1.0)) for start in sent) <= 10
    assert len(sent) > 10


def test_what_waits_is_sent_though_nothing_more_happens() -> None:
    """After a burst of events, in the middle of a pass of an hour."""
    wire = Wire()
    teller = wire.teller()
    for k in range(20):
        teller(PassFinished(k, 0, 10, 1.0))
    assert wire.board.fits["f"].numbers["passes"] < 19
    wire.wait(0.5)
    assert wire.board.fits["f"].numbers["passes"] == 19
    assert len(wire.board.fits["f"].swept) == 20
    sent = len(wire.sent)
    wire.wait(100.0)
    assert len(wire.sent) == sent


def test_a_fit_that_did_not_say_how_it_ended_has_failed() -> None:
    """As when the data turns out to be damaged."""
    wire = Wire()
    teller = wire.teller()
    teller(PassFinished(1, 0, 10, 1.0))
    assert wire.board.running()
    teller.close()
    assert wire.board.fits["f"].state == "failed" and not wire.board.running()


def a_message(fit: str = "f", **parts: Any) -> dict[str, Any]:
    return {"fit": fit, "client": "c", "at": 1.0, **parts}


GROWN = {"lambdas": [1.0], "gaps": [0.0], "active": [1], "columns": [3], "names": ["a"], "coef": [[2.0]], "fresh": [],
         "before": [], "strong": 5}  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        None, 7, "text", [], {}, {"fit": "f"}, a_message(now=3), a_message(now={"gap": "x"}), a_message(grown=5),
        a_message(grown=[5]),
        a_message(grown=[GROWN | {"coef": [[]]}]),
        a_message(grown=[GROWN | {"gaps": []}]), a_message(grown=[GROWN | {"names": []}]),
        a_message(swept=[[1]]), a_message(consensus=["ab"]), a_message(workers=[1]),
        a_message(workers={"a": 1}),
        a_message(notes=[1]), a_message(grown=[GROWN | {"columns": [10**400]}]), a_message(at="soon"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_dropped(message: Any) -> None:
    """A scheduler hears anyone who can reach it."""
    board = Board()
    board.take(message)
    board.take(a_message("good", now={"gap": 0.5}))
    assert board.fits["good"].numbers == {"gap": 0.5}


def held(value: Any) -> int:
    """Numbers and characters that are kept."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(held(k) + held(v) for k, v in value.items())
    if hasattr(value, "__iter__"):
        return sum(held(one) for one in value)
    return 1


def test_nothing_on_the_board_grows_without_bound() -> None:
    """A thousand fits, or one that sends a thousand times as much as any does."""
    board = Board()
    for k in range(1000):
        board.take(a_message(f"fit {k}"))
    assert len(board.fits) == 16 and "fit 999" in board.fits
    for k in range(1000):
        grown = [GROWN | {"lambdas": [1.0 / (k + 1)], "columns": [k], "names": ["x" * 10_000]}]
        board.take(a_message("fit 999", grown=grown, swept=[[k, 1.0, 1.0]] * 50, consensus=[[1.0] * 4] * 50,
                             workers={f"w{k}-{j}" * 99: [1, 1.0] for j in range(20)}, notes=[[1.0, "y" * 10_000]] * 9,
                             reason="z" * 10_000, state="running", now={f"n{k}": 1.0}))  # fmt: skip
    fit = board.fits["fit 999"]
    assert max(map(len, (fit.lambdas, fit.gaps, fit.active, fit.strong, *fit.coef.values()))) <= 400
    assert fit.lambdas[0] == 1.0 and fit.lambdas[-1] == 1.0 / 1000
    assert sum(held(getattr(fit, name)) for name in Watched.__slots__) < 200_000


def test_fits_that_run_are_kept_before_those_that_have_ended() -> None:
    """The oldest of the ended go first."""
    board = Board()
    board.take(a_message("runs"))
    for k in range(40):
        board.take(a_message(f"{k}", state="finished"))
    assert next(iter(board.fits)) == "runs"
    assert board.latest() is board.fits["runs"]


def test_a_second_path_of_a_fit_takes_the_place_of_the_first() -> None:
    """Such as that of another schedule."""
    board = Board()
    for lam in (3.0, 2.0, 3.0):
        board.take(a_message(grown=[GROWN | {"lambdas": [lam]}]))
    fit = board.fits["f"]
    assert fit.lambdas == [3.0] and fit.coef == {3: [2.0]} and fit.strong == [5.0]


def test_strong_columns_are_counted_as_of_the_batch() -> None:
    """Those admitted when a lambda was certified, also where several batches go in one message."""
    wire = Wire()
    teller = wire.teller()
    for k, strong in enumerate((10, 30)):
        teller(BatchVerified(k + 1, 2, 2.0 - k, 0.0, 1, strong))
        teller(PathGrown((2.0 - k,), (0.0,), (1,), (0,), ((1.0,),), before=((0.5,),) * k))
    teller(FitFinished(2, 1, 1, 1.0, "complete"))
    assert wire.board.fits["f"].strong == [10.0, 30.0]
    assert not any(math.isnan(value) for value in wire.board.fits["f"].coef[0])
