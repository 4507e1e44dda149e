"""Concave penalties under squared loss: slopes are followed on a Gram, and end where whole fits end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distlasso as dl
from distlasso.coordinator import concave
from distlasso.penalties import Bounds4, Folded
from distlasso.solvers.concave import Concave, settle

RNG = np.random.default_rng(5)
N, P = 120, 200
X = RNG.standard_normal((N, P))
Y = X[:, [0, 5, 9, 40]] @ [2.0, -1.5, 1.0, 0.7] + RNG.standard_normal(N)
INF = np.full(P, np.inf)


def gram() -> tuple[Any, Any]:
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    return Z.T @ Z / N, Z.T @ (Y - Y.mean()) / N


def slow(fold: Folded) -> Any:
    """The same penalty by whole fits, each under the slope at the last."""

    def schedule(last: dl.Stage) -> Any:
        weights = fold.slope(np.abs(last.b) / last.level)
        return None if last.number > 0 and last.settled(weights) else last.then(weights)

    return schedule


@pytest.mark.parametrize(("fast", "fold"), [(dl.MCP(), Folded(0.0, 3.0)), (dl.SCAD(), Folded(1.0, 3.7))], ids=["MCP", "SCAD"])
@pytest.mark.parametrize("options", [{}, {"standardize": False}, {"bounds": (-1.0, 1.8)}, {"l1_ratio": 0.7}], ids=str)
def test_slopes_that_are_followed_end_where_whole_fits_end(fast: Any, fold: Folded, options: dict[str, Any]) -> None:
    lams = [0.9, 0.6, 0.4, 0.3]
    quick = dl.fit_path(X, Y, schedule=fast, lambdas=lams, tol=1e-10, **options)
    whole = dl.fit_path(X, Y, schedule=slow(fold), lambdas=lams, tol=1e-10, **options)
    assert quick.converged.all()
    np.testing.assert_allclose(quick.coef.toarray(), whole.coef.toarray(), atol=2e-4)


def test_few_fits_are_left_where_whole_fits_take_many() -> None:
    lams = np.geomspace(0.9, 0.05, 12)
    quick, whole = (dl.fit_path(X, Y, schedule=one, lambdas=lams) for one in (dl.MCP(), slow(Folded(0.0, 3.0))))
    assert quick.stages.sum() < 0.3 * whole.stages.sum()


def test_a_schedule_of_ones_own_may_have_its_penalty_followed() -> None:
    fold = Folded(0.5, 4.0)

    def own(last: dl.Stage) -> Any:
        weights = fold.slope(np.abs(last.b) / last.lam)
        return None if last.number > 0 and last.settled(weights) else last.then(weights, provisional=True, folded=fold)

    quick, whole = (dl.fit_path(X, Y, schedule=one, lambdas=[0.5, 0.3], tol=1e-10) for one in (own, slow(fold)))
    np.testing.assert_allclose(quick.coef.toarray(), whole.coef.toarray(), atol=2e-4)
    assert quick.stages.max() < whole.stages.max()


@pytest.mark.parametrize("low", [-np.inf, -0.2, 0.0])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("lam", [0.5, 0.2, 0.08])
def test_where_it_settles_the_lasso_under_the_slopes_there_has_the_same_solution(lam: float, l2: float, low: float) -> None:
    G, g = gram()
    l1 = np.full(P, lam)
    l1[3] = 0.0  # without a penalty
    convex = Bounds4(l1, np.full(P, l2), np.full(P, low), INF)
    penalty = Concave(convex, np.where(l1 > 0, 0.5 * lam, np.inf), np.where(l1 > 0, 3.0 * lam, np.inf))
    b = settle(G, g, penalty, np.zeros(P), enough=1e-14)
    u, charge = g - G @ b - l2 * b, penalty.charge(np.abs(b))
    inside = (b != 0) & (b > low)
    np.testing.assert_allclose(u[inside], charge[inside] * np.sign(b[inside]), atol=1e-5)
    assert (u[b == 0] <= charge[b == 0] + 1e-5).all() and (b >= low).all()
    if low < 0:
        assert (u[b == 0] >= -charge[b == 0] - 1e-5).all()
    assert (u[(b == low) & (b != 0)] <= 1e-5 - charge[(b == low) & (b != 0)]).all()


def test_where_strong_columns_have_no_room_passes_are_for_verification_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concave, "takes_union", lambda columns, _: columns < 60)
    wide = RNG.standard_normal((60, 400))
    y = wide[:, :5] @ [2.0, -1.5, 1.0, 0.7, 0.5] + RNG.standard_normal(60)
    plain = dl.fit_path(wide, y, n_lambdas=15, lambda_min_ratio=0.05)
    path = dl.fit_path(wide, y, n_lambdas=15, lambda_min_ratio=0.05, schedule=dl.MCP(), tol=1e-9)
    assert path.converged.all() and path.passes <= plain.passes + 6
    Z, b = (wide - wide.mean(axis=0)) / wide.std(axis=0), path.coef.toarray() * wide.std(axis=0)
    u = (y - y.mean() - b @ Z.T) @ Z / 60
    for lam, own, slope in zip(path.lambdas, b, u, strict=True):
        charge = lam * np.clip(1.0 - np.abs(own) / (3.0 * lam), 0.0, 1.0)
        np.testing.assert_allclose(slope[own != 0], (charge * np.sign(own))[own != 0], atol=2e-3 * lam)
        assert (np.abs(slope[own == 0]) <= lam * (1 + 1e-3)).all()


def test_a_column_that_is_there_twice_does_no_harm() -> None:
    twice = np.column_stack([X, X[:, 0], X[:, 5]])
    path = dl.fit_path(twice, Y, schedule=dl.MCP(), lambdas=[0.5, 0.2, 0.1])
    single = dl.fit_path(X, Y, schedule=dl.MCP(), lambdas=[0.5])
    assert path.converged.all()
    np.testing.assert_allclose(path.predict(twice, lam=0.5), single.predict(X, lam=0.5), atol=0.05)
