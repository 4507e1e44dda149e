"""Dask clusters in processes of their own, as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

SETTINGS = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s"}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Starts a scheduler with some options, and workers; returns a client."""
    clients: list[Any] = []
    processes: list[subprocess.Popen[bytes]] = []

    def begin(*options: str, workers: int = 1) -> Any:
        folder = tmp_path_factory.mktemp("cluster")
        file = folder / "scheduler.json"
        run = runner(folder)
        scheduler = run("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0",
                        "--scheduler-file", str(file), *options)  # fmt: skip
        processes.append(scheduler)
        while not file.exists():
            assert scheduler.poll() is None, (folder / "dask_scheduler.log").read_text()
            time.sleep(0.05)
        worker = ("dask_worker", "--scheduler-file", str(file), "--no-dashboard", "--nthreads", "1", "--no-nanny",
                  "--death-timeout", "60")  # fmt: skip
        processes.extend(run(*worker) for _ in range(workers))
        clients.append(distributed.Client(scheduler_file=str(file), set_as_default=False))
        if workers:
            clients[-1].wait_for_workers(workers, timeout=60)
        return clients[-1]

    yield begin
    for client in clients:
        client.close()
    for process in processes[::-1]:
        process.kill()
        process.wait()


def runner(folder: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts a command of Dask, its output in a file."""

    def run(command: str, *options: str) -> subprocess.Popen[bytes]:
        with (folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{command}", *options], stdout=log, stderr=log,
                                    cwd=folder, env=os.environ | SETTINGS)  # fmt: skip

    return run
