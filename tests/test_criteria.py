"""Information criteria of a fitted path: textbook values, other programs' values, and what has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import comb, expit
from sklearn.linear_model import LassoLarsIC

import distlasso as dl

RNG = np.random.default_rng(11)
N, P = 160, 12
X = RNG.standard_normal((N, P))
ETA = 0.4 + X[:, :3] @ [1.5, -1.0, 0.5]
Y = ETA + RNG.standard_normal(N)
CLASSES = (RNG.random(N) < expit(ETA)) * 1.0
COUNTS = RNG.poisson(np.exp(0.5 * ETA)) * 1.0
EVENTS = {"logistic": CLASSES, "poisson": COUNTS}


@pytest.mark.parametrize("name", ["aic", "bic"])
def test_known_variance_gives_the_values_of_scikit_learn_up_to_constants(name: str) -> None:
    theirs = LassoLarsIC(criterion=name, noise_variance=1.3).fit(X, Y)
    inside = slice(1, -1)  # without the largest lambda, which is the null model, and without lambda 0
    path = dl.fit_path(X, Y, lambdas=theirs.alphas_[inside] * (1.0 + 1e-9), standardize=False, tol=1e-13)
    away = path.criterion(name, variance=1.3) - theirs.criterion_[inside]
    np.testing.assert_allclose(away, away[0], atol=1e-5)


def test_unknown_variance_is_n_log_rss_plus_the_price_of_every_parameter() -> None:
    path = dl.fit_path(X, Y, n_lambdas=30)
    rss = ((Y[:, None] - path.predict(X)) ** 2).sum(axis=0)
    df = path.n_active + 1
    np.testing.assert_allclose(path.criterion("aic"), N * np.log(rss / N) + 2 * df)
    np.testing.assert_allclose(path.criterion("bic"), N * np.log(rss / N) + np.log(N) * df)
    np.testing.assert_allclose(path.criterion("gcv"), rss / N / (1 - df / N) ** 2)
    more = 2 * 0.5 * np.log(comb(P, path.n_active, exact=False))
    np.testing.assert_allclose(path.criterion("ebic", gamma=0.5), path.criterion("bic") + more)
    assert path.select("bic") == np.argmin(path.criterion("bic"))
    bare = dl.fit_path(X, Y, n_lambdas=30, fit_intercept=False)
    rss = ((Y[:, None] - bare.predict(X)) ** 2).sum(axis=0)
    np.testing.assert_allclose(bare.criterion("aic"), N * np.log(rss / N) + 2 * bare.n_active)


@pytest.mark.parametrize("loss", ["squared", *EVENTS])
def test_differences_without_a_penalty_are_those_of_statsmodels(loss: str) -> None:
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    y, weight = EVENTS.get(loss, Y), RNG.integers(1, 4, N) * 1.0
    families = {"logistic": sm.families.Binomial(), "poisson": sm.families.Poisson()}
    values = {}
    for name, columns in (("small", [0, 1]), ("large", [0, 1, 2, 3])):
        design = sm.add_constant(X[:, columns])
        glm = sm.WLS(y, design, weights=weight) if loss == "squared" else sm.GLM(y, design, families[loss], var_weights=weight)
        theirs = glm.fit()
        path = dl.fit_path(X[:, columns], y, loss=loss, sample_weight=weight, lambdas=[1e-9], tol=1e-12)
        values[name] = (float(path.criterion("aic")[0]), theirs.aic)
        if loss != "squared":
            assert path.criterion("aic")[0] - 2 * len(columns) - 2 == pytest.approx(theirs.deviance, rel=1e-8)
        assert path.criterion("bic")[0] - path.criterion("aic")[0] == pytest.approx((np.log(N) - 2) * (len(columns) + 1))
    ours, theirs = (values["large"][k] - values["small"][k] for k in (0, 1))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_bic_finds_the_columns_that_matter() -> None:
    path = dl.fit_path(X, Y, schedule=dl.Relaxed(0.0))
    chosen = path.coef[[path.select("bic")]].indices
    assert sorted(chosen) == [0, 1, 2]


def test_rows_of_weight_0_are_not_counted() -> None:
    weight = (np.arange(N) % 4 > 0) * 1.0
    there = weight > 0
    whole, part = dl.fit_path(X, Y, sample_weight=weight, tol=1e-10), dl.fit_path(X[there], Y[there], tol=1e-10)
    assert whole.n_rows == int(there.sum()) and whole.weight == there.sum()
    np.testing.assert_allclose(whole.criterion("bic"), part.criterion("bic"), rtol=1e-6)


def test_columns_that_do_not_vary_are_no_candidates_of_ebic() -> None:
    padded = np.column_stack([X, np.ones((N, 5))])
    plain, more = (dl.fit_path(Z, Y, n_lambdas=10).criterion("ebic") for Z in (X, padded))
    np.testing.assert_allclose(plain, more)


def test_saturated_models_are_never_chosen() -> None:
    path = dl.fit_path(X[:10], Y[:10], lambda_min_ratio=1e-8)
    full = path.n_active + 1 >= 10
    assert full.any() and np.isinf(path.criterion("aic")[full]).all()
    assert not full[path.select("gcv")]


def test_a_saved_path_has_its_criteria_and_one_of_an_earlier_version_says_why_not(tmp_path: Path) -> None:
    path = dl.fit_path(X, Y, n_lambdas=8)
    path.save(tmp_path / "m")
    back: Any = dl.load(tmp_path / "m")
    np.testing.assert_array_equal(back.criterion("ebic"), path.criterion("ebic"))
    file = tmp_path / "m" / "path.json"
    old = {name: value for name, value in json.loads(file.read_text()).items() if name not in ("n_rows", "weight", "fit_intercept")}
    file.write_text(json.dumps(old))
    old_path: Any = dl.load(tmp_path / "m")
    np.testing.assert_array_equal(old_path.predict(X), path.predict(X))
    with pytest.raises(dl.InputError, match="saved by an earlier version"):
        old_path.criterion("bic")


def test_every_response_has_criteria_of_its_own_but_not_under_one_penalty() -> None:
    both = np.column_stack([Y, X @ np.ones(P)])
    path = dl.fit_path(X, both, n_lambdas=10)
    alone = dl.fit_path(X, Y, lambdas=path.lambdas)
    np.testing.assert_allclose(path.output(0).criterion("bic"), alone.criterion("bic"), rtol=1e-4)
    with pytest.raises(dl.InputError, match="has 2 responses"):
        path.criterion("bic")
    with pytest.raises(dl.InputError, match="multi-task"):
        dl.fit_path(X, both, n_lambdas=10, multi_task=True).output(0).criterion("bic")


CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"name": "cp"}, "criterion 'cp' is not known"),
    ({}, {"name": "ebic", "gamma": 1.5}, "gamma=1.5"),
    ({}, {"name": "ebic", "gamma": float("nan")}, "gamma=nan"),
    ({}, {"variance": -1.0}, "variance=-1.0 is not a positive"),
    ({}, {"name": "gcv", "variance": 1.0}, "leave it out"),
    ({"loss": "huber"}, {}, "no likelihood of known scale"),
    ({"l1_ratio": 0.0}, {}, "l1_ratio=0 leaves no coefficient"),
]


@pytest.mark.parametrize(("fit", "ask", "message"), CASES)
def test_bad_input_is_refused_in_one_line(fit: dict[str, Any], ask: dict[str, Any], message: str) -> None:
    path = dl.fit_path(X, Y, n_lambdas=5, **fit)
    with pytest.raises(dl.InputError, match=message) as caught:
        path.criterion(**ask)
    assert "\n" not in str(caught.value)


def test_a_constant_target_has_nothing_to_choose() -> None:
    with pytest.warns(dl.CertificateWarning, match="constant target"):
        path = dl.fit_path(X, np.ones(N), lambdas=[1.0])
    with pytest.raises(dl.InputError, match="nothing to choose"):
        path.criterion("bic")
