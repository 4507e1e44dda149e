"""Connections to one SQLite file, one a thread, and its migrations.

WAL mode lets readers go on while somebody writes; every write is one immediate transaction, on disk when it returns.
Read next: ``jobs.py``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from distlasso.errors import StoreError

_BUSY_SECONDS = 30.0

# Each brings the file from the version of its place to the next; none is ever changed once it has been released.
_MIGRATIONS = (
    """
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, spec TEXT NOT NULL,
        output TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,
        lease_until REAL NOT NULL, not_before REAL NOT NULL, lost INTEGER NOT NULL, cancelling INTEGER NOT NULL,
        error TEXT NOT NULL, result TEXT NOT NULL, progress TEXT NOT NULL DEFAULT '{}', last_event INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX jobs_by_state ON jobs (state, number);
    CREATE TABLE events (
        job TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (job, seq)
    ) WITHOUT ROWID;
    CREATE TABLE keys (
        owner TEXT NOT NULL, key TEXT NOT NULL, spec TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (owner, key)
    ) WITHOUT ROWID;
    CREATE TABLE datasets (name TEXT PRIMARY KEY, path TEXT NOT NULL, created REAL NOT NULL, job TEXT);
    CREATE TABLE models (name TEXT PRIMARY KEY, path TEXT NOT NULL, created REAL NOT NULL, job TEXT NOT NULL);
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, created REAL NOT NULL,
        expires REAL, revoked REAL
    );
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, status INTEGER NOT NULL
    );
    """,
)


@final
class Database:
    """One SQLite file.

    Raises
    ------
    StoreError
        If it cannot be opened, is no such file, or was written by a later version.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = Path(file)
        self._mine = threading.local()
        try:
            self.file.touch(mode=0o600)  # digests of tokens and names of data are nobody else's business
            self._migrate()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.file} cannot be used as the service's store: {error}") from error

    def read(self) -> sqlite3.Connection:
        """The connection of this thread, outside any transaction."""
        known: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if known is None:
            known = self._mine.connection = self._connect()
        return known

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing."""
        connection = self.read()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _migrate(self) -> None:
        connection = self.read()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise StoreError(f"{self.file} was written by a later version of distlasso: use that one")
        for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
            try:
                connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
            except sqlite3.OperationalError:  # somebody else was faster: look again
                connection.execute("ROLLBACK") if connection.in_transaction else None
                (now,) = connection.execute("PRAGMA user_version").fetchone()
                if now < number:
                    raise
