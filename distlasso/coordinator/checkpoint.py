"""The folder of a checkpoint: whose fit it is, in JSON for people to read, a lock, and the journal of answers.

Read next: ``recorded.py`` (what is in the journal, and why), ``journal.py`` (the file).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, final

from distlasso.coordinator.exchange import Answers
from distlasso.coordinator.journal import Journal
from distlasso.coordinator.recorded import TOGETHER, Recorded
from distlasso.errors import CheckpointWarning, InputError, StoreError, warn
from distlasso.events import Listener
from distlasso.inside import inside

_ABOUT, _ANSWERS, _LOCK = "checkpoint.json", "answers.journal", "lock"
_FORMAT = 1


@final
class Checkpoint:
    """A folder that one fit writes to, and continues from; made by ``opened_checkpoint``."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._folder, self._about = folder, about
        self._journal: Journal | None = None

    def answers(self, runtime: Answers, plan: Any, listener: Listener, together: int | None) -> Recorded:
        """Answers of a runtime, with those of the checkpoint before them.

        Parameters
        ----------
        runtime : Answers
            Who answers what is not there yet.
        plan : JSON value
            How the data is cut and merged, on which the bits of answers depend too.
        listener : Listener
            Receives events.
        together : int, optional
            Bytes that answers may take which are asked for again.
        """
        journal = self._journal = Journal(self._folder / _ANSWERS)
        if journal.damage:
            warn(f"{journal.path}: {journal.damage}; what was written before that is used, the rest is done again",
                 CheckpointWarning)  # fmt: skip
        salt = json.dumps([self._about["data"], self._about["options"], plan], sort_keys=True)
        rows, columns = self._about["data"]["shape"]
        return Recorded(runtime, journal, salt, (rows, columns), listener, min(TOGETHER, together or TOGETHER))

    def close(self) -> None:
        """Wait until all is on disk."""
        if self._journal is not None:
            self._journal.close()


@contextmanager
def opened_checkpoint(folder: str | os.PathLike[str], about: Mapping[str, Any]) -> Iterator[Checkpoint]:
    """Open a checkpoint of a fit, or begin one, before anything else is done.

    Parameters
    ----------
    folder : path
        Its folder; made if it is not there.
    about : mapping
        JSON values under "options", "data" and "platform": what the fit is. The first two must be those of the checkpoint. Under
        "shown", what to say of some of them instead.

    Raises
    ------
    InputError
        If it is of another fit, with the difference named.
    StoreError
        If it cannot be written to, is in use, or is not a checkpoint.
    """
    place = Path(folder)
    with ExitStack() as stack:
        try:
            place.mkdir(parents=True, exist_ok=True)
            for name in (_LOCK, _ABOUT, _wip(_ABOUT), _ANSWERS):
                inside(place, name)
            lock = stack.enter_context(open(place / _LOCK, "ab"))
            _take(lock, place)
            _compare(place, about)
        except OSError as error:
            raise StoreError(f"cannot write to the checkpoint folder {place}: {error.strerror or error}") from error
        checkpoint = Checkpoint(place, about)
        stack.callback(checkpoint.close)
        yield checkpoint


def holds_work(folder: str | os.PathLike[str]) -> bool:
    """Whether there is anything in a folder that a fit would continue."""
    try:
        return bool(_contents(Path(folder)))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"cannot read the checkpoint folder {folder}: {error.strerror or error}") from error


def _contents(place: Path) -> list[str]:
    """What is in a folder, but for what is left where a process died before it had anything to keep."""
    return sorted(entry.name for entry in place.iterdir() if entry.name not in (_LOCK, _wip(_ABOUT)))


def _take(lock: IO[bytes], place: Path) -> None:
    """Have the folder for this process alone, until it ends in whatever way."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(f"the checkpoint {place} is in use by another process: wait for it, or choose another folder") from None


def _compare(place: Path, about: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another fit; say so where the platform is another; begin one where there is none."""
    file = place / _ABOUT
    if not file.exists():
        if _contents(place):
            raise StoreError(f"{place} is not a checkpoint, it holds {_contents(place)[0]!r}: choose an empty folder")
        _write_whole(file, json.dumps({"format": _FORMAT, **about}, indent=1))
        return
    found = _read(file)
    differing = [
        _difference(name, about["shown"].get(name, now[name]), found["shown"].get(name, then.get(name)))
        for then, now in ((found[part], about[part]) for part in ("options", "data")) for name in now
        if then.get(name) != now[name]
    ]  # fmt: skip
    if differing:
        raise InputError(f"the checkpoint {place} is of another fit: {'; '.join(differing)}; choose another folder, or delete it")
    changed = [f"{name} {found['platform'].get(name)} -> {now}" for name, now in about["platform"].items()
               if found["platform"].get(name) != now]  # fmt: skip
    if changed:
        warn(f"the checkpoint {place} was begun on another platform ({', '.join(changed)}): bits may differ, and what "
             "is asked with other bits is computed again", CheckpointWarning)  # fmt: skip


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        if found["format"] != _FORMAT:
            raise StoreError(f"{file} has format {found['format']!r}, this version reads {_FORMAT}: choose another folder")
        found.setdefault("shown", {})  # which those of earlier versions do not have
        if not all(isinstance(found[part], dict) for part in ("options", "data", "platform", "shown")):
            raise TypeError("a part is missing")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{file} is damaged ({error}): delete the checkpoint, and fit again") from error
    return found


def _write_whole(file: Path, text: str) -> None:
    """Write a file so that it is whole under its name, or not there."""
    wip = file.with_name(_wip(file.name))
    try:
        with open(wip, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        wip.replace(file)
    finally:
        wip.unlink(missing_ok=True)


def _wip(name: str) -> str:
    return f".{name}.wip"


def _difference(name: str, now: Any, then: Any) -> str:
    if now == then:
        return f"{name} is not the same as there"
    return f"{name} is {_short(now)}, there {_short(then)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
