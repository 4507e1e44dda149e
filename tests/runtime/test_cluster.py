"""The Dask runtime: the bits of the serial one on any number of workers, whoever dies; clear errors otherwise."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask.config
import distributed
import numpy as np
import pytest

import distlasso as dl
from distlasso.events import PassFinished
from distlasso.runtime.wire import Wire


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 600)) * (rng.random((1500, 600)) < 0.1)
    y = X[:, :20] @ rng.standard_normal(20) + rng.standard_normal(1500)
    import scipy.sparse as sp

    path = tmp_path_factory.mktemp("data") / "d.zarr"
    return dl.ingest((sp.csr_array(X), y), path, chunks=(60, 600))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dl.Dataset:
    rng = np.random.default_rng(1)
    X = rng.integers(0, 3, (200, 1200)).astype(np.int8)
    y = X[:, :9].astype(float) @ rng.standard_normal(9) + rng.standard_normal(200)
    return dl.ingest((X, y), tmp_path_factory.mktemp("data") / "w.zarr", chunks=(200, 50))


OPTIONS: dict[str, Any] = {"n_lambdas": 40, "lambda_min_ratio": 0.02, "standardize": False}


def same_bits(a: dl.Path, b: dl.Path) -> None:
    np.testing.assert_array_equal(a.lambdas, b.lambdas)
    assert (a.coef != b.coef).nnz == 0
    np.testing.assert_array_equal(a.intercept, b.intercept)
    np.testing.assert_array_equal(a.gap, b.gap)


def test_any_number_of_workers_gives_the_bits_of_serial(store: dl.Dataset, wide: dl.Dataset, cluster: dl.Cluster) -> None:
    """Of two and of three; a single one is asked below, by its scheduler file."""
    with dl.Cluster(n_workers=3) as three:
        for dataset in (store, wide):
            whole = dataset.with_target(dataset.y)  # statistics by a pass, too
            serial = dl.fit_path(whole, runtime="serial", **OPTIONS)
            same_bits(dl.fit_path(whole, runtime=cluster, **OPTIONS), serial)
            same_bits(dl.fit_path(whole, runtime=three, **OPTIONS), serial)


@pytest.mark.parametrize("reached", [True, False], ids=["reached", "behind a firewall"])
def test_answers_come_from_the_workers_themselves_only_where_these_answer_the_client(
    wide: dl.Dataset, cluster: dl.Cluster, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways, gather = [], distributed.Client.gather

    def counted(self: Any, futures: Any, *args: Any, **options: Any) -> Any:
        ways.append(options["direct"])
        return gather(self, futures, *args, **options)

    monkeypatch.setattr(distributed.Client, "gather", counted)
    if not reached:

        async def never(self: Any, worker: str) -> bool:
            return False

        monkeypatch.setattr(Wire, "_reaches", never)
    path = dl.fit_path(wide, runtime=cluster, **OPTIONS)
    assert (True in ways) == reached and ways
    same_bits(path, dl.fit_path(wide, runtime="serial", **OPTIONS))


def fresh_pages() -> int:
    """How many pages the system had to clear for arrays of 1 MiB that come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.empty(1 << 17).fill(0.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_workers_use_the_memory_of_one_array_for_the_next(wide: dl.Dataset, cluster: dl.Cluster) -> None:
    dl.fit_path(wide, runtime=cluster, **OPTIONS)
    pages = cluster.client.run(fresh_pages)
    assert max(pages.values()) < 10 * (1 << 20) / resource.getpagesize()


def test_a_killed_worker_changes_nothing(wide: dl.Dataset) -> None:
    with dl.Cluster(n_workers=2) as cluster:
        cluster.start()
        killed: list[int] = []

        def kill(event: Any) -> None:
            if isinstance(event, PassFinished) and not killed:
                killed.append(next(iter(cluster.client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        path = dl.fit_path(wide.with_target(wide.y), runtime=cluster, on_event=kill, **OPTIONS)
    assert killed
    same_bits(path, dl.fit_path(wide.with_target(wide.y), runtime="serial", **OPTIONS))


def test_arrays_reach_local_workers_through_a_temporary_store(client: Any) -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((300, 20)), rng.standard_normal(300)
    weight = rng.uniform(0.5, 2, 300)
    path = dl.fit_path(X, y, sample_weight=weight, client=client, tol=1e-10)
    assert client.status == "running"
    ours = dl.fit_path(X, y, sample_weight=weight, tol=1e-10)
    np.testing.assert_allclose(path.coef.toarray(), ours.coef.toarray(), atol=1e-8)


def test_arrays_are_refused_where_the_workers_may_be_elsewhere(client: Any) -> None:
    with (
        dl.Cluster(address=client.scheduler.address) as remote,
        pytest.raises(dl.InputError, match=r"dl\.ingest"),
    ):
        dl.fit_path(np.eye(5), np.arange(5.0), runtime=remote)
    assert client.status == "running" and len(client.scheduler_info()["workers"]) == 2


def test_a_script_without_a_guard_is_told_so_at_the_end_of_a_screen_or_two(tmp_path: Path) -> None:
    """Worker processes import the script, and must not begin it anew."""
    file = tmp_path / "fit.py"
    file.write_text("import distlasso as dl, numpy as np\ndl.fit_path(np.eye(5), np.ones(5), runtime=dl.Cluster(n_workers=1))\n")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the local cluster of 1 workers did not start" in last and 'a script needs `if __name__ == "__main__":`' in last
    assert len(done.stderr.splitlines()) < 150


def test_an_unreachable_scheduler_is_an_error_after_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(dl.SchedulerError, match="no Dask scheduler answered"):
        dl.Cluster(address="tcp://127.0.0.1:9")
    assert time.monotonic() - started < 20


def test_what_is_no_scheduler_is_told_from_one_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distlasso.runtime.connect.CONNECT_SECONDS", 1)
    mute = socket.create_server(("127.0.0.1", 0))
    with mute, pytest.raises(dl.SchedulerError, match="not that of the dashboard"):
        dl.Cluster(address=f"tcp://127.0.0.1:{mute.getsockname()[1]}")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Any:
    """A scheduler and a worker in processes of their own; yields the scheduler's process and file."""
    file = tmp_path / "scheduler.json"
    start = [sys.executable, "-m"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*start, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(file)], **quiet)  # fmt: skip
    worker = subprocess.Popen(
        [*start, "distributed.cli.dask_worker", "--scheduler-file", str(file), "--no-dashboard", "--nthreads", "1",
         "--death-timeout", "30"], **quiet)  # fmt: skip
    while not file.exists():
        assert scheduler.poll() is None
        time.sleep(0.05)
    yield scheduler, file
    for process in (worker, scheduler):
        process.kill()
        process.wait()


def test_a_cluster_that_exists_is_used_by_its_scheduler_file_and_its_death_ends_the_fit(wide: dl.Dataset, elsewhere: Any) -> None:
    scheduler, file = elsewhere
    dataset = wide.with_target(wide.y)
    with dl.Cluster(address=str(file)) as cluster:
        same_bits(dl.fit_path(dataset, runtime=cluster, **OPTIONS), dl.fit_path(dataset, runtime="serial", **OPTIONS))

        def kill(event: Any) -> None:
            if isinstance(event, PassFinished):
                scheduler.kill()

        with dask.config.set({"distlasso.failover": "1s"}), pytest.raises(dl.SchedulerError, match="the scheduler is gone"):
            dl.fit_path(dataset, runtime=cluster, on_event=kill, **OPTIONS)


def test_a_cluster_without_workers_is_an_error(wide: dl.Dataset) -> None:
    with (
        dask.config.set({"distlasso.workers": "1s"}),
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as running,
        dl.Cluster(address=running.scheduler_address) as cluster,
        pytest.raises(dl.SchedulerError, match="no worker joined"),
    ):
        dl.fit_path(wide, runtime=cluster)


def test_a_scheduler_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(dl.SchedulerError, match=r"none\.json"):
        dl.Cluster(address=str(tmp_path / "none.json"))


def test_a_damaged_chunk_is_named_through_the_cluster(cluster: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ds = dl.ingest((rng.standard_normal((100, 10)), rng.standard_normal(100)), tmp_path / "d.zarr", chunks=(10, 10))
    victim = tmp_path / "d.zarr" / "X" / "c" / "4" / "0"
    content = bytearray(victim.read_bytes())
    content[7] ^= 1
    victim.write_bytes(content)
    with pytest.raises(dl.StoreError, match=str(victim)):
        dl.fit_path(ds, runtime=cluster)


def test_an_asynchronous_client_is_refused() -> None:
    with pytest.raises(dl.InputError, match="expected a distributed"):
        dl.Cluster(client=object())
