"""The run: generate, find the tolerance at which each program is accurate enough, then time all of them in turn.

For each workload every program is run from its loosest tolerance on until its objective is certainly within `MATCHED` of the
optimum; afterwards the loosest run that matched the best objective known by then is the one that is repeated, one program after
the other in each round. distlasso is also timed at its default. A fit is ended at the time limit, and shown as beyond it.
Next: `table.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from benchmarks.accuracy import MATCHED, Accuracy, measure
from benchmarks.peers import CANNOT, PROGRAMS, Program
from benchmarks.table import EXPLANATION, Beyond, Row, header, render, write_section
from benchmarks.workloads import FULL, Scale, Vector, create, load

THREADS = "2"
ROOT = Path(__file__).resolve().parents[1]
SETUP_SECONDS = 400  # for what is not timed: imports, warm-up, loading, starting workers, writing a program's own files


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
    """Seconds after which a fit is ended."""


@dataclass(slots=True)
class Found:
    """All that is known of one workload."""

    runs: list[Run] = field(default_factory=list)
    beyond: list[tuple[Program, float]] = field(default_factory=list)
    """Fits that were ended at the time limit, with their tolerance."""
    notes: list[str] = field(default_factory=list)


class SkipError(Exception):
    """A program that cannot run; the message is the printed reason."""


class BeyondError(Exception):
    """A fit that was ended at the time limit."""


def environment() -> dict[str, str]:
    """Return the environment of a timed process: two threads, and the BLAS kernels of the machine's own CPU."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    pools = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    return kept | {f"{pool}_NUM_THREADS": THREADS for pool in pools}


def run_once(bench: Bench, program: Program, tol: float) -> Run:
    """Run one program in its own process and judge its path; raise SkipError or BeyondError where there is none."""
    out = bench.folder / "path.npz"
    out.unlink(missing_ok=True)
    python = bench.pythons.get(program.peer, sys.executable)
    command = [python, "-m", "benchmarks.worker", bench.folder, bench.tiny, program.name, str(tol), out, str(bench.time_limit)]
    code, printed, errors = _in_a_group([str(part) for part in command], bench.time_limit + SETUP_SECONDS)
    if code == -signal.SIGALRM:
        raise BeyondError
    if code:
        raise SkipError(f"failed at tol {tol:g}: {(errors.strip().splitlines() or ['no message'])[-1]}")
    # Programs have words of their own, some when their process ends.
    cost = json.loads([line for line in printed.splitlines() if line.startswith("{")][-1])
    if "skipped" in cost:
        raise SkipError(f"not installed here ({cost['skipped']})")
    with np.load(out) as parts:
        coef = sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
        accuracy = measure(load(bench.folder, "mmap"), coef, parts["intercept"], single=program.single)
        return Run(program, tol, cost, accuracy)


def _in_a_group(command: Sequence[str], limit: float) -> tuple[int, str, str]:
    """Run a command in a process group of its own, of which nothing is left afterwards; return its code and output."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), text=True, start_new_session=True, **pipes)
    try:
        # What a killed program started may hold the pipes: wait for the program alone, its output is short.
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        raise SkipError(f"was not ready to fit within {SETUP_SECONDS} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return (code, *process.communicate())


def best_primal(runs: Sequence[Run]) -> Vector:
    """Return the lowest objective known at each of the five lambdas."""
    return cast(Vector, np.nanmin([run.accuracy.primal for run in runs], axis=0))


def certain(run: Run, runs: Sequence[Run]) -> bool:
    """Say whether the best dual bound known proves that `run` is within MATCHED of the optimum."""
    dual = np.nanmax([other.accuracy.dual for other in runs], axis=0)
    return not np.any(run.accuracy.primal - dual > MATCHED * np.abs(dual))


def calibrate(bench: Bench, programs: Sequence[Program], name: str, scale: Scale) -> Found:
    """Run every program over its tolerances, loosest first, until certain; at small scale at the tightest only."""
    found = Found()
    for program in programs:
        loosest = program.first.get(name, np.inf)
        for tol in [t for t in program.tolerances if t <= loosest] if scale == "full" else program.tolerances[-1:]:
            try:
                run = run_once(bench, program, tol)
            except SkipError as reason:
                found.notes.append(f"{program.name}: {reason}")
                say(found.notes[-1])
                break
            except BeyondError:
                found.beyond.append((program, tol))
                say(f"{program.name} tol {tol:g}: > {bench.time_limit:g} s")
                break
            found.runs.append(run)
            say(f"{program.name} tol {tol:g}: {run.cost['seconds']:.2f} s, gap {np.nanmax(run.accuracy.gap):.1e}")
            if certain(run, found.runs):
                break
    return found


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


def compare(name: str, bench: Bench, programs: Sequence[Program], *, scale: Scale, rounds: int) -> tuple[str, bool]:
    """Return the markdown section of one workload, and whether distlasso matched wherever it ran."""
    found = calibrate(bench, [p for p in programs if name in p.layouts], name, scale)
    for peer in sorted({p.peer for p in programs}):
        if name in CANNOT.get(peer, {}):
            found.notes.append(f"{peer}: {CANNOT[peer][name]}")
    timed = chosen(found.runs) if found.runs else []
    seconds = [[float(run.cost["seconds"])] for run in timed]
    for i in range(1, rounds):
        for run, own in zip(timed, seconds, strict=True):
            try:
                own.append(float(run_once(bench, run.program, run.tol).cost["seconds"]))
                say(f"round {i + 1}: {run.program.name} tol {run.tol:g}: {own[-1]:.2f} s")
            except (SkipError, BeyondError) as reason:
                found.notes.append(f"{run.program.name}: round {i + 1} {reason or 'beyond the time limit'}")
                say(found.notes[-1])
    best = best_primal(found.runs) if found.runs else np.zeros(0)
    rows = [row_of(run, own, best) for run, own in zip(timed, seconds, strict=True)]
    beyond = [Beyond(program.name, program.threads, tol, bench.time_limit, program.single) for program, tol in found.beyond]
    own_rows = [row for row in rows if row.peer == "distlasso"]
    matched = any(row.matched for row in own_rows) and not any(program.peer == "distlasso" for program, _ in found.beyond)
    return render(name, load(bench.folder, "mmap"), rows, beyond, found.notes), matched


def row_of(run: Run, seconds: Sequence[float], best: Vector) -> Row:
    """Return one line of the table."""
    cost = run.cost
    return Row(
        name=run.program.name,
        peer=run.program.peer,
        version=str(cost["version"]),
        threads=run.program.threads,
        tol=run.tol,
        seconds=tuple(seconds),
        cpu_seconds=float(cost["cpu_seconds"]),
        warm_seconds=float(cost["warm_seconds"]),
        peak_bytes=int(cost["peak_bytes"]),
        passes=cost["passes"],
        bytes_read=cost["bytes_read"],
        excess=run.accuracy.excess(best),
        gap=float(np.nanmax(run.accuracy.gap)),
        single=run.program.single,
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
    command.add_argument("--rounds", type=int, help="times that a fit is timed (default: 3 at full scale, 1 at small)")
    command.add_argument("--limit", type=float, default=100.0, help="seconds after which a fit is ended (default: 100)")
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
    machine = header(options.scale, options.seed, rounds, THREADS, options.limit)
    failed = []
    print(f"{machine}\n\n{EXPLANATION}")
    pythons = dict(pair.split("=", 1) for pair in options.python)
    for name in options.workloads:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmarks-") as scratch:
            bench = Bench(Path(scratch) / "data", Path(scratch) / "tiny", pythons, options.limit)
            say(f"{name}: generating")
            create(name, options.scale, options.seed, bench.folder)
            create(name, "small", options.seed + 1, bench.tiny)
            report, matched = compare(name, bench, programs, scale=options.scale, rounds=rounds)
            failed += [] if matched else [name]
            print(f"\n{report}", flush=True)
            if options.out:
                write_section(options.out, name, f"{report}\n\n{machine}")
    if failed:
        say(f"distlasso did not finish at matched accuracy on {', '.join(failed)}")
    return int(bool(failed))
