"""What time and passes grow with: rows, columns, entries, active features and workers, with the exponents of power laws.

`python -m benchmarks complexity` fits the same kind of data along one dimension at a time, at the same lambdas relative to
lambda_max, and a line through the logarithms. Seconds are processor time, all threads and workers together, except along workers.
The flights stacked K times grow in another way: solution and objective stay what they are, so that passes can be compared as such.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import distlasso as dl
from benchmarks import processes
from benchmarks.table import cpu_name, today
from benchmarks.workloads import Scale, Vector, dense, flights, response, sparse, spec_of

TALL, WIDE, SPARSE = "tall dense, Gram form", "wide dense, residual form", "sparse, residual form"


@dataclass(frozen=True, slots=True)
class Point:
    """One fit."""

    at: float
    """Where along the dimension."""
    seconds: float
    passes: int
    active: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Fits along one dimension."""

    kind: str
    dimension: str
    points: list[Point]


def exponent(at: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of log(values) over log(at)."""
    return float(np.polyfit(np.log(at), np.log(np.maximum(values, 1e-9)), 1)[0])


def fitted(X: Any, y: Vector, at: float, *, lambdas: Any = None, ratio: float = 0.05, **options: Any) -> Point:
    """Fit once."""
    if lambdas is None:
        options |= {"n_lambdas": 50, "lambda_min_ratio": ratio}
    started = processes.cpu_seconds()
    path = dl.fit_path(X, y, lambdas=lambdas, standardize=False, **options)
    return Point(at, processes.cpu_seconds() - started, path.passes, int(path.n_active[-1]))


def data(kind: str, n: int, p: int, *, draws: int = 40, seed: int = 1) -> tuple[Any, Vector]:
    """Return X [n, p] of a kind and its target, 20 columns of which matter."""
    rng = np.random.default_rng(seed)
    spec = spec_of("W3" if kind == SPARSE else "W1", "full")
    X = sparse(rng, n, p, draws) if kind == SPARSE else dense(rng, n, p)
    if kind == TALL:
        X = np.ascontiguousarray(X)
    return X, response(rng, X, replace(spec, n=n, p=p, k=20))


def sweeps(unit: int) -> Iterator[Sweep]:
    """Yield all sweeps; ``unit`` is the number of rows of the smallest tall matrix."""
    steps = (1, 2, 4, 8)
    yield Sweep(TALL, "n", [fitted(*data(TALL, unit * k, 200), unit * k) for k in steps])
    yield Sweep(TALL, "p", [fitted(*data(TALL, 4 * unit, 100 * k), 100 * k) for k in steps])
    yield Sweep(WIDE, "p", [fitted(*data(WIDE, unit // 10, unit * k), unit * k) for k in steps])
    yield Sweep(WIDE, "n", [fitted(*data(WIDE, unit // 10 * k, 4 * unit), unit // 10 * k) for k in (1, 2, 4)])
    points = []
    for k in steps:
        X, y = data(SPARSE, 2 * unit, 2 * unit, draws=20 * k)
        points.append(fitted(X, y, X.nnz))
    yield Sweep(SPARSE, "nnz", points)
    X, y = data(WIDE, unit // 5, 4 * unit)
    found = [fitted(X, y, 0, ratio=ratio) for ratio in (0.3, 0.1, 0.05, 0.02)]
    yield Sweep(WIDE, "active features", [Point(one.active, one.seconds, one.passes, one.active) for one in found])


def over_workers(unit: int, most: int) -> Sweep:
    """Return wall time over workers of one thread each."""
    import distributed

    X, y = data(TALL, 16 * unit, 200)
    points = []
    with tempfile.TemporaryDirectory() as folder:
        store = dl.ingest((X, y), Path(folder) / "X.zarr", chunks=(max(1, unit // 2), 200))
        for workers in [k for k in (1, 2, 4, 8) if k <= most]:
            with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster, \
                    distributed.Client(cluster) as client:  # fmt: skip
                options = {"n_lambdas": 50, "lambda_min_ratio": 0.05, "standardize": False, "client": client}
                dl.fit_path(store, **options)  # its kernels are loaded, its tiles are read
                started = time.perf_counter()
                path = dl.fit_path(store, **options)
                points.append(Point(workers, time.perf_counter() - started, path.passes, int(path.n_active[-1])))
    return Sweep(TALL, "workers", points)


def stacked(X: sp.csc_array, y: Vector, times: int) -> tuple[sp.csr_array, Vector]:
    """Return the rows K times below each other: the same objective, hence the same solutions, at the same lambdas."""
    return sp.csr_array(sp.vstack([sp.csr_array(X)] * times, format="csr")), np.tile(y, times)


def stacking(times: Sequence[int], scale: Scale) -> tuple[list[Point], float]:
    """Return a fit of the flights for every K, and the largest difference of their objectives, relative to the first."""
    X, y = flights(scale)
    top = float(np.max(np.abs(X.T @ (y - y.mean())))) / y.size
    lambdas = np.geomspace(top, 1e-2 * top, 100)
    points, objectives = [], []
    for k in times:
        started = processes.cpu_seconds()
        path = dl.fit_path(*stacked(X, y, k), lambdas=lambdas, standardize=False)
        points.append(Point(k, processes.cpu_seconds() - started, path.passes, int(path.n_active[-1])))
        objectives.append(objective(X, y, path))
    worst = max(float(np.max(np.abs(own - objectives[0]) / objectives[0])) for own in objectives)
    return points, worst


def objective(X: sp.csc_array, y: Vector, path: Any) -> Vector:
    """Return the lasso's objective at every lambda, on rows that are not stacked."""
    resid = y[:, None] - np.asarray(X @ path.coef.T.toarray()) - path.intercept
    return np.asarray(np.mean(resid**2, axis=0) / 2 + path.lambdas * np.abs(path.coef).sum(axis=1))


def table(sweep: Sweep) -> list[str]:
    """Return the lines about one sweep."""
    at = [point.at for point in sweep.points]
    time_law = exponent(at, [point.seconds for point in sweep.points])
    pass_law = exponent(at, [point.passes for point in sweep.points])
    what = "wall seconds" if sweep.dimension == "workers" else "CPU seconds"
    lines = [f"**{sweep.kind}**, over {sweep.dimension}: {what} ~ {sweep.dimension}^{time_law:.2f}, passes ~ ^{pass_law:.2f}", "",
             f"| {sweep.dimension} | {what} | passes | active at the end |", "|---|---|---|---|"]  # fmt: skip
    return [*lines, *(f"| {p.at:,.0f} | {p.seconds:.2f} | {p.passes} | {p.active:,} |" for p in sweep.points), ""]


def main(given: Sequence[str] | None = None) -> int:
    """Run `python -m benchmarks complexity`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks complexity", description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--stack", type=int, nargs="*", default=[1, 10], help="how often the flights are stacked (1 10 100)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="most workers (default: one a processor)")
    parser.add_argument("--out", type=Path, help="file to write")
    options = parser.parse_args(given)
    unit = 5_000 if options.scale == "full" else 1_000
    how = f"{today()}, {cpu_name()}, scale {options.scale}; 50 lambdas to 0.05 lambda_max unless said otherwise."
    lines = ["# Complexity", "", *(__doc__ or "").strip().splitlines(), "", how, ""]
    for kind, p in ((TALL, 60), (WIDE, 2_000), (SPARSE, 500)):
        fitted(*data(kind, 400, p), 1)  # kernels are loaded or compiled
    for sweep in (*sweeps(unit), over_workers(unit, options.workers)):
        lines += table(sweep)
        print("\n".join(lines[-8:]), file=sys.stderr, flush=True)
    if options.stack:
        points, worst = stacking(options.stack, options.scale)
        same = f"objectives on the flights themselves differ by at most {worst:.1e}, relatively."
        lines += [f"**The flights stacked K times**, 100 lambdas to 0.01 lambda_max: {same}", "",
                  "| K | CPU seconds | passes | active at the end |", "|---|---|---|---|",
                  *(f"| {p.at:,.0f} | {p.seconds:.2f} | {p.passes} | {p.active:,} |" for p in points), ""]  # fmt: skip
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0
