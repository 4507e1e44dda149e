"""What every request has at hand.

Read next: ``app.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from distlasso.service.files import Files
from distlasso.service.metrics import Counters
from distlasso.service.roots import Roots
from distlasso.service.store import Store
from distlasso.service.supervisor import Supervisor
from distlasso.service.work import Work


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may ask for."""

    body: int = 8 << 20  # bytes
    nesting: int = 20  # of brackets in a body
    queue: int = 100  # jobs that wait
    streams: int = 100  # event streams that are open


@dataclass(frozen=True, slots=True)
class Service:
    """A service: what it remembers, and where its jobs run."""

    store: Store
    files: Files
    roots: Roots
    supervisor: Supervisor
    limits: Limits = field(default_factory=Limits)
    insecure: bool = False
    """Whether anyone on this machine may do anything."""
    most_jobs: int = 2
    scheduler: str = "threads"
    describe: Callable[[], Mapping[str, Any]] = dict
    """The cluster, as plain values."""
    counters: Counters = field(default_factory=Counters)

    @property
    def work(self) -> Work:
        """The surroundings of a job, for what is looked up before it runs."""
        return Work(self.store, self.files, self.roots)


def the_service(request: Request) -> Service:
    """The service of a request."""
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(the_service)]
