"""``/v1/jobs``: submit, list, show, cancel, resume, result; ``/v1/plans``: what a job would cost.

Read next: ``../store/jobs.py``, ``../supervisor.py``.
"""

from __future__ import annotations

from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from distlasso.service.archive import archived
from distlasso.service.context import Here, Service
from distlasso.service.faults import NotFound
from distlasso.service.guard import Guarded, needs
from distlasso.service.jobs import FINAL, CancelAsked, ResumeAsked, State
from distlasso.service.plan import plan
from distlasso.service.problems import ProblemError, documented
from distlasso.service.schemas import JobId, JobList, JobResult, JobView, NewJob, PlanView
from distlasso.service.store import JobRecord

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=Guarded, responses=documented(400, 401, 403, 413, 422))

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[!-~]+$")]
Wait = Annotated[int, Query(ge=0, le=300, description="Seconds to wait for its end before answering.")]
Before = Annotated[int | None, Query(ge=1, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=500)]


_LOOK_SECONDS = 0.2
_BEFORE = {"description": "Submitted before, with the same key.", "model": JobView}


@router.post("/jobs", status_code=201, openapi_extra=needs("submit"), responses={200: _BEFORE, **documented(404, 409, 429)})
async def submit(
    spec: NewJob, here: Here, request: Request, response: Response, idempotency_key: Key = None, wait: Wait = 0
) -> JobView:  # fmt: skip
    """Queue a job. With an ``Idempotency-Key`` a request that is repeated is one job."""
    await run_in_threadpool(here.work.check, spec)
    record, new = await run_in_threadpool(
        here.store.jobs.submit, spec.model_dump(mode="json", exclude_unset=True), owner=request.state.who.id, output=spec.output,
        key=idempotency_key, most=here.limits.queue,
    )  # fmt: skip
    with anyio.move_on_after(wait):
        while wait and record.job.state not in FINAL:
            await anyio.sleep(_LOOK_SECONDS)
            record = await run_in_threadpool(find, here, record.id)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/jobs/{record.id}"
    return JobView.of(record)


@router.post("/plans", openapi_extra=needs("submit"), responses=documented(404, 409))
def dry_run(spec: NewJob, here: Here) -> PlanView:
    """What a job would cost: passes, memory, time. Nothing is queued."""
    here.work.check(spec)
    return plan(here.work, spec)


@router.get("/jobs", openapi_extra=needs("read"))
def list_jobs(here: Here, state: State | None = None, before: Before = None, limit: Limit = 50) -> JobList:
    """A page of jobs, the latest first."""
    found = here.store.jobs.page(state=state, before=before, limit=limit + 1)
    more = found[limit - 1].number if len(found) > limit else None
    return JobList(jobs=[JobView.of(record) for record in found[:limit]], next=more)


@router.get("/jobs/{job}", openapi_extra=needs("read"), responses=documented(404))
def show(job: JobId, here: Here) -> JobView:
    """One job."""
    return JobView.of(find(here, job))


@router.post("/jobs/{job}/cancel", openapi_extra=needs("submit"), responses=documented(404, 409))
def cancel(job: JobId, here: Here) -> JobView:
    """Have a job stop; it can be resumed from its checkpoint."""
    find(here, job)
    record, commands = here.store.jobs.apply(job, CancelAsked())
    here.supervisor.carry_out(job, commands)
    return JobView.of(record)


@router.post("/jobs/{job}/resume", openapi_extra=needs("submit"), responses=documented(404, 409))
def resume(job: JobId, here: Here) -> JobView:
    """Have a job that was cancelled or has failed go on from its checkpoint."""
    find(here, job)
    record, _ = here.store.jobs.apply(job, ResumeAsked())
    return JobView.of(record)


@router.get("/jobs/{job}/result", openapi_extra=needs("read"), responses=documented(404, 409))
def result(job: JobId, here: Here) -> JobResult:
    """What a job came to: the summary of its fit."""
    record = finished(here, job)
    return JobResult(id=job, kind=record.spec["kind"], output=record.output, result=dict(record.job.result))


@router.get("/jobs/{job}/output", openapi_extra=needs("read"), response_class=Response,
            responses={200: {"description": "A model as a zip archive, or predictions as .npy.",
                             "content": {"application/octet-stream": {}}}, **documented(404, 409)})  # fmt: skip
def output(job: JobId, here: Here) -> Response:
    """Download what a job left behind."""
    record = finished(here, job)
    kind = record.spec["kind"]
    place = here.files.output(kind, job)
    if kind == "ingest":
        raise ProblemError(409, f"the output of {job} is the dataset {record.output!r}, which stays here: see /v1/datasets")
    if kind == "predict":
        return FileResponse(place, media_type="application/octet-stream", filename=f"{record.output}.npy")
    return archived(place, record.output)


def find(here: Service, job: str) -> JobRecord:
    """A job by its id, or the problem that there is none."""
    record = here.store.jobs.get(job)
    if record is None:
        raise NotFound(f"there is no job {job}: list them at /v1/jobs")
    return record


def finished(here: Service, job: str) -> JobRecord:
    """A job that has succeeded, or the problem that it has not."""
    record = find(here, job)
    if record.job.state != "succeeded":
        why = f": {record.job.error}" if record.job.error else ""
        raise ProblemError(409, f"the job is {record.job.state}{why}; it has no result (yet): watch /v1/jobs/{job}/events")
    return record
