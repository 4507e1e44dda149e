"""``/healthz``, ``/readyz``: whether the service lives, and works; ``/metrics`` for Prometheus.

Read next: ``../metrics.py``.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from distlasso.service.context import Here
from distlasso.service.guard import Guarded, needs
from distlasso.service.metrics import text
from distlasso.service.problems import ProblemError, documented


class Health(BaseModel):
    """That all is well."""

    status: str


open_router = APIRouter(tags=["health"])
router = APIRouter(tags=["health"], route_class=Guarded, responses=documented(401, 403, 413, 422))


@open_router.get("/healthz")
def healthz() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@open_router.get("/readyz", responses=documented(503))
def readyz(here: Here) -> Health:
    """Whether the store can be read and jobs are looked after."""
    here.store.jobs.counts()
    if not here.supervisor.alive:
        raise ProblemError(503, "the supervisor does not run: restart the service")
    return Health(status="ok")


@router.get("/metrics", openapi_extra=needs("read"), response_class=PlainTextResponse)
def metrics(here: Here) -> PlainTextResponse:
    """Figures in Prometheus' text format."""
    body = text(here.counters, here.store.jobs.counts(), here.store.jobs.running())
    return PlainTextResponse(body, media_type="text/plain; version=0.0.4")
