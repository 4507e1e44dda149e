"""Rounds over many rows: steps come from float32 columns, certificates from the data as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

import distlasso as dl
from distlasso.coordinator.general import General
from distlasso.data.store import StoredDense
from distlasso.losses import as_loss
from distlasso.queries import Ask, Dual, Gradient, Models, Request, Value
from distlasso.runtime.cache import StrongColumns
from distlasso.runtime.local import Local, RowSpace
from distlasso.runtime.plan import plan_bundles

N, P = 50_000, 24
OPTIONS: dict[str, Any] = {"loss": "logistic", "n_lambdas": 12, "lambda_min_ratio": 0.02}


@pytest.fixture(scope="module")
def data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns whose values float32 does not hold, and a class for every row."""
    rng = np.random.default_rng(11)
    X = rng.standard_normal((N, P)) * np.linspace(0.2, 5.0, P) + rng.standard_normal(P)
    y = (X[:, :6] @ np.array([1.0, -1.0, 0.5, -0.5, 0.2, 0.1]) + rng.logistic(size=N) > 0) * 1.0
    return X, y


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> set[np.dtype[Any]]:
    """Dtypes in which strong columns are kept during a test."""
    seen: set[np.dtype[Any]] = set()
    add = StrongColumns.add

    def noted(self: StrongColumns, *given: Any) -> None:
        add(self, *given)
        seen.update(held.matrix.dtype for held in self._held.values() if held.columns.size)

    monkeypatch.setattr(StrongColumns, "add", noted)
    return seen


def true_gap(X: NDArray[np.float64], y: NDArray[np.float64], path: dl.Path, k: int) -> float:
    """Duality gap over the null loss of a path that is not standardised, from the data alone."""
    b, lam = path.coef[[k]].toarray()[0], path.lambdas[k]
    eta = X @ b + path.intercept[k]
    slope = y - 1.0 / (1.0 + np.exp(-eta))
    slope -= slope.mean()
    scale = min(1.0, lam / np.max(np.abs(X.T @ slope)) * N)
    q = np.clip(y - scale * slope, 1e-300, 1.0)  # a probability: the dual value is its mean entropy
    entropy = -np.mean(q * np.log(q) + (1 - q) * np.log1p(-np.minimum(q, 1 - 1e-16)))
    primal = np.mean(np.logaddexp(0.0, eta) - y * eta) + lam * np.abs(b).sum()
    mean = y.mean()
    return float((primal - entropy) / -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)))


def test_a_path_from_float32_steps_has_the_gaps_that_it_states(
    data: tuple[NDArray[np.float64], NDArray[np.float64]], kept: set[np.dtype[Any]]
) -> None:
    X, y = data
    path = dl.fit_path(X, y, standardize=False, **OPTIONS)
    assert kept == {np.dtype(np.float32)} and path.converged.all()
    for k in range(len(path.lambdas)):
        # What the refit leaves of the slope in the intercept is charged: the gap that is stated is never the smaller one.
        assert 0.0 <= path.gap[k] - true_gap(X, y, path, k) + 1e-12 <= 0.05e-6


def test_what_certifies_is_never_asked_for_in_float32(
    data: tuple[NDArray[np.float64], NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[Ask] = []
    run = Local.run
    monkeypatch.setattr(Local, "run", lambda self, asked: asks.extend(asked) or run(self, asked))
    dl.fit_path(*data, **OPTIONS)
    proofs = [ask.request for ask in asks if ask.sweep or any(isinstance(query, Dual) for query in ask.request.queries)]
    assert any(ask.request.single for ask in asks) and len(proofs) >= 4
    assert not any(request.single for request in proofs)


def test_models_confined_to_their_columns_are_certified_by_float64_sums_over_these(
    data: tuple[NDArray[np.float64], NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no pass is made, rounds over the strong columns are the proof."""
    asks: list[Ask] = []
    proofs: list[Ask] = []
    run, look_at = Local.run, General._look_at
    monkeypatch.setattr(Local, "run", lambda self, asked: asks.extend(asked) or run(self, asked))

    def noted(self: General, *given: Any) -> Any:
        first = len(asks)
        found = look_at(self, *given)
        proofs.extend(asks[first:])
        return found

    monkeypatch.setattr(General, "_look_at", noted)
    path = dl.fit_path(*data, **OPTIONS | {"n_lambdas": 4, "lambda_min_ratio": 0.2}, schedule=dl.Relaxed())
    assert path.converged.all() and any(ask.request.single for ask in asks)
    assert any(ask.request.columns is not None for ask in proofs) and not any(ask.request.single for ask in proofs)


@pytest.mark.parametrize("options", [{"tol": 1e-9}, {"solver": "fista"}, {"solver": "admm", "tol": 1e-4}])
def test_steps_come_from_float64_where_the_gap_is_small_or_the_solver_cannot_do_with_less(
    data: tuple[NDArray[np.float64], NDArray[np.float64]], kept: set[np.dtype[Any]], options: dict[str, Any]
) -> None:
    path = dl.fit_path(*data, **OPTIONS | {"n_lambdas": 3, "lambda_min_ratio": 0.3} | options)
    assert kept == {np.dtype(np.float64)} and path.converged.all()


def test_few_rows_are_not_worth_the_roundings(
    data: tuple[NDArray[np.float64], NDArray[np.float64]], kept: set[np.dtype[Any]]
) -> None:
    X, y = data
    dl.fit_path(X[:2000], y[:2000], **OPTIONS)
    assert kept == {np.dtype(np.float64)}


def test_float32_steps_have_the_same_bits_on_workers(
    data: tuple[NDArray[np.float64], NDArray[np.float64]], kept: set[np.dtype[Any]], tmp_path: Path
) -> None:
    X, y = data
    group = zarr.create_group(tmp_path / "X.zarr")
    group.create_array("X", shape=X.shape, chunks=(N // 8, P), dtype="float64")[:] = X
    group.create_array("y", shape=y.shape, chunks=y.shape, dtype="float64")[:] = y
    here, there = (dl.fit_path(dl.open_dataset(tmp_path / "X.zarr"), runtime=runtime, **OPTIONS) for runtime in ("serial", "dask"))
    assert np.dtype(np.float32) in kept
    np.testing.assert_array_equal(here.coef.toarray(), there.coef.toarray())
    np.testing.assert_array_equal(here.gap, there.gap)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_dual_value_after_a_pass_is_that_of_the_pass_and_reads_a_tile_only_if_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((60, 10)), (rng.random(60) > 0.5) * 1.0
    group = zarr.create_group(tmp_path / "X.zarr")
    group.create_array("X", shape=X.shape, chunks=(20, 5), dtype="float64")[:] = X
    reads: list[tuple[int, int]] = []
    read = StoredDense.read
    monkeypatch.setattr(StoredDense, "read", lambda self, i, j: reads.append((i, j)) or read(self, i, j))
    dataset, loss = dl.open_dataset(tmp_path / "X.zarr"), as_loss("logistic")
    runtime = Local()
    plan = plan_bundles(dataset.row_bounds, dataset.col_bounds, by_columns=False, room=None if keeps else 0)
    runtime.open(dataset, plan, [RowSpace(y, np.full(60, 1 / 60))])
    models = Models(np.array([1, 7]), np.array([[0.5, 0.1], [-0.2, 0.3]]), np.array([0.1, 0.2]))
    pass_ = Request((Value(), Gradient()), models, loss, again=True)
    if not keeps:
        runtime.run([Ask(Request((Value(),), models, loss, columns=np.arange(10)))])
    runtime.run([Ask(pass_)])
    before, bytes_before = len(reads), runtime.bytes_read()
    query = Dual(np.full(2, 0.9))
    ((found,),) = runtime.run([Ask(Request((query,), models, loss, again=True), sweep=False)])
    eta = X[:, [1, 7]] @ models.coef + models.intercept
    resid = 0.9 * loss.residual(y[:, None], eta)
    np.testing.assert_allclose(np.asarray(found), np.mean(loss.dual(y[:, None], resid), axis=0), rtol=1e-12)
    assert (len(reads) == before) == keeps and (runtime.bytes_read() == bytes_before) == keeps
    other = Models(models.columns, 2 * models.coef, models.intercept)
    ((moved,),) = runtime.run([Ask(Request((query,), other, loss, again=True), sweep=False)])
    eta = X[:, [1, 7]] @ other.coef + other.intercept
    np.testing.assert_allclose(
        np.asarray(moved), np.mean(loss.dual(y[:, None], 0.9 * loss.residual(y[:, None], eta)), axis=0), rtol=1e-12
    )
