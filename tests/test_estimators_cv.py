"""Estimators that choose their penalty choose what scikit-learn's choose, on the same folds, and say how."""

from __future__ import annotations

import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

sklearn = pytest.importorskip("sklearn", reason="scikit-learn, the extra distlasso[sklearn], is not installed")
from sklearn import linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, ShuffleSplit, StratifiedKFold  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import distlasso as dl  # noqa: E402

# As in test_estimators.py: weights and repeated rows agree to 1e-9 only where the gap is small.
CHECKED = [
    dl.LassoCV(alphas=3, cv=2, tol=1e-13), dl.ElasticNetCV(alphas=2, cv=2, l1_ratio=[0.5, 0.9], tol=1e-13, rule="1se"),
    dl.LogisticRegressionCV(Cs=[0.5, 5.0], cv=2, scoring="neg_log_loss", tol=1e-13),
]  # fmt: skip

RNG = np.random.default_rng(5)
N, P = 103, 20
X = RNG.standard_normal((N, P))
Y = X[:, :3] @ [1.0, -1.0, 0.5] + RNG.standard_normal(N) + 3.0
LABELS = np.where(Y - 3.0 + RNG.logistic(size=N) > 0, "yes", "no")
W = RNG.uniform(0.2, 2.0, N)
GROUPS = np.arange(N) % 7


@parametrize_with_checks(CHECKED)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    """Every one of them, without exception."""
    check(estimator)


CV: dict[str, Any] = {
    "None": None, "4": 4, "shuffled": KFold(4, shuffle=True, random_state=1), "overlapping": ShuffleSplit(3, random_state=2),
    "pairs": [(np.arange(60), np.arange(60, N)), (np.arange(50, N), np.arange(20))], "groups": GroupKFold(3),
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"positive": True}, {"fit_intercept": False}, {"alphas": [0.5, 0.01, 0.1], "eps": 0.1}])
@pytest.mark.parametrize("weighted", [False, True])
def test_lasso_cv_chooses_what_scikit_learn_chooses(weighted: bool, options: dict[str, Any]) -> None:
    """Grid, every error of every fold, choice and model, with folds of unequal size that count alike."""
    w = W if weighted else None
    ours = dl.LassoCV(tol=1e-12, **options).fit(X, Y, w)
    theirs = linear_model.LassoCV(tol=1e-12, max_iter=100_000, **options).fit(X, Y, sample_weight=w)
    same_choice(ours, theirs)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-7)


@pytest.mark.parametrize("cv", CV)
def test_folds_are_those_of_scikit_learn(cv: str) -> None:
    """Numbers, splitters, pairs, with and without groups."""
    groups = {"groups": GROUPS} if cv == "groups" else {}
    ours = dl.LassoCV(cv=CV[cv], alphas=20, tol=1e-12).fit(X, Y, **groups)
    pairs = list(CV[cv].split(X, Y, GROUPS)) if cv == "groups" else CV[cv]
    same_choice(ours, linear_model.LassoCV(cv=pairs, alphas=20, tol=1e-12, max_iter=100_000).fit(X, Y))


def test_no_alphas_are_a_hundred_down_to_eps_for_every_l1_ratio() -> None:
    none, hundred = (dl.ElasticNetCV(alphas=alphas, l1_ratio=[0.5, 1.0], eps=0.05, cv=3).fit(X, Y) for alphas in (None, 100))
    assert none.alphas_.shape == (2, 100)
    np.testing.assert_allclose(none.alphas_[:, -1] / none.alphas_[:, 0], 0.05)
    np.testing.assert_array_equal(none.alphas_, hundred.alphas_)


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_array, lambda Z: Z.astype(np.float32), np.asfortranarray])
def test_elastic_net_cv_chooses_what_scikit_learn_chooses(form: Any) -> None:
    """One of several mixings, each with alphas of its own, for every encoding."""
    Z = np.round(np.where(np.abs(X) < 0.5, 0.0, X), 3).astype(np.float32).astype(np.float64)
    options: dict[str, Any] = {"l1_ratio": [0.2, 0.7, 1.0], "alphas": 15, "cv": 3}
    ours = dl.ElasticNetCV(tol=1e-12, **options).fit(form(Z), Y)
    same_choice(ours, linear_model.ElasticNetCV(tol=1e-12, max_iter=100_000, **options).fit(Z, Y))
    assert ours.alphas_.shape == (3, 15) and ours.mse_path_.shape == (3, 15, 3)


def same_choice(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.alphas_, theirs.alphas_, rtol=1e-10)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-7)
    assert ours.alpha_ == pytest.approx(theirs.alpha_, rel=1e-10)
    assert ours.l1_ratio_ == getattr(theirs, "l1_ratio_", 1.0)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-7)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "roc_auc", "neg_brier_score"])
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_regression_cv_chooses_what_scikit_learn_chooses(scoring: str, weighted: bool) -> None:
    """Every score of every fold, choice and model: C stands beside the sum of losses of the rows that train."""
    options: dict[str, Any] = {"Cs": [0.1, 0.5, 2.0, 10.0], "l1_ratios": [0.0, 0.5, 1.0], "scoring": scoring, "cv": 4}
    w = W if weighted else None
    ours = dl.LogisticRegressionCV(tol=1e-12, **options).fit(X, LABELS, w)
    theirs = linear_model.LogisticRegressionCV(solver="saga", tol=1e-9, max_iter=50_000, use_legacy_attributes=True, **options)
    theirs.fit(X, LABELS, w)
    np.testing.assert_allclose(ours.scores_["yes"], theirs.scores_["yes"], atol=1e-6)
    np.testing.assert_array_equal(ours.Cs_, theirs.Cs_)
    np.testing.assert_array_equal(ours.l1_ratios_, theirs.l1_ratios_)
    assert ours.n_iter_.shape == (1,) and ours.classes_.tolist() == ["no", "yes"]
    means = ours.scores_["yes"].mean(axis=0)
    best = means >= means.max() - 1e-9
    assert best[np.flatnonzero(ours.Cs_ == ours.C_), np.flatnonzero(ours.l1_ratios_ == ours.l1_ratio_)].all()
    if best.sum() > 1:  # scikit-learn leaves the choice among equal accuracies to the rounding of their sums
        return
    np.testing.assert_array_equal(ours.C_, theirs.C_)
    np.testing.assert_array_equal(ours.l1_ratio_, theirs.l1_ratio_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_ridge_over_the_default_grid_is_scikit_learns_too() -> None:
    """Ten values of C from 1e-4 to 1e4, by accuracy, as nothing else is asked for."""
    ours = dl.LogisticRegressionCV(tol=1e-13).fit(X, LABELS)
    theirs = linear_model.LogisticRegressionCV(
        l1_ratios=(0,), scoring="accuracy", solver="newton-cholesky", tol=1e-10, use_legacy_attributes=True
    ).fit(X, LABELS)
    np.testing.assert_allclose(ours.scores_["yes"], theirs.scores_["yes"])
    np.testing.assert_allclose(ours.Cs_, theirs.Cs_)
    assert ours.cv_.mean[ours.cv_.best] == pytest.approx(theirs.scores_["yes"].mean(axis=0).max())


def test_balanced_classes_weigh_the_fit_and_its_scores() -> None:
    """The same as weights that somebody computed, on folds that know the classes."""
    share = np.mean(LABELS == "yes")
    weight = np.where(LABELS == "yes", 0.5 / share, 0.5 / (1 - share))
    options: dict[str, Any] = {"Cs": [0.1, 1.0], "l1_ratios": [1.0], "scoring": "neg_log_loss", "tol": 1e-12}
    balanced = dl.LogisticRegressionCV(class_weight="balanced", **options).fit(X, LABELS)
    given = dl.LogisticRegressionCV(cv=StratifiedKFold(5), **options).fit(X, LABELS, weight)
    np.testing.assert_allclose(balanced.scores_["yes"], given.scores_["yes"], rtol=1e-9)
    np.testing.assert_allclose(balanced.coef_, given.coef_, atol=1e-9)


@pytest.mark.parametrize("name", ["LassoCV", "ElasticNetCV", "LogisticRegressionCV"])
def test_shared_parameters_have_scikit_learns_defaults(name: str) -> None:
    """Only tol differs, as documented; what scikit-learn warns about has the default that it announces, or its meaning."""
    mine = inspect.signature(getattr(dl, name)).parameters
    theirs = inspect.signature(getattr(linear_model, name)).parameters
    differs = {key for key in mine.keys() & theirs.keys() if mine[key].default != theirs[key].default}
    assert differs == ({"tol"} | {key for key in mine.keys() & theirs.keys() if theirs[key].default == "warn"})
    absent = {"precompute", "copy_X", "random_state", "selection", "n_jobs", "verbose", "dual", "penalty", "solver", "refit",
              "intercept_scaling", "use_legacy_attributes"}  # fmt: skip
    assert set(theirs) - set(mine) <= absent


def test_the_model_is_the_one_that_was_chosen() -> None:
    """Attributes are those of the CrossValidation, the gap included."""
    model = dl.LassoCV(rule="1se", tol=1e-3).fit(X, Y)
    cv = model.cv_
    assert model.alpha_ == cv.lambda_1se > cv.lambda_min
    np.testing.assert_array_equal(model.coef_, cv.coef)
    np.testing.assert_array_equal(model.predict(X), cv.predict(X))
    np.testing.assert_array_equal(model.sparse_coef_.toarray()[0], model.coef_)
    assert model.dual_gap_ == pytest.approx(cv.path.gap[cv.best] * cv.path.null_deviance)
    assert model.n_iter_ == cv.path.rounds and model.path_ is cv.path


def test_a_schedule_is_chosen_among_several() -> None:
    """Tables are those of the chosen one."""
    model = dl.ElasticNetCV(l1_ratio=[0.5, 1.0], alphas=10, schedule=[dl.MCP(), dl.Adaptive()]).fit(X, Y)
    assert len(model.cv_.candidates) == 4 and model.mse_path_.shape == (2, 10, 5)
    assert any(np.array_equal(model.mse_path_[k], model.cv_.scores) for k in range(2))


def test_a_dataset_brings_target_weights_names_and_folds(tmp_path: Any) -> None:
    """Unless other folds are asked for."""
    names = [f"x{j}" for j in range(P)]
    data = dl.Dataset.from_arrays(X, Y, sample_weight=W, fold=GROUPS, feature_names=names)
    stored = dl.LassoCV(alphas=10, tol=1e-11).fit(data)
    given = dl.LassoCV(alphas=10, tol=1e-11, cv=GROUPS).fit(X, Y, W)
    np.testing.assert_allclose(stored.mse_path_, given.mse_path_, rtol=1e-9)
    assert stored.feature_names_in_.tolist() == names and stored.mse_path_.shape == (10, 7)
    assert dl.LassoCV(alphas=10, cv=3).fit(data).mse_path_.shape == (10, 3)
    np.testing.assert_allclose(stored.predict(data), given.predict(X), atol=1e-8)
    labels = dl.ingest((X, (LABELS == "yes") * 2.0 - 1.0), tmp_path / "d.zarr", fold=GROUPS)
    model = dl.LogisticRegressionCV(Cs=[0.1, 1.0], scoring="roc_auc").fit(labels)
    assert model.scores_[1.0].shape == (7, 2, 1)


def test_plans_of_folds_serve_as_cv() -> None:
    """Repetitions, groups, time."""
    repeated = dl.LassoCV(alphas=5, cv=dl.KFold(3, repeats=2)).fit(X, Y)
    assert repeated.mse_path_.shape == (5, 6)
    grouped = dl.LassoCV(alphas=5, cv=LeaveOneGroupOut(), tol=1e-10).fit(X, Y, groups=GROUPS)
    ids = dl.LassoCV(alphas=5, cv=GROUPS, tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(grouped.mse_path_, ids.mse_path_, rtol=1e-7)


@pytest.mark.parametrize("model", [dl.LassoCV(alphas=5), dl.LogisticRegressionCV(Cs=3)])
def test_a_fitted_model_can_be_pickled_and_cloned(model: Any) -> None:
    """With all its scores."""
    fitted = clone(model).fit(X, LABELS if hasattr(model, "Cs") else Y)
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(back.cv_.scores, fitted.cv_.scores)
    assert not hasattr(clone(fitted), "cv_")


def test_a_fit_that_converges_does_not_warn() -> None:
    """Nor does one whose folds stop above a tolerance that the chosen model meets, once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dl.LassoCV(alphas=10).fit(X, Y)


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (dl.LassoCV(cv=1), {}, "cv=1 does not split"),
    (dl.LassoCV(cv="five"), {}, "cv='five' does not split"),
    (dl.LassoCV(cv=200), {}, "cv=200 does not split these rows"),
    (dl.LassoCV(cv=GroupKFold(3)), {}, "groups"),
    (dl.LassoCV(cv=[(np.arange(50), np.arange(40, 60))]), {}, "holds out rows that it trains on"),
    (dl.LassoCV(alphas=0), {}, "n_lambdas=0"),
    (dl.LassoCV(alphas=[0.1, -1.0]), {}, "every lambda must be a positive"),
    (dl.LassoCV(eps=2.0), {}, "lambda_min_ratio=2.0"),
    (dl.LassoCV(rule="best"), {}, "rule='best'"),
    (dl.ElasticNetCV(l1_ratio=[]), {}, "l1_ratio is empty"),
    (dl.LassoCV(), {"y": np.ones(N)}, "constant target"),
    (dl.LassoCV(), {"y": np.stack([Y, Y], axis=1)}, "y"),
    (dl.LogisticRegressionCV(scoring="f1"), {"y": LABELS}, "scoring='f1' is not known"),
    (dl.LogisticRegressionCV(scoring=print), {"y": LABELS}, "is not known: use one of accuracy"),
    (dl.LogisticRegressionCV(Cs=0), {"y": LABELS}, "Cs=0 is not a positive number"),
    (dl.LogisticRegressionCV(Cs=[1.0, np.inf]), {"y": LABELS}, "not a list of positive finite numbers"),
    (dl.LogisticRegressionCV(Cs=["a"]), {"y": LABELS}, "are not numbers"),
    (dl.LogisticRegressionCV(), {"y": GROUPS}, "Only binary classification"),
]


@pytest.mark.parametrize(("model", "options", "message"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_used_is_refused(model: Any, options: dict[str, Any], message: str) -> None:
    """As a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        model.fit(X, options.get("y", Y))


def test_a_dataset_without_a_target_is_refused() -> None:
    """By both kinds."""
    for model in (dl.LassoCV(), dl.LogisticRegressionCV()):
        with pytest.raises(dl.InputError, match="y is missing"):
            model.fit(dl.Dataset.from_arrays(X))
