"""What penalty schedules give beside the lasso, when each is chosen by the same cross-validation.

`python -m benchmarks schedules` draws data whose truth is known: rows from an AR(1) normal distribution (correlation rho between
neighbours) of 2,000 columns, 30 of them true, at random places, with coefficients of size 0.5 to 1.5 and random signs, and noise
for a given ratio of signal to noise variance (SNR). The lasso, `PruneRefine`, `Relaxed`, `Adaptive` and `MCP` are chosen from the
same folds by the same rule, `min` or `1se`; 5 folds, 50 lambdas down to 0.01 lambda_max, paths end beyond 300 features.

Each entry is `false / true / error`: median false discovery proportion, median number of true features found, and median ratio
of the test error to the lasso's, on the same data and under the same rule. The test error is exact, `(b - b*)' Sigma (b - b*) +
sigma^2`, not that of a sample. *Holds* says whether PruneRefine's median false discovery proportion is at most half of the lasso's
and its median error ratio at most 1.0. Seeds beside an entry are fewer than those of the row: the method costs more.

Real data have no known truth: entries are `features / error`, the median number of features and the median ratio of squared errors
on held-out rows to the lasso's, over random splits. Times are CPU seconds of a whole `cross_validate`, one method after the other
in one process, over those of the lasso: with folds and lambdas of the study, or at the defaults (10 folds, 100 lambdas, no cap).

Results go to `--cache` as they come and are not computed again; `--out` writes the table of all that is there.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import distlasso as dl
from benchmarks.workloads import Vector
from distlasso.path.choice import Curve, best_of

METHODS: dict[str, Any] = {
    "lasso": None, "PruneRefine": dl.PruneRefine(), "Relaxed": dl.Relaxed(), "Adaptive": dl.Adaptive(), "MCP": dl.MCP(),
}  # fmt: skip
RULES = ("min", "1se")
TRUE = 30
DESIGN: dict[str, Any] = {"folds": 5, "n_lambdas": 50, "lambda_min_ratio": 0.01, "max_active": 300}
TIMED: dict[str, dict[str, Any]] = {"study": DESIGN, "defaults": {}}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One distribution of data."""

    n: int
    rho: float
    snr: float
    p: int = 2000


@dataclass(frozen=True, slots=True)
class Drawn:
    """One data set and its truth."""

    X: Vector
    y: Vector
    b: Vector
    noise: float  # variance

    def error(self, b: Vector, intercept: float, rho: float) -> float:
        """Expected squared error of a prediction."""
        return quadratic(b - self.b, rho) + intercept**2 + self.noise


def quadratic(d: Vector, rho: float) -> float:
    """Return ``d' Sigma d`` for ``Sigma_jk = rho^|j - k|``."""
    at = np.flatnonzero(d)
    return float(d[at] @ np.power(rho, np.abs(at[:, None] - at)) @ d[at])


def draw(setting: Setting, seed: int) -> Drawn:
    """Draw a data set."""
    rng = np.random.default_rng([seed, setting.n, setting.p])
    X = rng.standard_normal((setting.n, setting.p))
    for j in range(1, setting.p):
        X[:, j] = setting.rho * X[:, j - 1] + np.sqrt(1.0 - setting.rho**2) * X[:, j]
    b = np.zeros(setting.p)
    places = rng.choice(setting.p, min(TRUE, setting.p // 4), replace=False)
    b[places] = rng.choice([-1.0, 1.0], places.size) * rng.uniform(0.5, 1.5, places.size)
    noise = quadratic(b, setting.rho) / setting.snr
    return Drawn(X, X @ b + np.sqrt(noise) * rng.standard_normal(setting.n), b, noise)


def chosen(cv: Any) -> Iterator[tuple[str, str, Vector, float, bool]]:
    """What each method comes to by each rule: coefficients, intercept, and whether a smaller lambda was not there to choose."""
    for name in METHODS:
        own = [one for one in cv.candidates if (one.path.schedule or "lasso").split("(")[0] == name]
        for rule in RULES if own else ():
            which, k = best_of([Curve(one.mean, one.se, one.path.n_active) for one in own], rule)
            path = own[which].path
            yield name, rule, path.coef[[k]].toarray()[0], float(path.intercept[k]), k == path.lambdas.size - 1


def simulate(setting: Setting, seed: int, methods: Sequence[str]) -> list[Row]:
    """Score methods on one data set."""
    data = draw(setting, seed)
    cv = dl.cross_validate(data.X, data.y, schedule=[METHODS[name] for name in methods], **DESIGN)
    rows = []
    for name, rule, b, intercept, last in chosen(cv):
        found, true = b != 0, data.b != 0
        rows.append({
            "kind": "simulated", **asdict(setting), "seed": seed, "method": name, "rule": rule, "last": bool(last),
            "false": float((found & ~true).sum() / max(found.sum(), 1)), "true": int((found & true).sum()),
            "features": int(found.sum()), "error": data.error(b, intercept, setting.rho) / data.noise,
        })  # fmt: skip
    return rows


def diabetes() -> tuple[Vector, Vector]:
    """Diabetes (Efron et al. 2004) with squares and products of its ten features: 442 x 64."""
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import PolynomialFeatures

    X, y = load_diabetes(return_X_y=True)
    return _varying(PolynomialFeatures(2, include_bias=False).fit_transform(X)), y


def health() -> tuple[Vector, Vector]:
    """Visits to a doctor in the RAND health insurance experiment, log(1 + y), features up to degree 3: 20,190 rows."""
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from statsmodels.datasets import randhie

    data = randhie.load_pandas()
    X = StandardScaler().fit_transform(np.asarray(data.exog, dtype=np.float64))
    return _varying(PolynomialFeatures(3, include_bias=False).fit_transform(X)), np.log1p(np.asarray(data.endog, dtype=np.float64))


REAL: dict[str, tuple[Callable[[], tuple[Vector, Vector]], int]] = {"diabetes": (diabetes, 295), "health": (health, 1000)}


def _varying(X: Vector) -> Vector:
    """Standardised columns, of equal ones the first."""
    X = X[:, X.std(axis=0) > 1e-12]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    _, first = np.unique(np.round(np.abs(X.T @ X[:, :1]) + np.abs(X[:50]).sum(axis=0)[:, None], 8), return_index=True)
    return np.ascontiguousarray(X[:, np.sort(first)])


def split(name: str, seed: int, methods: Sequence[str]) -> list[Row]:
    """Score methods on one random split of real data."""
    load, rows = REAL[name]
    X, y = load()
    order = np.random.default_rng(seed).permutation(y.size)
    train, test = order[:rows], order[rows:]
    cv = dl.cross_validate(X[train], y[train], schedule=[METHODS[one] for one in methods], **DESIGN)
    return [{
        "kind": "real", "data": name, "rows": rows, "columns": X.shape[1], "seed": seed, "method": method, "rule": rule,
        "last": bool(last), "features": int(np.count_nonzero(b)), "error": float(np.mean((y[test] - X[test] @ b - level) ** 2)),
    } for method, rule, b, level, last in chosen(cv)]  # fmt: skip


def clock(setting: Setting, design: str, seed: int, methods: Sequence[str]) -> list[Row]:
    """CPU seconds of a cross-validation by each method."""
    data, seconds, options = draw(setting, seed), {}, TIMED[design]
    for name in methods:
        dl.cross_validate(data.X[:40, :60], data.y[:40], schedule=METHODS[name], folds=3, n_lambdas=5)
    for name in methods:
        started = time.process_time()
        dl.cross_validate(data.X, data.y, schedule=METHODS[name], **options)
        seconds[name] = time.process_time() - started
    key: Row = {"kind": "time", **asdict(setting), "design": design, "seed": seed}
    return [{**key, "method": name, "seconds": own} for name, own in seconds.items()]


class Cache:
    """Results in a file, one a line, as they come."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "schedules.jsonl"
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def missing(self, methods: Sequence[str], **key: Any) -> list[str]:
        """Methods of which there is no result; the lasso, which all are compared to, comes with them."""
        there = {row["method"] for row in self.rows if all(row.get(name) == value for name, value in key.items())}
        return [name for name in methods if name not in there]

    def add(self, rows: Sequence[Row]) -> None:
        """Keep results."""
        self.rows += rows
        with self._file.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def medians(rows: Sequence[Row], method: str, rule: str) -> tuple[int, Row]:
    """Seeds, and medians over them; ``ratio`` is that of errors to the lasso's on the same data."""
    base = {row["seed"]: row["error"] for row in rows if (row["method"], row["rule"]) == ("lasso", rule)}
    own = {row["seed"]: row for row in rows if (row["method"], row["rule"]) == (method, rule) and row["seed"] in base}
    names = [name for name in ("false", "true", "features") if own and name in next(iter(own.values()))]
    found: Row = {name: float(np.median([row[name] for row in own.values()])) for name in names}
    if own:
        found["ratio"] = float(np.median([row["error"] / base[seed] for seed, row in own.items()]))
        found["last"] = sum(row["last"] for row in own.values())
    return len(own), found


def holds(rows: Sequence[Row], rule: str) -> bool | None:
    """Whether PruneRefine has at most half of the lasso's false discoveries and no larger error; None where either is not there."""
    (count, lasso), (others, refined) = (medians(rows, name, rule) for name in ("lasso", "PruneRefine"))
    if not count or not others:
        return None
    return bool(refined["false"] <= 0.5 * lasso["false"] and round(refined["ratio"], 3) <= 1.0)


def simulated_table(rows: Sequence[Row]) -> str:
    """One line a setting and rule, and where the aim is met."""
    rows = [row for row in rows if row["kind"] == "simulated"]
    lines = _head(["n", "rho", "SNR", "rule", "seeds", *METHODS, "holds"])
    kept: dict[str, list[tuple[str, bool]]] = {rule: [] for rule in RULES}
    for key in sorted({(row["n"], row["rho"], row["snr"]) for row in rows}):
        own = [row for row in rows if (row["n"], row["rho"], row["snr"]) == key]
        for rule in RULES:
            count, cells = medians(own, "lasso", rule)[0], []
            for name in METHODS:
                seeds, found = medians(own, name, rule)
                note = f" ({seeds})" if seeds != count else ""
                cells.append(f"{found['false']:.2f} / {found['true']:g} / {found['ratio']:.3f}{note}" if seeds else "-")
            good = holds(own, rule)
            if good is not None:
                kept[rule].append((f"n = {key[0]:,}, rho {key[1]:g}, SNR {key[2]:g}", good))
            names = [f"{key[0]:,}", f"{key[1]:g}", f"{key[2]:g}", rule, f"{count}"]
            lines.append(_line([*names, *cells, "-" if good is None else "yes" if good else "**no**"]))
    said = []
    for rule, cases in kept.items():
        failed = "; ".join(name for name, good in cases if not good)
        met = sum(good for _, good in cases)
        said.append(f"Under `{rule}` it holds in {met} of {len(cases)} settings" + (f", not in: {failed}." if failed else "."))
    at_end = {name: sum(row["last"] for row in rows if row["method"] == name) for name in METHODS}
    ends = ", ".join(f"{name} {count}" for name, count in at_end.items() if count)
    said.append(f"Choices at the end of a path, where a smaller lambda might have been better: {ends or 'none'}.")
    return "\n".join([*lines, "", *said])


def real_table(rows: Sequence[Row]) -> str:
    """One line a data set and rule."""
    rows = [row for row in rows if row["kind"] == "real"]
    lines = _head(["data", "training rows x columns", "rule", "splits", *METHODS])
    for key in sorted({(row["data"], row["rows"], row["columns"]) for row in rows}):
        own = [row for row in rows if row["data"] == key[0]]
        for rule in RULES:
            found = {name: medians(own, name, rule) for name in METHODS}
            cells = [f"{one['features']:g} / {one['ratio']:.3f}" if count else "-" for count, one in found.values()]
            lines.append(_line([key[0], f"{key[1]} x {key[2]}", rule, f"{found['PruneRefine'][0]}", *cells]))
    return "\n".join(lines)


def time_table(rows: Sequence[Row]) -> str:
    """One line a setting."""
    rows = [row for row in rows if row["kind"] == "time"]
    lines = _head(["n", "rho", "SNR", "folds and lambdas", "seeds", "lasso, CPU s", *(name for name in METHODS if name != "lasso")])
    for key in sorted({(row["n"], row["rho"], row["snr"], row["design"]) for row in rows}):
        own = [row for row in rows if (row["n"], row["rho"], row["snr"], row["design"]) == key]
        base = {row["seed"]: row["seconds"] for row in own if row["method"] == "lasso"}
        cells = []
        for name in METHODS:
            ratios = [row["seconds"] / base[row["seed"]] for row in own if row["method"] == name and row["seed"] in base]
            cells.append(f"{np.median(ratios):.2f} x" if ratios else "-")
        first = f"{np.median(list(base.values())):.1f}"
        lines.append(_line([f"{key[0]:,}", f"{key[1]:g}", f"{key[2]:g}", key[3], f"{len(base)}", first, *cells[1:]]))
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> str:
    """The whole file."""
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    parts = [f"# Penalty schedules\n\n{(__doc__ or '').strip()}\n\n{date}, distlasso {dl.__version__}."]
    tables = {"simulated": ("Known truth", simulated_table), "real": ("Real data", real_table), "time": ("Time", time_table)}
    for kind, (title, make) in tables.items():
        if any(row["kind"] == kind for row in rows):
            parts.append(f"## {title}\n\n{make(rows)}")
    return "\n\n".join(parts) + "\n"


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), "|" + "---|" * len(names)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run(options: Any, cache: Cache) -> None:
    """Compute what is missing, seed by seed, until the time is over."""
    end = time.monotonic() + 60.0 * options.minutes
    cells = [Setting(n, rho, snr, options.p) for n in options.n for rho in options.rho for snr in options.snr]
    jobs: list[tuple[Callable[..., list[Row]], Any, int, dict[str, Any]]] = []
    for seed in range(options.seed, options.seed + options.seeds):
        jobs += [(simulate, cell, seed, {"kind": "simulated", **asdict(cell)}) for cell in cells if not options.times]
        jobs += [(partial(clock, cell), options.times, seed, {"kind": "time", **asdict(cell), "design": options.times})
                 for cell in cells if options.times]  # fmt: skip
        jobs += [(split, name, seed, {"kind": "real", "data": name}) for name in options.real]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dl.CertificateWarning)
        for function, what, seed, key in jobs:
            methods = cache.missing(options.methods, seed=seed, **key)
            if methods and time.monotonic() < end:
                cache.add(function(what, seed, methods))


def main(given: Sequence[str] | None = None) -> int:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks schedules", description=__doc__)
    parser.add_argument("--n", type=int, nargs="*", default=[500, 5000, 50000])
    parser.add_argument("--rho", type=float, nargs="*", default=[0.0, 0.5, 0.9])
    parser.add_argument("--snr", type=float, nargs="*", default=[0.5, 2.0, 8.0])
    parser.add_argument("--p", type=int, default=2000)
    parser.add_argument("--real", nargs="*", choices=sorted(REAL), default=[], help="real data sets")
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--times", choices=list(TIMED), help="measure times instead, each method alone")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start nothing new after this time")
    parser.add_argument("--cache", type=Path, default=Path(".schedules"), help="folder of the results")
    parser.add_argument("--out", type=Path, help="file to write the table to")
    options = parser.parse_args(given)
    cache = Cache(options.cache)
    run(options, cache)
    text = report(cache.rows)
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0
