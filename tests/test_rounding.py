"""What sums over many rows lose: the bound on it is one, and it does not grow with rows that are summed up in pieces."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import zarr

import distlasso as dl
from distlasso.certificate import duality_gap
from distlasso.coordinator.problem import STATISTICS
from distlasso.coordinator.products import Member, Products
from distlasso.coordinator.space import centre
from distlasso.coordinator.squared import Squared, rounding_bound
from distlasso.data.blocks import CSRBlock, DenseBlock
from distlasso.data.dataset import Dataset
from distlasso.data.statistics import merge
from distlasso.data.store import _statistics, write_statistics
from distlasso.penalties import Bounds4
from distlasso.runtime.plan import MergeTree, plan_bundles
from distlasso.solvers.quadratic import GramForm

EPS = float(np.finfo(np.float64).eps)
VALUES = np.array([0.1, 0.3, 0.7, 1.1, 1.3])
"""Few of one sign, so that sums err to one side, row after row, and can be made exactly of how often each occurs."""


def rows_of_few_kinds(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Rows [n, 3] and a target of few kinds, and the number of the kind of each."""
    rng = np.random.default_rng(seed)
    kind = np.where(rng.random(n) < 0.97, 0, rng.integers(0, 40, n))
    X, y = rng.choice(VALUES, (40, 3)), rng.choice(VALUES, 40) + 0.01
    return X[kind], y[kind], kind


def csr_block(X: Any) -> CSRBlock:
    stored = sp.csr_array(X)
    return CSRBlock(stored.data, stored.indices, stored.indptr, stored.shape)


def exact_sums(X: Any, y: Any, kind: Any) -> tuple[list[list[Fraction]], Any]:
    """Weighted mean squares and products of columns and target, the target last, and their means, all weights alike."""
    first = {k: int(np.flatnonzero(kind == k)[0]) for k in Counter(kind.tolist())}
    Z = [([Fraction(float(v)) for v in (*X[i], y[i])], int(np.sum(kind == k))) for k, i in first.items()]
    n, q = len(y), X.shape[1] + 1
    square = [[sum((count * z[a] * z[b] for z, count in Z), Fraction(0)) / n for b in range(q)] for a in range(q)]
    return square, [sum((count * z[a] for z, count in Z), Fraction(0)) / n for a in range(q)]


def exact_gap(X: Any, y: Any, kind: Any, b: Any, lam: float, *, intercept: bool) -> tuple[Fraction, Fraction]:
    """Gap of a lasso that does not standardise, at its best intercept if it has one, and half the null deviance."""
    square, mean = exact_sums(X, y, kind)
    q = X.shape[1]
    c = [[square[i][j] - intercept * mean[i] * mean[j] for j in range(q + 1)] for i in range(q + 1)]
    coef, strength = [Fraction(float(v)) for v in b], Fraction(lam)
    u = [c[j][q] - sum((c[j][k] * coef[k] for k in range(q)), Fraction(0)) for j in range(q)]
    rr = c[q][q] - sum((coef[j] * (c[j][q] + u[j]) for j in range(q)), Fraction(0))
    t = min(Fraction(1), strength / max(abs(v) for v in u))
    inner = rr + sum((u[j] * coef[j] for j in range(q)), Fraction(0))
    return rr / 2 + strength * sum(abs(v) for v in coef) + t * t * rr / 2 - t * inner, c[q][q] / 2


@pytest.mark.parametrize("encoding", ["dense", "csr", "csc"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("row_chunks", [1, 7, 100])
def test_gaps_from_statistics_are_off_by_no_more_than_the_bound(
    encoding: str, row_chunks: int, intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every layout, against exact arithmetic, where all rows round to the same side."""
    X, y, kind = rows_of_few_kinds(20_000, seed=row_chunks)
    stored = {"dense": X, "csr": sp.csr_array(X), "csc": sp.csc_array(X)}[encoding]
    bounds, bound = list[float](), Squared._rounding_bound

    def spy(self: Squared, batch: Any, b: Any) -> float:
        bounds.append(bound(self, batch, b))
        return bounds[-1]

    monkeypatch.setattr(Squared, "_rounding_bound", spy)
    data = Dataset.from_arrays(stored, y, row_chunks=row_chunks)
    path = dl.fit_path(data, standardize=False, fit_intercept=intercept, n_lambdas=5, lambda_min_ratio=0.05)
    assert path.certificate == STATISTICS
    for lam, b, gap in zip(path.lambdas, path.coef.toarray(), path.gap, strict=True):
        true, d0 = exact_gap(X, y, kind, b, lam, intercept=intercept)
        assert abs(float(Fraction(gap) * d0 - true)) <= max(bounds)
    assert max(bounds) <= 20 * (20_000 / row_chunks + 4 * row_chunks + 50) * EPS * float(np.mean(y**2) + 4 * np.mean(X**2))


@pytest.mark.parametrize("length", [1.0, 30.0, 1000.0])
def test_a_column_that_is_long_for_its_penalty_may_shorten_the_residual_by_its_own_rounding(length: float) -> None:
    """It has no coefficient, but the scale of the dual point may be its own: then all others lose by its error."""
    size, lam, chain = 50, 0.01, 1000
    long = np.array([length**2, *np.ones(size)])
    space: Any = SimpleNamespace(curvature=long, remainder=np.zeros(size + 1), yy=1.0, y_centre=0.0, chain=chain)
    b, l1 = np.array([0.0, *np.full(size, 0.2)]), np.ones(size + 1)
    u = np.full(size + 1, lam)
    error = 0.5 * chain * EPS * length * (1.0 + np.sum(b))  # of an entry of the slope, which sums products of norms
    penalty = Bounds4(lam * l1, np.zeros(size + 1), np.full(size + 1, -np.inf), np.full(size + 1, np.inf))
    exact, off = (duality_gap(0.5, u + np.array([away, *np.zeros(size)]), b, penalty)[0] for away in (0.0, error))
    (bound,) = rounding_bound(space, np.arange(size + 1), b[:, None], l1, chain)
    assert 0.0 < off - exact <= bound


@pytest.mark.parametrize("rows", [1000, 3 * 2**15 + 7, 2**18])
def test_an_entry_of_products_is_off_by_no_more_than_its_chain_of_additions(rows: int) -> None:
    """Though all rows round to the same side; a chain of all rows, where there are pieces, is longer by far."""
    X, y, kind = rows_of_few_kinds(rows, seed=3)
    weight, columns, stored = np.full(rows, 1.0 / rows), np.arange(3), sp.csc_array(X)
    statistics = csr_block(X).moments(weight, y)
    space = centre(statistics, intercept=False, sparse=True, narrow=False)
    products = Products([weight], [Member(space, (0,))])
    products.extend(stored[:, :1], columns[:1])
    products.extend(stored, columns)
    found = products.gram(0, 3)
    assert found is not None
    square, _ = exact_sums(X, y, kind)
    total = sum(Fraction(float(w)) for w in weight)
    away = [abs(float(Fraction(found[j, k]) * total * rows / (square[j][k] * rows) - 1)) for j in range(3) for k in range(3)]
    assert max(away) <= 0.5 * (products.chain + 8) * EPS
    assert products.chain <= 2**15 + rows // 2**15 + 2


def depth(plan: Any, row_bounds: Any) -> int:
    """Additions on the longest way, as the plan merges."""
    tree = MergeTree(len(plan.bundles), lambda a, b: (max(a, b) + 1) if plan.axis == 0 else max(a, b))
    for bundle in plan.bundles:
        own = 0
        for i in range(bundle.r0, bundle.r1):
            tile = int(row_bounds[i + 1] - row_bounds[i])
            own = tile if i == bundle.r0 else max(own, tile) + 1
        tree.add(0, bundle.index, own)
    return tree.result()


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("tiles", [1, 2, 3, 63, 64, 65, 200, 1000])
def test_the_plan_knows_the_longest_chain_of_additions(tiles: int, by_columns: bool) -> None:
    cuts = np.random.default_rng(tiles).choice(np.arange(1, 10_000), tiles - 1, replace=False)
    row_bounds = np.array([0, *np.sort(cuts), 10_000])
    plan = plan_bundles(row_bounds, np.array([0, 3, 5]), by_columns=by_columns)
    assert depth(plan, row_bounds) <= plan.chain(row_bounds) <= depth(plan, row_bounds) + tiles + 1


def test_statistics_know_their_longest_chain_of_additions() -> None:
    X, y, _ = rows_of_few_kinds(1000, seed=1)
    cuts = ((0, 100), (100, 700), (700, 1000))
    sparse = [csr_block(X[a:b]).moments(np.ones(b - a), y[a:b]) for a, b in cuts]
    dense = [DenseBlock(X[a:b]).moments(np.ones(b - a), y[a:b]) for a, b in cuts]  # which are summed up in pieces
    assert [own.chain for own in sparse] == [100, 600, 300] and 602 <= merge(merge(*sparse[:2]), sparse[2]).chain <= 610
    assert 100 <= dense[0].chain < 110 and 600 <= dense[1].chain < 610
    long = np.ones((20_000, 2))
    assert 4_096 < DenseBlock(long).moments(np.ones(20_000), long[:, 0]).chain < 4_110  # the target's, run by run


def test_a_store_says_how_its_statistics_were_summed_up_and_an_old_one_counts_as_one_chain(tmp_path: Any) -> None:
    X, y, _ = rows_of_few_kinds(1000, seed=2)
    store = dl.ingest((X, y), tmp_path / "X.zarr", chunks=(100, 3))
    found = store.statistics
    assert found is not None and 100 <= found.chain < 200
    group = zarr.open_group(tmp_path / "other.zarr", mode="w")
    write_statistics(group, found, "same")
    old = dict(group["statistics"].attrs)
    del old["chain"]
    group["statistics"].attrs.put(old)
    again = _statistics(group, 3, "same")
    assert again is not None and again.chain == 1000


def test_a_tall_sparse_problem_is_solved_on_products_however_many_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a single sum over all of them would blur the gap that is aimed at."""
    rng, n, p = np.random.default_rng(5), 500_000, 1500
    X = sp.csr_array((np.ones(4 * n), rng.integers(0, p, 4 * n), np.arange(0, 4 * n + 1, 4)), shape=(n, p))
    X.sum_duplicates()
    y = X[:, :30] @ np.linspace(1.0, 2.0, 30) + 0.1 * rng.standard_normal(n)
    forms, lost, at_work = list[object](), list[bool](), Squared._at_work

    def spy(self: Squared, batch: Any, starts: Any, target: float) -> Any:
        forms.append(at_work(self, batch, starts, target))
        strong, one = self._held(), np.ones(self._held().columns.size)
        lost.append(bool(rounding_bound(self._task.space, strong.columns, strong.trail.b[:, None], one, n).max() > 0.2 * target))
        return forms[-1]

    monkeypatch.setattr(Squared, "_at_work", spy)
    path = dl.fit_path(X, y, standardize=False, n_lambdas=20, lambda_min_ratio=0.05, tol=2e-9)
    assert path.converged.all() and any(lost)
    assert all(isinstance(form, GramForm) for form in forms)
