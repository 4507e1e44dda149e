"""Data with missing values is the same problem as data whose missing values were the means of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given
from hypothesis import strategies as st

import distlasso as dl
from distlasso.data.blocks import DenseBlock
from distlasso.data.statistics import ARRAYS, merge

TALL, WIDE = (360, 48), (60, 160)
EMPTY = 7  # a column without any value
LAMBDAS = 12


def genotypes(shape: tuple[int, int]) -> tuple[Any, Any]:
    """Codes 0, 1, 2 with a tenth of them -1, missing more often where the target is large, and a target."""
    rng = np.random.default_rng(shape[0])
    X = rng.integers(0, 3, shape).astype(np.int8)
    y = X[:, :5] @ [1.0, 2.0, -1.0, 1.0, 0.5] + rng.standard_normal(shape[0])
    X[rng.random(shape) < np.where(y > y.mean(), 0.15, 0.05)[:, None]] = -1
    X[:, EMPTY] = -1
    return X, y


def means(X: Any, weight: Any) -> Any:
    """Weighted means over the rows that have a value; 0 where none has."""
    w = np.where(X < 0, 0.0, weight[:, None])
    return (w * X).sum(axis=0) / np.maximum(w.sum(axis=0), 1e-300)


def imputed(X: Any, weight: Any) -> Any:
    """Those means put where there is no value, in plain numpy."""
    return np.where(X < 0, means(X, weight), X)


def stored_as(X: Any, dtype: str) -> tuple[Any, Any]:
    """The codes in a dtype, and its value that means missing."""
    if dtype == "int8":
        return X, -1
    if dtype == "uint8":
        return np.where(X < 0, 255, X).astype(np.uint8), 255
    return np.where(X < 0, np.nan, X).astype(dtype), np.nan


def weights(n: int) -> Any:
    weight = np.random.default_rng(1).random(n)
    weight[::7] = 0.0
    return weight


def check(path: dl.Path, X: Any, y: Any, weight: Any, problem_of: Any, *, standardize: bool) -> None:
    """Compare with the same fit of explicitly imputed data, in an objective that shares no code with the package."""
    options: dict[str, Any] = {"sample_weight": weight, "standardize": standardize, "tol": 1e-11, "n_lambdas": LAMBDAS}
    F = imputed(X, np.ones(y.size) if weight is None else weight)
    explicit = dl.fit_path(F, y, **options)
    problem = problem_of(F, y, standardize=standardize, weight=weight)
    assert path.dropped.tolist() == [EMPTY]
    assert path.converged.all()
    np.testing.assert_allclose(path.lambdas, explicit.lambdas, rtol=1e-9)
    for k, lam in enumerate(explicit.lambdas):
        ours, theirs = (problem.objective(p.coef[[k]].toarray()[0], lam) for p in (path, explicit))
        assert abs(ours - theirs) <= 1e-8 * theirs
        # The printed gap bounds what is left to gain in the imputed problem; the better of both is nearly its optimum.
        assert (ours - min(ours, theirs)) / problem.d0 <= path.gap[k] + 1e-12


GRIDS: list[dict[str, int]] = [{}, {"row_chunks": 5}, {"col_chunks": 4}, {"row_chunks": 3, "col_chunks": 3}]


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["gram", "residual"])
@pytest.mark.parametrize("grid", GRIDS, ids=["one", "rows", "columns", "grid"])
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
@pytest.mark.parametrize(("weighted", "standardize"), [(False, True), (True, False)], ids=["equal", "weighted"])
def test_missing_values_are_the_means_of_the_others(
    shape: tuple[int, int], grid: dict[str, int], dtype: str, weighted: bool, standardize: bool, problem_of: Any
) -> None:
    X, y = genotypes(shape)
    values, code = stored_as(X, dtype)
    weight = weights(y.size) if weighted else None
    ds = dl.Dataset.from_arrays(values, y, missing_value=code, **grid)
    path = dl.fit_path(ds, sample_weight=weight, standardize=standardize, tol=1e-11, n_lambdas=LAMBDAS)
    check(path, X, y, weight, problem_of, standardize=standardize)


@pytest.mark.parametrize("runtime", ["serial", "threads", pytest.param("dask", marks=pytest.mark.xdist_group("cluster"))])
@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["gram", "residual"])
@pytest.mark.parametrize("dtype", ["int8", "float64"])
def test_a_store_keeps_what_is_missing_on_every_runtime(
    runtime: str, shape: tuple[int, int], dtype: str, problem_of: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    X, y = genotypes(shape)
    values, code = stored_as(X, dtype)
    chunks = (shape[0], 40) if shape == WIDE else (90, 20)
    ds = dl.ingest((values, y), tmp_path / "d.zarr", missing="keep", missing_value=code, chunks=chunks)
    assert (ds.dtype, ds.validated) == (np.dtype(dtype), True)
    place = request.getfixturevalue("cluster") if runtime == "dask" else runtime
    for weight in (None, weights(y.size)):
        path = dl.fit_path(ds, sample_weight=weight, tol=1e-11, n_lambdas=LAMBDAS, runtime=place)
        check(path, X, y, weight, problem_of, standardize=True)


def test_arrays_with_missing_values_reach_dask_workers(cluster: Any, problem_of: Any) -> None:
    X, y = genotypes(WIDE)
    values, code = stored_as(X, "uint8")
    ds = dl.Dataset.from_arrays(values, y, missing_value=code)
    path = dl.fit_path(ds, runtime=cluster, tol=1e-11, n_lambdas=LAMBDAS)
    check(path, X, y, None, problem_of, standardize=True)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["gram", "residual"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "float64"])
def test_unpenalised_columns_and_no_intercept_see_the_same_means(
    shape: tuple[int, int], intercept: bool, dtype: str
) -> None:
    X, y = genotypes(shape)
    values, code = stored_as(X, dtype)
    factors = np.ones(shape[1])
    factors[[0, 3]] = 0.0
    options: dict[str, Any] = {
        "penalty_factors": factors, "fit_intercept": intercept, "tol": 1e-11, "n_lambdas": LAMBDAS, "l1_ratio": 0.8,
    }  # fmt: skip
    ds = dl.Dataset.from_arrays(values, y, missing_value=code, col_chunks=2)
    path, explicit = dl.fit_path(ds, **options), dl.fit_path(imputed(X, np.ones(y.size)), y, **options)
    np.testing.assert_allclose(path.lambdas, explicit.lambdas, rtol=1e-9)
    np.testing.assert_allclose(path.deviance_ratio, explicit.deviance_ratio, atol=1e-9)
    np.testing.assert_allclose(path.coef.toarray(), explicit.coef.toarray(), atol=1e-4)


@pytest.mark.parametrize("loss", ["logistic", "poisson", "huber"])
@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["rounds", "held"])
@pytest.mark.parametrize(("dtype", "intercept"), [("int8", True), ("float32", False)])
def test_every_loss_sees_the_same_means(
    loss: str, shape: tuple[int, int], dtype: str, intercept: bool, request: pytest.FixtureRequest
) -> None:
    X, y = genotypes(shape)
    values, code = stored_as(X, dtype)
    target = {"logistic": y > np.median(y), "poisson": np.round(np.exp(y / 4)), "huber": y}[loss].astype(float)
    factors = np.ones(shape[1])
    factors[3] = 0.0
    options: dict[str, Any] = {
        "loss": loss, "penalty_factors": factors, "fit_intercept": intercept, "tol": 1e-10, "n_lambdas": 6,
        "lambda_min_ratio": 0.05,
    }  # fmt: skip
    ds = dl.Dataset.from_arrays(values, target, missing_value=code, col_chunks=3)
    place = request.getfixturevalue("cluster") if dtype == "int8" else "threads"
    path = dl.fit_path(ds, runtime=place, **options)
    explicit = dl.fit_path(imputed(X, np.ones(y.size)), target, **options)
    assert path.converged.all()
    np.testing.assert_allclose(path.lambdas, explicit.lambdas, rtol=1e-8)
    np.testing.assert_allclose(path.deviance_ratio, explicit.deviance_ratio, atol=1e-9)
    np.testing.assert_allclose(path.coef.toarray(), explicit.coef.toarray(), atol=1e-3)


@pytest.mark.parametrize("solver", ["admm", "fista"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_every_solver_sees_the_same_means(solver: str, loss: str) -> None:
    X, y = genotypes(TALL)
    target = y if loss == "squared" else (y > np.median(y)).astype(float)
    # A gap bounds the objective; the deviance beside it moves with its root.
    options: dict[str, Any] = {"loss": loss, "n_lambdas": 5, "lambda_min_ratio": 0.1, "tol": 1e-10}
    ds = dl.Dataset.from_arrays(X, target, missing_value=-1, row_chunks=3)
    path = dl.fit_path(ds, solver=solver, **options)
    explicit = dl.fit_path(imputed(X, np.ones(y.size)), target, **options)
    assert path.converged.all()
    np.testing.assert_allclose(path.deviance_ratio, explicit.deviance_ratio, atol=1e-6)


def test_columns_with_holes_a_million_deviations_from_zero_are_solved_as_well() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 20))
    y = X[:, :3].sum(axis=1) + 0.3 * rng.standard_normal(300)
    X[rng.random(X.shape) < 0.2] = np.nan
    far = X + 1e6
    near = far - 1e6
    near = np.where(np.isnan(near), np.nanmean(near, axis=0), near)
    options: dict[str, Any] = {"lambdas": np.geomspace(0.5, 0.01, 8), "tol": 1e-10, "standardize": False}
    found = dl.fit_path(dl.Dataset.from_arrays(far, y, missing_value=np.nan, row_chunks=4), **options)
    plain = dl.fit_path(near, y, **options)
    assert found.converged.all()
    np.testing.assert_allclose(found.coef.toarray(), plain.coef.toarray(), atol=1e-4)


def test_a_column_with_one_value_is_dropped() -> None:
    X, y = genotypes(TALL)
    X[:, 3] = -1
    X[5, 3] = 2
    path = dl.fit_path(dl.Dataset.from_arrays(X, y, missing_value=-1), n_lambdas=5)
    assert path.dropped.tolist() == [3, EMPTY]


@given(st.integers(0, 2**32 - 1), st.integers(1, 29), st.floats(0.0, 1.0))
def test_statistics_of_parts_with_holes_merge_to_those_of_the_whole(seed: int, cut: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    X, y, weight = rng.standard_normal((30, 4)) + 1e3, rng.standard_normal(30), rng.integers(0, 3, 30).astype(float)
    X[rng.random(X.shape) < share] = np.nan

    def moments(rows: slice) -> Any:
        return DenseBlock(X[rows], np.nan).moments(weight[rows], y[rows])

    whole, parts = moments(slice(None)), merge(moments(slice(cut)), moments(slice(cut, None)))
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-9, err_msg=name)
    coded = np.where(np.isnan(X), -1.0, X)
    np.testing.assert_allclose(whole.mean, means(coded, weight), rtol=1e-12)
    deviation = (imputed(coded, weight) - whole.mean) * weight[:, None]
    np.testing.assert_allclose(whole.cross_y, deviation.T @ y, atol=1e-9)


def test_a_store_of_another_program_with_a_missing_value_is_read_in_place(problem_of: Any, tmp_path: Path) -> None:
    X, y = genotypes(TALL)
    group = zarr.create_group(tmp_path / "other.zarr")
    member = group.create_array("X", data=X, chunks=(100, 48))
    member.attrs["missing_value"] = -1
    group.create_array("y", data=y)
    ds = dl.open_dataset(tmp_path / "other.zarr")
    assert ds.missing_value == -1
    check(dl.fit_path(ds, tol=1e-11, n_lambdas=LAMBDAS), X, y, None, problem_of, standardize=True)


@pytest.mark.parametrize(("dtype", "code"), [("int8", 200), ("int8", "NaN"), ("float64", -9), ("int8", [1, 2])])
def test_a_missing_value_that_the_dtype_cannot_have_is_refused(dtype: str, code: Any, tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "other.zarr")
    group.create_array("X", data=np.zeros((4, 3), dtype)).attrs["missing_value"] = code
    with pytest.raises(dl.StoreError, match=r"other\.zarr: X has the attribute missing_value="):
        dl.open_dataset(tmp_path / "other.zarr")


@pytest.mark.parametrize("weighted", [False, True])
def test_prediction_puts_the_means_of_the_fit(weighted: bool, tmp_path: Path) -> None:
    X, y = genotypes(TALL)
    weight = weights(y.size) if weighted else np.ones(y.size)
    path = dl.fit_path(dl.Dataset.from_arrays(X, y, missing_value=-1), sample_weight=weight, n_lambdas=5)
    path.save(tmp_path / "model")
    new = X[:40].copy()
    new[:, 0] = -1
    expected = np.where(new < 0, means(X, weight), new) @ path.coef.toarray().T + path.intercept
    nan = np.where(new < 0, np.nan, new)
    for rows in (new, nan, dl.Dataset.from_arrays(new, missing_value=-1), dl.Dataset.from_arrays(nan, missing_value=np.nan)):
        np.testing.assert_allclose(path.predict(rows), expected, atol=1e-10)
        np.testing.assert_array_equal(dl.load(tmp_path / "model").predict(rows), path.predict(rows))


def test_a_model_of_whole_data_predicts_no_rows_with_holes() -> None:
    X, y = genotypes(TALL)
    path = dl.fit_path(imputed(X, np.ones(y.size)), y, n_lambdas=5)
    for rows in (np.where(X < 0, np.nan, X), dl.Dataset.from_arrays(X, missing_value=-1)):
        with pytest.raises(dl.InputError, match="missing, NaN or infinite"):
            path.predict(rows)


def test_nan_that_was_not_declared_is_refused_with_what_to_do() -> None:
    X, y = genotypes(TALL)
    with pytest.raises(dl.InputError, match=r"row \d+, column \d+: .*missing_value=np.nan.*missing='keep'"):
        dl.fit_path(np.where(X < 0, np.nan, X), y)


def test_infinity_is_never_missing() -> None:
    X, y = genotypes(TALL)
    values, _ = stored_as(X, "float64")
    values[17, 3] = np.inf
    with pytest.raises(dl.InputError, match="row 17, column 3"):
        dl.fit_path(dl.Dataset.from_arrays(values, y, missing_value=np.nan))


@pytest.mark.parametrize(
    ("X", "code", "message"),
    [
        (np.zeros((4, 3), np.int8), 300, "not a value of int8"),
        (np.zeros((4, 3), np.int8), 0.5, "not a value of int8"),
        (np.zeros((4, 3), np.int8), "a", "is not a number"),
        (np.zeros((4, 3)), -1, "in float64 values NaN means missing"),
        (sp.csr_array(np.eye(4)), np.nan, "missing_value is for dense X"),
    ],
)
def test_a_missing_value_that_arrays_cannot_have_is_refused(X: Any, code: Any, message: str) -> None:
    with pytest.raises(dl.InputError, match=message):
        dl.Dataset.from_arrays(X, missing_value=code)


def test_gathered_codes_stay_as_small_as_they_are_stored() -> None:
    X, _ = genotypes(WIDE)
    tile = DenseBlock(X, -1, np.ones(X.shape[1]))
    assert tile.gather(np.array([1, 5])).dtype == np.int8
