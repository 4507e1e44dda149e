"""How each program is called: one small function a form, one entry in `PROGRAMS`.

A function receives the imported module and a problem, does what does not belong to the fit (wrapping X, writing a side file),
and returns `solve(tol) -> Solution`, which alone is timed. All fit an intercept, none standardises, all get the same lambdas. The
reason for each setting stands beside it. Next: `worker.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from benchmarks.workloads import Problem, Vector


@dataclass(frozen=True, slots=True)
class Solution:
    """A path in the original units of X."""

    coef: sp.csr_array  # [k, p]
    intercept: Vector  # [k]
    passes: int | None = None
    """Sweeps over the data as the program counts them; None if it does not."""


Solve: TypeAlias = Callable[[float], Solution]


@dataclass(frozen=True, slots=True)
class Program:
    """One form of one program."""

    name: str
    peer: str
    """What `--peers` calls it."""
    distribution: str
    """Installed name, for its version."""
    entry: str
    """"module:function": the module is imported and handed to `build`, the function must be there."""
    layouts: dict[str, str]
    """Workloads it is compared on, each with the memory layout of X it is fastest with (`workloads.load`)."""
    tolerances: tuple[float, ...]
    """Loosest first; the loosest that reaches matched accuracy is the one timed."""
    build: Callable[[Any, Problem], Solve]


def distlasso_path(dl: Any, problem: Problem) -> Solve:
    """distlasso on arrays in memory; its certificate is part of the time."""

    def solve(tol: float) -> Solution:
        options = {"loss": problem.loss, "lambdas": problem.lambdas, "standardize": False, "tol": tol}
        path = dl.fit_path(problem.X, problem.y, **options)
        return Solution(path.coef, path.intercept, path.passes)

    return solve


# scikit-learn stops when its gap is below tol * ||y||^2 (y centred), that is gap / D0 <= 2 tol here. Its default of 1,000
# sweeps a lambda is not always enough at these tolerances.
SWEEPS = 100_000


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


_DISTLASSO = {"W1": "C", "W2": "F", "W3": "csc", "W4": "C", "W5": "csc", "W6": "F", "F": "csr", "F-long": "csr"}
_SKLEARN = (1e-5, 1e-6, 1e-7, 1e-8)
_ADELIE = (1e-8, 1e-9, 1e-10, 1e-11, 1e-12)
_SK, _AD = ("sklearn", "scikit-learn", "sklearn.linear_model:enet_path"), ("adelie", "adelie", "adelie:grpnet")

PROGRAMS = [
    Program("distlasso", "distlasso", "distlasso", "distlasso:fit_path", _DISTLASSO, (1e-6, 1e-7, 1e-8), distlasso_path),
    Program("scikit-learn Gram", *_SK, {"W1": "C"}, _SKLEARN, sklearn_gram),
    Program("scikit-learn dense", *_SK, {"W2": "F", "W6": "F-float32"}, _SKLEARN, sklearn_dense),
    Program("scikit-learn sparse", *_SK, dict.fromkeys(("W3", "F", "F-long"), "csc"), _SKLEARN, sklearn_sparse),
    Program("adelie cov", *_AD, {"W1": "C"}, _ADELIE, adelie_cov),
    Program("adelie dense", *_AD, {"W2": "F", "W4": "F"}, _ADELIE, adelie_dense),
    Program("adelie sparse", *_AD, dict.fromkeys(("W3", "W5", "F", "F-long"), "csc"), _ADELIE, adelie_sparse),
    Program("adelie snp", *_AD, {"W6": "F"}, _ADELIE, adelie_snp),
]
