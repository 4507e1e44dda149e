"""Cross-validation: folds that share passes, scores that are those of separate fits, and rules that choose."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, xlogy
from sklearn.linear_model import LassoCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, PredefinedSplit, ShuffleSplit

import distlasso as dl
from distlasso.path import validation
from distlasso.path.choice import Curve, best, best_of, summarise
from distlasso.path.folds import Known, as_folds, hashed

RNG = np.random.default_rng(3)
N, P = 150, 24
X = RNG.standard_normal((N, P))
ETA = X[:, :4] @ [1.5, -1.0, 0.5, 0.25]
Y = ETA + 1.5 * RNG.standard_normal(N)
TARGETS = {
    "squared": Y,
    "huber": Y + 10.0 * (RNG.random(N) < 0.05),
    "logistic": (RNG.random(N) < expit(ETA)) * 1.0,
    "poisson": RNG.poisson(np.exp(0.5 * ETA)) * 1.0,
}
IDS = RNG.integers(0, 4, N)
FEW: dict[str, Any] = {"n_lambdas": 12, "lambda_min_ratio": 0.02}


class Counting:
    """A reader that counts."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.reads = inner, 0

    def read(self, i: int, j: int) -> Any:
        self.reads += 1
        return self.inner.read(i, j)


def same_folds(cv: dl.CrossValidation, X: Any, y: Any, ids: Any, options: dict[str, Any], *, weight: Any = None) -> None:
    """Assert that every fold's solutions are as good, on its training rows, as those of a fit to these rows alone."""
    loss = options.get("loss", "squared")
    for fold, name in enumerate(np.unique(ids[ids >= 0])):
        train = np.flatnonzero((ids != name) & (True if weight is None else weight > 0))
        w = None if weight is None else weight[train]
        alone = dl.fit_path(X[train], y[train], lambdas=cv.lambdas, sample_weight=w, **options)
        for k in range(0, cv.lambdas.size, 3):
            values = [
                objective(X[train], y[train], loss, float(cv.lambdas[k]), level, b, w, options.get("standardize", True))
                for level, b in (
                    (cv.chosen.fold_intercept[k, fold], cv.chosen.fold_coef[fold][[k]].toarray()[0]),
                    (alone.intercept[k], alone.coef[[k]].toarray()[0]),
                )
            ]
            assert abs(values[0] - values[1]) <= 1e-8 * abs(values[1])


def objective(X: Any, y: Any, loss: str, lam: float, level: float, b: Any, weight: Any, standardize: bool) -> float:
    dense = X.toarray() if sp.issparse(X) else np.asarray(X, dtype=np.float64)
    w = np.ones(len(y)) if weight is None else weight
    w = w / w.sum()
    centred = dense - w @ dense
    sd = np.sqrt(w @ centred**2) if standardize else np.ones(b.size)
    return float(w @ losses(loss, y, level + dense @ b)) + lam * float(sd @ np.abs(b))


def losses(loss: str, y: Any, eta: Any) -> Any:
    if loss == "logistic":
        return np.logaddexp(0.0, eta) - y * eta
    if loss == "poisson":
        return np.exp(eta) - y * eta + 10.0
    if loss == "huber":
        size = np.abs(y - eta)
        return np.where(size <= 1.35, 0.5 * size**2, 1.35 * size - 1.35**2 / 2)
    return 0.5 * (y - eta) ** 2


def test_scores_and_choice_are_those_of_scikit_learn() -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, standardize=False, tol=1e-10)
    theirs = LassoCV(alphas=cv.lambdas, cv=PredefinedSplit(IDS), tol=1e-10, max_iter=100_000).fit(X, Y)
    np.testing.assert_allclose(cv.scores, theirs.mse_path_, rtol=1e-7)
    shares = np.bincount(IDS) / N
    np.testing.assert_allclose(cv.mean, cv.scores @ shares)
    spread = np.sqrt((cv.scores - cv.mean[:, None]) ** 2 @ shares / 3)
    np.testing.assert_allclose(cv.se, spread)
    assert cv.lambda_min == cv.lambdas[np.argmin(cv.mean)]
    assert cv.lambda_1se == cv.lambdas[np.argmax(cv.mean <= cv.mean.min() + cv.se[np.argmin(cv.mean)])]


@pytest.mark.parametrize(
    ("loss", "encoding"),
    [*itertools.product(["squared", "logistic"], ["dense", "csr", "csc", "float32"]), ("huber", "dense"), ("poisson", "csr")],
)
def test_every_fold_is_a_plain_fit_of_its_training_rows(loss: str, encoding: str) -> None:
    Z = np.where(np.abs(X) < 0.3, 0.0, X)
    data = {"dense": Z, "csr": sp.csr_array(Z), "csc": sp.csc_array(Z), "float32": Z.astype(np.float32)}[encoding]
    options: dict[str, Any] = {"loss": loss, "tol": 1e-10}
    cv = dl.cross_validate(data, TARGETS[loss], folds=IDS, **options, **FEW)
    same_folds(cv, data, TARGETS[loss], IDS, options)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_folds_of_wide_data_are_plain_fits_too(loss: str) -> None:
    wide, y = X.T[:, :20].repeat(6, axis=1) + RNG.standard_normal((P, 120)), TARGETS[loss][:P]
    ids = np.arange(P) % 3
    options: dict[str, Any] = {"loss": loss, "tol": 1e-10}
    cv = dl.cross_validate(wide, y, folds=ids, n_lambdas=8, lambda_min_ratio=0.2, **options)
    same_folds(cv, wide, y, ids, options)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_weights_are_shared_out_and_rows_of_weight_0_are_in_no_fold(loss: str) -> None:
    weight = RNG.integers(0, 3, N) * 1.0
    options: dict[str, Any] = {"loss": loss, "tol": 1e-10}
    cv = dl.cross_validate(X, TARGETS[loss], folds=IDS, sample_weight=weight, **options, **FEW)
    same_folds(cv, X, TARGETS[loss], IDS, options, weight=weight)
    there = weight > 0
    less = dl.cross_validate(X[there], TARGETS[loss][there], folds=IDS[there], sample_weight=weight[there], **options, **FEW)
    np.testing.assert_allclose(cv.scores, less.scores, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fold_of_wild_scale_does_not_leak_into_the_statistics_of_the_others(scale: float, dtype: Any) -> None:
    wild = (X * np.where(IDS == 2, scale, 1.0)[:, None] + np.where(IDS == 2, 100 * scale, 5.0)[:, None]).astype(dtype)
    options: dict[str, Any] = {"tol": 1e-10}
    cv = dl.cross_validate(wild, Y, folds=IDS, lambdas=[1.0, 0.5, 0.1, 0.05], **options)
    same_folds(cv, wild.astype(np.float64), Y, IDS, options)


def test_a_column_that_is_constant_where_a_fold_trains_is_zero_there() -> None:
    step = X.copy()
    step[:, 0] = IDS == 1
    cv = dl.cross_validate(step, Y + 3.0 * step[:, 0], folds=IDS)
    assert not cv.chosen.fold_coef[1][:, [0]].nnz
    assert cv.chosen.fold_coef[0][:, [0]].nnz and cv.path.coef[:, [0]].nnz


def test_offsets_count_in_training_and_in_scores() -> None:
    offset = RNG.standard_normal(N)
    y = RNG.poisson(np.exp(0.3 * ETA + offset)) * 1.0
    cv = dl.cross_validate(X, y, loss="poisson", offset=offset, folds=IDS, tol=1e-10, **FEW)
    for fold in range(4):
        out = fold == IDS
        eta = offset[out, None] + cv.chosen.fold_intercept[:, fold] + X[out] @ cv.chosen.fold_coef[fold].toarray().T
        own = y[out, None]
        np.testing.assert_allclose(cv.scores[:, fold], (np.exp(eta) - own * eta - (own - xlogy(own, own))).mean(axis=0))


def test_missing_values_are_the_means_over_all_rows_of_the_fit() -> None:
    holes = np.where(RNG.random((N, P)) < 0.1, np.nan, X)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    data = dl.Dataset.from_arrays(holes, Y, missing_value=np.nan)
    with_holes, without = (dl.cross_validate(*each, folds=IDS, tol=1e-10, **FEW) for each in ((data,), (filled, Y)))
    np.testing.assert_allclose(with_holes.scores, without.scores, rtol=1e-7)


@pytest.mark.parametrize(("score", "better"), [("auc", max), ("accuracy", max), ("log_loss", min), ("deviance", min)])
def test_scores_of_classes_are_their_textbook_formulas(score: str, better: Any) -> None:
    y = TARGETS["logistic"]
    cv = dl.cross_validate(X, y, loss="logistic", folds=IDS, score=score, **FEW)
    for fold in range(4):
        out = fold == IDS
        eta = cv.chosen.fold_intercept[5, fold] + X[out] @ cv.chosen.fold_coef[fold][[5]].toarray()[0]
        loss = float(np.mean(losses("logistic", y[out], eta)))
        textbook = {"auc": roc_auc_score(y[out], eta), "accuracy": np.mean((eta > 0) == y[out]), "log_loss": loss,
                    "deviance": 2.0 * loss}  # fmt: skip
        assert cv.scores[5, fold] == pytest.approx(textbook[score])
    assert cv.mean[cv.best] == better(cv.mean)


@pytest.mark.parametrize("score", ["mae", "r2", "loss"])
def test_scores_of_numbers_are_their_textbook_formulas(score: str) -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, score=score, **FEW)
    out = IDS == 1
    away = Y[out] - cv.chosen.fold_intercept[5, 1] - X[out] @ cv.chosen.fold_coef[1][[5]].toarray()[0]
    textbook = {"mae": np.abs(away).mean(), "r2": 1 - (away**2).mean() / Y[out].var(), "loss": 0.5 * (away**2).mean()}
    assert cv.scores[5, 1] == pytest.approx(textbook[score])


@pytest.mark.parametrize(("loss", "shape"), [("squared", (N, P)), ("logistic", (N, P)), ("squared", (P, N))])
def test_folds_share_the_passes_of_one_fit(loss: str, shape: tuple[int, int]) -> None:
    Z, y = (X, TARGETS[loss]) if shape == X.shape else (X.T, Y[:P])
    data = dl.Dataset.from_arrays(Z, y)
    counting = Counting(data.reader)
    data = replace(data, reader=counting)
    one = dl.fit_path(data, loss=loss, **FEW)
    counting.reads = 0
    cv = dl.cross_validate(data, loss=loss, folds=np.arange(len(y)) % 8, **FEW)
    tiles = (data.row_bounds.size - 1) * (data.col_bounds.size - 1)
    assert cv.path.passes <= one.passes + max(1, one.passes // 2)
    assert counting.reads <= tiles * cv.path.rounds


def test_folds_whose_columns_differ_wait_for_each_other_before_a_sweep() -> None:
    ids, step = np.arange(N) % 8, X.copy()
    step[:, -1] = ids == 1  # constant where fold 1 trains, so that no strong set is shared
    y = TARGETS["logistic"]
    options: dict[str, Any] = {"loss": "logistic", "n_lambdas": 30, "lambda_min_ratio": 0.1}
    one, cv = dl.fit_path(step, y, **options), dl.cross_validate(step, y, folds=ids, **options)
    assert cv.path.passes <= one.passes + one.passes // 2


@pytest.mark.parametrize("encoding", [sp.csc_array, sp.csr_array])
@pytest.mark.parametrize(("loss", "score"), [("squared", "mse"), ("squared", "mae"), ("logistic", "auc"), ("logistic", "loss")])
def test_sparse_columns_that_are_held_are_scored_without_a_pass(
    encoding: Any, loss: str, score: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    wide = rng.standard_normal((60, 300)) * (rng.random((60, 300)) < 0.3)
    y, weight, ids = TARGETS[loss][:60], np.arange(60) % 3 * 1.0, np.arange(60) // 2 % 4
    options: dict[str, Any] = {"loss": loss, "folds": ids, "score": score, "sample_weight": weight, "tol": 1e-9, "n_lambdas": 8,
                               "lambda_min_ratio": 0.3}  # fmt: skip
    by_pass = dl.cross_validate(wide, y, **options)
    monkeypatch.setattr(validation, "_asks", None)
    held = dl.cross_validate(encoding(wide), y, **options)
    np.testing.assert_allclose(held.scores, by_pass.scores, rtol=1e-3)
    assert held.best == by_pass.best


def test_held_out_errors_from_sums_are_those_of_a_pass() -> None:
    by_sums, by_pass = (dl.cross_validate(X, Y, folds=IDS, score=score, **FEW) for score in ("mse", "loss"))
    assert by_sums.path.passes < by_pass.path.passes
    np.testing.assert_allclose(by_sums.scores, 2.0 * by_pass.scores, rtol=1e-9)


@pytest.mark.parametrize("chunks", [(N, P), (19, P), (N, 5), (40, 7)])
def test_the_layout_of_the_data_has_no_say_in_folds_or_scores(chunks: tuple[int, int], tmp_path: Path) -> None:
    ds = dl.ingest((X, Y), tmp_path / "d.zarr", chunks=chunks)
    cv, plain = (dl.cross_validate(*data, folds=6, random_state=5, tol=1e-10, **FEW) for data in ((ds,), (X, Y)))
    np.testing.assert_allclose(cv.scores, plain.scores, rtol=1e-6)
    assert cv.best == plain.best


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_wide_chunks_of_columns_can_be_scored(loss: str, tmp_path: Path) -> None:
    Z, y = np.ascontiguousarray(X.T), TARGETS[loss][:P]
    ids = np.arange(P) % 3
    ds = dl.ingest((Z, y), tmp_path / "d.zarr", chunks=(P, 11))
    options: dict[str, Any] = {"loss": loss, "folds": ids, "n_lambdas": 6, "lambda_min_ratio": 0.3, "tol": 1e-9}
    cv, plain = dl.cross_validate(ds, **options), dl.cross_validate(Z, y, **options)
    np.testing.assert_allclose(cv.scores, plain.scores, rtol=1e-6)


def test_dask_workers_give_the_bits_of_serial(tmp_path: Path) -> None:
    ds = dl.ingest((X, TARGETS["logistic"]), tmp_path / "d.zarr", chunks=(30, P))
    options: dict[str, Any] = {"loss": "logistic", "folds": 4, "score": "auc", **FEW}
    serial = dl.cross_validate(ds, runtime="serial", **options)
    with dl.Cluster(n_workers=2) as cluster:
        spread = dl.cross_validate(ds, runtime=cluster, **options)
    np.testing.assert_array_equal(serial.scores, spread.scores)
    np.testing.assert_array_equal(serial.coef, spread.coef)


def test_stored_folds_are_used_unless_others_are_given(tmp_path: Path) -> None:
    ds = replace(dl.Dataset.from_arrays(X, Y), fold=IDS * 1.0)
    np.testing.assert_array_equal(dl.cross_validate(ds, **FEW).scores, dl.cross_validate(X, Y, folds=IDS, **FEW).scores)
    assert dl.cross_validate(ds, folds=3, **FEW).scores.shape == (12, 3)


def test_classes_are_dealt_out_in_equal_shares() -> None:
    rare = (np.arange(200) < 20) * 1.0
    (partition,) = dl.KFold(10).partitions(Known(np.ones(200), rare, 0))
    assert (np.bincount(partition.cell, rare) == 2).all() and (np.bincount(partition.cell) == 20).all()


@given(n=st.integers(2, 60), k=st.integers(2, 12), seed=st.integers(0, 99), repeats=st.integers(1, 3))
def test_k_folds_hold_every_row_out_once_in_every_repetition(n: int, k: int, seed: int, repeats: int) -> None:
    weight = (hashed(np.arange(n), seed) % np.uint64(5) > 0) * 1.0
    there = int(weight.sum())
    if k > there:
        with pytest.raises(dl.InputError, match="more than the"):
            dl.KFold(k, repeats).partitions(Known(weight, None, seed))
        return
    found = dl.KFold(k, repeats).partitions(Known(weight, None, seed))
    assert len(found) == repeats
    for partition in found:
        sizes = np.bincount(partition.cell, weight, minlength=k)
        assert sizes.max() - sizes.min() <= 1
        for train, test in zip(partition.train, partition.test, strict=True):
            assert sorted((*train, *test)) == list(range(k))


def test_repetitions_have_folds_of_their_own_and_do_not_shrink_the_standard_error() -> None:
    once, often = (dl.cross_validate(X, Y, folds=dl.KFold(5, repeats=r), **FEW) for r in (1, 4))
    assert often.scores.shape == (12, 20)
    np.testing.assert_array_equal(often.scores[:, :5], once.scores)
    assert not np.array_equal(often.scores[:, :5], often.scores[:, 5:10])
    assert 0.5 < np.median(often.se / once.se) < 2.0


@given(st.lists(st.integers(0, 9), min_size=12, max_size=60), st.integers(2, 4))
def test_groups_are_never_parted(groups: list[int], k: int) -> None:
    rows = Known(np.ones(len(groups)), None, 0)
    if len(set(groups)) < k:
        with pytest.raises(dl.InputError, match="a group is never parted"):
            dl.GroupKFold(groups, k).partitions(rows)
        return
    (partition,) = dl.GroupKFold(groups, k).partitions(rows)
    assert len({(g, c) for g, c in zip(groups, partition.cell, strict=True)}) == len(set(groups))
    assert set(partition.cell) == set(range(k))


@given(n=st.integers(8, 80), k=st.integers(1, 6), gap=st.integers(0, 4))
@settings(max_examples=50)
def test_folds_in_time_train_on_what_came_before_less_a_gap(n: int, k: int, gap: int) -> None:
    rows = Known(np.ones(n), None, 0)
    if n // (k + 1) <= gap:
        with pytest.raises(dl.InputError, match="leave none"):
            dl.TimeSeries(k, gap).partitions(rows)
        return
    (partition,) = dl.TimeSeries(k, gap).partitions(rows)
    held = []
    for train, test in zip(partition.train, partition.test, strict=True):
        before, after = (np.flatnonzero(np.isin(partition.cell, cells)) for cells in (train, test))
        np.testing.assert_array_equal(before, np.arange(after[0] - gap))
        held.append(after)
    np.testing.assert_array_equal(np.concatenate(held), np.arange(held[0][0], n))


def test_the_features_of_every_model_are_those_of_the_fit_to_all_rows() -> None:
    cv = dl.cross_validate(X, Y, folds=3, l1_ratio=[0.5, 1.0], **FEW)
    np.testing.assert_array_equal(cv.n_active, cv.path.n_active)
    assert cv.n_active[cv.best] == np.count_nonzero(cv.coef)


def test_one_split_has_scores_but_no_standard_error() -> None:
    cv = dl.cross_validate(X, Y, folds=dl.HoldOut(0.3), **FEW)
    assert cv.scores.shape == (12, 1) and np.isnan(cv.se).all()
    np.testing.assert_array_equal(cv.mean, cv.scores[:, 0])
    seen: list[Any] = []
    with pytest.raises(dl.InputError, match="needs a standard error"):
        dl.cross_validate(X, Y, folds=dl.HoldOut(0.3), rule="1se", on_event=seen.append, **FEW)
    assert not seen  # nothing was fitted for it


def test_splitters_of_scikit_learn_are_taken_as_they_are() -> None:
    splitter = ShuffleSplit(3, test_size=0.25, random_state=0)
    by_splitter, by_pairs = (dl.cross_validate(X, Y, folds=f, **FEW) for f in (splitter, list(splitter.split(X))))
    np.testing.assert_array_equal(by_splitter.scores, by_pairs.scores)
    assert by_splitter.scores.shape == (12, 3) and np.isfinite(by_splitter.se).all()
    groups = list(GroupKFold(3).split(X, Y, IDS))
    assert dl.cross_validate(X, Y, folds=groups, **FEW).scores.shape == (12, 3)


def test_rows_of_fold_id_minus_one_always_train() -> None:
    ids = np.where(IDS == 3, -1, IDS)
    cv = dl.cross_validate(X, Y, folds=ids, tol=1e-10, **FEW)
    same_folds(cv, X, Y, ids, {"tol": 1e-10})


def test_the_rules_and_the_cap_choose_along_one_path() -> None:
    mean, se = np.array([5.0, 3.0, 2.2, 2.0, 2.1]), np.full(5, 0.3)
    curve = Curve(mean, se, np.array([0, 1, 3, 5, 9]))
    assert (best(curve, "min"), best(curve, "1se"), best(curve, "min", 3), best(curve, "1se", 4)) == (3, 2, 2, 2)
    with pytest.raises(dl.InputError, match="has more features"):
        best(Curve(mean, se, np.array([2, 2, 3, 5, 9])), "min", 1)


def test_among_several_paths_1se_is_the_fewest_features_within_reach() -> None:
    se = np.full(3, 0.3)
    lasso = Curve(np.array([5.0, 2.2, 2.0]), se, np.array([0, 8, 20]))
    pruned = Curve(np.array([5.0, 2.25, 2.1]), se, np.array([0, 4, 9]))
    assert best_of([lasso, pruned], "min") == (0, 2)
    assert best_of([lasso, pruned], "1se") == (1, 1)
    assert best_of([lasso, pruned], "min", 10) == (1, 2)


def test_the_standard_error_is_that_of_glmnet() -> None:
    scores, weight = np.array([[1.0, 2.0, 4.0]]), np.array([1.0, 1.0, 2.0])
    mean, se = summarise(scores, weight, np.zeros(3, dtype=np.int64))
    assert mean[0] == pytest.approx(2.75)
    assert se[0] == pytest.approx(np.sqrt((1.75**2 + 0.75**2 + 2 * 1.25**2) / 4 / 2))


def test_mixing_and_schedules_are_chosen_together_with_lambda() -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, l1_ratio=[0.2, 1.0], schedule=[None, dl.PruneRefine(0.1)], **FEW)
    names = [(one.path.l1_ratio, one.path.schedule) for one in cv.candidates]
    assert names == list(itertools.product([0.2, 1.0], ["", "PruneRefine(refine=0.1, stages=1)"]))
    means = [one.mean.min() for one in cv.candidates]
    assert cv.winner == int(np.argmin(means)) and cv.mean[cv.best] == min(means)
    alone = dl.cross_validate(X, Y, folds=IDS, l1_ratio=0.2, schedule=dl.PruneRefine(0.1), **FEW)
    np.testing.assert_allclose(cv.candidates[1].scores, alone.scores, rtol=1e-4)


@pytest.mark.parametrize("schedule", [dl.PruneRefine(), dl.Relaxed(), dl.MCP(), dl.Adaptive()], ids=lambda s: type(s).__name__)
def test_a_chosen_model_under_a_schedule_is_the_one_that_a_path_under_it_finds(schedule: Any) -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, schedule=schedule, tol=1e-9, **FEW)
    names = {repr(own): own for own in getattr(schedule, "choices", lambda: (schedule,))()}
    path = dl.fit_path(X, Y, schedule=names[cv.schedule], lambdas=cv.lambdas, tol=1e-9)
    np.testing.assert_allclose(cv.coef, path.coef[[cv.best]].toarray()[0], atol=1e-4)
    assert cv.path.passes <= 4


def test_a_saved_choice_comes_back(tmp_path: Path) -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, rule="1se", l1_ratio=[0.5, 1.0], **FEW)
    cv.save(tmp_path / "m")
    back = dl.load(tmp_path / "m")
    assert isinstance(back, dl.CrossValidation)
    assert (back.lambda_, back.lambda_min, back.lambda_1se, back.rule) == (cv.lambda_, cv.lambda_min, cv.lambda_1se, "1se")
    np.testing.assert_array_equal(back.scores, cv.scores)
    np.testing.assert_array_equal(back.predict(X), cv.predict(X))
    (tmp_path / "m" / "selection.json").write_text("{}")
    with pytest.raises(dl.StoreError, match="damaged"):
        dl.load(tmp_path / "m")


@pytest.mark.parametrize("runtime", ["serial", "threads"])
def test_candidates_by_rounds_are_what_they_are_alone(runtime: str) -> None:
    wide = np.hstack([X, np.random.default_rng(0).standard_normal((N, 40))])
    y, options = TARGETS["logistic"], {"loss": "logistic", "runtime": runtime, "lambdas": [0.1, 0.05], "tol": 1e-10}
    both = dl.cross_validate(wide, y, folds=IDS, l1_ratio=[0.5, 1.0], **options)
    for ratio, candidate in zip((0.5, 1.0), both.candidates, strict=True):
        alone = dl.cross_validate(wide, y, folds=IDS, l1_ratio=ratio, **options)
        np.testing.assert_allclose(candidate.path.coef.toarray(), alone.path.coef.toarray(), atol=1e-5)
        np.testing.assert_allclose(candidate.scores, alone.scores, rtol=1e-6)


def test_means_that_differ_by_rounding_are_equal_and_the_largest_lambda_is_chosen() -> None:
    curve = Curve(np.array([0.3, 0.1 + 0.2, 0.3, 0.5]) - 1.0, np.full(4, 0.01), np.arange(4))
    below = Curve(curve.mean - 1e-16, curve.se, curve.n_active)
    assert best(curve, "min") == 0 and best_of([curve, below], "min") == (0, 0)


def test_a_choice_predicts_by_its_own_lambda_and_draws_its_scores(tmp_path: Path) -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, **FEW)
    np.testing.assert_allclose(cv.predict(X), cv.intercept + X @ cv.coef)
    cv.plot(tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 10_000


def test_ctrl_c_and_limits_leave_what_every_fold_has_reached() -> None:
    cv = dl.cross_validate(X, Y, folds=IDS, max_active=5)
    assert 0 < cv.lambdas.size < 100 and cv.scores.shape == (cv.lambdas.size, 4)
    assert not cv.path.complete


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("more folds than rows", {"folds": 500}, "500 folds are more than the 150 rows"),
    ("one fold", {"folds": 1}, "k=1 of KFold"),
    ("no whole number", {"folds": 2.5}, "folds=2.5 is not known"),
    ("text", {"folds": "ten"}, "folds='ten' is not known"),
    ("short ids", {"folds": IDS[:9]}, "folds has shape"),
    ("NaN ids", {"folds": np.where(np.arange(N) == 7, np.nan, IDS)}, r"folds\[7\] is nan"),
    ("no id", {"folds": [None if i == 7 else int(k) for i, k in enumerate(IDS)]}, r"folds\[7\] is None"),
    ("NaN among text", {"folds": np.where(np.arange(N) == 7, np.nan, IDS.astype(str).astype(object))}, r"folds\[7\] is nan"),
    ("a masked id", {"folds": np.ma.masked_equal(np.where(np.arange(N) == 7, 9, IDS), 9)}, r"folds\[7\]"),
    ("no time", {"folds": np.where(np.arange(N) == 7, np.datetime64("NaT"), IDS.astype("M8[s]"))}, r"folds\[7\] is NaT"),
    ("complex ids", {"folds": IDS + 0j}, "folds has complex numbers"),
    ("text and numbers", {"folds": np.array([1, "1"] * (N // 2), dtype=object)}, "folds has text, '1', and other labels, 1"),
    ("a seed that is none", {"random_state": "7"}, "random_state='7' is not a whole number"),
    ("a seed beyond all", {"random_state": 2**70}, "is not a whole number from 0 to 4294967295"),
    ("one id", {"folds": np.zeros(N)}, "at least two folds"),
    ("an empty fold", {"folds": IDS, "sample_weight": np.where(IDS == 2, 0.0, 1.0)}, "fold 2 has no row of positive weight"),
    ("groups that span everything", {"folds": dl.GroupKFold(np.zeros(N), 3)}, "more than the 1 group"),
    ("NaN groups", {"folds": dl.GroupKFold(np.full(N, np.nan), 3)}, r"groups\[0\] is nan"),
    ("a gap too wide", {"folds": dl.TimeSeries(4, gap=40)}, "leave none of 150 rows"),
    ("pairs that overlap", {"folds": [(np.arange(90), np.arange(80, 120))]}, "holds out rows that it trains on"),
    ("rows beyond the data", {"folds": [(np.arange(90), np.arange(200, 220))]}, "not a pair of row numbers"),
    ("a row twice", {"folds": [(np.r_[0:90, 3], np.arange(100, 120))]}, "names a row twice"),
    ("an empty pair", {"folds": [(np.arange(90), np.array([], dtype=int))]}, "to hold out"),
    ("rule", {"rule": "max"}, "rule='max'"),
    ("score", {"score": "auc"}, "score='auc' is not known for squared loss"),
    ("average", {"average": "mean"}, "average='mean' is not known"),
    ("fixed", {"fixed": "alpha"}, "fixed='alpha' is not known"),
    ("cap", {"max_features": 0}, "max_features=0"),
    ("prior", {"prior": dl.Laplace(1.0)}, "leaves nothing to choose"),
    ("no ratio", {"l1_ratio": []}, "l1_ratio is empty"),
    ("a wrong ratio among good ones", {"l1_ratio": [0.5, 2.0]}, "l1_ratio=2"),
    ("no schedule", {"schedule": []}, "schedule is empty"),
    ("constant target", {"y": np.ones(N)}, "constant target"),
    ("r2 of one row", {"folds": dl.KFold(N), "score": "r2", "n_lambdas": 3}, "fold 0 has no r2"),
]


@pytest.mark.parametrize(("options", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(dl.InputError, match=message) as caught:
        dl.cross_validate(X, **{"y": Y, **options})
    assert "\n" not in str(caught.value)


def test_whole_numbers_among_objects_are_whole_numbers() -> None:
    ids = np.where(IDS == 3, -1, IDS)
    a, b = (dl.cross_validate(X, Y, folds=own, **FEW) for own in (ids, ids.astype(object)))
    np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("unit", [1e80, 1e-100])
def test_the_rule_of_one_standard_error_has_no_unit(unit: float) -> None:
    a, b = (dl.cross_validate(X, Y * scale, folds=IDS, rule="1se", **FEW) for scale in (1.0, unit))
    assert b.lambda_ == pytest.approx(unit * a.lambda_)
    np.testing.assert_allclose(b.se / unit**2, a.se, rtol=1e-6)


def test_folds_may_count_alike_whatever_they_hold_out() -> None:
    cv = dl.cross_validate(X, Y, folds=np.minimum(IDS, 1), average="folds", **FEW)
    np.testing.assert_allclose(cv.mean, cv.scores.mean(axis=1))
    np.testing.assert_allclose(cv.se, np.abs(cv.scores[:, 0] - cv.scores[:, 1]) / 2)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_with_c_fixed_a_fold_has_the_penalty_of_its_own_sum(loss: str) -> None:
    cv = dl.cross_validate(X, TARGETS[loss], loss=loss, folds=IDS, fixed="C", tol=1e-12, **FEW)
    for fold in range(4):
        own = np.flatnonzero(fold != IDS)
        alone = dl.fit_path(X[own], TARGETS[loss][own], loss=loss, lambdas=cv.lambdas * N / own.size, tol=1e-12)
        np.testing.assert_allclose(cv.chosen.fold_coef[fold].toarray(), alone.coef.toarray(), atol=1e-5)


def test_pairs_that_are_k_folds_share_their_cells() -> None:
    rows = Known(np.ones(N), None, 0)
    pairs = list(PredefinedSplit(np.where(IDS == 3, -1, IDS)).split())
    (partition,) = as_folds(pairs, (N, P), Y).partitions(rows)
    assert partition.n_cells == 4 and len(partition.test) == 3
    for (train, test), own, held in zip(pairs, partition.train, partition.test, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(np.isin(partition.cell, own)), train)
        np.testing.assert_array_equal(np.flatnonzero(np.isin(partition.cell, held)), test)
    assert len(as_folds(ShuffleSplit(3, random_state=0), (N, P), Y).partitions(rows)) == 3


def test_without_an_intercept_a_fold_may_train_on_one_class() -> None:
    y = (IDS == 1) * 1.0
    cv = dl.cross_validate(X, y, loss="logistic", folds=IDS, fit_intercept=False, **FEW)
    assert np.isfinite(cv.scores).all()


def test_folds_that_train_on_one_class_are_named() -> None:
    y = (IDS == 1) * 1.0
    with pytest.raises(dl.InputError, match="training rows of fold 1 cannot be fitted"):
        dl.cross_validate(X, y, loss="logistic", folds=IDS)
    with pytest.raises(dl.InputError, match="only one class is held out"):
        dl.cross_validate(X, TARGETS["logistic"], loss="logistic", folds=dl.KFold(N), score="auc", n_lambdas=2)


def test_unknown_options_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="foldz"):
        dl.cross_validate(X, Y, foldz=3)
