"""Errors as ``application/problem+json`` (RFC 9457): what was wrong, and what to do.

Read next: ``guard.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from distlasso.errors import DistlassoError, ResourceError, SchedulerError, StoreError
from distlasso.service.faults import Conflict, NotFound, QueueFull

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class Problem(BaseModel):
    """What was wrong with a request, and what to do about it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def respond(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem as a response."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems of a route, as OpenAPI has them."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Have every error of an application end as a problem."""
    app.add_exception_handler(ProblemError, _own)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(DistlassoError, _of_distlasso)
    app.add_exception_handler(Exception, _unexpected)


async def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return respond(error.status, error.detail, error.headers)


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    hints = {
        404: f"there is nothing at {request.url.path}: see /openapi.json",
        405: f"{request.method} is not a method of {request.url.path}: see /openapi.json",
        400: "the body cannot be read: send JSON in UTF-8",
    }
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return respond(error.status_code, hints.get(error.status_code, str(error.detail)), headers)


def _allowed(request: Request) -> str:
    """Methods of a path, of all routes that have it."""
    found: list[str] = []
    for path, methods in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.url.path):
            found += [method.upper() for method in methods]
    return ", ".join(found or ["GET"])


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    given = "" if first["type"] in ("missing", "json_invalid") else f", given {first.get('input')!r:.80}"
    return respond(422, f"{where}: {first['msg']}{given}")


async def _of_distlasso(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, QueueFull):
        return respond(429, str(error), {"Retry-After": str(RETRY_SECONDS)})
    for kind, status in ((NotFound, 404), (Conflict, 409), (StoreError, 409), (SchedulerError, 503), (ResourceError, 409)):
        if isinstance(error, kind):
            return respond(status, str(error))
    return respond(422, str(error))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return respond(500, f"unexpected {type(error).__name__}: this is a fault of the service, whose log has more")
