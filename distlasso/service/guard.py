"""The guard of every route under ``/v1``: who asks, whether they may, and how much they send, before anything is read.

A route says which scope it needs when it is written; one that does not cannot be made. Read next: ``tokens.py``,
``routers/jobs.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, final
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Message

from distlasso.errors import InputError
from distlasso.service.context import Limits, Service
from distlasso.service.problems import ProblemError
from distlasso.service.tokens import ANYONE, SCOPES, Scope, Token

_SCOPE = "x-distlasso-scope"
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def needs(scope: Scope) -> dict[str, Any]:
    """Of a route: the scope that a token must have, as ``openapi_extra``."""
    return {_SCOPE: scope, "security": [{"bearer": []}]}


@final
class Guarded(APIRoute):
    """A route that is reached by those only who may."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the guard."""
        inner, scope = super().get_route_handler(), scope_of(self)
        known = {field.alias for field in self.dependant.query_params}

        async def handler(request: Request) -> Response:
            service: Service = request.app.state.service
            who = await run_in_threadpool(authenticate, service, request)
            try:
                if not who.allows(scope):
                    raise ProblemError(403, f"this needs a token of scope {scope!r}, yours has {who.scope!r}: ask for another")
                unknown = sorted(set(request.query_params) - known)
                if unknown:
                    raise ProblemError(422, f"query.{unknown[0]} is no parameter here: there is {', '.join(known) or 'none'}")
                body = await read_body(request, service.limits)
                request.state.who = who
                response = await inner(Request(request.scope, _replay(body, request)))
            except ProblemError as error:
                await _note(service, request, who, error.status)
                raise
            await _note(service, request, who, response.status_code)
            return response

        return handler


def scope_of(route: APIRoute) -> Scope:
    """The scope that a route needs.

    Raises
    ------
    InputError
        If its author has not said.
    """
    scope = (route.openapi_extra or {}).get(_SCOPE)
    if scope not in SCOPES:
        raise InputError(f"the route {route.path} does not say which scope it needs: openapi_extra=needs(...)")
    known: Scope = scope
    return known


def authenticate(service: Service, request: Request) -> Token:
    """Who asks.

    Raises
    ------
    ProblemError
        401 without a valid token.
    """
    if service.insecure:
        _refuse_other_sites(request)
        return ANYONE
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    token = service.store.access.token_of(secret.strip()) if kind.lower() == "bearer" and secret else None
    if token is None:
        raise ProblemError(401, "this needs a valid token: send 'Authorization: Bearer TOKEN', made by `distlasso token create`",
                           _CHALLENGE)  # fmt: skip
    return token


def _refuse_other_sites(request: Request) -> None:
    """Without tokens a page of another site could ask in the name of this machine's user."""
    origin = request.headers.get("Origin")
    named = [request.url.hostname, *([] if origin is None else [urlsplit(origin).hostname])]
    if any(name not in _LOOPBACK for name in named):
        raise ProblemError(401, "a service without tokens answers on its loopback address only: use http://127.0.0.1", _CHALLENGE)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, unless it is too large or too deep.

    Raises
    ------
    ProblemError
        413 or 422.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limits.body:
            raise ProblemError(413, f"the body is larger than {limits.body} bytes: send less at once")
    if depth(bytes(body), limits.nesting) > limits.nesting:
        raise ProblemError(422, f"the body has brackets nested more than {limits.nesting} deep: nothing here needs that")
    return bytes(body)


def depth(body: bytes, enough: int) -> int:
    """How deep the brackets of a JSON text are nested; not looked at further once it is deeper than ``enough``."""
    now = deepest = 0
    for found in _STRUCTURE.finditer(body):
        if found[0] in (b"[", b"{"):
            now += 1
            deepest = max(deepest, now)
            if deepest > enough:
                break
        elif found[0] in (b"]", b"}"):
            now -= 1
    return deepest


def _replay(body: bytes, request: Request) -> Callable[[], Coroutine[Any, Any, Message]]:
    """What has been read, once more; after it whatever else the client does."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return parts.pop() if parts else await request.receive()

    return receive


async def _note(service: Service, request: Request, who: Token, status: int) -> None:
    """Write down what was changed or refused; what was only looked at is counted."""
    if request.method not in ("GET", "HEAD") or status == 403:
        action = f"{request.method} {request.url.path}"
        await run_in_threadpool(service.store.access.audit, who.id, action, who.name, status)
