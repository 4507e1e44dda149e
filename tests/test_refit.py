"""Refits on the support: textbook estimates with textbook errors, labelled as what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit

import distlasso as dl

RNG = np.random.default_rng(9)
N, P = 150, 10
X = RNG.standard_normal((N, P)) * np.geomspace(0.1, 10.0, P) + 2.0
ETA = (X - 2.0)[:, [0, 4]] @ [8.0, -0.8]
Y = ETA + RNG.standard_normal(N)
TARGETS = {"squared": Y, "logistic": (RNG.random(N) < expit(ETA)) * 1.0, "poisson": RNG.poisson(np.exp(0.4 * ETA)) * 1.0}


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("encoding", ["dense", "csr", "float32"])
@pytest.mark.parametrize("loss", sorted(TARGETS))
def test_estimates_and_errors_are_those_of_statsmodels(loss: str, encoding: str, intercept: bool) -> None:
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    Z = X.astype(np.float32).astype(np.float64) - (0.0 if intercept else 2.0)
    Z = Z.astype(np.float32).astype(np.float64)
    data = {"dense": Z, "csr": sp.csr_array(Z), "float32": Z.astype(np.float32)}[encoding]
    weight = RNG.integers(0, 3, N) * 1.0
    path = dl.fit_path(data, TARGETS[loss], loss=loss, sample_weight=weight, fit_intercept=intercept)
    found = dl.refit(path, data, TARGETS[loss], sample_weight=weight, lam=path.lambdas[25], tol=1e-12)
    there = weight > 0
    design = Z[there][:, found.columns]
    design = sm.add_constant(design) if intercept else design
    if loss == "squared":
        theirs = sm.WLS(TARGETS[loss][there], design, weights=weight[there]).fit()
    else:
        family = {"logistic": sm.families.Binomial(), "poisson": sm.families.Poisson()}[loss]
        theirs = sm.GLM(TARGETS[loss][there], design, family, freq_weights=weight[there]).fit(tol=1e-13)
    first = int(intercept)
    assert 0 < found.columns.size < P and set(found.columns) == set(path.coef[[25]].indices)
    np.testing.assert_allclose(found.estimate, theirs.params[first:], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.se, theirs.bse[first:], rtol=1e-6)
    assert "not valid if the same rows chose" in found.method and found.path.converged.all()


def test_columns_far_from_0_lose_no_digits(tmp_path: Path) -> None:
    far = X + 1e6
    path = dl.fit_path(far, Y)
    near = dl.fit_path(X, Y)
    a, b = (dl.refit(m, Z, Y, lam=m.lambdas[20]) for m, Z in ((path, far), (near, X)))
    np.testing.assert_allclose(a.se, b.se, rtol=1e-6)
    stored = dl.refit(near, dl.ingest((X, Y), tmp_path / "d.zarr", chunks=(33, 4)), lam=near.lambdas[20])
    np.testing.assert_allclose(stored.se, b.se, rtol=1e-9)


def test_chunks_of_columns_of_wide_data_give_the_same(tmp_path: Path) -> None:
    Z = RNG.standard_normal((40, 90))
    y = Z[:, 0] + 0.3 * RNG.standard_normal(40)
    path = dl.fit_path(Z, y)
    stored = dl.ingest((Z, y), tmp_path / "d.zarr", chunks=(40, 20))
    a, b = (dl.refit(path, *data, lam=path.lambdas[10]) for data in ((stored,), (Z, y)))
    np.testing.assert_allclose(a.se, b.se, rtol=1e-8)
    design = np.column_stack([np.ones(40), Z[:, b.columns]])
    ols, rss, *_ = np.linalg.lstsq(design, y)
    errors = np.sqrt(rss[0] / (40 - ols.size) * np.diag(np.linalg.inv(design.T @ design)))
    np.testing.assert_allclose(a.se, errors[1:], rtol=1e-6)


def test_a_cross_validation_is_refitted_where_it_has_chosen() -> None:
    cv = dl.cross_validate(X, Y, rule="1se")
    found = dl.refit(cv, X, Y)
    assert found.lam == cv.lambda_ and set(found.columns) == set(np.flatnonzero(cv.coef))
    relaxed = dl.fit_path(X, Y, schedule=dl.Relaxed(0.0), lambdas=[cv.lambda_], tol=1e-9)
    np.testing.assert_allclose(relaxed.coef.toarray()[0][found.columns], found.estimate, rtol=1e-3)


def test_split_rows_cover_where_the_same_rows_do_not() -> None:
    """On noise, the columns that were chosen are not 0 by luck; other rows know better."""
    same, split = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        Z, y = rng.standard_normal((120, 30)), rng.standard_normal(120)
        path = dl.fit_path(Z[:60], y[:60], n_lambdas=8, lambda_min_ratio=0.5)
        k = int(np.argmax(path.n_active > 0))
        for rows, out in ((slice(0, 60), same), (slice(60, 120), split)):
            found = dl.refit(path, Z[rows], y[rows], lam=path.lambdas[k])
            out.append(np.mean((found.low < 0) & (found.high > 0)))
    assert np.mean(split) > 0.85 > 0.7 > np.mean(same)


CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"lam": None}, "lam= is needed"),
    ({}, {"lam": 1e9}, "outside the path"),
    ({}, {"lam": "max"}, "no column is selected"),
    ({}, {"level": 1.0}, "level=1.0"),
    ({}, {"rows": 3}, "3 rows are too few"),
    ({}, {"X": X[:, :4]}, "the data has 4 columns, the model 10"),
    ({}, {"X": np.where(np.arange(P) == 0, 1.0, X)}, "column 0 is constant"),
    ({}, {"X": X[:, [0, 1, 2, 3, 0, 5, 6, 7, 8, 9]]}, "are collinear, column [04]"),
    ({}, {"y": np.column_stack([Y, Y])}, "y has 2"),
    ({"loss": "huber"}, {}, "huber loss is no likelihood"),
    ({}, {"y": np.ones(N)}, "y is 1 in every row"),
    ({}, {"bounds": (-0.5, 0.5)}, "bounds= is not for refit"),
    ({}, {"fit_intercept": False}, "fit_intercept= is not for refit"),
    ({"y": np.column_stack([Y, Y])}, {}, "the path has 2 responses"),
]


@pytest.mark.parametrize(("fit", "ask", "message"), CASES)
def test_bad_input_is_refused_in_one_line(fit: dict[str, Any], ask: dict[str, Any], message: str) -> None:
    path = dl.fit_path(X, **{"y": Y, **fit})
    given = {"X": X, "y": Y, "lam": float(path.lambdas[25]), **ask}
    rows = slice(0, given.pop("rows", N))
    given["lam"] = float(path.lambdas[0]) if given["lam"] == "max" else given["lam"]
    with pytest.raises(dl.InputError, match=message) as caught:
        dl.refit(path, given.pop("X")[rows], given.pop("y")[rows], **given)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_or_an_old_one_is_refused() -> None:
    with pytest.raises(dl.InputError, match="is not a Path"):
        dl.refit("model", X, Y, lam=1.0)  # type: ignore[arg-type]
    old = replace(dl.fit_path(X, Y), fit_intercept=None)
    with pytest.raises(dl.InputError, match="saved by an earlier version"):
        dl.refit(old, X, Y, lam=float(old.lambdas[25]))
