"""Gradients between those that a pass has seen: bounds that hold, gaps that are proved, and passes that look at less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.certificate import duality_gap
from distlasso.coordinator.space import Space
from distlasso.coordinator.spanned import Spanned
from distlasso.events import PassFinished
from distlasso.kernels.gap import at_worst, strengths, told
from distlasso.penalties import Bounds4, ElasticNet

RNG = np.random.default_rng(21)
N, P = 200, 3000
MIXED = RNG.standard_normal((N, P)) + 0.7 * RNG.standard_normal((N, 1))
Y = MIXED[:, :6] @ [2.0, -1.5, 1.0, 1.0, -0.5, 0.5] + RNG.standard_normal(N)
"""Correlated columns, so that some come and go along the path."""


def looked_at(events: list[Any]) -> int:
    return sum(event.n_models for event in events if isinstance(event, PassFinished))


def true_gaps(X: Any, path: dl.Path, l1_ratio: float, weight: Any) -> Any:
    """Gaps relative to the null model, from nothing but the coefficients."""
    w = weight / weight.sum()
    Z, y = X - w @ X, Y - w @ Y
    l1, l2, open_ = np.ones(P) * l1_ratio, np.ones(P) * (1 - l1_ratio), np.full(P, np.inf)
    found = []
    for lam, b in zip(path.lambdas, path.coef.toarray(), strict=True):
        r = y - Z @ b
        found.append(duality_gap(float(w @ r**2), Z.T @ (w * r), b, Bounds4(lam * l1, lam * l2, -open_, open_))[0])
    return np.array(found) / (0.5 * w @ y**2)


@pytest.mark.parametrize("encoding", ["dense", "csc", "csr"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_every_gap_is_proved_though_passes_look_at_fewer_models(encoding: str, l1_ratio: float) -> None:
    X = np.where(np.abs(MIXED) < 1.5, 0.0, MIXED)
    data = {"dense": X, "csc": sp.csc_array(X), "csr": sp.csr_array(X)}[encoding]
    weight, events = np.arange(N) % 3 + 0.5, list[Any]()
    path = dl.fit_path(data, Y, sample_weight=weight, l1_ratio=l1_ratio, standardize=False, lambda_min_ratio=0.2,
                       on_event=events.append)  # fmt: skip
    gaps = true_gaps(X, path, l1_ratio, weight)
    assert "between neighbouring lambdas" in path.certificate and (path.gap <= 1e-6).all()
    assert (gaps <= path.gap + 1e-13).all()
    assert looked_at(events) < 60 < path.lambdas.size


def test_bounds_on_gradients_hold_for_any_models() -> None:
    Z, y, strong = MIXED - MIXED.mean(axis=0), Y - Y.mean(), np.arange(20)
    g0, spread = Z.T @ y / N, Z.std(axis=0)
    space = Space(None, MIXED.mean(axis=0), spread**2, spread, spread == 0, g0, Y.mean(), float(y @ y) / N, N, N, intercept=True)
    spanned = Spanned(space, g0)
    swept = []
    for reach in (0.1, 0.02, 0.1):
        b = np.cumsum(RNG.standard_normal((20, 12)) * 0.01, axis=1)
        true = Z.T @ (y[:, None] - Z[:, strong] @ b) / N

        def sweep(which: Any, true: Any = true) -> Any:
            swept.append(which.size)
            return true[:, which]

        found, radius = spanned.gradients(strong, b, true[strong], 1e-14, np.full(12, reach), sweep)
        assert (np.abs(found - true) <= spread[:, None] * radius + 1e-12).all() and (radius <= reach + 1e-6).all()
        assert (radius > 0).any()
        again, radius = spanned.gradients(strong, b, true[strong], 1e-14, np.full(12, 10 * reach), sweep)
        assert (np.abs(again - true) <= spread[:, None] * radius + 1e-12).all()
    assert len(swept) < 6 and sum(swept) < 36


def test_a_gradient_counts_at_its_worst_only_where_that_passes_the_penalty() -> None:
    inf = np.full(6, np.inf)
    low, high = -inf, inf.copy()
    low[3], high[4] = 0.0, 0.0
    u = np.array([0.5, 0.9, -0.9, -0.95, -0.95, 1.2])
    at_worst(u, 0.2, np.ones(6), 1.0, np.ones(6), low, high)
    np.testing.assert_allclose(u, [0.5, 1.1, -1.1, -0.95, -1.15, 1.4])


def test_strengths_and_what_passes_the_penalty_are_told_as_the_penalty_tells_them() -> None:
    """In one visit to each column, under bounds, without a penalty, and excluded."""
    rng, p = np.random.default_rng(4), 400
    low, high = np.where(rng.random(p) < 0.3, 0.0, -np.inf), np.where(rng.random(p) < 0.3, 0.0, np.inf)
    factors = rng.choice([0.0, 0.7, 1.0, np.inf], p)
    penalty = ElasticNet(0.6, rng.uniform(0.5, 2.0, p), factors, low, high, rng.uniform(0.5, 1.5, p))
    u, found, inside = rng.standard_normal(p), np.empty(p), rng.random(p) < 0.8
    strengths(u, penalty.charge(), low, high, found)
    np.testing.assert_array_equal(found, penalty.strength(u))
    unknown = np.full(p, np.nan)
    strengths(unknown, penalty.charge(), low, high, found)
    np.testing.assert_array_equal(found, penalty.strength(unknown))
    assert np.isnan(found).any()
    looked = np.arange(p) < 9
    told(u, 0.5, penalty.at(1.0).l1, inside, looked)
    np.testing.assert_array_equal(looked, inside & ((np.abs(u) > 0.5 * penalty.at(1.0).l1) | (np.arange(p) < 9)))
