"""A fit that survives its own death: every answer of the runtime is kept, so that the same fit finds it when it asks again.

What the coordinator does follows from the answers alone, so nothing but these has to be kept, whatever the solver, schedule
or folds. An answer is filed under a digest of the whole question, of the data and of the options: nothing else can ever be
mistaken for it. One that would take long to write beside what it took to compute is not kept, but its question is; a resumed
fit has all such questions answered together, in as few sweeps as memory allows. Where the coordinator itself works long on
a batch, what that comes to is filed in the same way; what is certified is never taken from there.
Read next: ``checkpoint.py`` (the folder), ``journal.py`` (the file), ``exchange.py`` (who asks).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.codec import Packed, digest, pack, unpack
from distlasso.coordinator.exchange import Answers
from distlasso.coordinator.form_of_answers import answers
from distlasso.coordinator.journal import Journal, Record
from distlasso.errors import ResumableError, SchedulerError, StoreError
from distlasso.events import CheckpointWritten, Listener, Resumed
from distlasso.queries import Ask

Floats = NDArray[np.float64]

_SMALL = 1 << 20  # bytes of an answer that is always kept
_BYTES_A_SECOND = 2e6  # of computing: writing them takes 1 % of that second where a disk takes 200 MB a second
TOGETHER = 512 << 20  # bytes of answers that are asked for again at once


@final
class Recorded:
    """Answers from the journal what was answered before, and writes down what the runtime answers.

    Parameters
    ----------
    runtime : Answers
        Who answers what is not in the journal.
    journal : Journal
        What was answered so far.
    salt : str
        Digest of the data, the options and the plan.
    shape : (int, int)
        Rows and columns of the data.
    listener : Listener
        Receives events.
    together : int
        Bytes of answers that may be asked for again at once.
    """

    def __init__(
        self, runtime: Answers, journal: Journal, salt: str, shape: tuple[int, int], listener: Listener,
        together: int = TOGETHER,
    ) -> None:  # fmt: skip
        self._runtime, self._journal, self._salt, self._listener = runtime, journal, salt, listener
        self._shape, self._together = shape, together
        self._records: dict[str, Record] = {}
        self._worked: dict[str, Record] = {}
        self._lock = threading.Lock()  # fits side by side work at the same time, and ask together
        self._ahead: dict[str, None] = {}  # questions whose answers were not kept, in order, until they are asked
        self._held: dict[str, list[object]] = {}  # answers to some of them
        self._rounds = self._read = self._moved = 0
        self.resumed = 0  # rounds that were answered before this process began
        for record in journal.records:
            if not _is_sound(record.about):
                raise self._damaged(f"the record at byte {record.start} is none of a fit")
            self._file(record)
            self._read += record.about.get("read", 0)
            self._moved += record.about.get("moved", 0)
        self._earlier = frozenset(self._records)
        self._ahead = {key: None for key, record in self._records.items() if "answer" not in record.about}
        if journal.records:
            listener(Resumed(self._rounds, len(self._ahead), journal.records[-1].stop))

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Answer requests: from the journal, and all that is not there in one sweep."""
        questions = [pack(ask) for ask in asks]
        keys = [digest(question, self._salt) for question in questions]
        new = [k for k, key in enumerate(keys) if key not in self._records]
        lost = self._lost(keys)
        self.resumed += self._earlier.issuperset(keys)
        found: dict[int, list[object]] = {}
        if new or lost:
            told, cost = self._ask([*(asks[k] for k in new), *(self._question(key) for key in lost)])
            found = dict(zip(new, told[: len(new)], strict=True))
            self._held |= zip(lost, told[len(new) :], strict=True)
            if new:
                self._write([(keys[k], questions[k], found[k]) for k in new], cost)
        told = [found[k] if k in found else self._known(key, asks[k]) for k, key in enumerate(keys)]
        for key in keys:
            self._held.pop(key, None)
            self._ahead.pop(key, None)
        return told

    def recall(
        self, given: object, shapes: Sequence[tuple[int, ...]], work: Callable[[], Sequence[Floats]]
    ) -> Sequence[Floats]:  # fmt: skip
        """What the coordinator works out itself: from the journal, or from the work, which is written down if it was long."""
        key = digest(pack(given), self._salt)
        with self._lock:
            record = self._worked.get(key)
        if record is not None:
            found: list[Floats] = self._content(record, "worked")
            if not isinstance(found, list) or [getattr(part, "shape", None) for part in found] != list(shapes):
                raise self._damaged("what was worked out has another shape")
            return found
        started = time.perf_counter()
        done = work()
        packed = pack(list(done))
        if packed.nbytes <= _BYTES_A_SECOND * (time.perf_counter() - started):
            with self._lock:
                self._append({"key": key, "bytes": packed.nbytes, "worked": packed.tree}, packed)
        return done

    def bytes_read(self) -> int:
        """Decoded bytes of all tiles visited so far, in this process and before."""
        return self._read + self._runtime.bytes_read()

    def bytes_moved(self) -> int:
        """Bytes of all requests and answers so far, in this process and before."""
        return self._moved + self._runtime.bytes_moved()

    def _lost(self, keys: Sequence[str]) -> list[str]:
        """Questions that have to be answered again now, and what will be wanted after them while there is room."""
        known = [key for key in dict.fromkeys(keys) if key in self._records]
        lost = [key for key in known if "answer" not in self._records[key].about and key not in self._held]
        room = self._together - sum(map(self._size, lost)) - sum(map(self._size, self._held))
        for key in self._ahead if lost else ():
            if key not in lost and key not in self._held and self._size(key) <= room:
                lost.append(key)
                room -= self._size(key)
        return lost

    def _size(self, key: str) -> int:
        size: int = self._records[key].about["bytes"]
        return size

    def _ask(self, asks: Sequence[Ask]) -> tuple[list[list[object]], dict[str, float]]:
        """Have the runtime answer; also what that cost."""
        started, read, moved = time.perf_counter(), self._runtime.bytes_read(), self._runtime.bytes_moved()
        try:
            told = self._runtime.run(asks)
        except (SchedulerError, StoreError) as error:
            raise ResumableError(f"{error}; {self._stands()}") from error
        read, moved = self._runtime.bytes_read() - read, self._runtime.bytes_moved() - moved
        return told, {"read": read, "moved": moved, "seconds": time.perf_counter() - started}

    def _write(self, answered: Sequence[tuple[str, Packed, list[object]]], cost: dict[str, float]) -> None:
        """Write down answers, or where that would take too long the questions."""
        started, written = time.perf_counter(), 0
        quick = _BYTES_A_SECOND * cost["seconds"] / len(answered)
        for key, question, answer in answered:
            packed = pack(answer)
            keep = packed.nbytes <= max(_SMALL, quick, question.nbytes)
            about = {"key": key, "bytes": packed.nbytes, **cost, "answer" if keep else "ask": (packed if keep else question).tree}
            cost = {}  # of the whole exchange: told once
            record = self._append(about, packed if keep else question)
            written += record.stop - record.start
        self._listener(CheckpointWritten(self._rounds, written, time.perf_counter() - started))

    def _append(self, about: dict[str, Any], packed: Packed) -> Record:
        try:
            record = self._journal.append(about, packed.arrays)
        except OSError as error:
            why = error.strerror or error
            raise ResumableError(f"cannot write to the checkpoint {self._journal.path}: {why}; {self._stands()}") from error
        self._file(record)
        return record

    def _file(self, record: Record) -> None:
        (self._worked if "worked" in record.about else self._records)[record.about["key"]] = record
        self._rounds += "read" in record.about  # of all records of an exchange, the first

    def _known(self, key: str, ask: Ask) -> list[object]:
        if key in self._held:
            return self._held[key]
        answer = self._content(self._records[key], "answer")
        if not isinstance(answer, list) or not answers(ask, answer, self._shape):
            raise self._damaged("an answer is none")
        return answer

    def _question(self, key: str) -> Ask:
        ask = self._content(self._records[key], "ask")
        if not isinstance(ask, Ask):
            raise self._damaged("a question is none")
        return ask

    def _content(self, record: Record, kind: str) -> Any:
        try:
            return unpack(Packed(record.about[kind], self._journal.arrays(record)))
        except (OSError, ValueError, KeyError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> StoreError:
        return StoreError(f"the checkpoint {self._journal.path} is damaged ({what}): delete it, and fit again")

    def _stands(self) -> str:
        return f"the checkpoint has {self._rounds} rounds: the same fit continues there"


def _is_sound(about: dict[str, Any]) -> bool:
    """Whether a record says what it has to, in numbers that can be reckoned with."""
    numbers = [about.get("bytes"), about.get("read", 0), about.get("moved", 0)]
    kinds = sum(kind in about for kind in ("answer", "ask", "worked"))
    return isinstance(about.get("key"), str) and kinds == 1 and all(type(number) is int and number >= 0 for number in numbers)
