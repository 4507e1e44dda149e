"""One program on one workload in a process of its own, so that its peak memory is its own and nobody inherits warm caches.

`python -m benchmarks.worker FOLDER TINY PROGRAM TOL OUT` loads the workload, warms up on the tiny one of the same form (compile
time is reported, not timed), fits once, writes the path to OUT and prints one line of JSON. `compare.py` starts it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.sparse as sp

from benchmarks.peers import PROGRAMS, Program, Solution
from benchmarks.workloads import load


def reset_peak() -> None:
    """Forget the peak resident set so far (Linux; elsewhere the peak then includes loading)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Return the peak resident set of this process in bytes, data included; 0 where /proc is missing."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


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
    """Import a program's module; ImportError or AttributeError if it or its entry function is missing."""
    module, _, function = program.entry.partition(":")
    loaded = importlib.import_module(module)
    getattr(loaded, function)
    return loaded


def run(program: Program, folder: Path, tiny: Path, tol: float) -> tuple[Solution, dict[str, object]]:
    """Return the path of one timed fit and what it cost."""
    module = imported(program)
    small = load(tiny, program.layouts[load(tiny, "mmap").name])
    started = time.perf_counter()
    program.build(module, small)(tol)
    warm = time.perf_counter() - started
    problem = load(folder, program.layouts[small.name])
    solve = program.build(module, problem)
    reset_peak()
    started = time.perf_counter()
    solution = solve(tol)
    seconds = time.perf_counter() - started
    cost = {"seconds": seconds, "warm_seconds": warm, "peak_bytes": peak_bytes(), "passes": solution.passes}
    return solution, cost | {"version": version_of(program)}


def main(arguments: list[str]) -> int:
    """Run the program named on the command line; a program that cannot be imported is a skip, not a failure."""
    folder, tiny, name, tol, out = arguments
    program = next(p for p in PROGRAMS if p.name == name)
    try:
        imported(program)
    except (ImportError, AttributeError) as error:
        print(json.dumps({"skipped": str(error)}))
        return 0
    solution, cost = run(program, Path(folder), Path(tiny), float(tol))
    save(solution, Path(out))
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
