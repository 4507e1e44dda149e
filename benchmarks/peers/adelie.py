"""adelie: `gaussian_cov` on X'X where rows are many, `grpnet` otherwise; all fits with both threads.

It is built for NumPy 1, so that it usually needs an interpreter of its own (`--python adelie=...`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import Program, Solution, Solve
from benchmarks.workloads import Problem


def _adelie_options(problem: Problem) -> dict[str, Any]:
    """Return what every adelie call needs: the given lambdas, all of them (early_exit stops by deviance), both threads."""
    return {
        "lmda_path": problem.lambdas,
        "early_exit": False,
        "n_threads": problem.threads,
        "progress_bar": False,
        "max_iters": 10_000_000,
    }


def _adelie_path(state: Any, problem: Problem) -> sp.csr_array:
    """Return coefficients [k, p], after checking that adelie did not end the path by itself."""
    if len(state.lmdas) != len(problem.lambdas):
        raise RuntimeError(f"adelie returned {len(state.lmdas)} of {len(problem.lambdas)} lambdas")
    return sp.csr_array(state.betas)


def adelie_cov(ad: Any, problem: Problem) -> Solve:
    """The covariance method, its Gram and centring inside the timing; its tol is absolute where grpnet's is times var y."""

    def solve(tol: float) -> Solution:
        X, y, n = problem.X, problem.y, len(problem.y)
        mean, y_mean = X.mean(axis=0), y.mean()
        gram = X.T @ X
        gram /= n
        gram -= np.outer(mean, mean)
        centred = y - y_mean
        options = _adelie_options(problem) | {"tol": tol * np.mean(centred**2)}
        state = ad.gaussian_cov(np.asfortranarray(gram), X.T @ centred / n, **options)
        coef = _adelie_path(state, problem)
        return Solution(coef, y_mean - coef @ mean)

    return solve


def _adelie_grpnet(ad: Any, matrix: Any, problem: Problem) -> Solve:
    """Solve by grpnet: penalties 1, the intercept its own; adev_tol and ddev_tol at values that never end the path."""
    family = ad.glm.gaussian if problem.loss == "squared" else ad.glm.binomial

    def solve(tol: float) -> Solution:
        options = _adelie_options(problem) | {"tol": tol, "intercept": True, "adev_tol": 1.0, "ddev_tol": 0.0}
        if problem.loss != "squared":
            options["irls_tol"] = tol
        state = ad.grpnet(matrix, family(problem.y), **options)
        return Solution(_adelie_path(state, problem), np.asarray(state.intercepts, dtype=np.float64))

    return solve


def adelie_dense(ad: Any, problem: Problem) -> Solve:
    """The naive method on Fortran-ordered columns."""
    return _adelie_grpnet(ad, ad.matrix.dense(problem.X, method="naive", n_threads=problem.threads), problem)


def adelie_sparse(ad: Any, problem: Problem) -> Solve:
    """The naive method on CSC columns; adelie knows scipy's matrix classes only, not its arrays."""
    X = sp.csc_matrix(problem.X)
    return _adelie_grpnet(ad, ad.matrix.sparse(X, method="naive", n_threads=problem.threads), problem)


def adelie_snp(ad: Any, problem: Problem) -> Solve:
    """Genotypes in adelie's own compressed .snpdat form; writing the file is outside the timing, reading it inside."""
    file = problem.scratch / "adelie.snpdat"
    handle = ad.io.snp_unphased(str(file))
    handle.write(problem.X, n_threads=problem.threads)

    def solve(tol: float) -> Solution:
        handle.read()
        matrix = ad.matrix.snp_unphased(handle, n_threads=problem.threads)
        return _adelie_grpnet(ad, matrix, problem)(tol)

    return solve


_CALL = ("adelie", "adelie", "adelie:grpnet")
_TOLERANCES = (1e-8, 1e-9, 1e-10, 1e-11, 1e-12)
_DENSE = {"W2": "F", "W4": "F", "B1": "F", "B2": "F-float64"}
_SPARSE = dict.fromkeys(("W3", "W5", "F", "F-long", "B4"), "csc")
PROGRAMS = [
    Program("adelie cov", *_CALL, {"W1": "C"}, _TOLERANCES, adelie_cov),
    Program("adelie dense", *_CALL, _DENSE, _TOLERANCES, adelie_dense, first={"W2": 1e-11}),
    Program("adelie sparse", *_CALL, _SPARSE, _TOLERANCES, adelie_sparse),
    Program("adelie snp", *_CALL, {"W6": "F", "B3": "F"}, _TOLERANCES, adelie_snp),
]
CANNOT: dict[str, str] = {}
