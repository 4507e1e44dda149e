"""Block-coordinate descent and consensus ADMM on a slow network: rounds, bytes, and where one overtakes the other.

`python -m benchmarks network` fits the same path by both, on rows in bundles, with every request and answer metered. What a
network would add is then charged: each round its latency, each byte its share of the link of the coordinator, as if every
bundle were a node of its own. Bytes and rounds are exact and the same on any machine; the seconds of work are this one's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.special import expit

import distlasso as dl
from benchmarks.workloads import Vector
from distlasso.runtime.local import Local, Runtime

SOLVERS = ("bcd", "admm")
MB = 1e6


@dataclass(frozen=True, slots=True)
class Network:
    """What every round and every byte costs."""

    name: str
    latency: float
    """Seconds a round."""
    bandwidth: float
    """Bytes a second through the coordinator's link."""


NETWORKS = (
    Network("10 Gbit/s, 0.2 ms", 2e-4, 1.25e9),
    Network("1 Gbit/s, 1 ms", 1e-3, 1.25e8),
    Network("100 Mbit/s, 20 ms", 2e-2, 1.25e7),
    Network("10 Mbit/s, 50 ms", 5e-2, 1.25e6),
)


@dataclass(slots=True)
class Metered:
    """A runtime that notes the bytes of every round, so that any network can be charged afterwards."""

    inner: Runtime
    bytes_of_round: list[int] = field(default_factory=list)

    def run(self, asks: Sequence[Any]) -> list[list[object]]:
        before = self.inner.bytes_moved()
        answers = self.inner.run(asks)
        self.bytes_of_round.append(self.inner.bytes_moved() - before)
        return answers

    def charge(self, network: Network) -> float:
        """Return the seconds that a network would have added."""
        return sum(network.latency + moved / network.bandwidth for moved in self.bytes_of_round)

    def place(self, dataset: Any) -> Any:
        return self.inner.place(dataset)

    def open(self, dataset: Any, plan: Any, rows: Any, listener: Any) -> Any:
        return self.inner.open(dataset, plan, rows, listener)

    def bytes_read(self) -> int:
        return self.inner.bytes_read()

    def bytes_moved(self) -> int:
        return self.inner.bytes_moved()

    def tiles_at_once(self) -> int:
        return self.inner.tiles_at_once()

    def close(self) -> None:
        self.inner.close()


@dataclass(frozen=True, slots=True)
class Case:
    """One problem, cut into bundles of rows."""

    n: int
    p: int
    loss: str
    ratio: float
    """Last lambda over lambda_max."""
    bundles: int = 8

    @property
    def name(self) -> str:
        return f"{self.loss}, {self.n:,} x {self.p:,}, {self.bundles} bundles, to {self.ratio:g} lambda_max"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one solver took on one case."""

    solver: str
    rounds: int
    passes: int
    moved: int
    gap: float
    work: float
    charges: tuple[float, ...]
    """Seconds added by each of NETWORKS."""


# The problem of issue 3, more bundles of it, and more columns at the same rows: that is where the two cross.
JUDGED = (Case(20_000, 500, "squared", 1e-3), Case(20_000, 500, "squared", 1e-3, 64))
FULL = (
    *(Case(8_192, p, "squared", 1e-2) for p in (250, 500, 1_000, 2_000, 4_000)),
    *(Case(8_192, p, "logistic", 1e-2) for p in (250, 500, 1_000, 2_000, 4_000)),
)
SMALL = (
    *(Case(1_024, p, "squared", 1e-2) for p in (32, 128, 512)),
    *(Case(1_024, p, "logistic", 1e-2) for p in (32, 128, 512)),
)


def generate(case: Case, seed: int) -> tuple[Vector, Vector]:
    """Return X [n, p], AR(1) (0.5) over columns, and y: 50 (p/4 if fewer) coefficients, signal to noise 3."""
    rng = np.random.default_rng([seed, case.n, case.p])
    X = rng.standard_normal((case.n, case.p))
    for j in range(1, case.p):
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    places = rng.choice(case.p, size=min(50, case.p // 4), replace=False)
    signal = X[:, places] @ (rng.choice([-1.0, 1.0], places.size) * rng.uniform(0.5, 1.5, places.size))
    if case.loss == "logistic":
        return X, (rng.random(case.n) < expit(signal * (np.pi / signal.std()))).astype(np.float64)
    return X, signal + rng.standard_normal(case.n) * signal.std() / np.sqrt(3.0)


def measure(case: Case, seed: int, folder: Path) -> list[Cost]:
    """Return the costs of both solvers on one case."""
    X, y = generate(case, seed)
    data = dl.ingest((X, y), folder / "data.zarr", chunks=(-(-case.n // case.bundles), case.p))
    costs = []
    for solver in SOLVERS:
        metered, started = Metered(Local()), time.perf_counter()
        path = dl.fit_path(
            data, loss=case.loss, solver=solver, n_lambdas=50, lambda_min_ratio=case.ratio, standardize=False,
            runtime=metered,
        )  # fmt: skip
        work = time.perf_counter() - started
        charges = tuple(metered.charge(network) for network in NETWORKS)
        costs.append(Cost(solver, path.rounds, path.passes, path.bytes_moved, float(path.gap.max()), work, charges))
    return costs


def overtakes(costs: Sequence[Cost], latency: float) -> str:
    """Return the bandwidth below which admm's rounds and bytes take less time than bcd's, in Mbit/s."""
    bcd, admm = costs
    saved, waited = bcd.moved - admm.moved, (admm.rounds - bcd.rounds) * latency
    if saved <= 0:
        return "never" if waited >= 0 else "always"
    return "always" if waited <= 0 else f"below {8e-6 * saved / waited:,.0f} Mbit/s"


def crossover(found: Sequence[tuple[Case, list[Cost]]]) -> str:
    """Return where admm begins to move fewer bytes than bcd as columns are added, interpolated in logarithms."""
    points = [(np.log(case.p), np.log(admm.moved / bcd.moved)) for case, (bcd, admm) in found]
    for (p0, y0), (p1, y1) in zip(points, points[1:], strict=False):
        if y0 > 0 >= y1:
            return f"about {np.exp(p0 + (p1 - p0) * y0 / (y0 - y1)):,.0f} columns"
    return "no number of columns tried" if points[-1][1] > 0 else f"fewer than {found[0][0].p:,} columns"


def table(found: Sequence[tuple[Case, list[Cost]]]) -> str:
    """Return rounds, bytes and seconds, one line a solver and case."""
    head = ["problem", "solver", "rounds", "passes", "MB moved", "worst gap", "work s", *(f"+ {n.name}" for n in NETWORKS)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for case, costs in found:
        for cost in costs:
            cells = [case.name, cost.solver, str(cost.rounds), str(cost.passes), f"{cost.moved / MB:,.1f}", f"{cost.gap:.0e}",
                     f"{cost.work:.1f}", *(f"{charge:,.1f}" for charge in cost.charges)]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def crossing(found: Sequence[tuple[Case, list[Cost]]]) -> str:
    """Return how bytes compare as columns are added, and the bandwidth at which rounds and bytes weigh the same."""
    delays = (1e-3, 2e-2, 5e-2)
    head = ["problem", "MB bcd", "MB admm", "admm / bcd", *(f"admm wins at {1e3 * delay:g} ms" for delay in delays)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for case, costs in found:
        bcd, admm = costs
        cells = [case.name, f"{bcd.moved / MB:,.1f}", f"{admm.moved / MB:,.1f}", f"{admm.moved / bcd.moved:.2f}",
                 *(overtakes(costs, delay) for delay in delays)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    for loss in dict.fromkeys(case.loss for case, _ in found):
        where = crossover([(case, costs) for case, costs in found if case.loss == loss])
        lines.append(f"\nCrossover of bytes, {loss} loss: {where}.")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Run both solvers on all cases and print the tables; write them to `--out` too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks network", description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file to write the tables to")
    options = parser.parse_args(given)
    judged, grown = (JUDGED, FULL) if options.scale == "full" else ((), SMALL)
    found = {}
    for case in (*judged, *grown):
        with TemporaryDirectory(prefix="benchmarks-") as folder:
            found[case] = measure(case, options.seed, Path(folder))
        print(table([(case, found[case])]), flush=True)
    wide = [(case, found[case]) for case in grown]
    report = f"{table(list(found.items()))}\n\n{crossing(wide)}\n"
    print(f"\n{report}")
    if options.out:
        options.out.write_text(f"# bcd and admm on slow networks\n\n{__doc__.strip()}\n\n{report}")
    return 0
