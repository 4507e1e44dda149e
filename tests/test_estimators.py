"""The estimators are scikit-learn estimators, and agree with scikit-learn's own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import linear_model  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import distlasso as dl  # noqa: E402


@parametrize_with_checks([dl.Lasso(alpha=0.01), dl.ElasticNet(alpha=0.01, tol=1e-13)])
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def problem(seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 30)) * rng.integers(0, 2, (120, 30))
    y = 2 + X[:, :4] @ [3.0, -2.0, 1.0, 0.5] + rng.standard_normal(120)
    return X, y, rng.uniform(0.2, 2, 120)


@pytest.mark.parametrize("form", ["dense", "csr", "csc", "float32"])
@pytest.mark.parametrize("options", [{}, {"positive": True}, {"fit_intercept": False}])
def test_lasso_agrees_with_scikit_learn(form: str, options: dict[str, Any]) -> None:
    X, y, weight = problem()
    given = {"dense": X, "csr": sp.csr_array(X), "csc": sp.csc_array(X), "float32": X.astype(np.float32)}[form]
    ours = dl.Lasso(alpha=0.1, tol=1e-12, **options).fit(given, y, sample_weight=weight)
    theirs = linear_model.Lasso(alpha=0.1, tol=1e-12, max_iter=100_000, **options).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)


def test_elastic_net_agrees_with_scikit_learn() -> None:
    X, y, _ = problem(1)
    ours = dl.ElasticNet(alpha=0.2, l1_ratio=0.3, tol=1e-12).fit(X, y)
    theirs = linear_model.ElasticNet(alpha=0.2, l1_ratio=0.3, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)


def test_the_dual_gap_is_that_of_the_objective() -> None:
    X, y, _ = problem(2)
    model = dl.Lasso(alpha=0.1, tol=1e-3).fit(X, y)
    exact = dl.Lasso(alpha=0.1, tol=1e-12).fit(X, y)

    def objective(m: Any) -> float:
        return float(0.5 * np.mean((y - m.predict(X)) ** 2) + 0.1 * np.abs(m.coef_).sum())

    assert -1e-12 <= objective(model) - objective(exact) <= model.dual_gap_ + 1e-12


def test_int8_is_not_widened_before_the_fit() -> None:
    rng = np.random.default_rng(3)
    X = rng.integers(0, 3, (80, 10)).astype(np.int8)
    y = X[:, 0] - X[:, 1] + rng.standard_normal(80)
    model = dl.Lasso(alpha=0.05, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, dl.Lasso(alpha=0.05, tol=1e-10).fit(X.astype(float), y).coef_, atol=1e-8)
    assert model.path_.bytes_read % X.nbytes == 0


def test_a_client_never_travels_with_a_pickled_model() -> None:
    X, y, _ = problem()
    model = dl.Lasso(alpha=0.1).fit(X, y)
    model.client = lambda: None  # cannot be pickled
    assert pickle.loads(pickle.dumps(model)).client is None


def test_alpha_zero_is_refused_by_name() -> None:
    X, y, _ = problem()
    with pytest.raises(ValueError, match="alpha=0"):
        dl.Lasso(alpha=0).fit(X, y)
