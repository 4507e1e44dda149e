"""``distlasso serve``: one process that owns a store, answers on one address, and runs jobs.

Read next: ``app.py``.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

import distlasso as dl
from distlasso.errors import InputError, StoreError
from distlasso.service.app import build
from distlasso.service.context import Limits, Service
from distlasso.service.files import Files, locked
from distlasso.service.roots import Roots
from distlasso.service.store import SQLiteStore
from distlasso.service.supervisor import Supervisor

_LOCK_SECONDS = 5.0  # what a predecessor may take to die
_GRACE_SECONDS = 5  # for requests that are under way at the end


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``distlasso serve`` was asked to do."""

    store: str = "jobs.sqlite"
    host: str = "127.0.0.1"
    port: int = 8000
    roots: tuple[str, ...] = ()
    scheduler: str = "local"
    """local, threads, or the address or file of a scheduler."""
    workers: int | None = None
    most_jobs: int = 2
    insecure: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    limits: Limits = field(default_factory=Limits)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; jobs that run then become resumable. ``announce`` is told the address.

    Raises
    ------
    InputError
        For an address, certificate or root that cannot be used, or without tokens beyond loopback.
    StoreError
        If another service has the store.
    """
    _check(settings)
    with made(settings) as service:
        config = uvicorn.Config(
            build(service), host=settings.host, port=settings.port, log_level="warning", server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS, ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key,
        )  # fmt: skip
        bound = _bind(settings)
        scheme = "http" if settings.tls_cert is None else "https"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        bound.listen()
        announce(f"{scheme}://{host}:{bound.getsockname()[1]}")
        # uvicorn raises the signal that ended it once more, which must not cut off what is still to be closed.
        signal.signal(signal.SIGTERM, lambda *_: None)
        uvicorn.Server(config).run(sockets=[bound])


@contextmanager
def made(settings: Settings) -> Iterator[Service]:
    """A service with everything it needs, its cluster started."""
    store = os.path.realpath(settings.store)
    if not Path(store).parent.is_dir():
        raise StoreError(f"cannot write {settings.store}: the folder {Path(store).parent} does not exist")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(Path(f"{store}.lock"), wait=_LOCK_SECONDS))
        except BlockingIOError:
            raise StoreError(f"another service runs on {settings.store}: stop it, or give this one a --store of its own") from None
        except OSError as error:
            raise StoreError(f"cannot write {settings.store}: {error.strerror or error}") from error
        database, files, roots = SQLiteStore(store), Files.beside(store), Roots.of(*settings.roots)
        scheduler, describe = _cluster(settings, stack)
        folders = [str(folder) for folder in roots.folders]
        supervisor = Supervisor(database, store, files, roots=folders, scheduler=scheduler, most=settings.most_jobs)
        if not settings.insecure and not database.access.tokens():
            print(f"no token yet: make one with `distlasso token create --store {settings.store}`", file=sys.stderr)
        yield Service(
            store=database, files=files, roots=roots, supervisor=supervisor, limits=settings.limits, insecure=settings.insecure,
            most_jobs=settings.most_jobs, scheduler=settings.scheduler, describe=describe,
        )  # fmt: skip


def _cluster(settings: Settings, stack: ExitStack) -> tuple[str, Callable[[], Any]]:
    """What runners are told of the scheduler, and who describes it."""
    if settings.scheduler == "threads":
        return "threads", dict
    address = None if settings.scheduler == "local" else settings.scheduler
    cluster = stack.enter_context(dl.Cluster(address=address, n_workers=settings.workers))
    print(f"dashboard: {cluster.dashboard_link}", file=sys.stderr)
    return address or cluster.address, cluster.describe


def _check(settings: Settings) -> None:
    if settings.insecure and not _is_loopback(settings.host):
        raise InputError(f"--insecure-local with --host {settings.host}: without tokens it listens on 127.0.0.1 only")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InputError("--tls-cert and --tls-key go together: give both or neither")
    for option, file in (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key)):
        if file is not None and not os.access(file, os.R_OK):
            raise InputError(f"{option} {file} cannot be read")
    if settings.tls_cert is None and not _is_loopback(settings.host):
        print("tokens travel in clear text: give --tls-cert and --tls-key, or put a proxy with TLS in front", file=sys.stderr)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {settings.host} port {settings.port}: {error}; choose another --port") from error
    return bound
