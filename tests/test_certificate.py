"""The certificate: an upper bound that grows when a solution is broken, computed apart from the solvers."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distlasso as dl
from distlasso import certificate
from distlasso.certificate import Free, duality_gap, project
from distlasso.penalties import Bounds4, ElasticNet
from distlasso.solvers import block_coordinate

N, P = 120, 25


def problem(seed: int, l1_ratio: float = 1.0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, P))
    y = X[:, :4] @ [2.0, -1.0, 1.0, 0.5] + rng.standard_normal(N)
    unbounded = np.full(P, np.inf)
    penalty = ElasticNet(l1_ratio, np.ones(P), np.ones(P), -unbounded, unbounded).at(0.1)
    return X - X.mean(axis=0), y - y.mean(), penalty


def solution(X: Any, y: Any, l1_ratio: float) -> Any:
    return dl.fit_path(X, y, lambdas=[0.1], l1_ratio=l1_ratio, standardize=False, tol=1e-13).coef.toarray()[0]


def gap_of(X: Any, y: Any, b: Any, penalty: Any, residual: Any = None) -> float:
    r = y - X @ b if residual is None else residual
    return duality_gap(float(r @ r) / N, X.T @ r / N, b, penalty)[0]


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_an_optimal_solution_has_no_gap(l1_ratio: float) -> None:
    X, y, penalty = problem(0, l1_ratio)
    assert gap_of(X, y, solution(X, y, l1_ratio), penalty) < 1e-10


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("how", ["moved", "dropped", "stale"])
def test_a_broken_solution_has_a_gap(l1_ratio: float, how: str) -> None:
    X, y, penalty = problem(1, l1_ratio)
    b = solution(X, y, l1_ratio)
    broken, residual = b.copy(), None
    if how == "moved":
        broken[np.flatnonzero(b)[0]] *= 1.05
    elif how == "dropped":
        broken[np.flatnonzero(b)[-1]] = 0.0
    else:
        residual = (y - X @ b) + 0.05 * X[:, 0]
    assert gap_of(X, y, broken, penalty, residual) > 1e-6


@given(seed=st.integers(0, 2**31), l1_ratio=st.sampled_from([0.0, 0.2, 0.9, 1.0]), size=st.floats(0, 3))
def test_the_gap_bounds_the_true_suboptimality_of_any_coefficients(seed: int, l1_ratio: float, size: float) -> None:
    X, y, penalty = problem(2, l1_ratio)
    best = solution(X, y, l1_ratio)
    b = best + size * np.random.default_rng(seed).standard_normal(P)

    def objective(b: Any) -> float:
        return float(0.5 * np.mean((y - X @ b) ** 2) + penalty.value(b))

    assert gap_of(X, y, b, penalty) >= objective(b) - objective(best) - 1e-9


@given(seed=st.integers(0, 2**31), soft=st.booleans(), size=st.floats(-4, 3))
def test_the_gap_is_taken_where_no_other_scale_of_the_residual_gives_a_smaller_one(seed: int, soft: bool, size: float) -> None:
    """Of penalties that are linear, quadratic or bounded, and of slopes that jump where the bounds are reached."""
    rng = np.random.default_rng(seed)
    l1, l2 = rng.choice([0.0, 0.1, 1.0], P), soft * rng.choice([0.0, 1e-9, 0.1, 1.0], P)
    penalty = Bounds4(l1, l2, -rng.choice([0.0, 0.1, np.inf], P), rng.choice([0.0, 0.1, np.inf], P))
    b = np.clip(rng.standard_normal(P), penalty.low, penalty.high)
    u, rr = rng.standard_normal(P) * rng.choice([0.0, 1.0, 10.0], P), 10.0**size
    scales = np.linspace(0.0, 1.0, 300)
    others = [t * (rr + u @ b) - 0.5 * t * t * rr - penalty.conjugate(t * u).sum() for t in scales]
    gap, primal = duality_gap(rr, u, b, penalty)
    assert gap <= primal - max(others) + 1e-12 * (primal + rr)


def test_unpenalised_columns_are_refitted_exactly_before_the_gap_is_taken() -> None:
    X, y, _ = problem(3)
    columns = np.array([2, 5])
    free = Free(columns, X.T @ X[:, columns] / N)
    b = np.random.default_rng(0).standard_normal(P)
    r = y - X @ b
    u, rr, step = project(X.T @ r / N, float(r @ r) / N, free)
    moved = r - X[:, columns] @ step
    np.testing.assert_allclose(u, X.T @ moved / N, atol=1e-12)
    assert rr == pytest.approx(float(moved @ moved) / N)
    assert np.abs(u[columns]).max() == 0.0


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("bound", [np.inf, 0.6, 0.0])
def test_the_gap_that_solvers_stop_by_is_that_of_the_certificate(l1_ratio: float, bound: float) -> None:
    rng = np.random.default_rng(7)
    high = np.where(rng.random(P) < 0.5, np.inf, bound)
    penalty = ElasticNet(l1_ratio, np.ones(P), np.where(rng.random(P) < 0.2, 0.0, 1.0), -high[::-1], high).at(0.1)
    for scale in (0.05, 0.2, 2.0):
        u, b, rr = scale * rng.standard_normal(P), np.clip(rng.standard_normal(P), penalty.low, penalty.high), rng.random()
        b[rng.random(P) < 0.5] = 0.0
        free = penalty.is_free() & ~penalty.is_pressed(u, b)
        charge = float(np.sum(np.abs(u[free]) * (1.0 + np.abs(b[free]))))
        exact = duality_gap(rr, np.where(free, 0.0, u), b, penalty)[0] + charge
        assert block_coordinate.restricted_gap(u, rr, b, penalty) == pytest.approx(exact, rel=1e-12, abs=1e-15)
    u[0] = np.nan
    assert not block_coordinate.restricted_gap(u, rr, b, penalty) <= 1.0


def test_the_printed_gap_of_a_path_is_that_of_the_data() -> None:
    X, y, _ = problem(4)
    path = dl.fit_path(X, y, standardize=False, n_lambdas=12)
    for k, lam in enumerate(path.lambdas):
        unbounded = np.full(P, np.inf)
        penalty = ElasticNet(1.0, np.ones(P), np.ones(P), -unbounded, unbounded).at(float(lam))
        mine = gap_of(X, y, path.coef[[k]].toarray()[0], penalty) / (0.5 * np.mean(y**2))
        assert mine == pytest.approx(path.gap[k], abs=1e-9)


def test_a_gap_above_the_tolerance_is_reported_and_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    from distlasso.coordinator import squared

    def lazy(form: Any, penalty: Any, b: Any, **_: Any) -> Any:
        return type("Solved", (), {"b": b})()

    monkeypatch.setattr(squared, "solve", lazy)
    X, y, _ = problem(5)
    with pytest.warns(dl.CertificateWarning, match="stopped above tol"):
        path = dl.fit_path(X, y, lambdas=[0.2, 0.1])
    assert not path.converged.any()
    assert (path.gap > 1e-3).all()


def test_the_certificate_shares_no_code_with_the_solvers() -> None:
    tree = ast.parse(Path(certificate.__file__).read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any(name and name.startswith(("distlasso.solvers", "distlasso.kernels")) for name in names)
