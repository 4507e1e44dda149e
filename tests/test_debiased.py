"""The debiased lasso: its formula computed apart, its limit without penalty, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import Lasso

import distlasso as dl
from distlasso.inference.nodes import tuned

RNG = np.random.default_rng(8)
N, P = 120, 14
X = RNG.standard_normal((N, P)) * np.geomspace(0.1, 10.0, P) + 3.0
X[:, 1] += 0.2 * X[:, 5]
ETA = (X - 3.0)[:, :3] @ [8.0, -2.0, 1.0]
Y = ETA + RNG.standard_normal(N)
TARGETS = {"squared": Y, "logistic": (RNG.random(N) < expit(ETA)) * 1.0, "poisson": RNG.poisson(np.exp(0.3 * ETA)) * 1.0}
FEW: dict[str, Any] = {"n_lambdas": 12, "lambda_min_ratio": 0.05, "folds": 4}


def textbook(X: Any, y: Any, path: dl.Path, columns: Any, node_lam: float, weight: Any, intercept: bool) -> tuple[Any, Any]:
    """Estimates and standard errors from the rows, by scikit-learn's lasso on weighted, centred, scaled columns."""
    b, loss = path.coef.toarray()[0], path.loss
    eta = path.intercept[0] + X @ b
    mu = {"squared": eta, "logistic": expit(eta), "poisson": np.exp(eta)}[loss]
    h = weight * {"squared": np.ones_like(mu), "logistic": mu * (1 - mu), "poisson": mu}[loss]
    share = h / h.sum()
    centred = X - share @ X if intercept else X
    sd = np.sqrt(share @ (X - share @ X) ** 2)
    estimates, errors = [], []
    for j in columns:
        others = np.delete(np.arange(X.shape[1]), j)
        root = np.sqrt(share * X.shape[0])
        scale = np.sqrt(share @ centred[:, j] ** 2)
        node = Lasso(node_lam, fit_intercept=False, tol=1e-12, max_iter=1_000_000)
        node.fit(root[:, None] * centred[:, others] / sd[others], root * centred[:, j] / scale)
        z = centred[:, j] - centred[:, others] @ (node.coef_ * scale / sd[others])
        estimates.append(b[j] + z @ (weight * (y - mu)) / (z @ (h * X[:, j])))
        phi = weight @ (y - mu) ** 2 / ((weight > 0).sum() - np.count_nonzero(b) - intercept) if loss == "squared" else 1.0
        errors.append(np.sqrt(phi * (h @ z**2)) / abs(z @ (h * X[:, j])))
    return np.array(estimates), np.array(errors)


@pytest.mark.parametrize("loss", sorted(TARGETS))
@pytest.mark.parametrize("encoding", ["dense", "csr", "float32"])
@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_estimates_and_errors_are_those_of_the_formula_on_the_rows(loss: str, encoding: str, shape: str) -> None:
    Z = X if shape == "tall" else np.column_stack([X, RNG.standard_normal((N, 140))])
    Z = Z.astype(np.float32).astype(np.float64)
    data = {"dense": Z, "csr": sp.csr_array(Z), "float32": Z.astype(np.float32)}[encoding]
    weight, columns = RNG.integers(0, 3, N) * 1.0, [5, 0, 2]
    found = dl.debiased(data, TARGETS[loss], loss=loss, columns=columns, lam=0.1, node_lam=0.2, sample_weight=weight, tol=1e-11)
    estimate, se = textbook(Z, TARGETS[loss], found.path, columns, 0.2, weight, True)
    np.testing.assert_allclose(found.se, se, rtol=1e-4)
    np.testing.assert_allclose(found.estimate, estimate, atol=1e-4 * se.min())
    assert found.columns.tolist() == columns and found.names == ["5", "0", "2"]


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_without_an_intercept_nothing_is_centred(loss: str) -> None:
    Z = X - 3.0
    found = dl.debiased(Z, TARGETS[loss], loss=loss, columns=[1, 5], lam=0.1, node_lam=0.2, tol=1e-11, fit_intercept=False)
    estimate, se = textbook(Z, TARGETS[loss], found.path, [1, 5], 0.2, np.ones(N), False)
    np.testing.assert_allclose(found.se, se, rtol=1e-4)
    np.testing.assert_allclose(found.estimate, estimate, atol=1e-4 * se.min())


@pytest.mark.parametrize("loss", sorted(TARGETS))
def test_without_penalties_it_is_maximum_likelihood_with_its_standard_errors(loss: str) -> None:
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    families = {"squared": sm.families.Gaussian(), "logistic": sm.families.Binomial(), "poisson": sm.families.Poisson()}
    y = TARGETS[loss]
    theirs = sm.GLM(y, sm.add_constant(X), families[loss]).fit(tol=1e-13)
    found = dl.debiased(X, y, loss=loss, lam=1e-9, node_lam=1e-9, tol=1e-12)
    np.testing.assert_allclose(found.estimate, theirs.params[1:], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.se, theirs.bse[1:], rtol=1e-4)
    ends = theirs.conf_int(alpha=0.05)[1:]
    np.testing.assert_allclose(np.column_stack([found.low, found.high]), ends, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.p_value, 2 * norm.sf(np.abs(theirs.params[1:] / theirs.bse[1:])), rtol=1e-2, atol=1e-12)


def test_p_values_are_adjusted_as_statsmodels_adjusts_them() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    found = dl.debiased(X, Y, lam=0.1, node_lam=0.1)
    np.testing.assert_allclose(found.adjusted, multitest.multipletests(found.p_value, method="holm")[1])


def test_by_default_cross_validation_chooses_lambda_and_its_residuals_give_the_variance() -> None:
    found = dl.debiased(X, Y, columns=[0], random_state=3, **FEW)
    cv = dl.cross_validate(X, Y, random_state=3, **FEW)
    assert found.lam == cv.lambda_
    rss = float(((Y - cv.predict(X)) ** 2).sum())
    assert found.variance == pytest.approx(rss / (N - np.count_nonzero(cv.coef) - 1), rel=1e-6)
    assert "cross-validation" in found.method and "RSS / (n - df)" in found.method
    known = dl.debiased(X, Y, columns=[0], noise_variance=4.0 * found.variance, random_state=3, **FEW)
    np.testing.assert_allclose(known.se, 2.0 * found.se)
    wider = replace(found, level=0.99)
    np.testing.assert_allclose((wider.high - wider.low) / (found.high - found.low), norm.ppf(0.995) / norm.ppf(0.975))


def test_the_two_factors_choose_as_in_the_paper() -> None:
    eta, tau = np.array([5.0, 3.0, 2.0, 1.0, 0.5]), np.array([1.0, 1.1, 1.2, 1.4, 3.0])
    assert tuned(eta, tau, 3.5) == 2  # within the bound from tau = 1.1 on; 1.25 times that allows 1.375
    assert tuned(eta, tau, 0.1) == 4  # the bound is raised to 0.75: only the last is within
    assert tuned(eta, np.ones(5), 3.5) == 4


def test_layouts_names_and_masks_make_no_difference(tmp_path: Path) -> None:
    names = [f"x{j}" for j in range(P)]
    data = replace(dl.Dataset.from_arrays(X, Y), feature_names=names)
    options: dict[str, Any] = {"lam": 0.1, "tol": 1e-10}
    by_name, by_mask = (dl.debiased(data, columns=c, **options) for c in (["x2", "x9"], np.isin(np.arange(P), [2, 9])))
    stored = dl.debiased(dl.ingest((X, Y), tmp_path / "d.zarr", chunks=(31, 5)), columns=[2, 9], **options)
    assert by_name.names == ["x2", "x9"]
    for other in (by_mask, stored):
        np.testing.assert_allclose(other.estimate, by_name.estimate, rtol=1e-6)
        np.testing.assert_allclose(other.se, by_name.se, rtol=1e-5)


def test_wide_chunks_of_columns_do_too(tmp_path: Path) -> None:
    Z = RNG.standard_normal((40, 90))
    y = Z[:, 0] + 0.5 * RNG.standard_normal(40)
    ds = dl.ingest((Z, y), tmp_path / "d.zarr", chunks=(40, 20))
    stored, plain = (dl.debiased(*data, columns=[0, 70], lam=0.2, tol=1e-10) for data in ((ds,), (Z, y)))
    np.testing.assert_allclose(stored.estimate, plain.estimate, rtol=1e-6)
    np.testing.assert_allclose(stored.se, plain.se, rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_missing_values_are_the_means_of_the_fit_in_every_regression(loss: str) -> None:
    holes = np.where(RNG.random((N, P)) < 0.1, np.nan, X)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    options: dict[str, Any] = {"loss": loss, "columns": [0, 3], "lam": 0.05, "node_lam": 0.1, "tol": 1e-10}
    with_holes = dl.debiased(dl.Dataset.from_arrays(holes, TARGETS[loss], missing_value=np.nan), **options)
    without = dl.debiased(filled, TARGETS[loss], **options)
    np.testing.assert_allclose(with_holes.estimate, without.estimate, rtol=1e-6)
    np.testing.assert_allclose(with_holes.se, without.se, rtol=1e-6)


def test_an_offset_counts_in_the_residuals() -> None:
    offset = RNG.standard_normal(N)
    with_offset, without = (dl.debiased(X, y, columns=[0], lam=0.1, offset=o) for y, o in ((Y + offset, offset), (Y, None)))
    np.testing.assert_allclose(with_offset.estimate, without.estimate)
    y = TARGETS["poisson"]
    moved = dl.debiased(X, y, loss="poisson", columns=[0], lam=0.1, node_lam=0.1, offset=np.full(N, 2.0), tol=1e-10)
    plain = dl.debiased(X, y, loss="poisson", columns=[0], lam=0.1, node_lam=0.1, tol=1e-10)
    np.testing.assert_allclose(moved.estimate, plain.estimate, rtol=1e-5)
    np.testing.assert_allclose(moved.se, plain.se, rtol=1e-5)


def test_one_column_alone_needs_no_regression() -> None:
    found = dl.debiased(X[:, [0]], Y, lam=0.5)
    centred = X[:, 0] - X[:, 0].mean()
    assert found.estimate[0] == pytest.approx(centred @ Y / (centred @ centred))
    assert found.se[0] == pytest.approx(np.sqrt(found.variance / (centred @ centred)))


CASES: list[tuple[dict[str, Any], str]] = [
    ({"columns": [0, P]}, f"column {P} is not in the data"),
    ({"columns": [-1]}, "column -1 is not in the data"),
    ({"columns": [1, 1]}, "name a column twice"),
    ({"columns": []}, "are not column numbers"),
    ({"columns": [0.5]}, "are not column numbers"),
    ({"columns": ["age"]}, "column 'age' is not among"),
    ({"columns": [P - 1], "X": np.column_stack([X[:, :-1], np.ones(N)])}, f"column {P - 1} is constant"),
    ({"columns": [0], "X": np.column_stack([X, X[:, 0]])}, "column 0 is a combination of others"),
    ({"X": np.tile(X, 20)}, "columns= is needed"),
    ({"lam": -1.0}, "lam=-1.0"),
    ({"lam": float("nan")}, "lam=nan"),
    ({"node_lam": 0.0}, "node_lam=0.0"),
    ({"level": 95}, "level=95"),
    ({"level": float("nan")}, "level=nan"),
    ({"noise_variance": 0.0}, "noise_variance=0.0"),
    ({"loss": "huber"}, "has no debiased lasso"),
    ({"loss": "logistic", "y": TARGETS["logistic"], "noise_variance": 1.0}, "noise_variance= is for squared loss"),
    ({"l1_ratio": 0.5}, "l1_ratio= is not for debiased"),
    ({"prior": dl.Laplace(1.0)}, "prior= is not for debiased"),
    ({"y": np.column_stack([Y, Y])}, "y has 2"),
    ({"X": RNG.standard_normal((10, 30)), "y": RNG.standard_normal(10), "columns": [0], "lam": 1e-3}, "10 rows are too few"),
    ({"X": np.where(np.arange(N)[:, None] == 4, np.nan, X)}, "NaN"),
]


@pytest.mark.parametrize(("options", "message"), CASES)
def test_bad_input_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    given = {"X": X, "y": Y, "lam": 0.1, **options}
    with pytest.raises(dl.InputError, match=message) as caught:
        dl.debiased(given.pop("X"), **given)
    assert "\n" not in str(caught.value)
