"""One program on one workload in a process of its own, so that its peak memory is its own and nobody inherits warm caches.

`python -m benchmarks.worker FOLDER TINY PROGRAM TOL OUT LIMIT` loads the workload, warms up on the tiny one of the same form
(compile time is reported, not timed), fits once, writes the path to OUT and prints one line of JSON. A fit that is not done
after LIMIT seconds is ended by SIGALRM. `compare.py` starts it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.sparse as sp

from benchmarks import processes
from benchmarks.peers import PROGRAMS, Program, Solution, UnavailableError
from benchmarks.workloads import load


def version_of(program: Program) -> str:
    """Return the installed version, or "source tree" for a program that is imported uninstalled."""
    try:
        return importlib.metadata.version(program.distribution)
    except importlib.metadata.PackageNotFoundError:
        return "source tree"


def save(solution: Solution, out: Path) -> None:
    """Write a path as the CSR parts of its coefficients and its intercepts."""
    coef = sp.csr_array(solution.coef)
    parts = {"data": coef.data, "indices": coef.indices, "indptr": coef.indptr, "shape": np.array(coef.shape)}
    np.savez(out, **parts, intercept=np.asarray(solution.intercept, dtype=np.float64))


def imported(program: Program) -> ModuleType:
    """Import a program's module; UnavailableError if it or its entry function is missing."""
    module, _, function = program.entry.partition(":")
    try:
        loaded = importlib.import_module(module)
        getattr(loaded, function)
    except (ImportError, AttributeError) as error:
        raise UnavailableError(str(error)) from error
    return loaded


def run(program: Program, folder: Path, tiny: Path, tol: float, limit: float) -> tuple[Solution, dict[str, object]]:
    """Return the path of one timed fit and what it cost."""
    module = imported(program)
    small = load(tiny, program.layouts[load(tiny, "mmap").name])
    started = time.perf_counter()
    program.build(module, small)(tol)
    warm = time.perf_counter() - started
    solve = program.build(module, load(folder, program.layouts[small.name]))
    processes.reset_peaks()
    # What the signal does by default ends the process inside compiled code too.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit)
    cpu, started = processes.cpu_seconds(), time.perf_counter()
    solution = solve(tol)
    seconds = time.perf_counter() - started
    signal.setitimer(signal.ITIMER_REAL, 0)
    cost = {
        "seconds": seconds, "cpu_seconds": processes.cpu_seconds() - cpu, "warm_seconds": warm,
        "peak_bytes": processes.peak_bytes(), "passes": solution.passes, "bytes_read": solution.bytes_read,
        "version": solution.version or version_of(program),
    }  # fmt: skip
    return solution, cost


def main(arguments: list[str]) -> int:
    """Run the program named on the command line; a program that is not installed is a skip, not a failure."""
    folder, tiny, name, tol, out, limit = arguments
    program = next(p for p in PROGRAMS if p.name == name)
    try:
        solution, cost = run(program, Path(folder), Path(tiny), float(tol), float(limit))
    except UnavailableError as error:
        print(json.dumps({"skipped": str(error)}))
        return 0
    save(solution, Path(out))
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
