"""Refits of what survived on a path: all strengths from one factor are what each of them would be alone, and proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Lasso

import distlasso as dl
from distlasso.certificate import duality_gap, lasso_gaps
from distlasso.coordinator import frozen
from distlasso.path import stages
from distlasso.penalties import Bounds4
from distlasso.solvers.frozen import Support, refine

RNG = np.random.default_rng(3)
N, P = 80, 300
WIDE = RNG.standard_normal((N, P)) + 0.7 * RNG.standard_normal((N, 1))
Z = WIDE[:, :6] @ [3.0, -2.0, 2.0, 1.0, -1.0, 0.5] + RNG.standard_normal(N)
TALL = RNG.standard_normal((400, 30)) + 0.5 * RNG.standard_normal((400, 1))
Y = TALL[:, :4] @ [1.0, -1.0, 0.5, 0.2] + RNG.standard_normal(400)
SCHEDULES = [dl.PruneRefine(0.5), dl.PruneRefine(0.03), dl.PruneRefine(0.0), dl.Relaxed(0.4), dl.Relaxed(phi=0.2)]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call a function while every refit is solved on its own."""

    def call(function: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(frozen, "takes_union", lambda *_: False)
            return function()

    return call


@pytest.fixture
def no_refit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be solved on its own."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("a refit was solved on its own")

    monkeypatch.setattr(stages, "refit", refuse)


def centred(X: Any, y: Any) -> tuple[Any, Any]:
    Z = X - X.mean(axis=0)
    return Z.T @ Z / len(X), Z.T @ (y - y.mean()) / len(X)


def test_every_strength_on_every_support_is_the_lasso_on_its_columns() -> None:
    """Most supports are nearly as large as the rows are many, so that signs turn and columns come back."""
    gram, g = centred(WIDE, Z)
    path = dl.fit_path(WIDE, Z, standardize=False, n_lambdas=30, lambda_min_ratio=1e-3, tol=1e-9)
    rows = path.coef.toarray()
    supports = [Support(np.flatnonzero(b), np.sign(b[b != 0]), lam) for lam, b in zip(path.lambdas, rows, strict=True)]
    shares = np.array([1.0, 0.5, 0.1, 0.01])
    left = turned = 0
    for one, found in zip(supports, refine(gram, g, np.ones(P), supports, shares), strict=True):
        assert found is not None
        np.testing.assert_allclose(found.u, g[one.columns, None] - gram[np.ix_(one.columns, one.columns)] @ found.b, atol=1e-9)
        for k, share in enumerate(shares):
            lam, b, u = share * one.lam, found.b[:, k], found.u[:, k]
            assert (np.abs(u) <= lam * (1 + 1e-6)).all()
            np.testing.assert_allclose(u[b != 0], lam * np.sign(b[b != 0]), rtol=1e-6)
        left, turned = left + int((found.b == 0).sum()), turned + int((found.b[:, -1] * one.signs < 0).sum())
    assert left > 5 and turned > 3
    assert max(one.columns.size for one in supports) > 0.8 * N


def test_columns_that_come_back_with_another_sign_are_found() -> None:
    own = np.array([0, 1])
    gram, g = np.array([[1.0, 0.9], [0.9, 1.0]]), np.array([1.0, 0.7])
    (found,) = refine(gram, g, np.ones(2), [Support(own, np.array([1.0, 1.0]), 0.4)], np.array([0.5, 0.05]))
    assert found is not None
    root = np.linalg.cholesky(gram).T * np.sqrt(2)  # two rows with this Gram
    target = np.linalg.solve(root.T, 2 * g)
    for k, lam in enumerate([0.2, 0.02]):
        theirs = Lasso(alpha=lam, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(root, target).coef_
        np.testing.assert_allclose(found.b[:, k], theirs, atol=1e-8)
    assert found.b[1, 0] == 0.0 and found.b[1, 1] < 0.0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("data", [(WIDE, Z), (TALL, Y)], ids=["residual", "gram"])
def test_a_path_is_what_refits_one_by_one_find(data: Any, schedule: Any, alone: Any) -> None:
    fast = dl.fit_path(*data, schedule=schedule, n_lambdas=20, tol=1e-8)
    slow = alone(lambda: dl.fit_path(*data, schedule=schedule, n_lambdas=20, tol=1e-8))
    assert fast.converged.all() and slow.converged.all()
    scale = float(np.abs(slow.coef).max())
    np.testing.assert_allclose(fast.coef.toarray(), slow.coef.toarray(), atol=2e-3 * scale)
    np.testing.assert_allclose(fast.deviance_ratio, slow.deviance_ratio, atol=1e-7)
    np.testing.assert_allclose(fast.intercept, slow.intercept, atol=2e-3 * scale)
    np.testing.assert_array_equal(fast.stages, slow.stages)
    assert fast.passes == slow.passes and fast.certificate.startswith("float64 sums over all rows of the columns that may be")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_nothing_is_solved_on_its_own_where_only_l1_acts(schedule: Any, no_refit: None) -> None:
    assert dl.fit_path(WIDE, Z, schedule=schedule, n_lambdas=20).converged.all()
    assert dl.cross_validate(TALL, Y, schedule=[schedule, dl.Relaxed()], folds=4, n_lambdas=10).path.converged.all()


@pytest.mark.parametrize("kind", ["int8 with missing values", "float32", "sparse", "far from 0"])
def test_storage_does_not_change_a_refit(kind: str, no_refit: None) -> None:
    codes = np.clip(np.round(2 * WIDE), -6, 6)
    data: Any = {"float32": codes.astype(np.float32), "sparse": sp.csr_array(codes), "far from 0": codes + 1e5}.get(kind)
    if data is None:
        codes = np.where(RNG.random(codes.shape) < 0.05, -9, codes)
        data = dl.Dataset.from_arrays(codes.astype(np.int8), Z, missing_value=-9)
        codes = np.where(codes == -9, np.nan, codes)
        codes = np.where(np.isnan(codes), np.nanmean(codes, axis=0), codes)
    given = (data,) if isinstance(data, dl.Dataset) else (data, Z)
    found = dl.fit_path(*given, schedule=dl.PruneRefine(0.05), n_lambdas=12, lambda_min_ratio=0.1)
    plain = dl.fit_path(codes, Z, schedule=dl.PruneRefine(0.05), n_lambdas=12, lambda_min_ratio=0.1)
    assert found.converged.all()
    np.testing.assert_allclose(found.coef.toarray(), plain.coef.toarray(), atol=2e-3)


@pytest.mark.parametrize("options", [
    {"l1_ratio": 0.5}, {"bounds": (-0.5, 0.5)}, {"penalty_factors": np.r_[0.0, np.ones(29)]}, {"solver": "fista"}, {"tol": 1e-13},
], ids=lambda options: next(iter(options)))  # fmt: skip
def test_what_it_cannot_do_is_refitted_one_by_one(options: dict[str, Any], alone: Any) -> None:
    with_it = dl.fit_path(TALL, Y, schedule=dl.PruneRefine(0.1), lambdas=[0.3, 0.1, 0.05], **options)
    without = alone(lambda: dl.fit_path(TALL, Y, schedule=dl.PruneRefine(0.1), lambdas=[0.3, 0.1, 0.05], **options))
    np.testing.assert_array_equal(with_it.coef.toarray(), without.coef.toarray())


def test_collinear_survivors_have_no_factor_and_are_refitted_all_the_same() -> None:
    gram = np.eye(3)
    gram[0, 2] = gram[2, 0] = 1.0 + 1e-9
    good, bad = Support(np.array([0, 1]), np.ones(2), 0.2), Support(np.arange(3), np.ones(3), 0.1)
    first, second = refine(gram, np.ones(3), np.ones(3), [good, bad], np.array([0.5, 0.0]))
    assert first is not None and second is None
    np.testing.assert_allclose(first.b, [[0.9, 1.0], [0.9, 1.0]])
    path = dl.fit_path(np.hstack([TALL, TALL[:, :4]]), Y, schedule=dl.PruneRefine(0.1), n_lambdas=10)
    assert path.converged.all() and path.n_active[-1] > 4


def test_gaps_of_many_solutions_are_those_of_each() -> None:
    u, b, rr = RNG.standard_normal((7, 5)), RNG.standard_normal((7, 5)), RNG.random(5) + 0.1
    b[RNG.random(b.shape) < 0.3] = 0.0
    l1, reach = RNG.random((7, 5)) + 0.2, np.full((7, 5), 9.0)
    l1[:, 3] = 0.0
    found = lasso_gaps(rr, u, b, l1, reach)
    for k in range(5):
        size = np.where(l1[:, k] > 0, np.inf, reach[:, k])
        one, _ = duality_gap(rr[k], u[:, k], b[:, k], Bounds4(l1[:, k], np.zeros(7), -size, size))
        assert found[k] == pytest.approx(one, rel=1e-10)


def test_the_history_is_that_of_refits_one_by_one(alone: Any) -> None:
    fast = dl.fit_path(WIDE, Z, schedule=dl.PruneRefine(0.05), n_lambdas=20, tol=1e-8)
    slow = alone(lambda: dl.fit_path(WIDE, Z, schedule=dl.PruneRefine(0.05), n_lambdas=20, tol=1e-8))
    np.testing.assert_array_equal(fast.history, slow.history)
    assert (fast.history["stage"] == 1).any()
