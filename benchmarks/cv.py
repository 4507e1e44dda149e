"""What cross-validation costs beside the path alone: ten folds and all rows, for each program as a ratio within one run.

`python -m benchmarks cv W1 W6 F` runs every program in a process of its own: the path, then the cross-validation with the same
lambdas and folds. Fitting the folds one by one would cost about eleven paths. Next: `cv_worker.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.compare import ROOT, THREADS, environment, say
from benchmarks.table import header, write_section
from benchmarks.workloads import FULL, SCALES, create, load

PEERS = {"sklearn": "scikit-learn LassoCV", "glmnet": "glmnet cv.glmnet"}
# Ratios of wall time that are promised for squared loss, and for W4.
PROMISED = {"W1": 2.0, "W6": 4.0, "F": 4.0, "W2": 7.0, "W3": 7.0, "W4": 5.0}
SHARED = 1.5  # ratio of passes, and of rounds, that is promised everywhere
COLUMNS = (
    "program", "version", "path s", "cv s", "cv / path", "path CPU s", "cv CPU s", "CPU cv / path", "passes", "rounds",
    "path peak MB", "cv peak MB",
)  # fmt: skip
EXPLANATION = (
    "`path s`, `cv s`: wall time of the path on all rows and of its cross-validation, compile time excluded; `cv / path` is "
    "their ratio, `CPU` the same in seconds of all processors. Every program runs at its default tolerance, on the same "
    "lambdas and folds; distlasso alone proves its solutions, those of all folds too. `passes`, `rounds`: path -> cv. "
    "`peak MB`: resident set, data included."
)


@dataclass(frozen=True, slots=True)
class Section:
    """What was measured on one workload."""

    name: str
    title: str
    scale: str
    found: dict[str, dict[str, Any]]
    """Costs by program."""
    notes: list[str] = field(default_factory=list)


def run_once(folder: Path, tiny: Path, program: str, options: argparse.Namespace) -> dict[str, Any] | str:
    """Run one program in its own process; return what it cost, or why it has no figures."""
    command = [sys.executable, "-m", "benchmarks.cv_worker", folder, tiny, program, str(options.folds), str(options.repeats)]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment(), timeout=options.time_limit, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return f"unfinished after {options.time_limit:g} s"
    if done.returncode:
        return f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def programs(loss: str, peers: Sequence[str], size: int) -> tuple[list[str], list[str]]:
    """Return the programs to run, and notes on those that are not: `size` is that of X in doubles."""
    chosen, notes = ["distlasso"], []
    for peer in peers:
        if peer == "glmnet" and shutil.which("Rscript") is None:
            notes.append(f"{PEERS[peer]}: no Rscript")
        elif peer == "glmnet" and size > 4 << 30:
            notes.append(f"{PEERS[peer]}: X is {size / 1e9:.0f} GB as doubles, of which it needs several copies")
        elif peer == "sklearn" and loss != "squared":
            notes.append(f"{PEERS[peer]}: squared loss only")
        else:
            chosen.append(peer)
    return chosen, notes


def measure(name: str, options: argparse.Namespace) -> Section:
    """Generate one workload and run every program on it."""
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmarks-") as scratch:
        folder, tiny = Path(scratch) / "data", Path(scratch) / "tiny"
        say(f"{name}: generating")
        create(name, options.scale, options.seed, folder)
        create(name, "small", options.seed + 1, tiny)
        problem = load(folder, "mmap")
        n, p = problem.X.shape
        title = f"### {name}: {n:,} x {p:,}, {problem.loss}, {len(problem.lambdas)} lambdas, {options.folds} folds"
        size = 12 * problem.X.nnz if hasattr(problem.X, "nnz") else 8 * n * p
        chosen, notes = programs(problem.loss, options.peers, size)
        found: dict[str, dict[str, Any]] = {}
        for program in chosen:
            cost = run_once(folder, tiny, program, options)
            say(f"{name}: {program}: {cost}")
            if isinstance(cost, str):
                notes.append(f"{PEERS.get(program, program)}: {cost}")
            else:
                found[program] = cost
    return Section(name, title, options.scale, found, notes)


def render(section: Section) -> str:
    """Return the markdown of one workload: the table, what it says of the promise, and notes."""
    lines = [section.title, "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [_line(PEERS.get(program, program), cost) for program, cost in section.found.items()]
    if "distlasso" in section.found and section.scale == "full":
        lines += ["", _verdict(section.name, section.found["distlasso"])]
    return "\n".join([*lines, "", *(f"- {note}" for note in section.notes)] if section.notes else lines)


def _line(name: str, cost: dict[str, Any]) -> str:
    path, cv = cost["path"], cost["cv"]
    counts = [f"{path[key]} -> {cv[key]}" if key in cv else "-" for key in ("passes", "rounds")]
    cells = [name, cost["version"], f"{path['wall']:.2f}", f"{cv['wall']:.2f}", f"{_ratio(cost, 'wall'):.2f}", f"{path['cpu']:.2f}",
             f"{cv['cpu']:.2f}", f"{_ratio(cost, 'cpu'):.2f}", *counts, f"{path['peak_bytes'] / 1e6:,.0f}",
             f"{cv['peak_bytes'] / 1e6:,.0f}"]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _ratio(cost: dict[str, Any], key: str) -> float:
    return float(cost["cv"][key]) / max(float(cost["path"][key]), 1e-9)


def _verdict(name: str, cost: dict[str, Any]) -> str:
    """Say which of the promised ratios hold; they are promised at full scale."""
    found = [("wall time", _ratio(cost, "wall"), PROMISED.get(name)), ("passes", _ratio(cost, "passes"), SHARED),
             ("rounds", _ratio(cost, "rounds"), SHARED)]  # fmt: skip
    words = [f"{what} {ratio:.2f} of at most {most:g}, {'holds' if ratio <= most else 'DOES NOT HOLD'}"
             for what, ratio, most in found if most is not None]  # fmt: skip
    return f"Promised ratios of distlasso: {'; '.join(words)}."


def _company() -> str:
    """Say how busy the machine was when the run began."""
    load = os.getloadavg()[0]
    busy = " Others were using it: CPU seconds mean more than wall time here." if load > 0.5 * (os.cpu_count() or 1) else ""
    return f"Load average before the run: {load:.1f}.{busy}"


def main(given: Sequence[str] | None = None) -> int:
    """Measure the workloads and print their tables; write each to its section of `--out` too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cv", description=__doc__)
    parser.add_argument("workloads", nargs="+", choices=sorted(FULL), metavar="WORKLOAD", help=", ".join(sorted(FULL)))
    parser.add_argument("--peers", type=lambda text: [name for name in text.split(",") if name], default=list(PEERS),
                        help=f"comma-separated, of {', '.join(PEERS)} (default: all; empty for none)")  # fmt: skip
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=1, help="path and cross-validation in turn, medians of so many")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds of one program on one workload, loading included")
    parser.add_argument("--folder", type=Path, help="where the data is written meanwhile (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="file in which the section of each workload is replaced")
    options = parser.parse_args(given)
    unknown = set(options.peers) - set(PEERS)
    if unknown:
        parser.error(f"--peers: {', '.join(sorted(unknown))} is not known; choose from {', '.join(PEERS)}")
    machine = f"{header(options.scale, options.seed, options.repeats, THREADS, options.time_limit)} {_company()}"
    print(f"{machine}\n\n{EXPLANATION}")
    if options.out and not options.out.exists():
        options.out.write_text(f"# Cross-validation beside the path alone\n\n{(__doc__ or '').strip()}\n\n{EXPLANATION}\n\n")
    for name in options.workloads:
        report = render(measure(name, options))
        print(f"\n{report}", flush=True)
        if options.out:
            write_section(options.out, name, f"{report}\n\n{machine}")
    return 0
