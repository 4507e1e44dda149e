"""The application: every router, its guard, its errors, and a truthful ``/openapi.json``.

Read next: ``guard.py``, ``routers/jobs.py``, ``serve.py`` (which runs it).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import distlasso
from distlasso.service import problems
from distlasso.service.context import Service
from distlasso.service.routers import cluster, datasets, events, health, jobs, models, page

_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"), (b"x-frame-options", b"DENY")]


def build(service: Service) -> FastAPI:
    """The application of a service, which starts and ends with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.supervisor.start()
        yield
        await run_in_threadpool(service.supervisor.shutdown)

    app = FastAPI(
        title="distlasso", version=distlasso.__version__, summary="Certified L1-regularised paths as jobs.", lifespan=lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    for router in (
        health.open_router, health.router, jobs.router, events.router, datasets.router, models.router, cluster.router, page.router,
    ):  # fmt: skip
        app.include_router(router)
    problems.install(app)
    app.add_middleware(Counted, service=service)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


class Counted:
    """Counts requests by route and status, and adds the headers that every answer has."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._service.counters.count(scope["method"], route, message["status"])
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self._app(scope, receive, counted)


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with what FastAPI does not know of: problems and tokens."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
        parts["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for name in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema
