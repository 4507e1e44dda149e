"""A file of records that only grows: each is whole and as it was written, or it is as if it were not there.

A record is a head (sizes, and a digest of everything else), a line of JSON and the bytes of arrays. Records are handed to the
operating system one by one, which is what survives the death of a process; the disk is waited for at most one part in a
hundred of the time, and at least every 30 s, which is what survives the loss of power. What follows the last whole record is
cut off. Read next: ``codec.py`` (what is in a record), ``checkpoint.py`` (who writes it).
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

from numpy.typing import NDArray

from distlasso.coordinator.codec import nbytes_of, raw, restored
from distlasso.errors import StoreError

_MARK = b"dlj1"
_HEAD = struct.Struct("<4sIQ32s")  # mark, bytes of the JSON, bytes of the arrays, digest of these and of both
_PIECE = 1 << 20
_MOST_TEXT = 1 << 24  # bytes: all that grows with the data is in arrays
_PATIENCE = 100.0  # times as long as the disk takes passes before it is waited for again
_LONGEST = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record is, and what it says."""

    start: int
    about: dict[str, Any]
    arrays: int  # where their bytes begin
    stop: int


@final
class Journal:
    """A journal on disk; ``records`` are those that were found, ``damage`` says what was cut off, if it was not just the end.

    Raises
    ------
    StoreError
        If the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.damage = ""
        self._synced, self._disk = time.perf_counter(), 0.0
        try:
            self._file: BinaryIO = open(path, "r+b" if path.exists() else "x+b", buffering=0)  # noqa: SIM115
            self._end = self._scan(os.fstat(self._file.fileno()).st_size)
            self._file.truncate(self._end)
        except OSError as error:
            raise StoreError(f"cannot read and write the checkpoint {path}: {error.strerror or error}") from error

    def append(self, about: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> Record:
        """Write a record behind the others.

        Raises
        ------
        OSError
            If it cannot be written; the records before it are untouched.
        """
        forms, parts = [], []
        for array in arrays:
            form, content = raw(array)
            forms.append(form)
            parts.append(content)
        text = json.dumps(about | {"arrays": forms}, separators=(",", ":")).encode()
        size = sum(len(part) for part in parts)
        told = _digest(len(text), size)
        for part in (text, *parts):
            told.update(part)
        start = self._end
        try:
            self._write(b"".join([_HEAD.pack(_MARK, len(text), size, told.digest()), text]))
            for part in parts:
                self._write(part)
            self._sync()
        except OSError:
            self._file.truncate(start)
            raise
        self._end = start + _HEAD.size + len(text) + size
        return Record(start, about, self._end - size, self._end)

    def arrays(self, record: Record) -> list[NDArray[Any]]:
        """The arrays of a record.

        Raises
        ------
        ValueError
            If they are not as they were written.
        """
        whole = self._whole(record.start, self._end)
        if whole is None:
            raise ValueError(f"the record at byte {record.start} of {self.path} is not as it was written")
        at, found = whole.arrays, []
        for form in whole.about["arrays"]:
            size = nbytes_of(form)
            found.append(restored(form, self._read(at, size)))
            at += size
        return found

    def close(self) -> None:
        """Wait for the disk, and let go of the file."""
        try:
            os.fsync(self._file.fileno())
        except OSError:
            pass
        finally:
            self._file.close()

    def _scan(self, size: int) -> int:
        """Find all whole records; return where the last of them ends."""
        at = 0
        while at < size:
            record = self._whole(at, size)
            if record is None:
                return at
            self.records.append(record)
            at = record.stop
        return at

    def _whole(self, start: int, size: int) -> Record | None:
        """The record that starts here; None if it is not whole, or not as it was written."""
        if size - start < _HEAD.size:
            return None
        mark, text_size, arrays_size, expected = _HEAD.unpack(self._read(start, _HEAD.size))
        text_at = start + _HEAD.size
        if mark != _MARK:
            self.damage = f"byte {start} begins no record"
            return None
        if text_size + arrays_size > size - text_at:
            return None
        if text_size > _MOST_TEXT:
            self.damage = f"the record at byte {start} is not as it was written"
            return None
        told = _digest(text_size, arrays_size)
        text = self._read(text_at, text_size)
        told.update(text)
        stop = text_at + text_size + arrays_size
        for at in range(text_at + text_size, stop, _PIECE):
            told.update(self._read(at, min(_PIECE, stop - at)))
        about = _parsed(text, arrays_size) if told.digest() == expected else None
        if about is None:
            self.damage = f"the record at byte {start} is not as it was written"
            return None
        return Record(start, about, text_at + text_size, stop)

    def _read(self, at: int, size: int) -> bytes:
        found = os.pread(self._file.fileno(), size, at)
        while len(found) < size:
            more = os.pread(self._file.fileno(), size - len(found), at + len(found))
            if not more:
                raise OSError(f"{self.path} has become shorter")
            found += more
        return found

    def _write(self, content: bytes | memoryview) -> None:
        self._file.seek(0, os.SEEK_END)
        view = memoryview(content)
        while len(view):
            view = view[self._file.write(view) :]

    def _sync(self) -> None:
        now = time.perf_counter()
        if now - self._synced < min(_PATIENCE * self._disk, _LONGEST):
            return
        os.fsync(self._file.fileno())
        self._synced = time.perf_counter()
        self._disk = self._synced - now


def _digest(*sizes: int) -> Any:
    return hashlib.blake2b(repr(sizes).encode(), digest_size=32)


def _parsed(text: bytes, size: int) -> dict[str, Any] | None:
    """What a record says, if its arrays are as large as it says."""
    try:
        about = json.loads(text)
        total = sum(nbytes_of(form) for form in about["arrays"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return about if total == size and isinstance(about, dict) else None
