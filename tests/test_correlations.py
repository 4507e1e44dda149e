"""Dense columns by their correlations in float32: solutions are as good as by the columns themselves, or they are not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distlasso as dl
from distlasso.penalties import Bounds4
from distlasso.solvers import correlations, quadratic
from distlasso.solvers.block_coordinate import restricted_gap, solve
from distlasso.solvers.correlations import Correlations, approach
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import DenseForm

N, P = 300, 60


def dense(seed: int, scale: float = 1.0, *, collinear: bool = False) -> DenseForm:
    """A problem with an intercept, rows without a weight, and columns of very different sizes."""
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.standard_normal((N, P)) * scale ** np.linspace(-1.0, 1.0, P))
    if collinear:
        X[:, 1::2] = X[:, ::2]
    weight = rng.random(N) * (np.arange(N) % 5 > 0)
    weight /= weight.sum()
    y = X[:, :8] @ (rng.standard_normal(8) / X.std(axis=0)[:8]) + rng.standard_normal(N)
    centre = weight @ X
    return DenseForm(X, centre, weight @ (X - centre) ** 2, weight, y - weight @ y, None)


def penalty_of(form: DenseForm, share: float, l2: float, kind: str) -> Bounds4:
    u, _ = form.move(np.zeros(P))
    size = np.sqrt(form.curvature)
    l1 = share * float(np.max(np.abs(u) / size)) * size
    low, high = np.full(P, -np.inf), np.full(P, np.inf)
    if kind == "positive":
        low[:] = 0.0
    elif kind == "boxed":
        low, high = -0.05 / size, 0.08 / size
    elif kind == "free":
        l1[2:4] = 0.0
    return Bounds4(l1, l2 * form.curvature, low, high)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6), st.sampled_from([1.0, 1e3, 1e18]), st.booleans(), st.sampled_from([0.0, 0.01]),
    st.sampled_from(["plain", "positive", "boxed", "free"]), st.sampled_from([1e-4, 1e-7, 1e-10]),
)  # fmt: skip
def test_who_has_arrived_has_a_gap_as_small_as_asked_for(
    seed: int, scale: float, collinear: bool, l2: float, kind: str, tol: float
) -> None:
    """Also on collinear columns, and on columns whose squares float32 cannot hold; most arrive where the tolerance is usual."""
    form = dense(seed, scale, collinear=collinear)
    penalties = [penalty_of(form, share, l2, kind) for share in (0.5, 0.3, 0.1)]
    target = tol * 0.5 * form.move(np.zeros(P))[1]
    b, arrived = approach(form, Correlations(P), penalties, np.zeros((P, 3)), target)
    u, rr = form.look(b)
    for k in np.flatnonzero(arrived):
        own = penalties[k]
        assert restricted_gap(u[:, k], rr[k], b[:, k], own) <= target * (1 + 1e-9) + 1e-12 * rr[k]
        assert ((b[:, k] >= own.low) & (b[:, k] <= own.high)).all()
    if tol >= 1e-7 and not collinear:
        assert arrived.all()


def test_solutions_are_those_of_descent_on_the_columns() -> None:
    form = dense(1)
    own = penalty_of(form, 0.2, 0.0, "plain")
    (b,), (arrived,) = (part.T for part in approach(form, Correlations(P), [own], np.zeros((P, 1)), 1e-12))
    expected = solve(form.twin(), own, np.zeros(P), target=1e-14, newton=Newton(), names=np.arange(P)).b
    assert arrived and 3 < np.count_nonzero(b) < P
    np.testing.assert_allclose(b, expected, atol=1e-5)
    np.testing.assert_array_equal(b == 0, expected == 0)


def test_a_small_support_is_solved_to_rounding() -> None:
    form = dense(7)
    own = penalty_of(form, 0.4, 0.0, "plain")
    target = 1e-3 * form.move(np.zeros(P))[1]
    for polish in (False, True):
        b, _ = approach(form, Correlations(P), [own], np.zeros((P, 1)), target, polish=polish)
        u, rr = form.look(b)
        gap = restricted_gap(u[:, 0], rr[0], b[:, 0], own)
        assert (gap < 1e-12 * rr[0]) == polish


def test_more_columns_in_use_than_there_is_room_for_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlations, "_MOST", 4)
    form = dense(2)
    penalties = [penalty_of(form, share, 0.0, "plain") for share in (0.99, 0.05)]
    told = Correlations(P)
    _, arrived = approach(form, told, penalties, np.zeros((P, 2)), 1e-9)
    assert not arrived[1] and told.columns.size <= 4


def test_correlations_grow_to_what_they_would_be_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quadratic, "_TALL", 17)
    form, told = dense(3, 1e3), Correlations(P)
    mask = np.zeros(P, dtype=np.bool_)
    for columns in ([5, 9, 2], [9, 30], [0, 1, 2, 59]):
        mask[columns] = True
        assert told.hold(form, mask)
    hessian = form.hessian(told.columns)
    size = np.sqrt(np.diag(hessian))
    assert sorted(told.columns) == [0, 1, 2, 5, 9, 30, 59]
    np.testing.assert_allclose(told.matrix, hessian / np.outer(size, size), atol=3e-6)
    np.testing.assert_array_equal(told.matrix, told.matrix.T)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("options", [{}, {"tol": 1e-10}, {"l1_ratio": 0.5}, {"standardize": False, "fit_intercept": False}])
def test_paths_by_correlations_are_certified_and_agree_with_paths_by_columns(
    missing: bool, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    X = np.asfortranarray(rng.integers(0, 3, (200, 400)).astype(np.int8))
    y = X[:, :9] @ rng.standard_normal(9) + rng.standard_normal(200)
    if missing:
        X[rng.random(X.shape) < 0.05] = -9
    data = dl.Dataset.from_arrays(X, y, missing_value=-9 if missing else None)
    with monkeypatch.context() as patch:
        patch.setattr(correlations, "_MOST", -1)
        by_columns = dl.fit_path(data, n_lambdas=30, **options)
    found = dl.fit_path(data, n_lambdas=30, **options)
    assert found.converged.all() and (found.gap <= options.get("tol", 1e-6)).all()
    objective = np.abs(found.deviance_ratio - by_columns.deviance_ratio)
    assert objective.max() < 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_fits_with_as_many_active_columns_as_rows_are_certified(seed: int) -> None:
    """Supports of one column too many have a direction that only rounding bends; it ends where a coefficient vanishes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 80))
    X[:, 1:] += 0.5 * X[:, :-1]
    path = dl.fit_path(X, X[:, :8] @ rng.standard_normal(8) + 4.0 * rng.standard_normal(40), n_lambdas=40, lambda_min_ratio=1e-3)
    assert path.converged.all() and path.n_active.max() >= 38
