"""A service in this process, one in a process of its own, and patience."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distlasso.service.app import build
from distlasso.service.client import Client
from distlasso.service.context import Limits, Service
from distlasso.service.files import Files
from distlasso.service.in_process import InProcess
from distlasso.service.roots import Roots
from distlasso.service.store import SQLiteStore
from distlasso.service.supervisor import Supervisor


class Here:
    """A service in this process, with a client that may do everything, and the store behind them."""

    def __init__(self, folder: Path, root: Path, limits: Limits) -> None:
        self.store = SQLiteStore(folder / "jobs.sqlite")
        files, roots = Files.beside(folder / "jobs.sqlite"), Roots.of(root)
        supervisor = Supervisor(
            self.store, str(folder / "jobs.sqlite"), files, roots=[str(root)], scheduler="threads", most=2
        )  # fmt: skip
        self.service = Service(store=self.store, files=files, roots=roots, supervisor=supervisor, limits=limits)
        self.app = build(self.service)
        self.tokens = {scope: self.store.access.create_token(scope, scope, None)[1] for scope in ("read", "submit", "admin")}  # type: ignore[arg-type]

    def client(self, transport: InProcess, scope: str | None = "admin") -> Client:
        return Client("http://localhost", None if scope is None else self.tokens[scope], transport=transport)


class Served:
    """``distlasso serve`` in a process of its own."""

    def __init__(self, folder: Path, root: Path, *options: str) -> None:
        self.folder, self._command = folder, [
            sys.executable, "-m", "distlasso.cli", "serve", "--store", str(folder / "jobs.sqlite"), "--root", str(root),
            "--port", "0", *(options or ("--scheduler", "threads", "--insecure-local")),
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        log = (self.folder / "serve.log").open("ab")
        before = (self.folder / "serve.log").stat().st_size
        self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(1200):
            said = (self.folder / "serve.log").read_bytes()[before:].decode()
            found = re.search(r"service: (\S+)", said)
            if found is not None:
                self.url = found[1]
                return
            assert self.process.poll() is None, said
            time.sleep(0.1)
        raise AssertionError(f"the service did not start: {said}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def client(self, token: str | None = None) -> Client:
        return Client(self.url, token)


def until(condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    """Wait for something that will happen."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return value
