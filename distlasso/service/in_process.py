"""A way to the service within this process: for tests and for programs that bring their own service.

Read next: ``client.py``.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, final

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal


@final
class InProcess(httpx.BaseTransport):
    """Runs an application on a thread of its own, from its start to its end; an answer is there when it is whole.

    Examples
    --------
    >>> with InProcess(build(service)) as here, Client("http://localhost", transport=here) as client:  # doctest: +SKIP
    ...     client.jobs()
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        portal = self._portal = self._stack.enter_context(start_blocking_portal())
        self._stack.enter_context(portal.wrap_async_context_manager(self._app.router.lifespan_context(self._app)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        self._stack.close()
        self._portal = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Have the application answer a request."""
        assert self._portal is not None, "use it as a context manager"
        request.read()
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        inner = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        response = await httpx.ASGITransport(self._app, raise_app_exceptions=False).handle_async_request(inner)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)
