"""``/v1/jobs/{job}/events``: a job's stream as server-sent events, from any place on.

The store is asked for a few records at a time, and for more only when those are with the client: one that never reads
costs a few records of memory, and is let go after a while. Read next: ``../stream.py``.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, final

import anyio
from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from distlasso.service.context import Here, Service
from distlasso.service.guard import Guarded, needs
from distlasso.service.jobs import FINAL
from distlasso.service.problems import ProblemError, documented
from distlasso.service.routers.jobs import find
from distlasso.service.schemas import JobId

_AT_ONCE = 100  # records
_LOOK_SECONDS, _ALIVE_SECONDS, _UNREAD_SECONDS = 0.25, 15.0, 30.0

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=Guarded, responses=documented(401, 403, 413, 422))

LastEventId = Annotated[int, Header(alias="Last-Event-ID", ge=0, le=2**62, description="The last record that was seen.")]


@final
class EventStream(Response):
    """Sends text as it comes; a client that takes none of it for long is let go."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncGenerator[str, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends, or the client goes away."""
        async with aclosing(self._parts) as parts, anyio.create_task_group() as group:
            group.start_soon(self._watch, receive, group.cancel_scope)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with anyio.move_on_after(float("inf")) as patience:
                async for part in parts:
                    patience.deadline = anyio.current_time() + _UNREAD_SECONDS
                    await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
                    patience.deadline = float("inf")
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            group.cancel_scope.cancel()

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


@router.get("/jobs/{job}/events", response_class=EventStream, status_code=200, openapi_extra=needs("read"),
            responses={200: {"description": "Records: id, event, data (JSON). The last is `end`.",
                             "content": {"text/event-stream": {}}}, **documented(404, 429)})  # fmt: skip
async def events(
    job: JobId, here: Here, last_event_id: LastEventId = 0, follow: Annotated[bool, Query(description="Wait for more.")] = True
) -> EventStream:
    """Watch a job. A client that lost its connection sends ``Last-Event-ID`` and misses nothing."""
    await run_in_threadpool(find, here, job)
    if here.counters.streams >= here.limits.streams:
        raise ProblemError(429, f"{here.limits.streams} event streams are open, which is the limit", {"Retry-After": "5"})
    return EventStream(_parts(here, job, last_event_id, follow=follow))


async def _parts(here: Service, job: str, last: int, *, follow: bool) -> AsyncGenerator[str, None]:
    here.counters.streams += 1
    try:
        said = time.monotonic()
        while True:
            # The state first: of a job that is over, no record comes after those that are read then.
            record = await run_in_threadpool(find, here, job)
            found = await run_in_threadpool(here.store.jobs.events, job, last, _AT_ONCE)
            if found:
                last, said = found[-1].seq, time.monotonic()
                yield "".join(_text(one.seq, one.kind, {"at": one.at, **one.data}) for one in found)
            elif record.job.state in FINAL or not follow:
                yield _text(last, "end", {"state": record.job.state})
                return
            elif time.monotonic() - said > _ALIVE_SECONDS:
                said = time.monotonic()
                yield ": still here\n\n"
            if len(found) < _AT_ONCE:
                await anyio.sleep(_LOOK_SECONDS if follow and record.job.state not in FINAL else 0)
    finally:
        here.counters.streams -= 1


def _text(seq: int, kind: str, data: object) -> str:
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
