"""A real scheduler and real workers, each a process on loopback, that can be killed, frozen, slowed and started within a blink.

Processes are forked from a server that has everything imported, so that one is there in a tenth of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dask.config
import distributed

from tests.chaos.proxy import Relay

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.chaos.warm"])
_START_SECONDS = 60


def quietly(config: dict[str, Any]) -> None:
    """What every process does first: no output, no interrupts from the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    dask.config.set(config)


def _scheduler(port: int, config: dict[str, Any]) -> None:
    quietly(config)

    async def serve() -> None:
        async with distributed.Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
            await scheduler.finished()

    asyncio.run(serve())


def _worker(address: str, options: dict[str, Any], config: dict[str, Any], prepare: Any) -> None:
    quietly(config)
    diary = open(Path(options["local_directory"]) / f"{os.getpid()}.stacks", "w")  # noqa: SIM115 - for as long as the process lives
    faulthandler.register(signal.SIGUSR1, file=diary)
    if prepare is not None:
        prepare()

    async def work() -> None:
        async with distributed.Worker(address, nthreads=1, dashboard=False, **options) as worker:
            await worker.finished()

    with contextlib.suppress(Exception):
        asyncio.run(work())


class Farm:
    """The processes, and what can be done to them."""

    def __init__(
        self, workers: int = 2, *, config: dict[str, Any] | None = None, relayed: bool = False, prepare: Any = None, **options: Any
    ) -> None:
        """``relayed`` puts a relay in front of the scheduler; ``prepare`` is called by every worker before it begins."""
        self.config = {
            "distributed.comm.retry.count": 0, "distributed.comm.timeouts.connect": "5s",
            "distributed.scheduler.allowed-failures": 10, "distributed.scheduler.worker-ttl": "60s",
            "distributed.admin.tick.interval": "10s",
        } | (config or {})  # fmt: skip
        self.options: dict[str, Any] = {"memory_limit": 0} | options
        self.prepare = prepare
        self.folder = tempfile.TemporaryDirectory(prefix="farm-")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.relay = Relay(self.port) if relayed else None
        self.address = f"tcp://127.0.0.1:{self.port if self.relay is None else self.relay.port}"
        self.workers: list[Any] = []
        self.scheduler: Any = None
        self.start_scheduler()
        for _ in range(workers):
            self.start_worker()
        if workers:
            self.wait_for(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start_scheduler(self) -> None:
        self.scheduler = SERVER.Process(target=_scheduler, args=(self.port, self.config), daemon=True)
        self.scheduler.start()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert time.monotonic() < deadline and self.scheduler.is_alive(), "the scheduler did not start"
            time.sleep(0.02)

    def start_worker(self) -> Any:
        options = self.options | {"local_directory": str(Path(self.folder.name))}
        process = SERVER.Process(target=_worker, args=(self.address, options, self.config, self.prepare), daemon=True)
        process.start()
        self.workers.append(process)
        return process

    def wait_for(self, workers: int) -> None:
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=_START_SECONDS)

    def living(self) -> list[Any]:
        """Workers whose process is there; frozen ones are."""
        self.workers = [process for process in self.workers if process.is_alive()]
        return self.workers

    def kill(self, process: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)

    def freeze(self, process: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)

    def thaw(self, process: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)

    def stacks(self) -> str:
        """Where every living worker is."""
        for process in self.living():
            self.thaw(process)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)
        time.sleep(0.5)
        files = [Path(self.folder.name) / f"{process.pid}.stacks" for process in self.workers]
        return "".join(f"\nworker {file.stem}\n{file.read_text()}" for file in files if file.exists())

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            self.kill(process)
        for process in (*self.workers, self.scheduler):
            process.join(10)
        if self.relay is not None:
            self.relay.close()
        self.folder.cleanup()
