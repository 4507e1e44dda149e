"""Nested cross-validation: the error of what was chosen, on rows that had no part in choosing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import r2_score, roc_auc_score

import distlasso as dl

RNG = np.random.default_rng(4)
N, P = 120, 10
X = RNG.standard_normal((N, P))
ETA = X[:, :2] @ [1.0, -1.0]
Y = ETA + RNG.standard_normal(N)
CLASSES = (RNG.random(N) < expit(2 * ETA)) * 1.0
IDS = RNG.integers(0, 3, N)
FEW: dict[str, Any] = {"n_lambdas": 10, "lambda_min_ratio": 0.02, "folds": 4}


@pytest.mark.parametrize("rule", ["min", "1se"])
def test_outer_scores_are_those_of_a_cross_validation_that_never_saw_the_fold(rule: str) -> None:
    found = dl.nested_cross_validate(X, Y, outer=IDS, rule=rule, tol=1e-9, random_state=2, **FEW)
    for fold in range(3):
        out = fold == IDS
        inner = dl.cross_validate(X, Y, sample_weight=~out * 1.0, rule=rule, tol=1e-9, random_state=3, **FEW)
        assert found.lambdas[fold] == pytest.approx(inner.lambda_)
        assert found.scores[fold] == pytest.approx(np.mean((Y[out] - inner.predict(X[out])) ** 2))
    share = np.bincount(IDS) / N
    assert found.mean == pytest.approx(found.scores @ share)
    assert found.se == pytest.approx(np.sqrt((found.scores - found.mean) ** 2 @ share / 2))


def test_what_a_fold_holds_cannot_change_its_own_choice() -> None:
    wild = np.where(IDS == 1, 1e3 * RNG.standard_normal(N), Y)
    tame, other = (dl.nested_cross_validate(X, y, outer=IDS, **FEW) for y in (Y, wild))
    assert tame.lambdas[1] == other.lambdas[1]
    np.testing.assert_array_equal(tame.choices[1].coef, other.choices[1].coef)
    assert other.scores[1] > 1e4 * tame.scores[1] and other.lambdas[0] != tame.lambdas[0]


def test_noise_is_not_flattered() -> None:
    """The best score of many flatters on pure noise; the honest one is not below the variance, on average."""
    best, honest = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        Z, y = rng.standard_normal((40, 60)), rng.standard_normal(40)
        options: dict[str, Any] = {"n_lambdas": 15, "lambda_min_ratio": 0.2, "tol": 1e-4}
        honest.append(dl.nested_cross_validate(Z, y, outer=4, folds=4, **options).mean / y.var())
        best.append(dl.cross_validate(Z, y, folds=4, **options).mean.min() / y.var())
    assert np.mean(honest) > np.mean(best) and np.mean(honest) > 1.0


@pytest.mark.parametrize("score", ["r2", "auc"])
def test_scores_that_are_no_means_over_rows_are_those_of_scikit_learn(score: str) -> None:
    loss, y = ("logistic", CLASSES) if score == "auc" else ("squared", Y)
    found = dl.nested_cross_validate(X, y, loss=loss, outer=IDS, score=score, **FEW)
    for fold, inner in enumerate(found.choices):
        out = fold == IDS
        textbook = (roc_auc_score if score == "auc" else r2_score)(y[out], inner.predict(X[out]))
        assert found.scores[fold] == pytest.approx(textbook)


def test_missing_values_are_the_means_of_the_training_rows() -> None:
    holes = np.where(RNG.random((N, P)) < 0.1, np.nan, X)
    found = dl.nested_cross_validate(dl.Dataset.from_arrays(holes, Y, missing_value=np.nan), outer=IDS, **FEW)
    for fold, inner in enumerate(found.choices):
        out = fold == IDS
        filled = np.where(np.isnan(holes), np.nanmean(holes[~out], axis=0), holes)
        assert found.scores[fold] == pytest.approx(np.mean((Y[out] - inner.intercept - filled[out] @ inner.coef) ** 2))


def test_candidates_schedules_repetitions_and_stores_are_taken(tmp_path: Path) -> None:
    ds = dl.ingest((X, CLASSES), tmp_path / "d.zarr", chunks=(40, 4))
    found = dl.nested_cross_validate(ds, loss="logistic", outer=dl.KFold(2, repeats=2), l1_ratio=[0.5, 1.0], **FEW)
    assert found.scores.shape == (4,) and np.isfinite(found.se)
    assert len(found.summary()["l1_ratios"]) == 4 and found.summary()["passes"] > 4
    one = dl.nested_cross_validate(X, Y, outer=dl.HoldOut(0.3), schedule=dl.Relaxed(0.0), max_features=3, **FEW)
    assert one.scores.shape == (1,) and np.isnan(one.se) and one.summary()["se"] is None
    assert one.summary()["active"][0] <= 3


GROUPS = np.arange(N) % 5  # of rows that are copies of each other, but for the target


@pytest.mark.parametrize("call", [{}, {"outer": GROUPS, "folds": GROUPS}, {"outer": GROUPS, "folds": [str(g) for g in GROUPS]}])
def test_ids_of_groups_are_never_parted_outside_or_within(call: dict[str, Any]) -> None:
    ds = dl.Dataset.from_arrays(X, Y, fold=GROUPS)
    options: dict[str, Any] = {"n_lambdas": 10, "lambda_min_ratio": 0.02, "tol": 1e-9}
    found = dl.nested_cross_validate(ds, **call, **options)
    assert found.scores.shape == (5,)
    for fold, inner in enumerate(found.choices):
        out = fold == GROUPS
        alone = dl.cross_validate(X[~out], Y[~out], folds=GROUPS[~out], **options)
        assert inner.scores.shape == (10, 4)
        np.testing.assert_allclose(inner.scores, alone.scores, rtol=1e-6)
        assert found.scores[fold] == pytest.approx(np.mean((Y[out] - alone.predict(X[out])) ** 2))


def test_stored_folds_are_kept_within_another_outer_split_too() -> None:
    found = dl.nested_cross_validate(dl.Dataset.from_arrays(X, Y, fold=GROUPS), outer=dl.HoldOut(0.3), n_lambdas=5)
    assert found.choices[0].scores.shape == (5, 5)


def test_rows_that_always_train_do_so_in_every_outer_fold() -> None:
    ids = np.where(np.arange(N) < 40, -1, np.arange(N) % 2)
    found = dl.nested_cross_validate(dl.Dataset.from_arrays(X, Y, fold=ids), n_lambdas=5)
    assert found.scores.shape == (2,) and all(one.scores.shape == (5, 1) for one in found.choices)


def test_folds_that_count_alike_do_so_outside_too() -> None:
    found = dl.nested_cross_validate(X, Y, outer=IDS, average="folds", fixed="C", **FEW)
    assert found.mean == pytest.approx(found.scores.mean())


def test_too_few_folds_within_are_refused_before_anything_is_fitted() -> None:
    seen: list[Any] = []
    with pytest.raises(dl.InputError, match=r"^outer fold 0 leaves too few folds within: fold ids have 1 value"):
        dl.nested_cross_validate(X, Y, outer=IDS == 0, folds=IDS == 0, on_event=seen.append)
    gone = np.where(GROUPS == 2, 0.0, 1.0)
    with pytest.raises(dl.InputError, match=r"fold 2 has no row of positive weight"):
        dl.nested_cross_validate(X, Y, sample_weight=gone, outer=3, folds=GROUPS, on_event=seen.append)
    assert not seen


CASES: list[tuple[dict[str, Any], str]] = [
    ({"outer": 1}, "outer=1 cannot be used"),
    ({"outer": "five"}, "outer='five' cannot be used"),
    ({"outer": IDS[:5]}, "outer: folds has shape"),
    ({"outer": 200}, "outer=200 cannot be used"),
    ({"folds": 100}, "outer fold 0: 100 folds are more than"),
    ({"rule": "max"}, "rule='max'"),
    ({"score": "auc"}, "score='auc'"),
    ({"prior": dl.Laplace(1.0)}, "leaves nothing to choose"),
    ({"y": np.column_stack([Y, Y])}, "y has 2"),
    ({"y": np.where(np.arange(N) == 2, np.nan, Y)}, "y"),
    ({"y": (IDS == 1) * 1.0, "loss": "logistic", "outer": IDS}, "outer fold 1: "),
    ({"outer": dl.KFold(N), "score": "r2", "folds": 2, "n_lambdas": 1}, "outer fold 0 has no r2"),
]


@pytest.mark.parametrize(("options", "message"), CASES)
def test_bad_input_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(dl.InputError, match=message) as caught:
        dl.nested_cross_validate(X, **{"y": Y, **FEW, **options})
    assert "\n" not in str(caught.value)
