"""Priors: the solution is the mode of the posterior, and the lambda it implies is stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor

import distlasso as dl

rng = np.random.default_rng(0)
N, P = 120, 8
X = rng.standard_normal((N, P)) * np.linspace(0.5, 2.0, P)
Y = X[:, :3] @ [1.0, -0.5, 0.3] + 0.7 * rng.standard_normal(N)
LABEL = (Y > 0).astype(float)
PLAIN: dict[str, Any] = {"standardize": False, "fit_intercept": False, "tol": 1e-12}


def test_a_gaussian_prior_gives_the_posterior_mean() -> None:
    sigma, scale = 0.7, 0.4
    path = dl.fit_path(X, Y, prior=dl.Gaussian(scale, sigma=sigma), **PLAIN)
    mean = np.linalg.solve(X.T @ X / sigma**2 + np.eye(P) / scale**2, X.T @ Y / sigma**2)
    np.testing.assert_allclose(path.coef.toarray()[0], mean, atol=1e-6)


def test_a_gaussian_prior_on_more_columns_than_rows_gives_the_posterior_mean() -> None:
    wide = np.random.default_rng(2).standard_normal((40, 150))
    y = wide[:, 0] + 0.5 * np.random.default_rng(3).standard_normal(40)
    path = dl.fit_path(wide, y, prior=dl.Gaussian(0.3, sigma=0.5), **PLAIN)
    mean = wide.T @ np.linalg.solve(wide @ wide.T + 0.25 / 0.09 * np.eye(40), y)
    np.testing.assert_allclose(path.coef.toarray()[0], mean, atol=1e-6)


def test_a_laplace_prior_gives_the_posterior_mode() -> None:
    sigma, scale = 0.7, 0.02
    b = dl.fit_path(X, Y, prior=dl.Laplace(scale, sigma=sigma), **PLAIN).coef.toarray()[0]
    slope = X.T @ (Y - X @ b) / sigma**2  # of the log likelihood
    assert 0 < np.count_nonzero(b) < P
    np.testing.assert_allclose(slope[b != 0], np.sign(b[b != 0]) / scale, atol=1e-3)
    assert (np.abs(slope[b == 0]) <= 1 / scale).all()


@pytest.mark.parametrize(("prior", "options"), [
    (dl.Gaussian(0.5), {"C": 0.25, "l1_ratio": 0.0, "solver": "lbfgs"}),
    (dl.Laplace(0.2), {"C": 0.2, "l1_ratio": 1.0, "solver": "liblinear"}),
])  # fmt: skip
def test_logistic_loss_has_no_noise_so_the_scale_alone_decides(prior: Any, options: Any) -> None:
    theirs = LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=10_000, **options).fit(X, LABEL)
    ours = dl.fit_path(X, LABEL, loss="logistic", prior=prior, **PLAIN)
    np.testing.assert_allclose(ours.coef.toarray()[0], theirs.coef_[0], atol=1e-5)


def test_poisson_loss_too() -> None:
    counts = np.random.default_rng(1).poisson(np.exp(0.3 * X[:, 0])).astype(float)
    theirs = PoissonRegressor(alpha=1 / (N * 0.3**2), fit_intercept=False, tol=1e-12, max_iter=10_000).fit(X, counts)
    ours = dl.fit_path(X, counts, loss="poisson", prior=dl.Gaussian(0.3), **PLAIN)
    np.testing.assert_allclose(ours.coef.toarray()[0], theirs.coef_, atol=1e-5)


@pytest.mark.parametrize("prior", [dl.Laplace(0.05), dl.Gaussian(0.3)])
def test_an_unknown_noise_is_that_of_the_residuals(prior: Any) -> None:
    path = dl.fit_path(X, Y, prior=prior)
    variance = np.mean((Y - path.predict(X)[:, 0]) ** 2)
    assert path.lambdas.size == 1
    assert path.lambdas[0] == pytest.approx(prior.lam(variance, N), rel=1e-3)
    assert f"sigma = {np.sqrt(variance):.3f}"[:-1] in path.prior and "(estimated)" in path.prior


def test_weights_count_as_rows() -> None:
    weight = rng.integers(1, 4, N)
    rows = np.repeat(np.arange(N), weight)
    weighted = dl.fit_path(X, Y, prior=dl.Laplace(0.05, sigma=1.0), sample_weight=weight, tol=1e-10)
    repeated = dl.fit_path(X[rows], Y[rows], prior=dl.Laplace(0.05, sigma=1.0), tol=1e-10)
    assert weighted.lambdas[0] == pytest.approx(repeated.lambdas[0])
    np.testing.assert_allclose(weighted.coef.toarray(), repeated.coef.toarray(), atol=1e-6)


@pytest.mark.parametrize("loss", ["squared", "logistic", "huber"])
def test_a_prior_too_narrow_for_any_coefficient_leaves_the_null_model(loss: str) -> None:
    path = dl.fit_path(X, LABEL, loss=loss, prior=dl.Laplace(1e-4, sigma=None if loss == "logistic" else 1.0))
    assert path.n_active[0] == 0 and path.converged.all()


def test_the_prior_is_on_coefficients_as_they_are_penalised() -> None:
    path = dl.fit_path(X, Y, prior=dl.Gaussian(0.4, sigma=0.7), tol=1e-12)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    mean = np.linalg.solve(Z.T @ Z / 0.49 + np.eye(P) / 0.16, Z.T @ (Y - Y.mean()) / 0.49)
    np.testing.assert_allclose(path.coef.toarray()[0] * X.std(axis=0), mean, atol=1e-6)


def test_the_path_states_the_prior_and_what_it_implied_also_when_loaded(tmp_path: Path) -> None:
    path = dl.fit_path(X, Y, prior=dl.Laplace(0.05, sigma=0.5))
    path.save(tmp_path / "model")
    stated = "Laplace(scale=0.05, sigma=0.5): lambda = sigma^2 / (W scale) = 0.0416667, sigma = 0.5"
    assert path.prior == stated
    assert dl.load(tmp_path / "model").prior == stated
    assert path.lambdas[0] == pytest.approx(0.25 / (N * 0.05))


@pytest.mark.parametrize("other", [
    {"lambdas": [0.1]}, {"l1_ratio": 0.5}, {"lambda_min_ratio": 0.1}, {"schedule": dl.MCP()},
])  # fmt: skip
def test_a_prior_and_a_penalty_together_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(dl.InputError, match=next(iter(other))):
        dl.fit_path(X, Y, prior=dl.Laplace(0.1), **other)


def test_a_noise_that_the_loss_does_not_have_is_refused() -> None:
    with pytest.raises(dl.InputError, match="logistic loss has no noise variance"):
        dl.fit_path(X, LABEL, loss="logistic", prior=dl.Laplace(0.1, sigma=1.0))


def test_a_fit_without_noise_asks_for_one() -> None:
    with pytest.raises(dl.InputError, match="give sigma"):
        dl.fit_path(X, X @ np.ones(P), prior=dl.Laplace(10.0))


@pytest.mark.parametrize("make", [lambda: dl.Laplace(0.0), lambda: dl.Gaussian(np.nan), lambda: dl.Laplace(1.0, sigma=-1.0)])
def test_scales_that_are_not_positive_are_named(make: Any) -> None:
    with pytest.raises(dl.InputError, match="is not a positive number"):
        make()


def test_what_is_no_prior_is_named() -> None:
    with pytest.raises(dl.InputError, match="is not a prior"):
        dl.fit_path(X, Y, prior="laplace")  # type: ignore[arg-type]
