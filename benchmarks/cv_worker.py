"""One program on one workload in a process of its own: its path, then its cross-validation, and what each of them cost.

`python -m benchmarks.cv_worker FOLDER TINY PROGRAM FOLDS REPEATS` prints one line of JSON; `cv.py` starts it. All programs get the
same lambdas and the same fold of every row, do not standardise, and run at their default tolerance: what is compared is each
program's cross-validation with its own path. Compile time is spent on the tiny workload of the same form. Next: `cv.py`.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.sklearn import SWEEPS, sklearn_dense, sklearn_gram, sklearn_sparse
from benchmarks.processes import peak_bytes, reset_peaks
from benchmarks.workloads import Problem, Vector, load

LAYOUTS = {"W1": "C", "W2": "F", "W3": "csc", "W4": "C", "W5": "csc", "W6": "F", "F": "csr", "F-long": "csr"}
Cost = dict[str, Any]


def deal(n: int, folds: int) -> Vector:
    """Return the fold of every row, 0 to folds - 1, the same for every program."""
    return np.random.default_rng(0).permutation(n) % folds


def timed(work: Callable[[], dict[str, int]]) -> Cost:
    """Return what one piece of work cost: seconds of the wall and of all processors, peak memory, what it says of itself."""
    reset_peaks()
    wall, cpu = time.perf_counter(), time.process_time()
    own = work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak_bytes": peak_bytes()} | own


def medians(path: Callable[[], dict[str, int]], cv: Callable[[], dict[str, int]], repeats: int) -> dict[str, Cost]:
    """Return the costs of path and cross-validation, in turn; of several the medians."""
    found: dict[str, list[Cost]] = {"path": [], "cv": []}
    for _ in range(repeats):
        found["path"].append(timed(path))
        found["cv"].append(timed(cv))
    return {name: costs[0] | {key: float(np.median([cost[key] for cost in costs])) for key in ("wall", "cpu", "peak_bytes")}
            for name, costs in found.items()}  # fmt: skip


def distlasso(problem: Problem, fold: Vector) -> tuple[Callable[[], dict[str, int]], Callable[[], dict[str, int]]]:
    """distlasso on arrays in memory; the certificates of path and folds are part of the time."""
    import distlasso as dl

    options: dict[str, Any] = {"loss": problem.loss, "lambdas": problem.lambdas, "standardize": False}

    def path() -> dict[str, int]:
        fitted = dl.fit_path(problem.X, problem.y, **options)
        return {"passes": fitted.passes, "rounds": fitted.rounds}

    def cv() -> dict[str, int]:
        chosen = dl.cross_validate(problem.X, problem.y, folds=fold, **options)
        return {"passes": chosen.path.passes, "rounds": chosen.path.rounds}

    return path, cv


def scikit_learn(problem: Problem, fold: Vector) -> tuple[Callable[[], dict[str, int]], Callable[[], dict[str, int]]]:
    """scikit-learn's path in the form that suits the data, and LassoCV with two jobs."""
    from sklearn import linear_model
    from sklearn.model_selection import PredefinedSplit

    X = sp.csc_array(problem.X) if sp.issparse(problem.X) else problem.X
    wide = problem.X.shape[1] > problem.X.shape[0]
    build = sklearn_sparse if sp.issparse(X) else sklearn_dense if wide else sklearn_gram
    if not sp.issparse(X) and X.dtype.kind != "f":
        X = np.asfortranarray(X, dtype=np.float32)
    solve = build(linear_model, replace(problem, X=X.copy() if sp.issparse(X) else X.copy(order="K")))  # centring is in place

    def path() -> dict[str, int]:
        solve(1e-4)
        return {}

    def cv() -> dict[str, int]:
        precompute = not (wide or sp.issparse(X))
        linear_model.LassoCV(
            alphas=problem.lambdas, cv=PredefinedSplit(fold), n_jobs=problem.threads, max_iter=SWEEPS, precompute=precompute,
        ).fit(X, problem.y)  # fmt: skip
        return {}

    return path, cv


def glmnet(problem: Problem, fold: Vector, repeats: int) -> dict[str, Any]:
    """R's glmnet, which has one thread; X as doubles or as a dgCMatrix."""
    folder = problem.scratch / "glmnet"
    folder.mkdir(exist_ok=True)
    parts = {"y": problem.y, "lambdas": problem.lambdas, "fold": fold + 1.0, "shape": np.array(problem.X.shape, dtype=float)}
    if sp.issparse(problem.X):
        X = sp.csc_array(problem.X)
        parts |= {"data": X.data, "indices": X.indices.astype(np.int32), "indptr": X.indptr.astype(np.int32)}
    else:
        parts["X"] = np.asfortranarray(problem.X, dtype=np.float64).T
    for name, values in parts.items():
        values.tofile(folder / f"{name}.bin")
    (folder / "loss.txt").write_text(f"{problem.loss}\n")
    script = Path(__file__).with_name("cv_glmnet.R")
    done = subprocess.run(["Rscript", script, folder, str(repeats)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(program: str, folder: Path, tiny: Path, folds: int, repeats: int) -> dict[str, Any]:
    """Return version and costs of one program on one workload."""
    layout = LAYOUTS[load(folder, "mmap").name]
    problem = load(folder, layout)
    fold = deal(len(problem.y), folds)
    if program == "glmnet":
        return glmnet(problem, fold, repeats)
    build, name = {"distlasso": (distlasso, "distlasso"), "sklearn": (scikit_learn, "scikit-learn")}[program]
    small = load(tiny, layout)
    for work in build(small, deal(len(small.y), folds)):
        work()
    return medians(*build(problem, fold), repeats) | {"version": importlib.metadata.version(name)}


def main(arguments: list[str]) -> int:
    """Measure the program named on the command line."""
    folder, tiny, program, folds, repeats = arguments
    print(json.dumps(measure(program, Path(folder), Path(tiny), int(folds), int(repeats))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
