"""``warmup``: the kernels' cache, on this machine or on those of a cluster.

Read next: ``../warmup.py``.
"""

from __future__ import annotations

import dataclasses
import json
import socket
from typing import Any

import distlasso as dl
from distlasso.cli.place import Scheduler
from distlasso.cli.show import Json
from distlasso.errors import SchedulerError
from distlasso.warmup import Warmed, warm_up


def warmup(scheduler: Scheduler = None, json_: Json = False) -> None:
    """Compile all kernels into numba's cache: when an image is built, or before the first fit on a cluster."""
    if scheduler is None:
        found = {socket.gethostname(): warm_up()}
    else:
        with dl.Cluster(address=scheduler) as cluster:
            found = _once_a_host(cluster.client)
    if json_:
        print(json.dumps({host: dataclasses.asdict(one) for host, one in found.items()}))
        return
    for host, one in found.items():
        print(f"{host}: {_said(one)}")


def _once_a_host(client: Any) -> dict[str, Warmed]:
    """Warm up in one worker of every host: processes that fill a cache at the same time lose each other's entries."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise SchedulerError("the cluster has no workers: start at least one")
    one = {workers[address]["host"]: address for address in sorted(workers, reverse=True)}
    futures = {host: client.submit(warm_up, workers=[address], pure=False) for host, address in sorted(one.items())}
    return {host: future.result() for host, future in futures.items()}


def _said(one: Warmed) -> Any:
    """What was compiled, and where it is kept."""
    where = f"kept in {one.folder}" if one.folder else "not kept: no folder to write to, set NUMBA_CACHE_DIR"
    return f"{one.signatures} signatures of {one.kernels} kernels, {one.compiled} compiled in {one.seconds:.1f} s, {where}"
