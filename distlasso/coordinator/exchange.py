"""Asking the runtime: sends requests, counts passes and rounds, announces what was swept.

The only door between the coordinator and the data. Read next: ``problem.py`` (who asks), ``../runtime/local.py`` (who
answers).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distlasso.data.missing import Imputation
from distlasso.events import Listener, PassFinished
from distlasso.kernels.sparse import padded
from distlasso.losses import Loss
from distlasso.queries import Ask, Gradient, GradientPartial, Models, Query, Request

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ABREAST = 8  # models whose slopes of a row fill a line of the cache


class Answers(Protocol):
    """Who answers: a runtime, or a seat among fits that go side by side."""

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Answer requests, each merged over all bundles, in one sweep."""

    def bytes_read(self) -> int:
        """Decoded bytes of all tiles visited so far."""

    def bytes_moved(self) -> int:
        """Bytes of all requests and answers so far."""


class Workings(Protocol):
    """What the coordinator has worked out itself, where a checkpoint keeps it."""

    def recall(self, given: object, shapes: Sequence[tuple[int, ...]], work: Callable[[], Sequence[Floats]]) -> Sequence[Floats]:
        """Arrays of these shapes, from what is known, else from the work; both follow from the data and what is given."""


@dataclass(slots=True)
class Exchange:
    """Asks requests and counts what they cost."""

    runtime: Answers
    loss: Loss
    shift: Floats | None
    listener: Listener
    passes: int = 0
    rounds: int = 0
    imputation: Imputation | None = None
    rows: int = 0  # which row space it asks about
    fit: int = 0  # for whom: fits have strong columns of their own
    kept: int = -1  # whose strong columns; -1 is its own
    alike: bool = False  # whether the curvature of other fits will do
    workings: Workings | None = None
    resident: NDArray[Any] | None = None  # the whole matrix, where the coordinator can look at columns as they lie

    def ask(
        self, query: Query, models: Models | None = None, derivative: Floats | None = None, *, sweep: bool = True
    ) -> Any:
        """Ask one query of all bundles; ``sweep`` says whether all columns are visited."""
        (answer,) = self.ask_all((query,), models, derivative=derivative, sweep=sweep)
        return answer

    def ask_all(
        self, queries: Sequence[Query], models: Models | None = None, *, columns: Ints | None = None,
        derivative: Floats | None = None, told: Floats | None = None, sweep: bool = True, single: bool = False,
        again: bool = False,
    ) -> list[Any]:  # fmt: skip
        """Ask several queries in one exchange, about all columns or about some; ``told`` has a part for each bundle."""
        ask = self.compose(
            queries, models, columns=columns, derivative=derivative, told=told, sweep=sweep, single=single, again=again
        )
        (answers,) = self.send([ask])
        return answers

    def gradient(self, derivative: Floats, models: Models | None = None, *, sparse: bool) -> GradientPartial:
        """One pass at slopes of the rows [n, L] that the coordinator has worked out.

        Sparse columns look up rows here and there: the slopes of a few models at a time stay in the cache meanwhile.
        """
        count = derivative.shape[1]
        step = _ABREAST if sparse else max(count, 1)
        asks = []
        for first in range(0, count, step):
            part = np.ascontiguousarray(derivative[:, first : first + step])
            part = padded(part) if sparse else part
            asks.append(self.compose([Gradient()], None if first else models, derivative=part))
        found = [answer for (answer,) in self.send(asks)]
        names = [own.name for own in fields(GradientPartial)]
        every = [np.concatenate([getattr(part, name) for part in found], axis=-1) for name in names]
        return GradientPartial(*(own[..., :count] for own in every))

    def compose(
        self, queries: Sequence[Query], models: Models | None = None, *, columns: Ints | None = None,
        derivative: Floats | None = None, told: Floats | None = None, sweep: bool = True, present: bool = False,
        predicts: bool = False, single: bool = False, again: bool = False,
    ) -> Ask:  # fmt: skip
        """What ``ask_all`` sends, to be sent together with others; what the flags say is in ``Request``."""
        shift, imputation = self.shift, self.imputation
        if columns is not None:
            shift = None if shift is None else shift[columns]
            imputation = None if imputation is None else imputation.take(columns)
        request = Request(tuple(queries), models, self.loss, shift, columns, imputation, told, present=present,
                          single=single, again=again, predicts=predicts)  # fmt: skip
        return Ask(request, self.rows, derivative, sweep and columns is None, self.fit, self.kept)

    def recall(self, given: object, shapes: Sequence[tuple[int, ...]], work: Callable[[], Sequence[Floats]]) -> Sequence[Floats]:
        """What work comes to, which a checkpoint may know.

        Parameters
        ----------
        given : object
            All that it follows from, beside the data and the options of the fit.
        shapes : sequence of tuple
            Of the arrays that it comes to.
        work : callable
            Works them out; it must leave nothing else behind, and find nothing that earlier work has left.
        """
        return work() if self.workings is None else self.workings.recall([self.rows, given], shapes, work)

    def send(self, asks: Sequence[Ask]) -> list[list[Any]]:
        """Have requests answered in one exchange, one sweep at most."""
        started = time.perf_counter()
        answers = self.runtime.run(asks)
        self.rounds += 1
        if any(ask.sweep for ask in asks):
            self.passes += 1
            models = [ask.request.models for ask in asks]
            width = sum(0 if own is None else own.coef.shape[1] for own in models)
            seconds = time.perf_counter() - started
            self.listener(PassFinished(self.passes, width, self.runtime.bytes_read(), seconds))
        return answers
