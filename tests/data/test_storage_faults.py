"""Storage that misbehaves: what may pass is waited for, what cannot is named by its path at once, and changes are noticed."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from zarr.storage import LocalStore

import distlasso as dl
from distlasso.data import retry
from distlasso.data.local_chunks import Chunks
from distlasso.events import PassFinished
from distlasso.path import opened
from tests.chaos.farm import Farm

OPTIONS: dict[str, Any] = {"n_lambdas": 8, "lambda_min_ratio": 0.1, "loss": "huber"}

pytestmark = pytest.mark.xdist_group("farm")


class Throttled(Exception):
    """As the clients of object stores have it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class ClientError(Exception):
    """As botocore has it."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def wrapped(error: BaseException) -> BaseException:
    try:
        raise RuntimeError("while reading") from error
    except RuntimeError as outer:
        return outer


PASSING = [
    OSError(errno.EIO, "input/output error"), ConnectionResetError(), OSError(errno.ETIMEDOUT, "timed out"),
    TimeoutError(), Throttled(429), Throttled(503), ClientError("SlowDown", 503), ClientError("Throttling", 400),
    wrapped(OSError(errno.EIO, "")), ExceptionGroup("both", [ValueError(), ConnectionResetError()]),
]  # fmt: skip
LASTING = [
    FileNotFoundError(errno.ENOENT, "no such file"), PermissionError(errno.EACCES, "denied"), ValueError("checksum"),
    Throttled(404), Throttled(403), ClientError("AccessDenied", 403), OSError(errno.ENOSPC, "disk full"),
    wrapped(ValueError()), OSError("vague"),
]  # fmt: skip


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.0)
    failures = [error] * (retry.ATTEMPTS - 1)

    def read() -> int:
        if failures:
            raise failures.pop()
        return 7

    assert retry.patiently(read) == 7


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_cannot_pass_is_not_tried_again(error: Exception) -> None:
    calls = []

    def read() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retry.patiently(read)
    assert len(calls) == 1


def store(folder: Path, *, sparse: bool = False) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 12))
    matrix = sp.csr_array(X * (X > 0)) if sparse else X
    return dl.ingest((matrix, X[:, 0] + rng.standard_normal(300)), folder / "d.zarr", chunks=(50, 12), overwrite=True)


class Flaky:
    """Makes reads of chunks of X fail in this process, a few at a time or for good."""

    def __init__(self, error: Exception, every: int) -> None:
        self.error, self.every, self.reads, self.failed = error, every, 0, 0

    def install(self) -> None:
        inner = LocalStore.get

        async def get(store: Any, key: str, *rest: Any, **options: Any) -> Any:
            if "/c/" in f"/{key}" and str(store.root).endswith(".zarr"):
                self.reads += 1
                if self.every == 1 or self.reads % self.every:
                    self.failed += 1
                    raise self.error
            return await inner(store, key, *rest, **options)

        LocalStore.get = get  # type: ignore[method-assign]
        Chunks.read = lambda *_: None  # type: ignore[method-assign]  # which leaves to zarr whatever it cannot read
        retry._FIRST_PAUSE = 0.001


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(LocalStore, "get", LocalStore.get)  # put back after the test
    monkeypatch.setattr(Chunks, "read", Chunks.read)
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.001)
    return Flaky


@pytest.mark.parametrize("sparse", [False, True])
def test_a_fit_outlives_reads_that_fail_two_times_of_three(sparse: bool, flaky: Any, tmp_path: Path) -> None:
    ds = store(tmp_path, sparse=sparse)
    quiet = dl.fit_path(dl.open_dataset(ds.path), runtime="serial", **OPTIONS)
    faults = flaky(OSError(errno.EIO, "input/output error"), 3)
    faults.install()
    path = dl.fit_path(dl.open_dataset(ds.path), runtime="serial", **OPTIONS)
    assert faults.failed > 10
    np.testing.assert_array_equal(path.coef.toarray(), quiet.coef.toarray())


def test_storage_that_does_not_come_back_is_an_error_with_the_path_and_no_advice_to_write_it_again(
    flaky: Any, tmp_path: Path
) -> None:
    ds = store(tmp_path)
    flaky(ConnectionResetError(errno.ECONNRESET, "reset by peer"), 1).install()
    with pytest.raises(dl.StoreError, match=r"chunk .*/X/c/0/0 cannot be read .*tried 7 times; repeat the fit"):
        ds.tile(0, 0)


def fail_twice_of_three() -> None:
    Flaky(OSError(errno.EIO, "input/output error"), 3).install()


def test_workers_outlive_reads_that_fail(tmp_path: Path) -> None:
    ds = store(tmp_path)
    with Farm(0) as farm:
        farm.prepare = fail_twice_of_three
        farm.start_worker()
        farm.start_worker()
        with dl.Cluster(address=farm.address) as cluster:
            path = dl.fit_path(ds, runtime=cluster, **OPTIONS)
    np.testing.assert_array_equal(path.coef.toarray(), dl.fit_path(ds, runtime="serial", **OPTIONS).coef.toarray())


def test_a_truncated_chunk_is_named(tmp_path: Path) -> None:
    ds = store(tmp_path)
    victim = Path(ds.path) / "X" / "c" / "3" / "0"
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(dl.StoreError, match=f"chunk {victim} cannot be read.*ingest the data again"):
        dl.fit_path(ds, runtime="serial")


def test_a_chunk_that_changes_during_a_fit_is_named(tmp_path: Path) -> None:
    """Though its checksum is right again."""
    ds = store(tmp_path)

    def change(event: Any) -> None:
        if isinstance(event, PassFinished) and event.number == 1:
            array = zarr.open_array(f"{ds.path}/X", mode="r+")
            array[120, 3] = array[120, 3] + 1e-3

    with pytest.raises(dl.StoreError, match=f"chunk {ds.path}/X/c/2/0 has changed since it was first read"):
        dl.fit_path(ds, runtime="serial", on_event=change, **OPTIONS)


@pytest.mark.parametrize(("kept", "memory"), [(0, None), (1 << 20, None), (0, "9MB"), (1 << 20, "400kB")])
def test_tiles_are_read_once_a_fit_where_all_have_room_and_once_a_pass_elsewhere(
    tmp_path: Path, kept: int, memory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "_KEPT", kept)
    ds, rng, reads = store(tmp_path), np.random.default_rng(0), []
    wide = dl.ingest((rng.standard_normal((40, 900)), rng.standard_normal(40)), tmp_path / "wide.zarr", chunks=(40, 300))
    read = type(ds.reader).read
    monkeypatch.setattr(type(ds.reader), "read", lambda self, i, j: reads.append((i, j)) or read(self, i, j))
    path = dl.fit_path(wide, n_lambdas=8, lambda_min_ratio=0.1, memory=memory)
    once = bool(kept) if memory is None else memory == "9MB"
    assert path.passes > 1 and (sorted(reads) == [(0, 0), (0, 1), (0, 2)]) == once


def test_a_chunk_that_changes_is_noticed_by_whoever_reads_it_next(tmp_path: Path) -> None:
    """A worker that never saw it before."""
    ds = store(tmp_path)
    with Farm(2) as farm, dask.config.set({"distlasso.workers": "20s"}), dl.Cluster(address=farm.address) as cluster:

        def change(event: Any) -> None:
            if isinstance(event, PassFinished) and event.number == 1:
                array = zarr.open_array(f"{ds.path}/X", mode="r+")
                array[:] = array[:] * 2
                for process in farm.workers[:2]:
                    farm.kill(process)
                farm.start_worker()

        with pytest.raises(dl.StoreError, match=rf"columns 0 to 12 of {ds.path} have changed"):
            dl.fit_path(ds, runtime=cluster, on_event=change, **OPTIONS)


def test_a_store_that_is_written_anew_during_a_fit_is_noticed(tmp_path: Path) -> None:
    ds = store(tmp_path)
    with Farm(1) as farm, dl.Cluster(address=farm.address) as cluster:

        def change(event: Any) -> None:
            if isinstance(event, PassFinished) and event.number == 1:
                shutil.rmtree(ds.path)
                rng = np.random.default_rng(1)
                dl.ingest((rng.standard_normal((300, 12)), rng.standard_normal(300)), ds.path, chunks=(50, 12))
                farm.kill(farm.workers[0])
                farm.start_worker()

        with pytest.raises(dl.StoreError, match=f"{ds.path} was written anew"):
            dl.fit_path(ds, runtime=cluster, on_event=change, **OPTIONS)
