"""Estimators of losses beside squared agree with scikit-learn's where it has the model."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

sklearn = pytest.importorskip("sklearn", reason="scikit-learn, the extra distlasso[sklearn], is not installed")
from sklearn import linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402

import distlasso as dl  # noqa: E402

WEIGHTS: dict[str, dict[str, Any]] = {"none": {}, "balanced": {"class_weight": "balanced"}, "dict": {"class_weight": {"b": 3.0}}}


def two_classes(seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 12)) * rng.integers(0, 2, (200, 12))
    y = np.where(X[:, :3] @ [2.0, -1.0, 1.0] + rng.logistic(size=200) > 0.8, "b", "a")
    return X, y, rng.uniform(0.2, 2, 200)


@pytest.mark.parametrize("option", WEIGHTS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4, 1.0])
def test_logistic_regression_agrees_with_scikit_learn(l1_ratio: float, weighted: bool, option: str) -> None:
    """Coefficients, intercept, probabilities and classes, under weights of rows and classes."""
    X, y, w = two_classes()
    weight = w if weighted else None
    options = {"C": 0.3, "l1_ratio": l1_ratio, **WEIGHTS[option]}
    ours = dl.LogisticRegression(tol=1e-13, **options).fit(X, y, weight)
    theirs = linear_model.LogisticRegression(solver="saga", tol=1e-12, max_iter=100_000, **options).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-5)
    assert ours.score(X, y) == theirs.score(X, y)
    assert ours.coef_.shape == (1, 12) and ours.intercept_.shape == (1,) and ours.n_iter_.shape == (1,)
    assert ours.classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.csc_array])
def test_c_is_the_inverse_of_lambda_times_the_weight(form: Any) -> None:
    """The same path point under both names, for every encoding."""
    X, y, w = two_classes(1)
    model = dl.LogisticRegression(C=0.7, l1_ratio=1.0, tol=1e-12).fit(form(X), y, w)
    lam = 1 / (0.7 * w.sum())
    path = dl.fit_path(X, y == "b", loss="logistic", lambdas=[lam], sample_weight=w, standardize=False, tol=1e-12)
    np.testing.assert_allclose(model.coef_, path.coef.toarray(), atol=1e-7)
    np.testing.assert_array_equal(model.sparse_coef_.toarray(), model.coef_)


def test_log_probabilities_do_not_round_to_minus_infinity() -> None:
    """Where the probability itself is 0 in double precision."""
    model = dl.LogisticRegression(C=100.0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    far = model.predict_log_proba([[1e4]])
    assert np.isfinite(far).all() and far[0, 0] < -1000 and far[0, 1] == 0


def test_a_dataset_brings_its_classes_and_weights() -> None:
    """By the labels it stores."""
    X, y, w = two_classes()
    labels = np.where(y == "b", 1.0, -1.0)
    stored = dl.LogisticRegression(tol=1e-12).fit(dl.Dataset.from_arrays(X, labels, sample_weight=w))
    given = dl.LogisticRegression(tol=1e-12).fit(X, y, w)
    assert stored.classes_.tolist() == [-1.0, 1.0]
    np.testing.assert_allclose(stored.coef_, given.coef_, atol=1e-9)
    assert set(stored.predict(dl.Dataset.from_arrays(X))) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, [0, 1, 2, 0], "Only binary classification is supported"),
        ({}, [1, 1, 1, 1], "one class only"),
        ({}, [0.1, 0.5, 0.7, 0.9], "continuous"),
        ({"C": 0}, [0, 1, 0, 1], "C=0 is not a positive"),
        ({"C": np.inf}, [0, 1, 0, 1], "C=inf is not a positive"),
        ({"class_weight": {2: 1.0}}, [0, 1, 0, 1], r"names \[2\]"),
        ({"class_weight": "even"}, [0, 1, 0, 1], "class_weight='even'"),
    ],
)
def test_what_a_classifier_cannot_use_is_refused(options: dict[str, Any], y: Any, message: str) -> None:
    """With the culprit named."""
    with pytest.raises(ValueError, match=message):
        dl.LogisticRegression(**options).fit(np.arange(8.0).reshape(4, 2), y)


def counts(seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 10))
    return X, rng.poisson(np.exp(0.3 + X[:, :3] @ [0.5, -0.4, 0.3])).astype(float), rng.uniform(0.2, 2, 200)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_ridge_poisson_regression_agrees_with_scikit_learn(fit_intercept: bool, weighted: bool) -> None:
    """At its defaults but for the tolerance; D^2 too."""
    X, y, w = counts()
    weight = w if weighted else None
    options: dict[str, Any] = {"alpha": 0.1, "fit_intercept": fit_intercept}
    ours = dl.PoissonRegressor(tol=1e-13, **options).fit(X, y, weight)
    theirs = linear_model.PoissonRegressor(solver="newton-cholesky", tol=1e-12, **options).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5)
    assert ours.score(X, y, weight) == pytest.approx(theirs.score(X, y, weight), abs=1e-6)


def test_lasso_poisson_regression_meets_its_optimality_conditions() -> None:
    """scikit-learn has no such model."""
    X, y, w = counts(1)
    model = dl.PoissonRegressor(alpha=0.05, l1_ratio=1.0, tol=1e-13).fit(X, y, w)
    u = X.T @ (w * (y - model.predict(X))) / w.sum()
    assert 0 < np.count_nonzero(model.coef_) < 10
    active = model.coef_ != 0
    np.testing.assert_allclose(u[active], 0.05 * np.sign(model.coef_[active]), atol=1e-6)
    assert (np.abs(u) <= 0.05 * (1 + 1e-6)).all()
    assert abs(w @ (y - model.predict(X))) < 1e-6


def test_negative_counts_are_refused_by_row() -> None:
    """Before anything is fitted."""
    with pytest.raises(dl.InputError, match="row 1"):
        dl.PoissonRegressor().fit([[0.0], [1.0]], [1.0, -1.0])


@pytest.mark.parametrize("delta", [0.5, 2.0, 1e6])
def test_huber_lasso_meets_its_optimality_conditions(delta: float) -> None:
    """With outliers; at a huge delta it is the lasso."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((150, 10))
    y = X[:, :3] @ [2.0, -1.0, 1.0] + rng.standard_t(1.5, 150)
    model = dl.HuberLasso(alpha=0.05, delta=delta, tol=1e-12).fit(X, y)
    u = X.T @ np.clip(y - model.predict(X), -delta, delta) / 150
    active = model.coef_ != 0
    np.testing.assert_allclose(u[active], 0.05 * np.sign(model.coef_[active]), atol=1e-5)
    assert (np.abs(u) <= 0.05 + 1e-5).all()
    if delta == 1e6:
        np.testing.assert_allclose(model.coef_, dl.Lasso(alpha=0.05, tol=1e-12).fit(X, y).coef_, atol=1e-5)


@pytest.mark.parametrize("name", ["LogisticRegression", "PoissonRegressor"])
def test_shared_parameters_have_scikit_learns_defaults(name: str) -> None:
    """Only tol differs, as documented."""
    mine = inspect.signature(getattr(dl, name)).parameters
    theirs = inspect.signature(getattr(linear_model, name)).parameters
    differ = {key for key in mine.keys() & theirs.keys() if mine[key].default != theirs[key].default}
    assert differ - {"l1_ratio"} == {"tol"}  # scikit-learn before 1.9 writes l1_ratio=None for 0


@pytest.mark.parametrize("model", [dl.LogisticRegression(C=2.0, client=object()), dl.HuberLasso(delta=3.0, client=object())])
def test_clones_share_a_client_and_pickles_leave_it(model: Any) -> None:
    """And keep every other parameter."""
    assert clone(model).client is model.client
    back = pickle.loads(pickle.dumps(model))
    assert back.client is None
    assert {**back.get_params(), "client": 0} == {**model.get_params(), "client": 0}
