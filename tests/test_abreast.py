"""Lambdas that descend abreast on sparse columns: each reaches the gap it is asked for, whoever goes beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.certificate import slope_gap
from distlasso.coordinator import active_set
from distlasso.losses import as_loss
from distlasso.penalties import Bounds4
from distlasso.solvers.abreast import SPAN, approach
from distlasso.solvers.columns import Columns, LossRows
from distlasso.solvers.tangent import Tangent, Touch

N, P = 400, 150
LOSSES = ["squared", "logistic", "poisson"]


def columns(loss: str, *, intercept: bool, weighted: bool = False) -> Columns:
    rng = np.random.default_rng(7)
    X = sp.csc_array(sp.random(N, P, 0.05, random_state=7, data_rvs=rng.standard_normal))
    eta = X[:, :10] @ np.ones(10)
    y = {"squared": eta + rng.standard_normal(N), "logistic": (rng.random(N) < 1 / (1 + np.exp(-eta))).astype(float),
         "poisson": rng.poisson(np.exp(eta)).astype(float)}[loss]  # fmt: skip
    weight = rng.integers(0, 3, N).astype(float) if weighted else np.ones(N)
    weight /= weight.sum()
    centre = X.T @ weight if intercept else np.zeros(P)
    X = sp.csc_array((X.data, X.indices.astype(np.int32), X.indptr), shape=X.shape)
    return Columns(X, centre, None, LossRows(as_loss(loss), y, weight, None, intercept))


def penalties(lams: list[float], l1_ratio: float = 1.0) -> list[Bounds4]:
    one, reach = np.ones(P), np.full(P, np.inf)
    return [Bounds4(l1_ratio * lam * one, (1 - l1_ratio) * lam * one, -reach, reach) for lam in lams]


def gap(held: Columns, penalty: Bounds4, b: Any, intercept: float) -> float:
    """From linear predictors that are computed anew."""
    rows = held.rows
    eta = held.eta(b, intercept)
    slope = rows.weight * rows.loss.residual(rows.y, eta)
    return slope_gap(float(rows.weight @ rows.loss.value(rows.y, eta)), held.correlate(slope), b, penalty)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_model_that_has_arrived_has_the_gap(loss: str, l1_ratio: float, intercept: bool, weighted: bool) -> None:
    """The gap that a model claims is that of linear predictors computed afresh."""
    held = columns(loss, intercept=intercept, weighted=weighted)
    lams = list(0.05 * 0.8 ** np.arange(SPAN))
    own = penalties(lams, l1_ratio)
    b, level, arrived = approach(held, own, np.zeros((P, SPAN)), np.zeros(SPAN), 1e-7)
    assert arrived.all()
    assert max(gap(held, own[k], b[:, k], level[k]) for k in range(SPAN)) <= 1.1e-7


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_and_linear_predictors_follow_descent_and_jumps(loss: str) -> None:
    """What descent carries along is what b and the intercept give, after jumps too."""
    held = columns(loss, intercept=True, weighted=True)
    start, level, work = np.zeros((P, 3)), np.zeros(3), np.arange(P)[::-2].copy()
    eta = held.etas(start, level)
    together = Bounds4(*(np.stack(part, axis=1) for part in zip(*penalties([0.02, 0.01, 0.005]), strict=True)))
    tangent = Tangent(held, work, Touch(held.rows, eta), together.take(work), start[work])
    for _ in range(20):
        tangent.descend()
    step, ahead = tangent.moved(start[work])
    seen, found = held.rows.weight > 0, start.copy()
    found[work] = tangent.b
    assert (tangent.b != 0).any()
    np.testing.assert_allclose((eta + ahead)[seen], held.etas(found, level + step)[seen], atol=1e-10)


def test_bounds_hold_abreast() -> None:
    """No coefficient leaves its bounds, whatever a jump would gain."""
    held = columns("logistic", intercept=True)
    own = [penalty._replace(low=np.zeros(P), high=np.full(P, 0.3)) for penalty in penalties([0.02, 0.01, 0.005])]
    b, _, arrived = approach(held, own, np.zeros((P, 3)), np.zeros(3), 1e-7)
    assert arrived.all()
    assert b.min() >= 0.0
    assert b.max() <= 0.3


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_sparse_path_is_that_of_the_dense_columns(loss: str) -> None:
    """Abreast or one by one: the same linear predictors, which are unique where coefficients may not be."""
    held = columns(loss, intercept=True)
    rows = slice(0, N // 4)
    X, y = sp.csc_array(sp.hstack([held.X, held.X**2], format="csc")[rows]), held.rows.y[rows]
    options = {"loss": loss, "tol": 1e-10, "n_lambdas": 12, "lambda_min_ratio": 0.05}
    sparse, dense = (dl.fit_path(data, y, **options) for data in (X, X.toarray()))
    assert sparse.converged.all()
    np.testing.assert_allclose(*(path.coef @ X.T.toarray() + path.intercept[:, None] for path in (sparse, dense)), atol=1e-3)


def test_where_columns_cost_little_half_of_them_bring_the_rest() -> None:
    """Guessing which half is needed costs more than looking at all."""
    lambdas, strength = np.array([1.0, 0.9]), np.array([1.0, 0.9, 0.85, 0.0, 0.0])
    for lavish, admitted in ((False, [0, 1, 2]), (True, [0, 1, 2, 3, 4])):
        _, command = active_set.begin(lambdas, 1e-6, np.zeros(5, dtype=np.bool_), strength, 1.0, lavish=lavish)
        assert isinstance(command, active_set.Solve)
        assert list(command.admit) == admitted
