"""Coverage of nominal 95 % intervals: how often they hold the true coefficient, by simulation.

`python -m benchmarks coverage` draws data whose coefficients are known: rows from an AR(1) normal distribution (correlation rho
between neighbours), 5 signal columns at random places with coefficients of size 0.5 to 1.5 and random signs, noise of variance 1
(logistic: classes by their probability). On each it asks for intervals of the signal columns and of as many noise columns beside
and away from them, by

- debiased: `dl.debiased`, lambda by 5-fold cross-validation;
- refit, same rows: `dl.refit` of the columns that cross-validation selects, on the rows that selected them: what not to do;
- refit, split: the same, selected on one half of the rows and refitted on the other;
- oracle: maximum likelihood on the true signal columns, which nobody knows: what intervals can be at best.

`+-` is twice the standard error of a coverage over data sets, so that figures within it agree. Refits cover the columns
that they have selected only, and where a signal column was not selected its neighbours stand in for it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

import distlasso as dl
from benchmarks.workloads import Vector

METHODS = ("debiased", "refit, same rows", "refit, split", "oracle")
SIGNALS = 5
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Case:
    """One distribution of data."""

    n: int
    p: int
    rho: float
    loss: str = "squared"

    @property
    def name(self) -> str:
        return f"{self.loss}, {self.n} x {self.p}, rho {self.rho:g}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Intervals of one method on one data set, of signal columns or of others."""

    covered: Vector
    width: Vector


FULL = (
    Case(400, 50, 0.5), Case(100, 200, 0.0), Case(100, 200, 0.5), Case(100, 200, 0.9), Case(200, 400, 0.5),
    Case(400, 50, 0.5, "logistic"), Case(300, 150, 0.5, "logistic"),
)  # fmt: skip
SMALL = (Case(100, 20, 0.5), Case(60, 80, 0.0))


def generate(case: Case, seed: int) -> tuple[Vector, Vector, Vector]:
    """Return X [n, p], y and the true coefficients."""
    rng = np.random.default_rng([seed, case.n, case.p])
    X = rng.standard_normal((case.n, case.p))
    for j in range(1, case.p):
        X[:, j] = case.rho * X[:, j - 1] + np.sqrt(1.0 - case.rho**2) * X[:, j]
    b = np.zeros(case.p)
    places = rng.choice(case.p, SIGNALS, replace=False)
    b[places] = rng.choice([-1.0, 1.0], SIGNALS) * rng.uniform(0.5, 1.5, SIGNALS)
    if case.loss == "logistic":
        return X, (rng.random(case.n) < expit(X @ b)).astype(np.float64), b
    return X, X @ b + rng.standard_normal(case.n), b


def asked(b: Vector) -> Any:
    """Return the signal columns, the noise columns beside them, and some away from them."""
    signal = np.flatnonzero(b)
    beside = np.setdiff1d(np.unique(np.clip(signal + 1, 0, b.size - 1)), signal)
    away = np.setdiff1d(np.arange(b.size), np.concatenate([signal, beside]))
    return np.concatenate([signal, beside, away[:: max(1, away.size // SIGNALS)][:SIGNALS]])


def measure(case: Case, seed: int) -> dict[tuple[str, str], Seen]:
    """Return what every method covers on one data set, by method and kind of column."""
    X, y, b = generate(case, seed)
    options: dict[str, Any] = {"loss": case.loss, "n_lambdas": 25, "lambda_min_ratio": 0.05, "tol": 1e-5, "runtime": "serial"}
    found = {"debiased": dl.debiased(X, y, columns=asked(b), folds=5, **options)}
    half = case.n // 2
    for name, first, second in (("refit, same rows", slice(None), slice(None)), ("refit, split", slice(half), slice(half, None))):
        cv = dl.cross_validate(X[first], y[first], folds=5, rule="1se", **options)
        if 0 < np.count_nonzero(cv.coef) < half - 1:
            found[name] = dl.refit(cv, X[second], y[second], runtime="serial")
    signal = np.flatnonzero(b)
    path = dl.fit_path(X[:, signal], y, loss=case.loss, lambdas=[1e-9], runtime="serial")
    oracle = dl.refit(path, X[:, signal], y, lam=1e-9, runtime="serial")
    seen = {name: _seen(own.columns, own, b) for name, own in found.items()} | {"oracle": _seen(signal, oracle, b)}
    return {(name, kind): own for name, kinds in seen.items() for kind, own in kinds.items()}


def _seen(columns: Any, found: Any, b: Vector) -> dict[str, Seen]:
    truth = b[columns]
    covered, width = ((found.low <= truth) & (truth <= found.high)).astype(np.float64), found.high - found.low
    kinds = {"signal": truth != 0, "noise": truth == 0}
    return {kind: Seen(covered[own], width[own]) for kind, own in kinds.items()}


def run(case: Case, seeds: int, first: int) -> dict[tuple[str, str], list[Seen]]:
    """Return what every method covers on some data sets."""
    found: dict[tuple[str, str], list[Seen]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dl.CertificateWarning)
        for seed in range(first, first + seeds):
            for key, seen in measure(case, seed).items():
                if seen.covered.size:
                    found.setdefault(key, []).append(seen)
    return found


def summary(seen: Sequence[Seen]) -> tuple[int, float, float, float]:
    """Return intervals, coverage, twice its standard error over data sets, and mean width."""
    hits, sizes = np.array([own.covered.sum() for own in seen]), np.array([own.covered.size for own in seen])
    coverage = hits.sum() / sizes.sum()
    count = len(seen)
    error = np.sqrt(np.sum((hits - coverage * sizes) ** 2) / max(count - 1, 1) * count) / sizes.sum()
    return int(sizes.sum()), float(coverage), 2.0 * float(error), float(np.concatenate([own.width for own in seen]).mean())


def table(found: Sequence[tuple[Case, dict[tuple[str, str], list[Seen]]]]) -> str:
    """Return one line a case, method and kind of column."""
    head = ["data", "method", "columns", "intervals", "coverage %", "+- %", "mean width"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for case, seen in found:
        for method in METHODS:
            for kind in ("signal", "noise"):
                if (method, kind) in seen:
                    count, coverage, error, width = summary(seen[method, kind])
                    cells = [case.name, method, kind, f"{count}", f"{100 * coverage:.1f}", f"{100 * error:.1f}", f"{width:.3f}"]
                    lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Simulate and print the table; write it to `--out` too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks coverage", description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--seeds", type=int, help="data sets of each kind; 4 or 25 by default")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first one")
    parser.add_argument("--out", type=Path, help="file to write the table to")
    options = parser.parse_args(given)
    cases = FULL if options.scale == "full" else SMALL
    seeds = options.seeds or (25 if options.scale == "full" else 4)
    found, started = [], time.perf_counter()
    for case in cases:
        found.append((case, run(case, seeds, options.seed)))
        print(table(found[-1:]), flush=True)
    date, seconds = datetime.now(UTC).strftime("%Y-%m-%d"), time.perf_counter() - started
    note = (f"{date}, distlasso {dl.__version__}; scale {options.scale}, {seeds} data sets of each kind, seeds from "
            f"{options.seed} on, nominal {100 * LEVEL:.0f} %, {seconds:.0f} s.")  # fmt: skip
    report = f"{table(found)}\n\n{note}\n"
    print(f"\n{report}")
    if options.out:
        options.out.write_text(f"# Coverage of confidence intervals\n\n{(__doc__ or '').strip()}\n\n{report}")
    return 0
