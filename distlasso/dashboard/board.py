"""What the scheduler keeps of fits: the last of them, each within fixed bounds, whatever is sent.

A message of the topic ``distlasso`` says what has changed in one fit since the message before:

    fit, client    which fit, and whose
    at             seconds since the epoch
    about          rows, columns, lambdas, form, planned: once its plan is fixed
    now            accepted, lam, gap, active, strong, passes, read, resident, checkpoint (its rounds): the latest numbers
    state, reason  "running", "finished" or "failed", and why it ended
    grown          lambdas, gaps, active, columns, names, coef: lambdas that are new, and their largest coefficients;
                   fresh, before: places of columns that were not told last, and their coefficients at the lambdas before;
                   strong: columns admitted by then
    swept          passes that are new: number, seconds, bytes
    consensus      rounds of ADMM that are new: rho, primal and dual residual, lambdas that move
    workers        of each worker, bytes visited so far and the seconds that took
    notes          texts of what else has happened, with their times

Messages come from whoever can reach the scheduler; what does not fit is dropped. Read next: ``plugin.py``, which hands them
over, ``../runtime/teller.py``, which sends them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

TOPIC = "distlasso"
_FITS = 16
_LAMBDAS = 400
_COLUMNS = 20
_PASSES = 200
_ROUNDS = 400
_NOTES = 50
_WORKERS = 500
_TEXT = 200
_ABOUT = ("rows", "columns", "lambdas", "planned")
_NOW = ("accepted", "lam", "gap", "active", "strong", "passes", "read", "resident", "checkpoint")
_STATES = ("running", "finished", "failed")


@final
@dataclass(slots=True)
class Watched:
    """One fit as the page shows it."""

    fit: str
    client: str
    began: float
    latest: float = 0.0
    state: str = "running"
    reason: str = ""
    form: str = ""
    numbers: dict[str, float] = field(default_factory=dict)  # of ``about`` and ``now``
    lambdas: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    active: list[float] = field(default_factory=list)
    strong: list[float] = field(default_factory=list)  # admitted when the lambda was certified
    coef: dict[int, list[float]] = field(default_factory=dict)  # of the columns told last; NaN where one was not told
    names: dict[int, str] = field(default_factory=dict)
    thinned: bool = False  # whether lambdas have been left out
    swept: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_PASSES))
    consensus: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_ROUNDS))
    rounds: int = 0
    workers: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_NOTES))
    version: int = 0  # of what is drawn

    def take(self, message: Mapping[str, Any]) -> None:
        """Take in what has changed.

        Raises
        ------
        AttributeError, IndexError, KeyError, TypeError, ValueError
            If the message is not of the form above.
        """
        self.version += 1
        self.latest = float(message["at"])
        for name, value in (*message.get("about", {}).items(), *message.get("now", {}).items()):
            if name in (*_ABOUT, *_NOW):
                self.numbers[name] = float(value)
        self.form = str(message.get("about", {}).get("form", self.form))[:_TEXT]
        if message.get("state") in _STATES:
            self.state, self.reason = message["state"], str(message.get("reason", ""))[:_TEXT]
        for part in message.get("grown", ())[-_LAMBDAS:]:
            self._grow(part)
        self.swept.extend(_rows(message.get("swept", ()), 3))
        news = _rows(message.get("consensus", ()), 4)
        self.consensus.extend((self.rounds + k, *row) for k, row in enumerate(news, start=1))
        self.rounds += len(news)
        for address, (read, seconds) in list(message.get("workers", {}).items())[:_WORKERS]:
            if address in self.workers or len(self.workers) < _WORKERS:
                self.workers[str(address)[:_TEXT]] = (float(read), float(seconds))
        for at, text in message.get("notes", ()):
            self.note(float(at), str(text))

    def note(self, at: float, text: str) -> None:
        """Keep something that has happened."""
        self.version += 1
        self.notes.append((at, text[:_TEXT]))

    def end(self, state: str, reason: str) -> None:
        """The fit has ended, by other ways than its own word."""
        self.version += 1
        self.state, self.reason = state, reason

    def _grow(self, part: Mapping[str, Any]) -> None:
        """Append lambdas; one that is not below the last begins another path."""
        lambdas, gaps, active = (_numbers(part[name]) for name in ("lambdas", "gaps", "active"))
        columns, coef = [int(j) for j in part["columns"]][:_COLUMNS], _rows(part["coef"], len(part["columns"]))
        if not len(lambdas) == len(gaps) == len(active) == len(coef):
            raise ValueError("parts of unlike length")
        if self.lambdas and lambdas and lambdas[0] >= self.lambdas[-1]:
            self.lambdas, self.gaps, self.active, self.strong, self.coef, self.thinned = [], [], [], [], {}, False
        before = len(self.lambdas)
        self.lambdas += lambdas
        self.gaps += gaps
        self.active += active
        self.strong += [float(part["strong"])] * len(lambdas)
        earlier = dict(zip(part["fresh"], part["before"], strict=True))
        told, names = {}, {}
        for place, j in enumerate(columns):
            line = self.coef.get(j, [math.nan] * before)
            if place in earlier and not self.thinned:
                _fill(line, _numbers(earlier[place]))
            told[j] = line + [row[place] for row in coef]
            names[j] = str(part["names"][place])[:_TEXT]
        self.coef, self.names = told, names
        while len(self.lambdas) > _LAMBDAS:  # of a long path every second lambda is enough to draw
            self.thinned = True
            for values in (self.lambdas, self.gaps, self.active, self.strong, *self.coef.values()):
                values[:-1] = values[:-1:2]


@final
@dataclass(slots=True)
class Board:
    """The last fits that a scheduler has heard of, in the order of their beginning, and totals of all."""

    fits: dict[str, Watched] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=lambda: {"fits": 0.0, "passes": 0.0, "read": 0.0})

    def take(self, message: Any) -> None:
        """Take in a message; what is none is dropped."""
        try:
            name, client = str(message["fit"])[:_TEXT], str(message["client"])[:_TEXT]
            fit = self.fits.get(name)
            if fit is None:
                fit = self.fits[name] = Watched(name, client, float(message["at"]))
                self.totals["fits"] += 1
                self._bound()
            before = dict(fit.numbers)
            fit.take(message)
            for total in ("passes", "read"):
                self.totals[total] += max(fit.numbers.get(total, 0.0) - before.get(total, 0.0), 0.0)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError):
            return

    def latest(self) -> Watched | None:
        """The fit that began last, one that runs before one that does not."""
        found = list(self.fits.values())
        return next((fit for fit in reversed(found) if fit.state == "running"), found[-1] if found else None)

    def running(self) -> list[Watched]:
        """Fits that have not ended."""
        return [fit for fit in self.fits.values() if fit.state == "running"]

    def _bound(self) -> None:
        """Forget the oldest fits, those that have ended first."""
        while len(self.fits) > _FITS:
            ended = (name for name, fit in self.fits.items() if fit.state != "running")
            del self.fits[next(ended, next(iter(self.fits)))]


def _numbers(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values][:_LAMBDAS]


def _fill(line: list[float], earlier: list[float]) -> None:
    """Put what is told of the last lambdas in its place."""
    count = min(len(line), len(earlier))
    line[len(line) - count :] = earlier[len(earlier) - count :]


def _rows(rows: Iterable[Any], width: int) -> list[tuple[float, ...]]:
    """Rows of so many numbers, the first of those that are longer."""
    found = [tuple(float(value) for value in row[:width]) for row in list(rows)[-_LAMBDAS:]]
    if any(len(row) != width for row in found):
        raise ValueError("a row is too short")
    return found
