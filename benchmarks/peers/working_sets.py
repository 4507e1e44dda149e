"""celer and skglm: working sets and Anderson acceleration, compiled by Cython and numba; one thread each.

celer has no intercept: X is centred in place, inside the timing, or by its offsets where X is sparse. skglm fits its own.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import WIDE, Program, Solution, Solve
from benchmarks.workloads import Problem

_OUTER = {"max_iter": 200, "max_epochs": 100_000}  # the defaults end some lambdas before their tolerance


def celer_path(celer: Any, problem: Problem) -> Solve:
    """celer on centred columns; it stops when the gap is below tol * ||y||^2 / n."""

    def solve(tol: float) -> Solution:
        X, y_mean = problem.X, problem.y.mean()
        mean = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
        offsets = {}
        if sp.issparse(X):
            offsets = {"X_offset": mean, "X_scale": np.ones(len(mean))}
        else:
            X -= mean.astype(X.dtype)
        y = (problem.y - y_mean).astype(X.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            b = celer.celer_path(X, y, pb="lasso", alphas=problem.lambdas, tol=tol, **offsets, **_OUTER)[1]
        b = np.asarray(b, dtype=np.float64)
        return Solution(sp.csr_array(b.T), y_mean - mean @ b)

    return solve


def skglm_path(skglm: Any, problem: Problem) -> Solve:
    """skglm's AndersonCD, or its prox-Newton for logistic loss; tol bounds the violation of the subgradient."""
    from skglm.datafits import Logistic, Quadratic
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD, ProxNewton

    def solve(tol: float) -> Solution:
        squared = problem.loss == "squared"
        y = problem.y if squared else 2.0 * problem.y - 1.0
        make, datafit = (AndersonCD, Quadratic()) if squared else (ProxNewton, Logistic())
        solver = make(tol=tol, fit_intercept=True, warm_start=True, max_iter=_OUTER["max_iter"])
        penalty, X = L1(float(problem.lambdas[0])), problem.X
        w, eta, coefs = np.zeros(X.shape[1] + 1), np.zeros(len(y)), []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for lam in problem.lambdas:
                penalty.alpha = float(lam)
                w = solver.solve(X, y, datafit, penalty, w, eta)[0]  # it writes to what it is given
                eta = np.asarray(X @ w[:-1] + w[-1])
                coefs.append(w.copy())
        found = np.array(coefs)
        return Solution(sp.csr_array(found[:, :-1]), found[:, -1].copy())

    return solve


_CELER, _SKGLM = ("celer", "celer", "celer:celer_path"), ("skglm", "skglm", "skglm:Lasso")
_CELER_TOLERANCES, _SKGLM_TOLERANCES = (1e-5, 1e-6, 1e-7), (1e-4, 1e-5, 1e-6, 1e-7)
_DENSE, _SPARSE = {"W1": "F", "W2": "F"} | WIDE, dict.fromkeys(("W3", "F", "F-long", "B4"), "csc")
PROGRAMS = [
    Program("celer", *_CELER, _DENSE, _CELER_TOLERANCES, celer_path, threads=1),
    Program("celer float32", *_CELER, {"W6": "F-float32"}, (1e-5, 1e-6), celer_path, threads=1),
    Program("celer sparse", *_CELER, _SPARSE, _CELER_TOLERANCES, celer_path, threads=1),
    Program("skglm", *_SKGLM, {"W1": "F", "W2": "F", "W4": "F", "B2": "F-float64"}, _SKGLM_TOLERANCES, skglm_path, threads=1),
    Program("skglm sparse", *_SKGLM, _SPARSE | {"W5": "csc"}, _SKGLM_TOLERANCES, skglm_path, threads=1),
]
CELER_CANNOT = dict.fromkeys(("W4", "W5"), "its logistic loss has no intercept")
_AFAR = "did not end on a small version of B1 in 300 s: its intercept crawls where columns are far from zero"
SKGLM_CANNOT = {"W6": "has no integer columns, and compiles for float64: 8 GB", "B1": _AFAR, "B3": _AFAR}
