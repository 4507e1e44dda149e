"""R's glmnet in a process of its own that has read the data before the clock starts (`glmnet.R`); it has one thread.

Read by R as doubles: dense X of other types would have to be widened.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import WIDE, Program, Solution, Solve, UnavailableError
from benchmarks.workloads import Problem

SCRIPT = Path(__file__).with_suffix(".R")
FAMILIES = {"squared": "gaussian", "logistic": "binomial"}


def glmnet_path(_: Any, problem: Problem) -> Solve:
    """Start R, have it read X, and ask for a path by the line."""
    folder = problem.scratch / "glmnet"
    folder.mkdir(exist_ok=True)
    arrays = {"y": problem.y, "lambdas": problem.lambdas}
    if sp.issparse(problem.X):
        X = problem.X
        arrays |= {"data": X.data.astype(np.float64), "indices": X.indices, "indptr": X.indptr}
    else:
        arrays["X"] = problem.X.T  # R's order of a matrix; a view of Fortran-ordered X
    for name, values in arrays.items():
        np.ascontiguousarray(values).tofile(folder / f"{name}.raw")
    entries = problem.X.nnz if sp.issparse(problem.X) else -1
    numbers = (*problem.X.shape, entries, len(problem.lambdas))
    R = _started([str(folder), FAMILIES[problem.loss], *map(str, numbers)])
    version = _line(R).split()[1]
    for name in arrays:
        (folder / f"{name}.raw").unlink()

    def solve(tol: float) -> Solution:
        print(tol, file=R.stdin, flush=True)
        _line(R)
        return _read(folder, problem.X.shape[1], len(problem.lambdas), version)

    return solve


def _started(arguments: list[str]) -> subprocess.Popen[str]:
    """Start R; UnavailableError where there is none."""
    program = shutil.which("Rscript")
    if program is None:
        raise UnavailableError("there is no Rscript here")
    command = [program, str(SCRIPT), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)


def _line(R: subprocess.Popen[str]) -> str:
    """Wait for R's next line."""
    assert R.stdout is not None
    line = R.stdout.readline()
    if not line:
        raise UnavailableError("R ended: it may lack the package glmnet")
    return line


def _read(folder: Path, p: int, k: int, version: str) -> Solution:
    """Read the path that R wrote."""
    whole = np.fromfile(folder / "path.integer", dtype=np.int32)
    fitted, entries = int(whole[0]), int(whole[1])
    if fitted != k:
        raise RuntimeError(f"glmnet returned {fitted} of {k} lambdas")
    values = np.fromfile(folder / "path.double")
    beta = sp.csc_array((values[k:], whole[2 : 2 + entries], whole[2 + entries :]), shape=(p, k))
    return Solution(sp.csr_array(beta.T), values[:k], version=f"{version} (R)")


_LAYOUTS = {"W1": "F", "W2": "F", "W3": "csc", "W4": "F", "W5": "csc", "F": "csc", "F-long": "csc", "B4": "csc"} | WIDE
PROGRAMS = [
    Program(
        "glmnet", "glmnet", "glmnet", "benchmarks.peers.glmnet:glmnet_path", _LAYOUTS,
        (1e-7, 1e-9, 1e-11, 1e-13), glmnet_path, threads=1,
        first={"W3": 1e-11, "W5": 1e-9},
    )
]  # fmt: skip
CANNOT = {"W6": "copies X as doubles, 16 GB and more"}
