"""Jobs in SQLite: every change is one event of the state machine, applied within one transaction.

Read next: ``../jobs.py`` (the state machine), ``database.py``.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, final

from distlasso.service.faults import Conflict, QueueFull, Refused
from distlasso.service.jobs import FINAL, Claimed, Command, Event, Job, Refuse, step
from distlasso.service.store.database import Database
from distlasso.service.store.records import EventRecord, JobRecord, NewEvent, Publication
from distlasso.service.tokens import new_id

MOST_EVENTS = 5000  # kept of one job
_FIELDS = ("state", "attempt", "lease_until", "not_before", "lost", "error")


@final
class SQLiteJobs:
    """Jobs and their streams of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(
        self, spec: Mapping[str, Any], *, owner: str, output: str | None, key: str | None, most: int
    ) -> tuple[JobRecord, bool]:  # fmt: skip
        """Queue a job; with a ``key`` that its owner has used for the same job, that one, and False.

        Raises
        ------
        Conflict
            If the key was used for another job, or the output's name is taken.
        QueueFull
            If ``most`` jobs wait already.
        """
        text = json.dumps(spec, sort_keys=True)
        with self._database.write() as db:
            if key is not None:
                known = db.execute("SELECT spec, job FROM keys WHERE owner = ? AND key = ?", (owner, key)).fetchone()
                if known is not None and known["spec"] != text:
                    raise Conflict(f"the idempotency key {key!r} was used for another job: use a new one")
                if known is not None:
                    return _get(db, known["job"]), False
            (waiting,) = db.execute("SELECT count(*) FROM jobs WHERE state IN ('queued', 'resumable')").fetchone()
            if waiting >= most:
                raise QueueFull(f"{waiting} jobs wait already, which is the limit of this service: try again later")
            job, now = new_id("job"), time.time()
            self._check_output(db, spec, output)
            row = (job, owner, text, output or job, now, now, *_columns(Job()))
            db.execute(f"INSERT INTO jobs (id, owner, spec, output, created, changed, {', '.join(_FIELDS)}, cancelling, result) "
                       f"VALUES ({', '.join('?' * len(row))})", row)  # fmt: skip
            if key is not None:
                db.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (owner, key, text, job))
            _append(db, job, [(now, "state", {"state": "queued", "attempt": 0, "error": ""})])
            return _get(db, job), True

    def _check_output(self, db: sqlite3.Connection, spec: Mapping[str, Any], output: str | None) -> None:
        if output is None or spec["kind"] == "predict":
            return
        table = "datasets" if spec["kind"] == "ingest" else "models"
        taken = db.execute(f"SELECT 1 FROM {table} WHERE name = ?", (output,)).fetchone()
        coming = db.execute(
            "SELECT id FROM jobs WHERE output = ? AND (json_extract(spec, '$.kind') = 'ingest') = ? AND state NOT IN (?, ?, ?)",
            (output, spec["kind"] == "ingest", *FINAL),
        ).fetchone()
        if taken or coming:
            whose = f"is the output of {coming['id']}" if coming else f"is taken by one of the {table}"
            raise Conflict(f"the name {output!r} {whose}: choose another output")

    def get(self, job: str) -> JobRecord | None:
        """A job by its id."""
        row = self._database.read().execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _record(row)

    def page(self, *, state: str | None, before: int | None, limit: int) -> list[JobRecord]:
        """Jobs, the latest first, below a number."""
        rows = self._database.read().execute(
            "SELECT * FROM jobs WHERE (:state IS NULL OR state = :state) AND (:before IS NULL OR number < :before) "
            "ORDER BY number DESC LIMIT :limit",
            {"state": state, "before": before, "limit": limit},
        )
        return [_record(row) for row in rows]

    def apply(self, job: str, event: Event, publication: Publication | None = None) -> tuple[JobRecord, tuple[Command, ...]]:
        """Move a job on by one event, with whatever it publishes, as one transaction.

        Raises
        ------
        Refused
            If the state machine refuses the event.
        """
        with self._database.write() as db:
            return _apply(db, job, event, publication)

    def claim(self, *, most: int) -> JobRecord | None:
        """Take up the next job that may run, if fewer than ``most`` do."""
        now = time.time()
        if _next(self._database.read(), now, most) is None:  # most of the time; a reader is in nobody's way
            return None
        with self._database.write() as db:
            job = _next(db, now, most)
            return None if job is None else _apply(db, job, Claimed(now))[0]

    def running(self) -> list[JobRecord]:
        """Jobs that somebody runs."""
        return [_record(row) for row in self._database.read().execute("SELECT * FROM jobs WHERE state = 'running'")]

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        return dict(self._database.read().execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def record(self, job: str, attempt: int, events: Sequence[NewEvent], progress: Mapping[str, Any]) -> bool:
        """Append to a job's stream, unless the attempt is over: then False."""
        with self._database.write() as db:
            row = db.execute("SELECT 1 FROM jobs WHERE id = ? AND state = 'running' AND attempt = ?", (job, attempt)).fetchone()
            if row is None:
                return False
            _append(db, job, events)
            db.execute("UPDATE jobs SET progress = ? WHERE id = ?", (json.dumps(progress), job))
            return True

    def events(self, job: str, after: int, limit: int) -> list[EventRecord]:
        """A job's stream from a place on; the oldest of a long one are gone."""
        rows = self._database.read().execute(
            "SELECT seq, at, kind, data FROM events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?", (job, after, limit)
        )
        return [EventRecord(row["seq"], row["at"], row["kind"], json.loads(row["data"])) for row in rows]


def _next(db: sqlite3.Connection, now: float, most: int) -> str | None:
    """The job whose turn it is; None if there is none, or ``most`` run."""
    (busy,) = db.execute("SELECT count(*) FROM jobs WHERE state = 'running'").fetchone()
    row = db.execute(
        "SELECT id FROM jobs WHERE state IN ('queued', 'resumable') AND not_before <= ? ORDER BY number LIMIT 1", (now,)
    ).fetchone()
    return None if busy >= most or row is None else str(row["id"])


def _apply(
    db: sqlite3.Connection, job: str, event: Event, publication: Publication | None = None
) -> tuple[JobRecord, tuple[Command, ...]]:
    before = _get(db, job)
    after, commands = step(before.job, event)
    for command in commands:
        if isinstance(command, Refuse):
            raise Refused(command.why)
    if after == before.job:
        return before, commands
    now = time.time()
    names = ", ".join(f"{name} = ?" for name in (*_FIELDS, "cancelling", "result"))
    db.execute(f"UPDATE jobs SET {names}, changed = ? WHERE id = ?", (*_columns(after), now, job))
    seen = (after.state, after.attempt, after.cancelling)
    if seen != (before.job.state, before.job.attempt, before.job.cancelling):
        about = {"state": after.state, "attempt": after.attempt, "error": after.error, "cancelling": after.cancelling}
        _append(db, job, [(now, "state", about)])
    if publication is not None and after.state == "succeeded":
        _publish(db, job, publication, now)
    return _get(db, job), commands


def _publish(db: sqlite3.Connection, job: str, publication: Publication, now: float) -> None:
    """Rename, then commit: dying in between leaves a finished output that the next attempt finds, and nothing twice."""
    publication.place()
    if publication.kind in ("dataset", "model"):
        db.execute(f"INSERT INTO {publication.kind}s (name, path, created, job) VALUES (?, ?, ?, ?)",
                   (publication.name, publication.path, now, job))  # fmt: skip


def _append(db: sqlite3.Connection, job: str, events: Sequence[NewEvent]) -> None:
    (last,) = db.execute("SELECT last_event FROM jobs WHERE id = ?", (job,)).fetchone()
    rows = [(job, last + k, at, kind, json.dumps(data)) for k, (at, kind, data) in enumerate(events, start=1)]
    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
    db.execute("UPDATE jobs SET last_event = ? WHERE id = ?", (last + len(rows), job))
    db.execute("DELETE FROM events WHERE job = ? AND seq <= ?", (job, last + len(rows) - MOST_EVENTS))


def _get(db: sqlite3.Connection, job: str) -> JobRecord:
    return _record(db.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone())


def _record(row: sqlite3.Row) -> JobRecord:
    state: dict[str, Any] = {name: row[name] for name in _FIELDS}
    job = Job(**state, cancelling=bool(row["cancelling"]), result=json.loads(row["result"]))
    return JobRecord(row["number"], row["id"], row["owner"], json.loads(row["spec"]), row["output"], row["created"], row["changed"],
                     job, json.loads(row["progress"]))  # fmt: skip


def _columns(job: Job) -> tuple[Any, ...]:
    return (*(getattr(job, name) for name in _FIELDS), job.cancelling, json.dumps(dict(job.result)))
