"""Stability selection: probabilities that are those of separate fits to halves, and bounds that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog
from scipy.special import expit
from sklearn.linear_model import Lasso

import distlasso as dl
from distlasso.inference import stability
from distlasso.inference.stable import unimodal
from distlasso.losses import as_loss

RNG = np.random.default_rng(5)
N, P = 130, 16
X = RNG.standard_normal((N, P))
ETA = X[:, :3] @ [1.5, -1.0, 0.6]
Y = ETA + RNG.standard_normal(N)
CLASSES = (RNG.random(N) < expit(2 * ETA)) * 1.0
FEW: dict[str, Any] = {"n_halves": 12, "n_lambdas": 10}


def halves(data: dl.Dataset, loss: str, pairs: int, seed: int = 0) -> list[Any]:
    """Which rows are in each half."""
    plan = stability._plan(data, as_loss(loss), pairs, seed)
    return [np.isin(plan.cell, own) for own in plan.halves]


@pytest.mark.parametrize("encoding", ["dense", "csr", "float32"])
def test_probabilities_are_those_of_scikit_learn_on_the_same_halves(encoding: str) -> None:
    data: Any = {"dense": X, "csr": sp.csr_array(X), "float32": X.astype(np.float32)}[encoding]
    found = dl.stability_selection(data, Y, standardize=False, tol=1e-10, **FEW)
    count, first = np.zeros((found.lambdas.size, P)), np.zeros((found.lambdas.size, P))
    for own in halves(dl.Dataset.from_arrays(X, Y), "squared", 6):
        active = np.array([Lasso(lam, tol=1e-9, max_iter=100_000).fit(X[own], Y[own]).coef_ != 0 for lam in found.lambdas])
        count += active / 12
        first += np.maximum.accumulate(active, axis=0) / 12
    np.testing.assert_allclose(found.probabilities.toarray(), count, atol=1e-12)
    np.testing.assert_allclose(found.q, first.sum(axis=1))


@pytest.mark.parametrize("shape", ["tall", "wide"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_probabilities_are_those_of_a_fit_under_weights_of_0_and_1(loss: str, shape: str) -> None:
    Z = X if shape == "tall" else np.column_stack([X, RNG.standard_normal((N, 200))])
    y = CLASSES if loss == "logistic" else Y
    found = dl.stability_selection(Z, y, loss=loss, tol=1e-9, n_halves=4, n_lambdas=6, lambda_min_ratio=0.3)
    count = np.zeros((found.lambdas.size, Z.shape[1]))
    for own in halves(dl.Dataset.from_arrays(Z, y), loss, 2):
        path = dl.fit_path(Z, y, loss=loss, tol=1e-9, lambdas=found.lambdas, sample_weight=own * 1.0)
        count += (path.coef.toarray() != 0) / 4
    np.testing.assert_allclose(found.probabilities.toarray(), count)


@pytest.mark.parametrize(("rows", "loss"), [(8, "squared"), (61, "squared"), (129, "squared"), (200, "logistic"), (999, "squared")])
def test_halves_are_disjoint_halves_of_the_rows(rows: int, loss: str) -> None:
    Z, y = RNG.standard_normal((rows, 2)), (np.arange(rows) % 4 == 0) * 1.0
    found = halves(dl.Dataset.from_arrays(Z, y), loss, 5)
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert not (first & second).any() and (first | second).all()
        assert abs(int(first.sum()) - int(second.sum())) <= 2
    assert len({own.tobytes() for own in found}) == len(found)


def test_the_grams_of_cells_answer_everything_in_two_passes_and_groups_of_halves_agree_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_cells = dl.stability_selection(X, Y, tol=1e-9, **FEW)
    assert by_cells.path.passes == 2
    monkeypatch.setattr(stability, "GRAMS", 0)
    monkeypatch.setattr("distlasso.path.side_by_side._GRAMS", 5 * 24 * P * P)
    by_groups = dl.stability_selection(X, Y, tol=1e-9, **FEW)
    assert by_groups.path.passes == 1 + 1 + 3  # moments, all rows, groups of five
    np.testing.assert_allclose(by_groups.probabilities.toarray(), by_cells.probabilities.toarray())


@pytest.mark.parametrize("memory", ["2MB", "1MB"])
def test_a_budget_changes_the_passes_not_the_probabilities(memory: str) -> None:
    free, bound = (dl.stability_selection(X, Y, tol=1e-9, memory=m, **FEW) for m in (None, memory))
    assert bound.path.passes > free.path.passes == 2
    np.testing.assert_allclose(bound.probabilities.toarray(), free.probabilities.toarray())


@pytest.mark.parametrize("chunks", [(17, P), (40, 5)])
def test_the_layout_has_no_say(chunks: tuple[int, int], tmp_path: Path) -> None:
    ds = dl.ingest((X, Y), tmp_path / "d.zarr", chunks=chunks)
    stored, plain = (dl.stability_selection(*data, tol=1e-9, **FEW) for data in ((ds,), (X, Y)))
    np.testing.assert_allclose(stored.probabilities.toarray(), plain.probabilities.toarray())
    other = dl.stability_selection(X, Y, random_state=1, **FEW)
    assert not np.array_equal(other.probabilities.toarray(), plain.probabilities.toarray())


def test_rows_of_weight_0_are_in_no_half_and_missing_values_are_means_over_all_rows() -> None:
    weight = (np.arange(N) % 3 > 0) * 2.0
    found = dl.stability_selection(X, Y, sample_weight=weight, n_halves=2, n_lambdas=5)
    assert found.path.n_rows == int((weight > 0).sum())
    data = dl.Dataset.from_arrays(X, Y, sample_weight=weight)
    first, second = halves(data, "squared", 1)
    assert abs(int((first & (weight > 0)).sum()) - int((second & (weight > 0)).sum())) <= 1
    holes = np.where(RNG.random((N, P)) < 0.1, np.nan, X)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    missing = dl.stability_selection(dl.Dataset.from_arrays(holes, Y, missing_value=np.nan), tol=1e-9, **FEW)
    plain = dl.stability_selection(filled, Y, tol=1e-9, **FEW)
    np.testing.assert_allclose(missing.probabilities.toarray(), plain.probabilities.toarray())


def test_the_stable_set_is_what_reaches_the_threshold_where_the_bound_is_kept() -> None:
    found = dl.stability_selection(X, Y, threshold=0.8, max_false=1.5, n_halves=20, n_lambdas=20)
    level = 0.8
    textbook = np.minimum(found.q**2 / ((2 * level - 1) * P), found.q)
    np.testing.assert_allclose(found.expected_false(), textbook)
    region = int(np.argmax(textbook > 1.5)) if (textbook > 1.5).any() else 20
    assert 0 < found.region() == region < 20
    peak = found.probabilities.toarray()[:region].max(axis=0)
    np.testing.assert_array_equal(found.stable, np.flatnonzero(peak >= level))
    assert set(found.stable) == {0, 1, 2}
    assert set(found.stable_set(1.0)) <= set(found.stable) <= set(found.stable_set(0.55, max_false=50.0))
    assert found.region(bound="unimodal") >= region and found.summary()["expected_false"] <= 1.5
    everything = dl.stability_selection(X, Y, max_false=None, n_halves=4, n_lambdas=5)
    assert everything.region() == 5


@pytest.mark.parametrize("pairs", [10, 50])
@pytest.mark.parametrize("theta", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.75, 0.8, 0.9, 1.0])
def test_the_unimodal_constant_is_the_worst_case_of_a_linear_program(pairs: int, theta: float, threshold: float) -> None:
    """Of all unimodal distributions on 0, 1/B, ..., 1 with mean theta^2, which has the most mass at 2 threshold - 1 or above?"""
    places, mean = np.arange(pairs + 1) / pairs, theta**2
    blocks = [(a, b) for a in range(pairs + 1) for b in range(a, pairs + 1)]
    worst = 0.0
    for mode in range(pairs + 1):  # unimodal about a mode: a mixture of uniform distributions on blocks that hold it
        own = [(a, b) for a, b in blocks if a <= mode <= b]
        tail = [max(0, b - max(a, round((2 * threshold - 1) * pairs)) + 1) / (b - a + 1) for a, b in own]
        means = [places[a : b + 1].mean() for a, b in own]
        solved = linprog(-np.array(tail), A_eq=[means, np.ones(len(own))], b_eq=[mean, 1.0])
        if solved.status == 0:
            worst = max(worst, -solved.fun)
    constant = unimodal(threshold, pairs, theta)
    assert worst <= constant * mean * (1 + 1e-7)
    assert worst >= 0.85 * constant * mean  # and it is nearly attained


def test_noise_is_selected_no_more_often_than_the_bound_says() -> None:
    false = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        Z, y = rng.standard_normal((100, 60)), rng.standard_normal(100)
        found = dl.stability_selection(Z, y, n_halves=20, n_lambdas=25, threshold=0.6, max_false=2.0)
        assert found.region() > 0
        false += found.stable.size
    assert false / 4 <= 2.0


def test_progress_counts_the_lambdas_of_all_fits_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distlasso.path.side_by_side._GRAMS", 5 * 24 * P * P)  # in groups of five
    events: list[Any] = []
    dl.stability_selection(X, Y, on_event=events.append, **FEW)
    done = [(one.n_accepted, one.n_lambdas) for one in events if type(one).__name__ == "BatchVerified"]
    assert done == sorted(done) and done[-1] == (130, 130) and {size for _, size in done} == {130}


def test_limits_leave_what_every_half_has_reached() -> None:
    with_cap = dl.stability_selection(X, Y, max_active=3, n_halves=6)
    k = with_cap.lambdas.size
    assert 0 < k < 100 and with_cap.probabilities.shape == (k, P) and with_cap.gaps.shape == (k, 6)
    assert not with_cap.path.complete and with_cap.path.coef.shape == (k, P)


def test_a_constant_column_is_no_candidate() -> None:
    padded = np.column_stack([X, np.ones(N)])
    found = dl.stability_selection(padded, Y, **FEW)
    assert found.n_columns == P and found.path.dropped.tolist() == [P]


CASES: list[tuple[dict[str, Any], str]] = [
    ({"threshold": 0.5}, r"threshold=0.5 is not in \(0.5, 1\]"),
    ({"threshold": 1.1}, "threshold=1.1"),
    ({"threshold": float("nan")}, "threshold=nan"),
    ({"threshold": "high"}, "threshold='high'"),
    ({"n_halves": 7}, "n_halves=7 is odd"),
    ({"n_halves": 0}, "n_halves=0"),
    ({"max_false": 0}, "max_false=0"),
    ({"bound": "best"}, "bound='best'"),
    ({"prior": dl.Laplace(1.0)}, "prior= is not for stability selection"),
    ({"schedule": dl.MCP()}, "schedule= is not for stability selection"),
    ({"multi_task": True}, "multi_task= is not"),
    ({"y": np.column_stack([Y, Y])}, "one response, and y has 2"),
    ({"y": np.where(np.arange(N) == 3, np.nan, Y)}, "y"),
    ({"sample_weight": (np.arange(N) < 5) * 1.0}, "5 rows of positive weight are too few"),
    ({"y": np.ones(N)}, "constant target"),
    ({"y": (np.arange(N) == 0) * 1.0, "loss": "logistic"}, "half-sample 0 cannot be fitted|half-sample 1 cannot be fitted"),
]


@pytest.mark.parametrize(("options", "message"), CASES)
def test_bad_input_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(dl.InputError, match=message) as caught:
        dl.stability_selection(X, **{"y": Y, **FEW, **options})
    assert "\n" not in str(caught.value)
