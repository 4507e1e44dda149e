"""The same data in any layout, encoding and runtime is the same path; the same layout is the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl

N, P = 640, 96


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    X = rng.integers(0, 3, (N, P)) * rng.integers(0, 2, (N, P))
    y = X[:, :6] @ [2.0, -1.5, 1.0, -1.0, 0.5, 0.25] + rng.standard_normal(N)
    return X.astype(np.int8), y


@pytest.fixture(scope="module")
def whole() -> dl.Path:
    X, y = data()
    return dl.fit_path(X.astype(float), y, tol=1e-10, runtime="serial", lambda_min_ratio=1e-3)


def same(path: dl.Path, whole: dl.Path, problem_of: Any) -> None:
    X, y = data()
    problem = problem_of(X, y, standardize=True)
    for k in range(0, whole.lambdas.size, 9):
        lam = float(whole.lambdas[k])
        ours, theirs = (problem.objective(p.coef[[k]].toarray()[0], lam) for p in (path, whole))
        assert abs(ours - theirs) <= 1e-8 * theirs


GRIDS = [(1, 1), (2, 1), (8, 1), (64, 1), (1, 8), (8, 1), (4, 4)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("encoding", ["dense", "csr", "csc", "int8", "float32"])
def test_chunk_grid_and_encoding_do_not_matter(
    grid: tuple[int, int], encoding: str, whole: dl.Path, problem_of: Any, tmp_path: Path
) -> None:
    X, y = data()
    chunks = (-(-N // grid[0]), -(-P // grid[1]))
    kind, dtype = (encoding, np.float64) if encoding in ("dense", "csr", "csc") else ("dense", np.dtype(encoding))
    ds = dl.ingest((X.astype(dtype), y), tmp_path / "d.zarr", encoding=kind, chunks=chunks)
    assert (ds.row_bounds.size - 1, ds.col_bounds.size - 1) == grid
    same(dl.fit_path(ds, tol=1e-10, lambda_min_ratio=1e-3), whole, problem_of)


@pytest.mark.parametrize("form", ["C", "F", "csr", "csc", "float32", "int8", "uint8"])
def test_arrays_of_any_kind_give_the_same_path(form: str, whole: dl.Path, problem_of: Any) -> None:
    X, y = data()
    make = {"C": np.ascontiguousarray, "F": np.asfortranarray, "csr": sp.csr_array, "csc": sp.csc_matrix}
    given = make[form](X.astype(float)) if form in make else X.astype(form)
    same(dl.fit_path(given, y, tol=1e-10, lambda_min_ratio=1e-3), whole, problem_of)


@pytest.mark.parametrize("encoding", ["csr", "dense"])
@pytest.mark.parametrize("wide", [False, True])
def test_threads_give_the_bits_of_serial(encoding: str, wide: bool, tmp_path: Path) -> None:
    X, y = data()
    if wide:
        X, y = X[:60], y[:60]
    chunks = (60, 12) if wide else (80, P)
    ds = dl.ingest((X.astype(float), y), tmp_path / "d.zarr", encoding=encoding, chunks=chunks)
    serial, threads = (dl.fit_path(ds, runtime=name) for name in ("serial", "threads"))
    assert (serial.coef != threads.coef).nnz == 0
    np.testing.assert_array_equal(serial.intercept, threads.intercept)
    np.testing.assert_array_equal(serial.gap, threads.gap)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("ratio", [1e4, 1e6])
def test_columns_whose_mean_is_a_million_deviations_away_are_solved_as_well(dtype: Any, ratio: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 30))
    y = X[:, :3].sum(axis=1) + 0.3 * rng.standard_normal(400)
    far = (X + ratio).astype(dtype)
    near = far.astype(np.float64) - ratio  # what the dtype has left of the columns
    lambdas = np.geomspace(0.5, 0.01, 10)
    found = dl.fit_path(far, y, lambdas=lambdas, tol=1e-10, standardize=False)
    centred = dl.fit_path(near - near.mean(axis=0), y, lambdas=lambdas, tol=1e-10, standardize=False)
    assert found.converged.all()
    np.testing.assert_allclose(found.coef.toarray(), centred.coef.toarray(), atol=1e-4)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("standardize", [False, True])
def test_weights_of_whole_numbers_are_repeated_rows(l1_ratio: float, standardize: bool) -> None:
    X, y = data()
    X, y = X[:200].astype(float), y[:200]
    times = np.random.default_rng(1).integers(0, 4, 200)
    options: dict[str, Any] = {"l1_ratio": l1_ratio, "standardize": standardize, "tol": 1e-11, "lambdas": [1.0, 0.3, 0.1]}
    weighted = dl.fit_path(X, y, sample_weight=times, **options)
    repeated = dl.fit_path(np.repeat(X, times, axis=0), np.repeat(y, times), **options)
    np.testing.assert_allclose(weighted.coef.toarray(), repeated.coef.toarray(), atol=1e-5)
    np.testing.assert_allclose(weighted.intercept, repeated.intercept, atol=1e-5)


def test_an_offset_is_subtracted_from_the_target() -> None:
    X, y = data()
    offset = np.random.default_rng(2).standard_normal(N)
    given = dl.fit_path(X, y + offset, offset=offset, lambdas=[0.2], tol=1e-12)
    plain = dl.fit_path(X, y, lambdas=[0.2], tol=1e-12)
    np.testing.assert_allclose(given.coef.toarray(), plain.coef.toarray(), atol=1e-8)


@pytest.mark.parametrize("shape", [(300, 40), (60, 200)])
def test_ridge_has_the_closed_form_solution(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal(shape)
    y = X[:, 0] + rng.standard_normal(shape[0])
    path = dl.fit_path(X, y, l1_ratio=0.0, lambdas=[0.7], standardize=False, tol=1e-13)
    Z, n = X - X.mean(axis=0), shape[0]
    exact = np.linalg.solve(Z.T @ Z / n + 0.7 * np.eye(shape[1]), Z.T @ (y - y.mean()) / n)
    np.testing.assert_allclose(path.coef.toarray()[0], exact, atol=1e-6)


@pytest.mark.parametrize("shape", [(300, 40), (60, 200)])
def test_unpenalised_columns_are_fitted_freely_and_excluded_ones_not_at_all(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    X = rng.standard_normal(shape)
    y = 2 * X[:, 0] + X[:, 1] + rng.standard_normal(shape[0])
    factors = np.ones(shape[1])
    factors[0], factors[1] = 0.0, np.inf
    path = dl.fit_path(X, y, penalty_factors=factors, tol=1e-11, n_lambdas=20)
    assert path.converged.all()
    coef = path.coef.toarray()
    assert (coef[:, 1] == 0).all()
    residual = y - path.predict(X)[:, 10]
    assert abs((X[:, 0] - X[:, 0].mean()) @ residual) / shape[0] < 1e-6
    assert path.n_active[0] == 1


def test_bounds_are_kept_and_optimal() -> None:
    X, y = data()
    path = dl.fit_path(X, y, bounds=(-0.4, 0.7), lambdas=[0.05], standardize=False, tol=1e-11)
    b = path.coef.toarray()[0]
    assert b.max() == pytest.approx(0.7)
    assert b.min() == pytest.approx(-0.4)
    assert path.converged.all()


def test_constant_columns_are_dropped_and_listed() -> None:
    X, y = data()
    X = X.astype(float)
    X[:, 7] = 3.25
    path = dl.fit_path(X, y)
    assert path.dropped.tolist() == [7]
    assert path.coef[:, [7]].nnz == 0


def test_a_path_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    X, y = data()
    path = dl.fit_path(X, y)
    path.save(tmp_path / "model")
    again = dl.load(tmp_path / "model")
    assert (again.coef != path.coef).nnz == 0
    np.testing.assert_array_equal(again.gap, path.gap)
    np.testing.assert_array_equal(again.predict(X), path.predict(X))
    assert again.summary() == path.summary()
