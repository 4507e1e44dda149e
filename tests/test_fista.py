"""Proximal gradient, accelerated or plain, ends on the same certificate at the same solutions as every other solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.penalties import Bounds4
from distlasso.solvers.proximal_gradient import ProximalGradient
from distlasso.solvers.smooth import Curvature, Point

rng = np.random.default_rng(0)
N, P = 400, 60
X = rng.standard_normal((N, P))
X[:, 1:] += 0.7 * X[:, :-1]
X = X * rng.uniform(0.1, 10.0, P) + rng.uniform(0.0, 3.0, P)
ETA = (X - X.mean(axis=0)) @ np.where(np.arange(P) < 8, rng.standard_normal(P) / X.std(axis=0), 0.0)
TARGETS = {
    "squared": ETA + rng.standard_normal(N),
    "logistic": (rng.random(N) < 1.0 / (1.0 + np.exp(-ETA))) * 1.0,
    "poisson": rng.poisson(np.exp(0.4 * ETA - 1.0)) * 1.0,
    "huber": ETA + rng.standard_normal(N),
}
WEIGHT = rng.uniform(0.5, 2.0, N) * (np.arange(N) >= 10)
FACTORS = np.where(np.isin(np.arange(P), (3, 40)), 0.0, 1.0)
LOW, HIGH = np.where(np.arange(P) % 2, -0.05, -np.inf), np.where(np.arange(P) % 3, np.inf, 0.04)
GRID: dict[str, Any] = {"n_lambdas": 15, "lambda_min_ratio": 0.02}


def same_path(path: dl.Path, other: dl.Path, *, within: float) -> None:
    """Two certified paths differ in objective by no more than their gaps; in coefficients by about the root of it."""
    assert path.converged.all() and other.converged.all()
    spread = np.asarray(abs(path.coef - other.coef).multiply(X.std(axis=0)[None, :]).max())
    assert spread <= within
    np.testing.assert_allclose(path.intercept, other.intercept, atol=20 * within)


@pytest.mark.parametrize("loss", TARGETS)
def test_fista_finds_the_path_of_coordinate_descent_for_every_loss(loss: str) -> None:
    usual = dl.fit_path(X, TARGETS[loss], loss=loss, tol=1e-9, **GRID)
    path = dl.fit_path(X, TARGETS[loss], loss=loss, solver="fista", tol=1e-9, lambdas=usual.lambdas)
    same_path(path, usual, within=1e-4)
    assert path.solver.startswith("fista: accelerated proximal gradient")


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize(
    "options",
    [
        {"l1_ratio": 0.5}, {"penalty_factors": FACTORS}, {"bounds": (LOW, HIGH)}, {"fit_intercept": False},
        {"sample_weight": WEIGHT, "offset": 0.3 * np.sin(np.arange(N))}, {"standardize": False},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_fista_takes_every_penalty_and_weight(loss: str, options: dict[str, Any]) -> None:
    usual = dl.fit_path(X, TARGETS[loss], loss=loss, tol=1e-9, **GRID, **options)
    path = dl.fit_path(X, TARGETS[loss], loss=loss, solver="fista", tol=1e-9, lambdas=usual.lambdas, **options)
    same_path(path, usual, within=3e-4)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("kind", ["float32", "int8", "csr"])
def test_fista_works_on_every_encoding_and_layout(kind: str, rows: int) -> None:
    data: Any = sp.csr_array(np.where(np.abs(X) > 5, X, 0.0)) if kind == "csr" else X.clip(-100, 100).astype(kind)
    dataset = dl.Dataset.from_arrays(data, TARGETS["logistic"], row_chunks=rows, col_chunks=3)
    usual = dl.fit_path(dataset, loss="logistic", tol=1e-9, **GRID)
    path = dl.fit_path(dataset, loss="logistic", solver="fista", tol=1e-9, lambdas=usual.lambdas)
    same_path(path, usual, within=3e-4)


@pytest.mark.parametrize("loss", ["squared", "logistic", "poisson"])
def test_fista_works_on_held_columns_where_rows_are_few(loss: str) -> None:
    few = slice(0, 40)
    usual = dl.fit_path(X[few], TARGETS[loss][few], loss=loss, tol=1e-8, n_lambdas=10, lambda_min_ratio=0.1)
    path = dl.fit_path(X[few], TARGETS[loss][few], loss=loss, solver="fista", tol=1e-8, lambdas=usual.lambdas)
    assert path.converged.all()
    assert "held" in path.solver
    np.testing.assert_allclose(path.deviance_ratio, usual.deviance_ratio, atol=1e-3)


def test_plain_proximal_gradient_is_the_special_case_without_momentum_and_takes_more_rounds() -> None:
    fast = dl.fit_path(X, TARGETS["logistic"], loss="logistic", solver="fista", **GRID)
    plain = dl.fit_path(X, TARGETS["logistic"], loss="logistic", solver="ista", **GRID)
    same_path(plain, fast, within=5e-3)
    assert plain.solver.startswith("ista: proximal gradient")
    assert plain.rounds > 1.5 * fast.rounds


def test_an_ordinary_logistic_path_needs_fewer_than_ten_rounds_a_lambda() -> None:
    Z = rng.standard_normal((1000, 100))
    for j in range(1, 100):
        Z[:, j] = 0.5 * Z[:, j - 1] + np.sqrt(0.75) * Z[:, j]
    y = (rng.random(1000) < 1.0 / (1.0 + np.exp(-Z[:, :10].sum(axis=1)))) * 1.0
    path = dl.fit_path(Z, y, loss="logistic", solver="fista", n_lambdas=50, lambda_min_ratio=1e-3)
    assert path.converged.all()
    assert path.rounds < 500


class Known:
    """Least squares in plain numpy, with a count of what was asked."""

    def __init__(self, X: Any, y: Any) -> None:
        self.X, self.y, self.n = X, y, y.size
        self.intercept, self.kinked = True, False
        self.asked: list[int] = []

    def at(self, b: Any, intercept: Any, curvature_of: Any = ()) -> tuple[Point, list[Curvature]]:
        self.asked.append(b.shape[1])
        r = self.y[:, None] - self.X @ b - intercept
        return Point(0.5 * np.mean(r * r, axis=0), self.X.T @ r / self.n, r.mean(axis=0)), []

    def gram_times(self, v: Any) -> Any:
        return self.X.T @ (self.X @ v) / self.n


def problem(scale: float = 1.0) -> tuple[Known, Any, list[Bounds4]]:
    Z = np.random.default_rng(1).standard_normal((50, 6))
    Z = (Z - Z.mean(axis=0)) * scale
    known = Known(Z, Z[:, 0] / scale + 5.0 + 0.1 * np.random.default_rng(2).standard_normal(50))
    one = np.ones(6)
    return known, np.mean(Z * Z, axis=0), [Bounds4(lam * one * scale, 0 * one, -np.inf * one, np.inf * one) for lam in (0.3, 0.1)]


def test_the_step_comes_from_a_power_iteration_that_does_not_exceed_the_largest_eigenvalue_by_much() -> None:
    known, h, penalties = problem()
    solver = ProximalGradient(accelerated=True)
    solver.admit(6)
    solver.solve(known, penalties, np.zeros((6, 2)), np.zeros(2), target=1e-10, columns=h, curvature=1.0)
    largest = np.linalg.eigvalsh(known.X.T @ known.X / known.n / np.sqrt(np.outer(h, h)))[-1]
    assert solver._eigenvalue is not None
    assert 0.95 * largest <= solver._eigenvalue <= 1.02 * largest


def test_a_lambda_that_has_arrived_leaves_the_batch() -> None:
    known, h, penalties = problem()
    solver = ProximalGradient(accelerated=True)
    solver.admit(6)
    b, intercept = solver.solve(known, penalties, np.zeros((6, 2)), np.zeros(2), target=1e-8, columns=h, curvature=1.0)
    assert known.asked[0] == 2
    assert known.asked[-1] < max(known.asked)
    np.testing.assert_allclose(intercept, known.y.mean(), atol=1e-5)
    assert np.count_nonzero(b[:, 0]) == 1


@pytest.mark.parametrize("guess", [1e-3, 1.0, 1e3])
def test_a_wrong_guess_of_the_curvature_costs_rounds_and_not_the_answer(guess: float) -> None:
    known, h, penalties = problem(scale=1e4)
    solver = ProximalGradient(accelerated=True)
    solver.admit(6)
    start = np.zeros((6, 2)), np.full(2, known.y.mean())
    b, _ = solver.solve(known, penalties, *start, target=1e-12, columns=h, curvature=guess)
    right = ProximalGradient(accelerated=False)
    right.admit(6)
    expected, _ = right.solve(known, penalties, *start, target=1e-12, columns=h, curvature=1.0)
    np.testing.assert_allclose(b * 1e4, expected * 1e4, atol=1e-5)
