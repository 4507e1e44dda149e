"""Who watches a fit from the scheduler's side: its dashboard, which is installed and told; being watched never fails a fit.

Messages go in order while the fit goes on; nobody waits for their arrival but whoever closes. Read next: ``teller.py``
(what is said), ``../dashboard/board.py`` (what becomes of it).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, final

from distlasso.dashboard import install_dashboard
from distlasso.dashboard.board import TOPIC
from distlasso.errors import SchedulerError
from distlasso.events import Event, Listener
from distlasso.runtime.teller import Teller

_HELD = 50  # messages to a scheduler that is slow to take them
_CLOSE_SECONDS = 5


@final
class Watch:
    """Tells the scheduler of a client about one fit.

    Parameters
    ----------
    client : distributed.Client
        Whose scheduler.
    fit : str
        Name of the fit.
    names : sequence of str, optional
        Of the features.
    """

    def __init__(self, client: Any, fit: str, names: Sequence[str] | None) -> None:
        self._client = client
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_HELD)
        self._turn = asyncio.Lock()
        self._workers: dict[str, tuple[int, float]] = {}
        self._teller = Teller(self._post, fit, client.id, names, lambda: self._workers, self._later)
        self.move(client)

    def move(self, client: Any) -> None:
        """Go on with another scheduler, which knows nothing yet."""
        self._client, self._turn = client, asyncio.Lock()
        with suppress(SchedulerError):  # it cannot import distlasso, or takes no plugins: the fit does without a page
            install_dashboard(client)

    def beside(self, listener: Listener) -> Listener:
        """Have a listener and the dashboard hear the same."""

        def both(event: Event) -> None:
            self._teller(event)
            listener(event)

        return both

    def count(self, worker: str, nbytes: int, seconds: float) -> None:
        """A worker has visited some bytes of blocks, in some time."""
        read, spent = self._workers.get(worker, (0, 0.0))
        self._workers[worker] = (read + nbytes, spent + seconds)

    def close(self, *, alive: bool) -> None:
        """End the fit on the dashboard; wait for that, but for seconds only, and not for a scheduler that is gone."""
        self._teller.close()
        if alive:
            with suppress(Exception):  # a client that has lost its scheduler can raise anything
                self._client.sync(self._empty, callback_timeout=_CLOSE_SECONDS)

    def _post(self, message: dict[str, Any]) -> None:
        self._waiting.append(message)
        with suppress(Exception):  # likewise: its loop is closed
            self._client.loop.add_callback(self._empty)

    def _later(self, seconds: float, work: Any) -> None:
        loop = self._client.loop
        with suppress(Exception):  # likewise
            loop.add_callback(loop.call_later, seconds, work)

    async def _empty(self) -> None:
        async with self._turn:
            while self._waiting:
                message = self._waiting.popleft()
                with suppress(Exception):  # likewise
                    await self._client.scheduler.log_event(topic=TOPIC, msg=message)
