"""Logistic, Poisson and Huber fits of real data against programs that nobody here wrote, by the objective they reach.

R's glmnet runs at ``thresh=1e-14`` where it is installed; elsewhere the numbers of an earlier run serve
(``data/glmnet_runs.npz``; ``python tests/reference/test_glm_references.py`` makes them anew).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import distlasso as dl

Array = Any
HERE = Path(__file__).parent
STORED = HERE / "data" / "glmnet_runs.npz"
TOL = 1e-10
EXCESS = 1e-6  # of D0, over the objective of another program

GLMNET = """
suppressMessages(library(glmnet))
glmnet.control(fdev = 0, devmax = 1)
arg <- commandArgs(TRUE)
x <- Matrix::readMM("x.mtx"); y <- scan("y.txt", quiet = TRUE); lambda <- scan("lambda.txt", quiet = TRUE)
x <- if (length(x@x) < 0.3 * length(x)) as(x, "CsparseMatrix") else as.matrix(x)
fit <- glmnet(x, y, family = arg[1], alpha = as.numeric(arg[2]), lambda = lambda, standardize = TRUE, thresh = 1e-14, maxit = 1e8)
stopifnot(length(fit$lambda) == length(lambda))
write.table(format(as.matrix(coef(fit)), digits = 17), "coef.txt", quote = FALSE, row.names = FALSE, col.names = FALSE)
"""


def value(loss: str, y: Array, eta: Array, delta: float = 1.35) -> Array:
    """Loss per row in plain numpy, above no particular minimum."""
    if loss == "logistic":
        return np.logaddexp(0, eta) - y * eta
    if loss == "poisson":
        return np.exp(eta) - y * eta
    size = np.abs(y - eta)
    return np.where(size <= delta, size**2 / 2, delta * size - delta**2 / 2)


@dataclass(frozen=True)
class Problem:
    """One data set and loss; ``standardize`` is on, the intercept free."""

    loss: str
    X: Array
    y: Array
    l1_ratio: float = 1.0

    @property
    def scale(self) -> Array:
        mean = np.asarray(self.X.mean(axis=0)).ravel()
        square = self.X.multiply(self.X) if sp.issparse(self.X) else (self.X - mean) ** 2
        second = np.asarray(square.mean(axis=0)).ravel()
        return np.sqrt(second - mean**2 if sp.issparse(self.X) else second)

    def objective(self, b0: float, b: Array, lam: float) -> float:
        t = self.scale * b
        penalty = self.l1_ratio * np.abs(t).sum() + (1 - self.l1_ratio) / 2 * (t @ t)
        return float(np.mean(value(self.loss, self.y, b0 + self.X @ b)) + lam * penalty)


def binomial(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("glmnet_BinomialExample.npz"))
    return parts["x"], parts["y"].astype(float).ravel()


def poisson(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("glmnet_PoissonExample.npz"))
    return parts["x"], parts["y"].astype(float).ravel()


def colon(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("colon_alon.npz"))
    return parts["X"], (parts["y"] == "t").astype(float)


def leukemia(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("leukemia_golub.npz"))
    return parts["X"].astype(float), (parts["y"] == "AML").astype(float)


def csr(parts: Any) -> Array:
    return sp.csr_array((parts["data"].astype(float), parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))


def a9a(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("a9a.npz"))
    return csr(parts), (parts["y"] > 0).astype(float)


def we8there(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("we8there.npz"))
    return csr(parts), parts["ratings"][:, list(parts["rating_names"]).index("Overall")].astype(float)


@dataclass(frozen=True)
class Run:
    """A path that glmnet is asked for."""

    data: Callable[[Any], tuple[Array, Array]]
    loss: str
    l1_ratio: float
    smallest: float  # of lambda, relative to the largest

    def problem(self, find: Any) -> Problem:
        X, y = self.data(find)
        return Problem(self.loss, X, y, self.l1_ratio)


RUNS = {
    "BinomialExample": Run(binomial, "logistic", 1.0, 1e-2),
    "BinomialExample, elastic net": Run(binomial, "logistic", 0.5, 1e-2),
    "PoissonExample": Run(poisson, "poisson", 1.0, 1e-3),
    "PoissonExample, elastic net": Run(poisson, "poisson", 0.5, 1e-3),
    "colon": Run(colon, "logistic", 1.0, 0.05),
    "leukemia": Run(leukemia, "logistic", 1.0, 0.05),
    "a9a": Run(a9a, "logistic", 1.0, 1e-2),
    "we8there": Run(we8there, "poisson", 1.0, 0.02),
}
FAMILIES = {"logistic": "binomial", "poisson": "poisson"}


def grid(problem: Problem, smallest: float) -> Array:
    """Six lambdas from just below the largest useful one, by its formula."""
    slope = np.asarray(problem.X.T @ (problem.y - problem.y.mean())).ravel() / problem.y.size
    varying = problem.scale > 1e-9
    largest = np.max(np.abs(slope[varying]) / problem.scale[varying]) / problem.l1_ratio
    return largest * np.geomspace(0.8, smallest, 6)


def run_glmnet(problem: Problem, lambdas: Array, folder: Path) -> tuple[Array, Array]:
    """Intercepts [k] and coefficients [k, p] by R."""
    scipy.io.mmwrite(folder / "x.mtx", sp.coo_matrix(problem.X), precision=17)
    np.savetxt(folder / "y.txt", problem.y, fmt="%.17g")
    np.savetxt(folder / "lambda.txt", lambdas, fmt="%.17g")
    (folder / "fit.R").write_text(GLMNET)
    command = ["Rscript", "fit.R", FAMILIES[problem.loss], str(problem.l1_ratio)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    coef = np.loadtxt(folder / "coef.txt").T
    return coef[:, 0], coef[:, 1:]


def has_glmnet() -> bool:
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(glmnet)"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def glmnet() -> bool:
    """Whether R's glmnet can run; its absence is printed."""
    present = has_glmnet()
    if not present:
        print("R's glmnet is not installed: the numbers of an earlier run (tests/reference/data/glmnet_runs.npz) serve")
    return present


def stored(name: str) -> tuple[Array, Array, Array]:
    parts = np.load(STORED)
    coef = sp.csr_array((parts[f"{name}/data"], parts[f"{name}/indices"], parts[f"{name}/indptr"]), shape=parts[f"{name}/shape"])
    return parts[f"{name}/lambda"], parts[f"{name}/intercept"], coef.toarray()


def no_worse(problem: Problem, path: dl.Path, lambdas: Array, intercept: Array, coef: Array) -> None:
    """Our objective is within ``EXCESS`` of D0 of another program's at every lambda."""
    assert path.converged.all()
    for k, lam in enumerate(np.sort(lambdas)[::-1]):
        theirs = problem.objective(intercept[k], coef[k], lam)
        ours = problem.objective(path.intercept[k], path.coef[[k]].toarray()[0], lam)
        assert ours - theirs <= EXCESS * path.null_deviance


@pytest.mark.parametrize("solver", ["bcd"])
@pytest.mark.parametrize("name", RUNS)
def test_objectives_are_those_of_glmnet(name: str, solver: str, glmnet: bool, reference: Any, tmp_path: Path) -> None:
    problem = RUNS[name].problem(reference)
    lambdas, intercept, coef = stored(name)
    if glmnet:
        intercept, coef = run_glmnet(problem, lambdas, tmp_path)
    path = dl.fit_path(problem.X, problem.y, loss=problem.loss, lambdas=lambdas, l1_ratio=problem.l1_ratio, tol=TOL, solver=solver)
    no_worse(problem, path, lambdas, intercept, coef)
    for k in range(lambdas.size):  # nor is glmnet's far above ours: it is the same problem
        ours = problem.objective(path.intercept[k], path.coef[[k]].toarray()[0], lambdas[k])
        assert problem.objective(intercept[k], coef[k], lambdas[k]) - ours <= 1e-5 * path.null_deviance


@pytest.mark.parametrize(
    "name", ["BinomialExample", "PoissonExample", "BinomialExample, elastic net", "PoissonExample, elastic net"]
)
def test_coefficients_are_those_of_glmnet_where_they_are_unique(name: str, reference: Any) -> None:
    problem = RUNS[name].problem(reference)
    lambdas, intercept, coef = stored(name)
    path = dl.fit_path(problem.X, problem.y, loss=problem.loss, lambdas=lambdas, l1_ratio=problem.l1_ratio, tol=1e-12)
    np.testing.assert_allclose(path.coef.toarray() * problem.scale, coef * problem.scale, atol=1e-5)
    np.testing.assert_allclose(path.intercept, intercept, atol=1e-5)


def unscaled(problem: Problem, lam: float, tol: float = TOL, **options: Any) -> dl.Path:
    return dl.fit_path(problem.X, problem.y, loss=problem.loss, lambdas=[lam], standardize=False, tol=tol, **options)


def excess(problem: Problem, path: dl.Path, intercept: float, coef: Array, lam: float, l1_ratio: float) -> float:
    """Our objective less another program's, relative to D0, without standardisation."""

    def objective(b0: float, b: Array) -> float:
        penalty = l1_ratio * np.abs(b).sum() + (1 - l1_ratio) / 2 * (b @ b)
        return float(np.mean(value(problem.loss, problem.y, b0 + problem.X @ b)) + lam * penalty)

    ours = objective(path.intercept[0], path.coef.toarray()[0])
    return (ours - objective(intercept, np.asarray(coef))) / path.null_deviance


@pytest.mark.parametrize(
    ("name", "l1_ratio"),
    [("colon", 0.0), ("colon", 0.5), ("a9a", 1.0), ("BinomialExample", 0.0), ("BinomialExample", 0.5), ("BinomialExample", 1.0)],
)
def test_logistic_objectives_are_those_of_scikit_learn(name: str, l1_ratio: float, reference: Any) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    problem = RUNS[name].problem(reference)
    lam = 0.02 if name != "colon" else 20.0 if l1_ratio == 1.0 else 100.0
    X = problem.X.toarray() if sp.issparse(problem.X) else problem.X
    if l1_ratio == 0.0:
        model = linear.LogisticRegression(C=1 / (lam * problem.y.size), l1_ratio=0.0, solver="newton-cg", tol=1e-12, max_iter=1000)
    else:
        model = linear.LogisticRegression(C=1 / (lam * problem.y.size), l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, problem.y)
    path = unscaled(problem, lam, l1_ratio=l1_ratio)
    assert path.converged.all()
    assert excess(problem, path, model.intercept_[0], model.coef_[0], lam, l1_ratio) <= EXCESS


def test_poisson_objectives_are_those_of_scikit_learn(reference: Any) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    problem = RUNS["PoissonExample"].problem(reference)
    for lam in (1.0, 0.01):
        model = linear.PoissonRegressor(alpha=lam, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(problem.X, problem.y)
        path = unscaled(problem, lam, l1_ratio=0.0)
        assert abs(excess(problem, path, model.intercept_, model.coef_, lam, 0.0)) <= EXCESS
        np.testing.assert_allclose(path.coef.toarray()[0], model.coef_, atol=1e-4)


@pytest.mark.parametrize("name", ["BinomialExample", "PoissonExample"])
def test_unpenalised_coefficients_are_those_of_statsmodels(name: str, reference: Any) -> None:
    api = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    problem = RUNS[name].problem(reference)
    X, y = problem.X[:, :6], problem.y
    family = {"logistic": api.families.Binomial(), "poisson": api.families.Poisson()}[problem.loss]
    theirs = api.GLM(y, api.add_constant(X), family=family).fit(tol=1e-14, maxiter=100).params
    path = dl.fit_path(X, y, loss=problem.loss, lambdas=[1.0], penalty_factors=np.zeros(6), tol=1e-12)
    np.testing.assert_allclose(path.coef.toarray()[0], theirs[1:], rtol=1e-6, atol=1e-8)
    assert path.intercept[0] == pytest.approx(theirs[0], rel=1e-6)


@pytest.mark.parametrize("name", ["BinomialExample", "PoissonExample"])
def test_objectives_are_those_of_statsmodels(name: str, reference: Any) -> None:
    api = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    problem = RUNS[name].problem(reference)
    model = {"logistic": api.Logit, "poisson": api.Poisson}[problem.loss]
    lam, n = 0.05, problem.y.size
    alpha = np.append(0.0, np.full(problem.X.shape[1], lam * n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        design = np.column_stack([np.ones(n), problem.X])
        fit = model(problem.y, design).fit_regularized(alpha=alpha, disp=0, acc=1e-14, maxiter=2000)
    assert abs(excess(problem, unscaled(problem, lam), fit.params[0], fit.params[1:], lam, 1.0)) <= 1e-5
    assert excess(problem, unscaled(problem, lam), fit.params[0], fit.params[1:], lam, 1.0) <= EXCESS


@pytest.mark.parametrize("name", ["leukemia", "colon", "BinomialExample"])
def test_objectives_are_those_of_celer(name: str, reference: Any) -> None:
    celer = pytest.importorskip("celer", reason="celer is not installed")
    problem = RUNS[name].problem(reference)
    X, y = problem.X / problem.scale, problem.y
    largest = float(np.max(np.abs(X.T @ (y - 0.5)))) / y.size
    for lam in (0.3 * largest, 0.05 * largest):
        model = celer.LogisticRegression(C=1 / (lam * y.size), tol=1e-12, max_iter=200).fit(X, 2 * y - 1)
        path = dl.fit_path(X, y, loss="logistic", lambdas=[lam], standardize=False, fit_intercept=False, tol=TOL)
        assert path.converged.all()
        assert abs(excess(Problem("logistic", X, y), path, 0.0, model.coef_[0], lam, 1.0)) <= EXCESS


@pytest.mark.parametrize("data", [we8there, poisson])
@pytest.mark.parametrize("delta", [0.3, 1.35])
def test_huber_objectives_are_those_of_skglm(data: Any, delta: float, reference: Any) -> None:
    pytest.importorskip("skglm", reason="skglm is not installed")
    from skglm.datafits import Huber
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD

    X, y = data(reference)
    solver = AndersonCD(tol=1e-10, fit_intercept=True, max_iter=200, max_epochs=100_000)
    design = np.asfortranarray(X) if not sp.issparse(X) else sp.csc_matrix(X)
    w, *_ = solver.solve(design, y, Huber(delta), L1(0.01))
    path = dl.fit_path(X, y, loss=dl.Huber(delta), lambdas=[0.01], standardize=False, tol=TOL)
    assert path.converged.all()

    def objective(b0: float, b: Array) -> float:
        return float(np.mean(value("huber", y, b0 + X @ b, delta)) + 0.01 * np.abs(b).sum())

    ours = objective(path.intercept[0], path.coef.toarray()[0])
    assert abs(ours - objective(w[-1], w[:-1])) <= EXCESS * path.null_deviance


def store(folder: Path) -> None:
    """Run glmnet on everything and keep what it says."""
    import tempfile

    def find(name: str) -> Path:
        own = HERE / "data" / name
        return own if own.exists() else folder / name

    parts: dict[str, Array] = {}
    for name, run in RUNS.items():
        problem = run.problem(find)
        lambdas = grid(problem, run.smallest)
        with tempfile.TemporaryDirectory() as scratch:
            intercept, coef = run_glmnet(problem, lambdas, Path(scratch))
        sparse = sp.csr_array(coef)
        parts |= {f"{name}/lambda": lambdas, f"{name}/intercept": intercept, f"{name}/data": sparse.data,
                  f"{name}/indices": sparse.indices, f"{name}/indptr": sparse.indptr,
                  f"{name}/shape": np.array(coef.shape)}  # fmt: skip
    np.savez_compressed(STORED, **parts)


if __name__ == "__main__":
    store(Path(sys.argv[1]))
