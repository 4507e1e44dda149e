"""Sparse columns times several models at once: the products that SciPy finds, for every number of models and every dtype."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numba.core.errors import TypingError

from distlasso.kernels import kernel, sparse
from distlasso.kernels.abreast import DESCENTS, MOMENTS, WIDEST
from distlasso.kernels.vectors import gather

N, P = 60, 23


def columns(seed: int, dtype: str = "float64", index: str = "int32") -> tuple[sp.csc_array, tuple[np.ndarray, ...]]:
    """Columns of every length, some of them empty, and their parts."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(-9, 10, (N, P)) * (rng.random((N, P)) < rng.random(P) ** 2)
    dense[:, rng.integers(0, P, 3)] = 0
    X = sp.csc_array(dense)
    return X.astype(np.float64), (X.data.astype(dtype), X.indices.astype(index), X.indptr.astype(np.int64))


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int8"])
def test_entries_of_every_dtype_are_multiplied_in_float64(dtype: str, index: str) -> None:
    """Values and row numbers are read as they are stored."""
    X, parts = columns(1, dtype, index)
    d, out = np.random.default_rng(2).standard_normal((N, 3)), np.zeros((P, 3))
    sparse.gradient_csc(*parts, d, out)
    np.testing.assert_allclose(out, X.T @ d, rtol=0, atol=1e-12)
    eta = np.zeros((N, P))
    sparse.eta_csc(*parts, np.arange(P), np.eye(P), eta)
    np.testing.assert_array_equal(eta, X.toarray())


@given(st.integers(1, 19), st.integers(0, 1000), st.booleans())
def test_any_number_of_models_adds_to_what_is_there(models: int, seed: int, fortran: bool) -> None:
    """However models are divided into vectors, and in whatever order their numbers lie."""
    X, parts = columns(seed)
    rng = np.random.default_rng(seed)
    d, before = rng.standard_normal((N, models)), rng.standard_normal((P, models))
    out = np.array(before, order="F" if fortran else "C")
    sparse.gradient_csc(*parts, np.asarray(d, order="F" if fortran else "C"), out)
    np.testing.assert_allclose(out, before + X.T @ d, rtol=0, atol=1e-11)
    chosen = rng.permutation(P)[: rng.integers(0, P)]
    coef, eta = rng.standard_normal((chosen.size, models)), d.copy()
    sparse.eta_csc(*parts, chosen, coef, eta)
    np.testing.assert_allclose(eta, d + X[:, chosen] @ coef, rtol=0, atol=1e-11)


@pytest.mark.parametrize("models", range(1, WIDEST + 1))
def test_moments_are_those_of_each_models_weights(models: int) -> None:
    """First and second moments of some columns, in the order that they are asked for."""
    X, parts = columns(4)
    rng, at = np.random.default_rng(4), np.array([5, 2, 20, 21])
    w = rng.random((N, models))
    first, second = np.empty((2, at.size, models))
    MOMENTS[models - 1](*parts, at, w, first, second)
    np.testing.assert_allclose(first, X[:, at].T @ w, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(second, X.power(2)[:, at].T @ w, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("models", range(1, WIDEST + 1))
def test_an_epoch_moves_rows_by_what_it_moves_coefficients(models: int, weighted: bool) -> None:
    """Slopes of the rows end at the start's less the weighted image of the change, for each model under weights of its own."""
    X, parts = columns(5)
    rng = np.random.default_rng(5)
    w = rng.random((N, models)) if weighted else np.ones((N, models))
    start = rng.standard_normal((N, models))
    h = np.maximum(X.power(2).T @ w, 1e-9)
    one = np.ones((P, models))
    rows = np.concatenate([start, w], axis=1) if weighted else start.copy()
    b, drift, fall = np.zeros((P, models)), np.zeros(models), np.zeros(models)
    DESCENTS[models - 1](
        *parts, np.arange(P), 0 * one, np.ones(models), h, 0.1 * one, 0 * one, -9 * one, 9 * one, b, rows, drift, fall
    )
    assert (b != 0).any(axis=0).all()
    np.testing.assert_allclose(rows[:, :models], start - w * (X @ b), rtol=0, atol=1e-11)
    np.testing.assert_allclose(fall, (h * b * b).sum(axis=0), rtol=1e-12)


def test_rows_that_would_be_misread_do_not_compile() -> None:
    """Memory that is not contiguous float64 is refused when the kernel is compiled, not read as something else."""

    @kernel
    def total(data, indices, rows, out):  # type: ignore[no-untyped-def]
        gather(data, indices, 0, data.size, rows, out, 2)

    _, (data, indices, _) = columns(6)
    for rows in (np.zeros((N, 2), order="F"), np.zeros((N, 2), np.float32), np.zeros((N, 4))[:, :2]):
        with pytest.raises(TypingError, match="rows of models are contiguous float64"):
            total(data, indices, rows, np.zeros(2))
