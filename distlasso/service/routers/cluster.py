"""``/v1/cluster``: where jobs run; ``/v1/audit``: who did what.

Read next: ``../../runtime/cluster.py``.
"""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from distlasso.service.context import Here
from distlasso.service.guard import Guarded, needs
from distlasso.service.problems import documented
from distlasso.service.routers.jobs import Before, Limit
from distlasso.service.schemas import AuditView, ClusterView

router = APIRouter(prefix="/v1", tags=["cluster"], route_class=Guarded, responses=documented(401, 403, 413, 422))


@router.get("/cluster", openapi_extra=needs("read"), responses=documented(503))
def cluster(here: Here) -> ClusterView:
    """Where jobs run, and how many do."""
    about = {"workers": None, "threads": None, "memory_bytes": None, "dashboard": None, **here.describe()}
    return ClusterView(scheduler=here.scheduler, running=len(here.store.jobs.running()), most_jobs=here.most_jobs, **about)


@router.get("/audit", openapi_extra=needs("admin"))
def audit(here: Here, before: Before = None, limit: Limit = 100) -> list[AuditView]:
    """Who changed what or was refused, the latest first."""
    return [AuditView(**asdict(entry)) for entry in here.store.access.audited(before, limit)]
