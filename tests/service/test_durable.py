"""kill -9 of the service: no job is lost, none is completed twice, and the bits are those of an undisturbed run.

``DISTLASSO_KILLS=20`` kills it twenty times; a few by default.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from served import Here, Served, until

import distlasso as dl
from distlasso.service.client import Client
from distlasso.service.runner import FENCED
from distlasso.service.store import JobRecord, SQLiteStore

KILLS = int(os.environ.get("DISTLASSO_KILLS", "3"))
FIT: dict[str, Any] = {"kind": "fit", "dataset": "./wide.zarr", "output": "w", "options": {"n_lambdas": 600}}


@pytest.fixture(scope="module")
def undisturbed(root: Path) -> dl.Path:
    return dl.fit_path(dl.open_dataset(root / "wide.zarr"), n_lambdas=600)


def same_bits(client: Client, job: str, expected: dl.Path) -> None:
    found = client.model(job)
    assert isinstance(found, dl.Path)
    for name in ("lambdas", "intercept", "gap"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    for name in ("data", "indices", "indptr"):
        assert getattr(found.coef, name).tobytes() == getattr(expected.coef, name).tobytes(), name


def succeeded_once(folder: Path, job: str) -> None:
    events = SQLiteStore(folder / "jobs.sqlite").jobs.events(job, 0, 10_000)
    states = [event.data["state"] for event in events if event.kind == "state"]
    assert states.count("succeeded") == 1, states
    assert states[-1] == "succeeded"


def runners(folder: Path) -> list[int]:
    """Processes that run jobs of a store."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"distlasso.service.runner" in words and str(folder / "jobs.sqlite").encode() in words:
            found.append(int(entry.name))
    return found


def test_a_service_that_is_killed_in_mid_fit_finishes_it_after_its_restart(
    serve: Callable[..., Served], tmp_path: Path, undisturbed: dl.Path
) -> None:
    """At moments drawn from the whole life of the job; its runner dies with it; one success, the same bits."""
    service, rng = serve(), np.random.default_rng(KILLS)
    with service.client() as client:
        job = client.submit(FIT, key="once").id
    for _ in range(KILLS):
        time.sleep(float(rng.uniform(0.0, 5.0)))
        service.kill()
        until(lambda: not runners(tmp_path), 30)
        service.start()
        with service.client() as client:
            assert client.submit(FIT, key="once").id == job
            if client.job(job).state == "succeeded":
                succeeded_once(tmp_path, job)
    with service.client() as client:
        assert client.wait(job).state == "succeeded", client.job(job).error
        same_bits(client, job, undisturbed)
    succeeded_once(tmp_path, job)


def test_every_state_survives_a_kill(serve: Callable[..., Served], tmp_path: Path, undisturbed: dl.Path) -> None:
    """What was over stays as it was; what runs, waits for a runner or was to be resumed goes on by itself."""
    service = serve("--scheduler", "threads", "--insecure-local", "--jobs", "1")
    with service.client() as client:
        jobs = {"succeeded": client.submit({**FIT, "options": {"n_lambdas": 3}, "output": "succeeded"}).id,
                "failed": client.submit({**FIT, "options": {"loss": "logistic"}, "output": "failed"}).id}  # fmt: skip
        for state, job in jobs.items():
            assert client.wait(job).state == state
        jobs |= {state: client.submit({**FIT, "output": state}).id for state in ("cancelled", "resumable", "running", "queued")}
        until(lambda: client.job(jobs["cancelled"]).progress.get("n_accepted", 0) > 0)
        client.cancel(jobs["cancelled"])
        until(lambda: client.job(jobs["resumable"]).progress.get("n_accepted", 0) > 0)
        os.kill(*runners(tmp_path), signal.SIGKILL)
        until(lambda: [client.job(job).state for job in jobs.values()] == list(jobs))
    service.kill()
    before = {state: SQLiteStore(tmp_path / "jobs.sqlite").jobs.get(job) for state, job in jobs.items()}
    service.start()
    with service.client() as client:
        for state in ("queued", "running", "resumable"):
            assert client.wait(jobs[state]).state == "succeeded", client.job(jobs[state]).error
            same_bits(client, jobs[state], undisturbed)
            succeeded_once(tmp_path, jobs[state])
        for state in ("succeeded", "failed", "cancelled"):
            assert SQLiteStore(tmp_path / "jobs.sqlite").jobs.get(jobs[state]) == before[state]
        client.resume(jobs["cancelled"])
        assert client.wait(jobs["cancelled"]).state == "succeeded"
        same_bits(client, jobs["cancelled"], undisturbed)


def test_a_service_that_is_asked_to_end_leaves_its_jobs_to_the_next(
    serve: Callable[..., Served], tmp_path: Path, undisturbed: dl.Path
) -> None:
    """SIGTERM: the runner ends, the job is resumable, and its checkpoint is where the next runner begins."""
    service = serve()
    with service.client() as client:
        job = client.submit(FIT).id
        until(lambda: client.job(job).progress.get("n_accepted", 0) > 0)
    assert service.stop() == 0
    record = SQLiteStore(tmp_path / "jobs.sqlite").jobs.get(job)
    assert record is not None
    assert record.job.state == "resumable"
    assert not runners(tmp_path)
    checkpoint = tmp_path / "jobs.sqlite.files" / "jobs" / job / "checkpoint"
    assert any(file.stat().st_size > 0 for file in checkpoint.iterdir())
    service.start()
    with service.client() as client:
        assert client.wait(job).state == "succeeded"
        same_bits(client, job, undisturbed)
    until(lambda: not checkpoint.exists())


def test_a_runner_that_is_killed_is_replaced(serve: Callable[..., Served], tmp_path: Path, undisturbed: dl.Path) -> None:
    """The job says what happened, waits a little, and goes on."""
    service = serve()
    with service.client() as client:
        job = client.submit(FIT).id
        until(lambda: client.job(job).progress.get("n_accepted", 0) > 0)
        (runner,) = runners(tmp_path)
        os.kill(runner, signal.SIGKILL)
        assert client.wait(job).state == "succeeded"
        errors = [record.data.get("error", "") for record in client.watch(job)]
        assert any("signal 9" in error for error in errors)
        same_bits(client, job, undisturbed)
        assert client.job(job).attempt == 2


def test_a_second_service_on_the_same_store_is_refused(serve: Callable[..., Served]) -> None:
    """Two would run the same jobs."""
    serve()
    with pytest.raises(AssertionError, match="another service runs"):
        serve()


def test_a_service_ends_though_a_runner_ended_just_before_it_was_asked_to(here: Here) -> None:
    supervisor = here.service.supervisor
    supervisor._command = [sys.executable, "-c", f"raise SystemExit({FENCED})"]
    supervisor._spawn(cast(JobRecord, SimpleNamespace(id="job-1", job=SimpleNamespace(attempt=1))))
    (child,) = supervisor._children.values()
    child.process.wait()
    supervisor.shutdown()
    assert child.told and not supervisor._children
