"""The multi-task lasso: several responses under one penalty on rows of coefficients."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.penalties import Bounds4
from distlasso.solvers.multi_task import RowsForm, gap_of_rows, solve_rows

SHAPES = [(300, 30), (60, 200)]
FORMS = [np.asarray, np.asfortranarray, sp.csr_array, sp.csc_array]


def problem(n: int, p: int, q: int = 3, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.5)
    Y = 2 + X[:, :6] @ rng.standard_normal((6, q)) * np.geomspace(0.3, 5, q) + rng.standard_normal((n, q))
    return X, Y, rng.uniform(0.2, 2, n)


def coefficients(path: dl.Path, k: int) -> Any:
    return np.array([coef[[k]].toarray()[0] for coef in path.coef]).T


class Reference:
    """The problem in plain numpy, sharing no code with the package."""

    def __init__(self, X: Any, Y: Any, w: Any, *, l1_ratio: float = 1.0, standardize: bool = False, factors: Any = None) -> None:
        self.w = w / w.sum()
        self.X, self.Y = X - self.w @ X, Y - self.w @ Y
        self.scale = np.sqrt(self.w @ self.X**2) if standardize else np.ones(X.shape[1])
        self.v = np.ones(X.shape[1]) if factors is None else factors
        self.a = l1_ratio
        self.d0 = 0.5 * float(np.sum(self.w @ self.Y**2))

    def objective(self, B: Any, lam: float) -> float:
        size = self.scale * np.sqrt((B**2).sum(axis=1))
        loss = 0.5 * float(np.sum(self.w @ (self.Y - self.X @ B) ** 2))
        return loss + lam * float(self.v @ (self.a * size + (1 - self.a) / 2 * size**2))

    def violation(self, B: Any, lam: float) -> float:
        """Largest violation of the optimality conditions, relative to lambda."""
        U = self.X.T @ (self.w[:, None] * (self.Y - self.X @ B)) - (lam * (1 - self.a) * self.v * self.scale**2)[:, None] * B
        level, norm = lam * self.a * self.v * self.scale, np.sqrt((B**2).sum(axis=1))
        unit = np.divide(B, norm[:, None], out=np.zeros_like(B), where=norm[:, None] > 0)
        inside = np.sqrt(((U - level[:, None] * unit) ** 2).sum(axis=1))
        outside = np.maximum(np.sqrt((U**2).sum(axis=1)) - level, 0)
        return float(np.max(np.where(norm > 0, inside, outside)) / lam)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_solution_is_optimal_to_its_gap(shape: tuple[int, int], form: Any, l1_ratio: float) -> None:
    """Under weights, standardised, in every form and encoding; no gap is below what a sharper solve still gains."""
    X, Y, w = problem(*shape)
    reference = Reference(X, Y, w, l1_ratio=l1_ratio, standardize=True)
    options: dict[str, Any] = {"multi_task": True, "l1_ratio": l1_ratio, "sample_weight": w}
    path = dl.fit_path(form(X), Y, n_lambdas=12, lambda_min_ratio=0.02, tol=1e-6, **options)
    exact = dl.fit_path(form(X), Y, lambdas=path.lambdas, tol=1e-12, **options)
    assert path.converged.all() and exact.converged.all()
    for k, lam in enumerate(path.lambdas):
        best = coefficients(exact, k)
        assert reference.violation(best, lam) < 1e-4
        gained = reference.objective(coefficients(path, k), lam) - reference.objective(best, lam)
        assert -1e-11 * reference.d0 <= gained <= path.gap[k] * reference.d0 + 1e-11 * reference.d0
    assert path.null_deviance == pytest.approx(reference.d0)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    """Coefficients and intercepts, to 1e-6; a row is zero for all responses or for none."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, Y, _ = problem(*shape)
    path = dl.fit_path(X, Y, multi_task=True, n_lambdas=8, lambda_min_ratio=0.05, standardize=False, tol=1e-13)
    for k, lam in enumerate(path.lambdas[1:], 1):
        theirs = linear_model.MultiTaskLasso(alpha=lam, tol=1e-12, max_iter=100_000).fit(X, Y)
        B = coefficients(path, k)
        np.testing.assert_allclose(B.T, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(path.intercept[k], theirs.intercept_, atol=1e-6)
        np.testing.assert_array_equal((B != 0).any(axis=1), (B != 0).all(axis=1))
        assert path.n_active[k] == (B != 0).any(axis=1).sum()


GLMNET = """
suppressMessages(library(glmnet))
x <- as.matrix(read.csv("x.csv", header = FALSE)); y <- as.matrix(read.csv("y.csv", header = FALSE))
fit <- glmnet(x, y, family = "mgaussian", thresh = 1e-14, maxit = 1e7, lambda = c(0.5, 0.1, 0.02))
rows <- lapply(1:3, function(k) sapply(1:4, function(r) c(fit$a0[r, k], as.matrix(fit$beta[[r]])[, k])))
write.table(format(do.call(rbind, rows), digits = 15), "out.csv", sep = ",", row.names = FALSE, col.names = FALSE, quote = FALSE)
"""
# By glmnet 4.1-6 at lambda 0.1: intercepts, and the coefficients of the first five features for the first response.
STORED = ([-0.189507414085731, -0.137140733510986, 0.0686871996990601, 0.194197952321482],
          [-0.537730403850465, 0.803338651999587, -0.0379099336482443, 0.0202715977597987, 1.14745794510899])  # fmt: skip


def test_glmnets_multi_response_gaussian_example(reference: Any, tmp_path: Path) -> None:
    """Against R where it is installed, else against the numbers of an earlier run."""
    parts = np.load(reference("glmnet_MultiGaussianExample.npz"))
    path = dl.fit_path(parts["x"], parts["y"], multi_task=True, lambdas=[0.5, 0.1, 0.02], tol=1e-13)
    np.testing.assert_allclose(path.intercept[1], STORED[0], atol=1e-7)
    np.testing.assert_allclose(coefficients(path, 1)[:5, 0], STORED[1], atol=1e-7)
    for name in ("x", "y"):
        np.savetxt(tmp_path / f"{name}.csv", parts[name], delimiter=",", fmt="%.17g")
    if shutil.which("Rscript") is None:
        return
    ran = subprocess.run(["Rscript", "-e", GLMNET], cwd=tmp_path, capture_output=True, text=True, check=False)
    if "no package called" in ran.stderr:
        return
    assert ran.returncode == 0, ran.stderr
    theirs = np.loadtxt(tmp_path / "out.csv", delimiter=",").reshape(3, 21, 4)
    for k in range(3):
        np.testing.assert_allclose(path.intercept[k], theirs[k, 0], atol=1e-7)
        np.testing.assert_allclose(coefficients(path, k), theirs[k, 1:], atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_unpenalised_and_excluded_columns(shape: tuple[int, int]) -> None:
    """The first are in every model, the second in none; the certificate holds."""
    X, Y, w = problem(*shape)
    factors = np.ones(shape[1])
    factors[[3, 7]], factors[0] = 0.0, np.inf
    path = dl.fit_path(X, Y, multi_task=True, penalty_factors=factors, sample_weight=w, n_lambdas=8,
                       lambda_min_ratio=0.05, standardize=False, tol=1e-11)  # fmt: skip
    assert path.converged.all()
    kept = np.arange(1, shape[1])
    reference = Reference(X[:, kept], Y, w, factors=factors[kept])
    for k, lam in enumerate(path.lambdas):
        B = coefficients(path, k)
        assert not B[0].any() and B[3].all() and B[7].all()
        assert reference.violation(B[kept], lam) < 1e-3
    assert path.n_active[0] <= 3  # the two, and the one whose lambda is the largest, to rounding


def test_stored_types_and_layouts_give_the_same_solution() -> None:
    """int8, missing values, column chunks, and means far from 0."""
    rng = np.random.default_rng(3)
    X = rng.integers(0, 3, (80, 150)).astype(np.int8)
    Y = X[:, :4] @ rng.standard_normal((4, 3)) + rng.standard_normal((80, 3))
    options: dict[str, Any] = {"multi_task": True, "n_lambdas": 8, "lambda_min_ratio": 0.1, "tol": 1e-12}
    plain = dl.fit_path(X.astype(float), Y, **options)
    for data in (X, X.astype(float) + 1e6, dl.Dataset.from_arrays(X, col_chunks=8), dl.Dataset.from_arrays(X, row_chunks=5)):
        path = dl.fit_path(data, Y, **options)
        for k in range(8):
            np.testing.assert_allclose(coefficients(path, k), coefficients(plain, k), atol=1e-5)
    X[rng.random(X.shape) < 0.05] = -1
    held = dl.fit_path(dl.Dataset.from_arrays(X, missing_value=-1), Y, **options)
    mean = np.array([column[column >= 0].mean() for column in X.T])
    filled = dl.fit_path(np.where(X < 0, mean, X), Y, **options)
    np.testing.assert_allclose(coefficients(held, 7), coefficients(filled, 7), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_dask_runtime_gives_the_bits_of_serial(shape: tuple[int, int], cluster: dl.Cluster, tmp_path: Path) -> None:
    """Sums merge in the same order."""
    X, Y, _ = problem(*shape)
    store = dl.ingest((X, None), tmp_path / "d.zarr", chunks=(max(shape[0] // 4, 1), shape[1]))
    there = dl.fit_path(store, Y, multi_task=True, runtime=cluster, n_lambdas=10)
    here = dl.fit_path(store, Y, multi_task=True, runtime="serial", n_lambdas=10)
    np.testing.assert_array_equal(there.gap, here.gap)
    for k in range(10):
        np.testing.assert_array_equal(coefficients(there, k), coefficients(here, k))


def test_one_response_in_a_matrix_is_the_lasso() -> None:
    """Its path is an ordinary one."""
    X, Y, _ = problem(300, 30)
    one = dl.fit_path(X, Y[:, :1], multi_task=True, n_lambdas=5)
    assert one.coef.shape == (5, 30) and one.intercept.shape == (5,)


def test_a_path_is_saved_predicted_and_split(tmp_path: Path) -> None:
    """Responses share what was proved of them together."""
    X, Y, _ = problem(300, 30)
    path = dl.fit_path(X, Y, multi_task=True, n_lambdas=6)
    path.save(tmp_path / "m")
    back = dl.load(tmp_path / "m")
    assert back.gap.shape == (6,) and back.summary() == path.summary()
    np.testing.assert_array_equal(back.predict(X), path.predict(X))
    assert path.predict(X).shape == (300, 6, 3)
    assert path.output(1).gap is path.gap
    np.testing.assert_allclose(path.output(1).predict(X), path.predict(X)[:, :, 1], atol=1e-12)


def test_limits_end_the_path_early() -> None:
    """By rows that are not zero."""
    X, Y, _ = problem(60, 200)
    path = dl.fit_path(X, Y, multi_task=True, max_active=10)
    assert not path.complete and 0 < path.n_active.max() <= 10


@pytest.mark.parametrize(
    ("options", "message"),
    [({"loss": "logistic"}, "squared loss"), ({"bounds": (0, 1)}, "no bounds"), ({"solver": "admm"}, "solved by 'bcd'")],
)
def test_what_it_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    X, Y, _ = problem(60, 10)
    with pytest.raises(dl.InputError, match=message):
        dl.fit_path(X, (Y > 2) * 1.0, multi_task=True, **options)


def test_constant_responses_are_their_means() -> None:
    """All of them: with a warning and gap 0; some of them: beside the others."""
    X, Y, _ = problem(60, 10)
    with pytest.warns(dl.CertificateWarning, match="constant target"):
        path = dl.fit_path(X, np.full((60, 2), [1.0, 3.0]), multi_task=True, lambdas=[1.0])
    np.testing.assert_allclose(path.intercept, [[1.0, 3.0]])
    assert path.gap.tolist() == [0.0]
    Y[:, 1] = 7.0
    beside = dl.fit_path(X, Y, multi_task=True, n_lambdas=5)
    assert beside.converged.all()
    np.testing.assert_allclose(beside.predict(X)[:, :, 1], 7.0)


def test_the_restricted_solver_reaches_its_gap_where_columns_are_collinear() -> None:
    """Duplicated columns: the rows are not unique, the objective is."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((40, 12))
    X = np.concatenate([X, X[:, :6], X[:, :6] + 1e-9 * rng.standard_normal((40, 6))], axis=1)
    Y = X[:, :3] @ rng.standard_normal((3, 4)) + 0.1 * rng.standard_normal((40, 4))
    form = RowsForm(X.T @ X / 40, X.T @ Y / 40, float(np.sum(Y * Y)) / 40)
    penalty = Bounds4(np.full(24, 0.02), np.zeros(24), np.full(24, -np.inf), np.full(24, np.inf))
    b = solve_rows(form, penalty, np.zeros((24, 4)), target=1e-10)
    form.move(b)
    assert gap_of_rows(form.rr(b), form.u, b, penalty) <= 1e-10


def test_estimators_agree_with_scikit_learn() -> None:
    """Shapes too, for one target as well."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, Y, w = problem(300, 30)
    for targets in (Y, Y[:, :1]):
        ours = dl.MultiTaskElasticNet(alpha=0.2, l1_ratio=0.6, tol=1e-13).fit(X, targets)
        theirs = linear_model.MultiTaskElasticNet(alpha=0.2, l1_ratio=0.6, tol=1e-12, max_iter=100_000).fit(X, targets)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
        assert ours.score(X, targets) == pytest.approx(theirs.score(X, targets), abs=1e-6)
        np.testing.assert_array_equal(ours.sparse_coef_.toarray(), ours.coef_)
    stored = dl.MultiTaskLasso(alpha=0.2).fit(dl.Dataset.from_arrays(X, Y, sample_weight=w))
    np.testing.assert_allclose(stored.coef_, dl.MultiTaskLasso(alpha=0.2).fit(X, Y, w).coef_, atol=1e-9)
    with pytest.raises(ValueError, match="one target use ElasticNet"):
        dl.MultiTaskLasso().fit(X, Y[:, 0])
    with pytest.raises(dl.InputError, match="Lasso fits one target"):
        dl.Lasso().fit(dl.Dataset.from_arrays(X, Y))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("multi_task", [False, True])
def test_a_lambda_too_large_for_any_coefficient_gives_the_means(multi_task: bool, shape: tuple[int, int]) -> None:
    """Nothing is admitted, and the certificate holds all the same."""
    X, Y, _ = problem(*shape)
    path = dl.fit_path(X, Y, multi_task=multi_task, lambdas=[1e3])
    assert path.converged.all() and not any(coef.nnz for coef in path.coef)
    np.testing.assert_allclose(path.intercept[0], Y.mean(axis=0))
