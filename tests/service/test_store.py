"""The store: what several processes may rely on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distlasso.errors import StoreError
from distlasso.service.faults import Conflict, QueueFull, Refused
from distlasso.service.jobs import Beat, CancelAsked, Claimed, Failed, Fence, Succeeded
from distlasso.service.store import Publication, SQLiteStore
from distlasso.service.store.jobs import MOST_EVENTS

SPEC = {"kind": "fit", "dataset": "d"}


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStore:
    return SQLiteStore(tmp_path / "jobs.sqlite")


def submit(store: SQLiteStore, *, key: str | None = None, output: str | None = None, most: int = 100) -> str:
    return store.jobs.submit(SPEC, owner="me", output=output, key=key, most=most)[0].id


def test_a_repeated_key_is_one_job_and_another_job_under_it_is_refused(store: SQLiteStore) -> None:
    """Of one owner; another may use the same key."""
    first, new = store.jobs.submit(SPEC, owner="me", output=None, key="k", most=9)
    again, repeated = store.jobs.submit(SPEC, owner="me", output=None, key="k", most=9)
    assert (first.id, new, repeated) == (again.id, True, False)
    assert store.jobs.submit(SPEC, owner="you", output=None, key="k", most=9)[1]
    with pytest.raises(Conflict, match="another job"):
        store.jobs.submit({**SPEC, "dataset": "e"}, owner="me", output=None, key="k", most=9)


def test_a_full_queue_refuses_and_a_name_is_given_once(store: SQLiteStore) -> None:
    """Names of outputs that are still coming count as taken."""
    submit(store, output="m")
    with pytest.raises(Conflict, match="output of job-"):
        submit(store, output="m")
    with pytest.raises(QueueFull, match="1 jobs wait"):
        submit(store, most=1)


def test_threads_that_claim_at_once_get_a_job_each(store: SQLiteStore, tmp_path: Path) -> None:
    """Nobody gets the same, and not more than may run."""
    for _ in range(12):
        submit(store)
    claimed: list[str] = []

    def claim() -> None:
        own = SQLiteStore(tmp_path / "jobs.sqlite")
        while (record := own.jobs.claim(most=10)) is not None:
            claimed.append(record.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 10
    assert store.jobs.counts() == {"queued": 2, "running": 10}


def test_what_an_earlier_attempt_writes_is_not_kept(store: SQLiteStore) -> None:
    """Neither its records nor its result."""
    job = submit(store)
    store.jobs.claim(most=1)
    assert store.jobs.record(job, 1, [(0.0, "x", {})], {"n": 1})
    store.jobs.apply(job, Failed(1, "bad"))
    assert not store.jobs.record(job, 1, [(0.0, "late", {})], {"n": 2})
    record, commands = store.jobs.apply(job, Succeeded(1, {}))
    assert (record.job.state, commands) == ("failed", (Fence(1),))
    assert [event.kind for event in store.jobs.events(job, 0, 10)] == ["state", "state", "x", "state"]


def test_a_job_keeps_the_last_of_its_records_and_their_numbers_go_on(store: SQLiteStore) -> None:
    """A stream of any length takes bounded room."""
    job = submit(store)
    store.jobs.claim(most=1)
    for _ in range(3):
        store.jobs.record(job, 1, [(0.0, "x", {"k": k}) for k in range(MOST_EVENTS // 2)], {})
    found = store.jobs.events(job, 0, 2 * MOST_EVENTS)
    assert len(found) == MOST_EVENTS
    assert [event.seq for event in found] == list(range(found[0].seq, found[0].seq + MOST_EVENTS))
    assert store.jobs.events(job, found[-2].seq, 10) == found[-1:]


def test_success_is_recorded_with_what_it_publishes_or_not_at_all(store: SQLiteStore, tmp_path: Path) -> None:
    """An output that cannot get its name leaves the job running; afterwards all of it is there."""
    job = submit(store, output="m")
    store.jobs.claim(most=1)

    def fails() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        store.jobs.apply(job, Succeeded(1, {}), Publication("model", "m", "/m", fails))
    assert (store.jobs.get(job).job.state, store.catalogue.model("m")) == ("running", None)  # type: ignore[union-attr]
    placed: list[int] = []
    store.jobs.apply(job, Succeeded(1, {"a": 1}), Publication("model", "m", "/m", lambda: placed.append(1)))
    assert store.jobs.get(job).job.result == {"a": 1}  # type: ignore[union-attr]
    assert store.catalogue.model("m").job == job  # type: ignore[union-attr]
    store.jobs.apply(job, Succeeded(1, {}), Publication("model", "m", "/m", lambda: placed.append(1)))
    assert placed == [1]
    with pytest.raises(Refused, match="succeeded"):
        store.jobs.apply(job, CancelAsked())


def test_a_heartbeat_extends_the_lease_and_leaves_no_record(store: SQLiteStore) -> None:
    """Watchers see what happens, not that nothing does."""
    job = submit(store)
    record = store.jobs.claim(most=1)
    assert record is not None
    later, _ = store.jobs.apply(job, Beat(1, record.job.lease_until))
    assert later.job.lease_until > record.job.lease_until
    assert [event.data["state"] for event in store.jobs.events(job, 0, 10)] == ["queued", "running"]
    with pytest.raises(Refused):
        store.jobs.apply(job, Claimed(time.time()))


def test_tokens_are_kept_as_digests_and_end(store: SQLiteStore, tmp_path: Path) -> None:
    """The secret is nowhere in the file; expiry and revocation count at once."""
    token, secret = store.access.create_token("me", "read", None)
    assert store.access.token_of(secret) == token
    assert store.access.token_of(secret + "x") is None
    for file in tmp_path.iterdir():
        if file.is_file():
            assert secret.encode() not in file.read_bytes()
    assert store.access.revoke(token.id)
    assert store.access.token_of(secret) is None
    _, old = store.access.create_token("me", "read", time.time() - 1)
    assert store.access.token_of(old) is None
    assert not store.access.revoke("token-none")


def test_a_file_of_a_later_version_and_one_that_is_no_store_are_refused(store: SQLiteStore, tmp_path: Path) -> None:
    """Rather than damaged."""
    with sqlite3.connect(tmp_path / "jobs.sqlite") as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreError, match="later version"):
        SQLiteStore(tmp_path / "jobs.sqlite")
    (tmp_path / "text").write_text("this is no database, only some text that is long enough to be looked at" * 20)
    with pytest.raises(StoreError, match="cannot be used"):
        SQLiteStore(tmp_path / "text")


def test_processes_that_make_the_store_at_the_same_time_all_succeed(tmp_path: Path) -> None:
    """Migrations do not run twice."""
    code = f"from distlasso.service.store import SQLiteStore; SQLiteStore({str(tmp_path / 'new.sqlite')!r}).jobs.counts()"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())
