"""distlasso itself: on threads with the data in memory, and on two worker processes of Dask that read a store.

Its certificate is part of the time. Starting workers and writing the store are not.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

from benchmarks.peers.program import Program, Solution, Solve
from benchmarks.workloads import Problem

WORKERS = 2


def _options(problem: Problem, tol: float) -> dict[str, Any]:
    """Return what every call gets."""
    return {"loss": problem.loss, "lambdas": problem.lambdas, "standardize": False, "tol": tol}


def _solution(path: Any) -> Solution:
    """Return a path as the table wants it."""
    return Solution(path.coef, path.intercept, path.passes, path.bytes_read)


def threads(dl: Any, problem: Problem) -> Solve:
    """Arrays in memory, the threads runtime."""
    _warm()

    def solve(tol: float) -> Solution:
        return _solution(dl.fit_path(problem.X, problem.y, **_options(problem, tol)))

    return solve


@cache
def _client() -> Any:
    """Return the client of two worker processes, the same for the warm-up and the timed fit."""
    import distributed

    cluster = distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, memory_limit="8GB")
    client = distributed.Client(cluster)
    atexit.register(cluster.close)
    atexit.register(client.close)
    return client


@cache
def _warm() -> None:
    """Compile or load all kernels, as ``distlasso warmup`` does: tiny data of one form do not need all that large data need."""
    from distlasso.warmup import warm_up

    warm_up()


def dask(dl: Any, problem: Problem) -> Solve:
    """A store on disk (in the page cache, having just been written), the dask runtime."""
    _warm()
    dataset = dl.ingest((problem.X, problem.y), problem.scratch / "X.zarr", overwrite=True)
    client = _client()

    def solve(tol: float) -> Solution:
        return _solution(dl.fit_path(dataset, client=client, **_options(problem, tol)))

    return solve


_CALL = ("distlasso", "distlasso", "distlasso:fit_path")
_TOLERANCES = (1e-6, 1e-7, 1e-8)
LAYOUTS = {
    "W1": "C", "W2": "F", "W3": "csc", "W4": "C", "W5": "csc", "W6": "F", "F": "csr", "F-long": "csr",
    "B1": "F", "B2": "F", "B3": "F", "B4": "csc",
}  # fmt: skip
PROGRAMS = [
    Program("distlasso", *_CALL, LAYOUTS, _TOLERANCES, threads),
    Program("distlasso dask", *_CALL, dict.fromkeys(LAYOUTS, "mmap"), _TOLERANCES, dask),
]
CANNOT: dict[str, str] = {}
