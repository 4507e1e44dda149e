"""A fit may begin at known solutions, and predictions between two lambdas may be fitted instead of interpolated."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl

rng = np.random.default_rng(0)
X = rng.standard_normal((120, 300))
Y = X[:, :8] @ rng.standard_normal(8) + rng.standard_normal(120)
WIDE = np.hstack([X, rng.standard_normal((120, 2700))])
LABEL = (Y > 0).astype(float)
TALL = rng.standard_normal((400, 12))
COUNT = rng.poisson(np.exp(TALL[:, 0] * 0.5)).astype(float)

CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (X, Y, {}),
    (X, Y, {"l1_ratio": 0.5, "fit_intercept": False}),
    (X, Y, {"memory": "400 kB"}),
    (sp.csc_array(np.where(abs(X) > 1, X, 0)), Y, {}),
    (X, LABEL, {"loss": "logistic"}),
    (TALL, TALL[:, 1], {"solver": "admm"}),
    (TALL, TALL[:, 1] + TALL[:, 2], {"solver": "fista"}),
    (TALL, COUNT, {"loss": "poisson"}),
    (TALL, TALL[:, 1] + TALL[:, 2], {"schedule": dl.MCP(gamma=3.0)}),
]


def objective_gap(one: dl.Path, other: dl.Path) -> float:
    return float(np.max(np.abs(one.deviance_ratio - other.deviance_ratio)))


@pytest.mark.parametrize(("data", "y", "options"), CASES)
def test_a_fit_from_known_solutions_is_the_fit_from_zero(data: Any, y: Any, options: dict[str, Any]) -> None:
    cold = dl.fit_path(data, y, n_lambdas=30, tol=1e-9, **options)
    lambdas = cold.lambdas[5:25:3] * 0.97
    again = dl.fit_path(data, y, lambdas=lambdas, tol=1e-9, **options)
    warm = dl.fit_path(data, y, lambdas=lambdas, tol=1e-9, init=cold, **options)
    assert warm.converged.all()
    np.testing.assert_allclose(warm.coef.toarray(), again.coef.toarray(), atol=3e-4)
    assert objective_gap(warm, again) < 1e-6


def test_known_solutions_save_passes() -> None:
    path = dl.fit_path(WIDE, Y)
    cold = dl.fit_path(WIDE, Y, lambdas=path.lambdas[90:])
    warm = dl.fit_path(WIDE, Y, lambdas=path.lambdas[90:], init=path)
    assert warm.passes < cold.passes


def test_coefficients_alone_are_a_start() -> None:
    b = np.zeros(300)
    b[:8] = 1.0
    for start in (b, sp.csr_array(b[None, :]), list(b)):
        path = dl.fit_path(X, LABEL, loss="logistic", n_lambdas=5, init=start)
        assert path.converged.all()


def test_a_start_outside_the_bounds_or_the_problem_is_no_harm() -> None:
    b = rng.standard_normal(300)
    factors = np.ones(300)
    factors[3] = np.inf
    path = dl.fit_path(X, Y, n_lambdas=10, bounds=(0.0, 0.5), penalty_factors=factors, init=b)
    cold = dl.fit_path(X, Y, n_lambdas=10, bounds=(0.0, 0.5), penalty_factors=factors)
    assert path.converged.all()
    assert path.coef[:, [3]].nnz == 0
    np.testing.assert_allclose(path.lambdas, cold.lambdas)
    np.testing.assert_allclose(path.coef.toarray(), cold.coef.toarray(), atol=1e-2)


def test_several_responses_begin_at_a_path_of_as_many() -> None:
    both = np.column_stack([Y, Y[::-1]])
    path = dl.fit_path(WIDE, both)
    cold = dl.fit_path(WIDE, both, lambdas=path.lambdas[90:])
    warm = dl.fit_path(WIDE, both, lambdas=path.lambdas[90:], init=path)
    assert warm.converged.all()
    assert warm.passes < cold.passes


def test_folds_may_begin_at_known_solutions() -> None:
    cold = dl.cross_validate(X, Y, folds=3, n_lambdas=20)
    warm = dl.cross_validate(X, Y, folds=3, lambdas=cold.path.lambdas, init=cold)
    np.testing.assert_allclose(warm.scores, cold.scores, rtol=1e-3)


@pytest.mark.parametrize(
    ("init", "says"),
    [
        (np.zeros(5), "5 coefficients, and X has 300 columns"),
        (np.zeros((2, 300)), "expected coefficients"),
        (np.full(300, np.nan), "NaN"),
        ("start", "neither a Path nor coefficients"),
        (object(), "neither a Path nor coefficients"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(init: Any, says: str) -> None:
    with pytest.raises(dl.InputError, match=says):
        dl.fit_path(X, Y, init=init)


def test_a_start_of_another_number_of_responses_is_refused() -> None:
    both = np.column_stack([Y, Y])
    with pytest.raises(dl.InputError, match="2 responses, and y has 1"):
        dl.fit_path(X, Y, init=dl.fit_path(X, both, n_lambdas=3))
    with pytest.raises(dl.InputError, match="init="):
        dl.fit_path(X, both, multi_task=True, init=dl.fit_path(X, both, n_lambdas=3))


@pytest.mark.parametrize("options", [{}, {"loss": "logistic"}, {"schedule": dl.Relaxed(0.0)}])
def test_exact_predictions_are_those_of_a_fit_at_that_lambda(options: dict[str, Any]) -> None:
    y = LABEL if "loss" in options else Y
    path = dl.fit_path(X, y, n_lambdas=12, tol=1e-10, **options)
    lam = float(np.sqrt(path.lambdas[4] * path.lambdas[5]))
    fitted = dl.fit_path(X, y, lambdas=[lam], tol=1e-10, **options).predict(X)[:, 0]
    np.testing.assert_allclose(path.predict(X, lam=lam, exact=True), fitted, atol=1e-4)
    with pytest.warns(dl.InterpolationNote, match="exact=True"):
        between = path.predict(X, lam=lam)
    assert np.abs(between - fitted).max() > 1e-3


def test_a_lambda_of_the_path_is_not_fitted_again() -> None:
    path = dl.fit_path(X, Y, n_lambdas=12)
    np.testing.assert_allclose(path.predict(X, lam=path.lambdas[4], exact=True), path.predict(X)[:, 4], atol=1e-13)


def test_a_path_without_its_data_says_how_to_fit_exactly(tmp_path: Path) -> None:
    path = dl.fit_path(X, Y, n_lambdas=12)
    path.save(tmp_path / "model")
    lam = float(path.lambdas[4] * 0.99)
    for other in (dl.load(tmp_path / "model"), pickle.loads(pickle.dumps(path))):
        with pytest.raises(dl.InputError, match="init=path"):
            other.predict(X, lam=lam, exact=True)
        warm = dl.fit_path(X, Y, lambdas=[lam], init=other)
        np.testing.assert_allclose(warm.predict(X)[:, 0], path.predict(X, lam=lam, exact=True), atol=1e-6)


def test_the_nearest_lambda_of_a_path_is_found_on_it_between_and_beyond() -> None:
    path = dl.fit_path(X, Y, lambdas=[0.5, 0.25, 0.125])
    wanted = {0.25: 1, 0.26: 1, 0.376: 0, 0.375: 0, 9.0: 0, 0.01: 2}
    assert {lam: path.nearest(lam) for lam in wanted} == wanted
    with pytest.raises(dl.InputError, match="lam=nan is not a number"):
        path.nearest(np.nan)
    with pytest.warns(dl.InterpolationNote):
        path.predict(X, lam=0.26)
