"""The way to a scheduler: an embedded cluster, an address, a scheduler file, or a client that a user has.

A fit has a client of its own, so that what it submits, cancels and hears is nobody else's; only dask arrays belong to the
client that they came with. Where the scheduler has gone, the same way is tried again. Read next: ``wire.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import distributed
from distributed.comm.core import connect

from distlasso.errors import InputError, SchedulerError
from distlasso.runtime.security import Tls, check_address, security_of
from distlasso.runtime.settings import CONNECT_SECONDS, use_in_this_process, warn_of_foreign

GONE = "the scheduler is gone"
_GUARD = 'a script needs `if __name__ == "__main__":` around what it runs, as every worker process imports it'


@final
class Connection:
    """How to reach a scheduler, and a client once it is reached."""

    def __init__(
        self, client: Any, address: str | None, n_workers: int | None, memory_limit: str | int, tls: Tls = False
    ) -> None:
        """Knock where an address is given; all else waits until it is used."""
        if client is not None and not isinstance(client, distributed.Client):
            raise InputError(f"client is a {type(client).__name__}, expected a distributed.Client")
        if client is not None and client.asynchronous:
            raise InputError("client is asynchronous: pass a synchronous distributed.Client")
        if n_workers is not None and n_workers < 1:
            raise InputError(f"n_workers={n_workers}: at least one worker is needed")
        self._given, self._address, self._n_workers, self._memory = client, address, n_workers, memory_limit
        self._security = security_of(tls, embedded=self.embedded)
        if client is not None:
            if self._security is not None:
                check_address(client.scheduler.address, self._security)
            self._security = client.security
        self._cluster: Any = None
        self._client: Any = None
        self.known = address  # where a scheduler is to be looked for again
        if address is not None:
            self._client = _reach(address, self._security)
            warn_of_foreign(self._client)

    @property
    def is_open(self) -> bool:
        """Whether there is a client."""
        return self._client is not None

    @property
    def embedded(self) -> bool:
        """Whether the cluster is this object's own."""
        return self._given is None and self._address is None

    @property
    def on_this_machine(self) -> bool:
        """Whether the workers surely see the files of this process."""
        cluster = self._cluster if self._given is None else self._given.cluster
        return isinstance(cluster, distributed.LocalCluster)

    @property
    def client(self) -> Any:
        """The client of this object."""
        return self._client

    def open(self, *, arrays: bool = False) -> Any:
        """Return a client; ``arrays`` says that dask arrays are to be used, which belong to a client that exists."""
        if self._client is not None:
            return self._client
        if arrays and self._given is None and self._address is None:
            with contextlib.suppress(ValueError):
                self._given = distributed.default_client()
        if self._given is None:
            self._client = self._embed()
        elif arrays:
            self._client = self._given
        else:
            self._client = self._beside(self._given)
        if self._given is not None:
            self.known = self._client.scheduler.address
            warn_of_foreign(self._client)
        return self._client

    def leave(self) -> None:
        """Let go of a client that was made beside one that exists; what took long to start stays."""
        if self._given is not None and self._client is not None:
            self._close()

    def shutdown(self) -> None:
        """Close everything that this object has started."""
        if self._client is not None:
            self._close()
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def again(self, seconds: float) -> Any:
        """Reach a scheduler where the last one has gone; None where none answers in time."""
        deadline = time.monotonic() + seconds
        self._close()
        while self.known is not None:  # an embedded scheduler lives in this process
            try:
                self._client = _reach(self.known, self._security)
                return self._client
            except SchedulerError:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.2)
        return None

    def _embed(self) -> Any:
        workers = self._n_workers or os.cpu_count() or 1
        # What multiprocessing itself looks at: here it would fail once for every process, a page each.
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise SchedulerError(f"a worker process that imports the script started a cluster of its own: {_GUARD}")
        use_in_this_process(pre_spawn=True)
        try:
            self._cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=self._memory,
                host="127.0.0.1", dashboard_address="127.0.0.1:0", security=self._security,
                scheduler_kwargs={"preload": ["distlasso.dashboard"]},
            )  # fmt: skip
            return distributed.Client(self._cluster)
        except (OSError, RuntimeError, TimeoutError) as error:
            why = str(error).rstrip(".")
            raise SchedulerError(f"the local cluster of {workers} workers did not start: {why}; {_GUARD}") from error

    def _beside(self, given: Any) -> Any:
        """A client for the same scheduler."""
        try:
            return distributed.Client(given.scheduler.address, security=given.security, set_as_default=False,
                                      timeout=CONNECT_SECONDS)  # fmt: skip
        except (OSError, AttributeError) as error:  # a client that was closed has no scheduler at all
            raise SchedulerError(f"{GONE}: the client is {given.status}") from error

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not self._given:
            with contextlib.suppress(Exception):  # a client that has lost its scheduler can raise anything
                client.close(timeout=CONNECT_SECONDS)


def _reach(address: str, security: Any = None) -> Any:
    """Connect to a scheduler, or say within seconds that it is not there."""
    use_in_this_process()
    if address.endswith(".json"):
        try:
            address = str(json.loads(Path(address).read_text())["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SchedulerError(f"{address} is not a scheduler file that can be read: {error}") from error
    check_address(address, security)
    security = security or distributed.Security()
    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(1) as pool:  # asyncio.run is refused where a loop runs already, as in notebooks
            pool.submit(asyncio.run, _knock(address, security)).result()
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
    except Exception as error:  # what is no scheduler can answer anything
        seconds = time.perf_counter() - started
        raise SchedulerError(
            f"no Dask scheduler answered at {address!r} within {seconds:.0f} s: check that it runs, and the address, such "
            "as tcp://10.0.0.1:8786 (not that of the dashboard)"
        ) from error


async def _knock(address: str, security: Any) -> None:
    """Shake hands and leave: a Client that fails to connect to what is no scheduler hangs when it is collected."""
    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await connect(address, timeout=CONNECT_SECONDS, **security.get_connection_args("client"))
    await comm.close()
