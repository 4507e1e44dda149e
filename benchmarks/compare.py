"""The run: generate, find the tolerance at which each program is accurate enough, then time all of them in turn.

For each workload every program is run from its loosest tolerance on until its objective is certainly within `MATCHED` of the
optimum; afterwards the loosest run that matched the best objective known by then is the one that is repeated and timed, one
program after the other in each round. distlasso is also timed at its default. Next: `table.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from benchmarks.accuracy import MATCHED, Accuracy, measure
from benchmarks.peers import PROGRAMS, Program
from benchmarks.table import EXPLANATION, Row, header, render, write_section
from benchmarks.workloads import FULL, Scale, Vector, create, load

THREADS = "2"
ROOT = Path(__file__).resolve().parents[1]
EXTRA_SECONDS = 120  # a run may take the time limit plus this, imports, loading and warm-up included


@dataclass(frozen=True, slots=True)
class Run:
    """One finished fit of one program."""

    program: Program
    tol: float
    cost: dict[str, Any]
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class Bench:
    """Where one workload waits and how its programs are started."""

    folder: Path
    tiny: Path
    pythons: dict[str, str]
    """Interpreter for a peer that cannot share this one's environment."""
    time_limit: float


class SkipError(Exception):
    """A program that cannot run or did not finish; the message is the printed reason."""


def environment() -> dict[str, str]:
    """Return the environment of a timed process: two threads, and the BLAS kernels of the machine's own CPU."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    pools = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    return kept | {f"{pool}_NUM_THREADS": THREADS for pool in pools}


def run_once(bench: Bench, program: Program, tol: float) -> Run:
    """Run one program in its own process and judge its path; raise SkipError with the reason if there is none."""
    out = bench.folder / "path.npz"
    out.unlink(missing_ok=True)
    python = bench.pythons.get(program.peer, sys.executable)
    command = [python, "-m", "benchmarks.worker", bench.folder, bench.tiny, program.name, str(tol), out]
    limit = bench.time_limit + EXTRA_SECONDS
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment(), timeout=limit, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise SkipError(f"unfinished after {limit:.0f} s at tol {tol:g}") from None
    if done.returncode:
        raise SkipError(f"failed at tol {tol:g}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    cost = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in cost:
        raise SkipError(str(cost["skipped"]))
    with np.load(out) as parts:
        coef = sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
        return Run(program, tol, cost, measure(load(bench.folder, "mmap"), coef, parts["intercept"]))


def best_primal(runs: Sequence[Run]) -> Vector:
    """Return the lowest objective known at each of the five lambdas."""
    return cast(Vector, np.min([run.accuracy.primal for run in runs], axis=0))


def certain(run: Run, runs: Sequence[Run]) -> bool:
    """Say whether the best dual bound known proves that `run` is within MATCHED of the optimum."""
    dual = np.max([other.accuracy.dual for other in runs], axis=0)
    return bool(np.all(run.accuracy.primal - dual <= MATCHED * np.abs(dual)))


def calibrate(bench: Bench, programs: Sequence[Program], scale: Scale) -> tuple[list[Run], list[str]]:
    """Run every program over its tolerances, loosest first, until certain; at small scale at the tightest only."""
    runs: list[Run] = []
    notes = []
    for program in programs:
        for tol in program.tolerances if scale == "full" else program.tolerances[-1:]:
            try:
                run = run_once(bench, program, tol)
            except SkipError as reason:
                notes.append(f"{program.name}: {reason}")
                say(notes[-1])
                break
            runs.append(run)
            say(f"{program.name} tol {tol:g}: {run.cost['seconds']:.2f} s, gap {run.accuracy.gap.max():.1e}")
            if certain(run, runs) or run.cost["seconds"] > bench.time_limit:
                break
    return runs, notes


def chosen(runs: Sequence[Run]) -> list[Run]:
    """Return what is to be timed: each program's loosest matching run (else its tightest), distlasso's default too."""
    best = best_primal(runs)
    picked = []
    for name in dict.fromkeys(run.program.name for run in runs):
        own = [run for run in runs if run.program.name == name]
        matching = [run for run in own if run.accuracy.excess(best) <= MATCHED]
        pick = matching[0] if matching else own[-1]
        if pick.program.peer == "distlasso" and pick is not own[0]:
            picked.append(own[0])
        picked.append(pick)
    return picked


def compare(name: str, bench: Bench, programs: Sequence[Program], *, scale: Scale, rounds: int) -> str:
    """Return the markdown section of one workload."""
    runs, notes = calibrate(bench, [p for p in programs if name in p.layouts], scale)
    if not runs:
        return render(name, load(bench.folder, "mmap"), [], notes)
    timed = chosen(runs)
    seconds: list[list[float]] = [[] for _ in timed]
    for run in timed:
        if run.cost["seconds"] > bench.time_limit:
            notes.append(f"{run.program.name}: beyond {bench.time_limit:g} s, so timed once")
    for i in range(rounds):
        for run, own in zip(timed, seconds, strict=True):
            if run.cost["seconds"] > bench.time_limit:
                continue
            try:
                own.append(run_once(bench, run.program, run.tol).cost["seconds"])
                say(f"round {i + 1}: {run.program.name} tol {run.tol:g}: {own[-1]:.2f} s")
            except SkipError as reason:
                notes.append(f"{run.program.name}: round {i + 1} {reason}")
                say(notes[-1])
    best = best_primal(runs)
    rows = [row_of(run, own, best) for run, own in zip(timed, seconds, strict=True)]
    return render(name, load(bench.folder, "mmap"), rows, notes)


def row_of(run: Run, seconds: Sequence[float], best: Vector) -> Row:
    """Return one line of the table; a program that finished no round shows its calibration run's time."""
    return Row(
        name=run.program.name,
        peer=run.program.peer,
        version=str(run.cost["version"]),
        tol=run.tol,
        seconds=tuple(seconds) or (float(run.cost["seconds"]),),
        warm_seconds=float(run.cost["warm_seconds"]),
        peak_bytes=int(run.cost["peak_bytes"]),
        passes=run.cost["passes"],
        excess=run.accuracy.excess(best),
        gap=float(run.accuracy.gap.max()),
    )


def say(line: str) -> None:
    """Print progress to standard error; the table alone goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    command = parser.add_subparsers(required=True).add_parser("compare", help="compare programs on workloads, in turn")
    peers = sorted({p.peer for p in PROGRAMS} - {"distlasso"})
    command.add_argument("workloads", nargs="+", choices=sorted(FULL), metavar="WORKLOAD", help=", ".join(sorted(FULL)))
    command.add_argument("--peers", nargs="*", choices=peers, default=peers, help="default: all")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--scale", choices=("small", "full"), default="small")
    command.add_argument("--rounds", type=int, help="timed repeats (default: 3 at full scale, 1 at small)")
    command.add_argument("--time-limit", type=float, default=600.0, help="seconds beyond which a fit is not repeated")
    command.add_argument("--python", nargs="*", default=[], metavar="PEER=PATH", help="interpreter of one peer")
    command.add_argument("--folder", type=Path, help="where the data is written meanwhile (default: a temporary folder)")
    command.add_argument("--out", type=Path, help="file in which the section of each workload is replaced")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the comparison and print its tables; write each to its section of `--out` too."""
    options = arguments(given)
    wanted = {"distlasso", *options.peers}
    programs = [p for p in PROGRAMS if p.peer in wanted]
    rounds = options.rounds or (3 if options.scale == "full" else 1)
    machine = header(options.scale, options.seed, rounds, THREADS)
    print(f"{machine}\n\n{EXPLANATION}")
    pythons = dict(pair.split("=", 1) for pair in options.python)
    for name in options.workloads:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmarks-") as scratch:
            bench = Bench(Path(scratch) / "data", Path(scratch) / "tiny", pythons, options.time_limit)
            say(f"{name}: generating")
            create(name, options.scale, options.seed, bench.folder)
            create(name, "small", options.seed + 1, bench.tiny)
            report = compare(name, bench, programs, scale=options.scale, rounds=rounds)
            print(f"\n{report}", flush=True)
            if options.out:
                write_section(options.out, name, f"{report}\n\n{machine}")
    return 0
