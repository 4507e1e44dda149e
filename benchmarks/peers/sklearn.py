"""scikit-learn: `enet_path`, on X'X where rows are many, on the columns otherwise.

It stops when its gap is below tol * ||y||^2 (y centred), that is gap / D0 <= 2 tol in the terms of the table.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import WIDE, Program, Solution, Solve
from benchmarks.workloads import Problem, Vector

SWEEPS = 100_000  # its default of 1,000 sweeps a lambda is not always enough at these tolerances


def _enet_path(linear_model: Any, X: Any, y: Vector, problem: Problem, **options: Any) -> Vector:
    """Return coefficients [p, k] of scikit-learn's enet_path, quiet about what the accuracy table shows anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = linear_model.enet_path(
            X, y, l1_ratio=1.0, alphas=problem.lambdas, max_iter=SWEEPS, check_input=False, **options
        )
    return np.asarray(fitted[1], dtype=np.float64)


def sklearn_gram(linear_model: Any, problem: Problem) -> Solve:
    """Coordinate descent on X'X, centred by algebra: with check_input=False the rows of X are then never read."""

    def solve(tol: float) -> Solution:
        X, y = problem.X, problem.y
        mean, y_mean = X.mean(axis=0), y.mean()
        gram = X.T @ X
        gram -= len(y) * np.outer(mean, mean)
        centred = y - y_mean
        b = _enet_path(linear_model, X, centred, problem, precompute=gram, Xy=X.T @ centred, tol=tol)
        return Solution(sp.csr_array(b.T), y_mean - mean @ b)

    return solve


def sklearn_dense(linear_model: Any, problem: Problem) -> Solve:
    """Coordinate descent on the columns: enet_path has no intercept, so X is centred in place, inside the timing."""

    def solve(tol: float) -> Solution:
        X, y_mean = problem.X, problem.y.mean()
        mean = X.mean(axis=0, dtype=np.float64)
        X -= mean.astype(X.dtype)
        y = (problem.y - y_mean).astype(X.dtype)
        b = _enet_path(linear_model, X, y, problem, precompute=False, tol=tol)
        return Solution(sp.csr_array(b.T), y_mean - mean @ b)

    return solve


def sklearn_sparse(linear_model: Any, problem: Problem) -> Solve:
    """Coordinate descent on CSC columns, centred by the offsets that Lasso.fit passes too."""

    def solve(tol: float) -> Solution:
        X, y_mean = problem.X, problem.y.mean()
        mean = np.asarray(X.mean(axis=0)).ravel()
        offsets = {"X_offset": mean, "X_scale": np.ones(len(mean))}
        b = _enet_path(linear_model, X, problem.y - y_mean, problem, tol=tol, **offsets)
        return Solution(sp.csr_array(b.T), y_mean - mean @ b)

    return solve


_CALL = ("sklearn", "scikit-learn", "sklearn.linear_model:enet_path")
_TOLERANCES = (1e-5, 1e-6, 1e-7, 1e-8)
_SPARSE = dict.fromkeys(("W3", "F", "F-long", "B4"), "csc")
PROGRAMS = [
    Program("scikit-learn Gram", *_CALL, {"W1": "C"}, _TOLERANCES, sklearn_gram),
    Program("scikit-learn dense", *_CALL, {"W2": "F"} | WIDE, _TOLERANCES, sklearn_dense, threads=1),
    Program("scikit-learn float32", *_CALL, {"W6": "F-float32"}, (1e-5, 1e-6), sklearn_dense, threads=1),
    Program("scikit-learn sparse", *_CALL, _SPARSE, _TOLERANCES, sklearn_sparse, threads=1),
]
_NO_LOGISTIC = "has no logistic path: liblinear penalises the intercept, saga takes hundreds of sweeps a lambda"
CANNOT = dict.fromkeys(("W4", "W5"), _NO_LOGISTIC)
