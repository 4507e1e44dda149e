"""Gradients of squared loss on sparse rows, one row after the other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from distlasso.data.blocks import CSRBlock
from distlasso.data.dataset import as_block
from distlasso.data.row_by_row import Fitted, gradients

RNG = np.random.default_rng(2)
N, P = 300, 80
X = sp.random_array((N, P), density=0.1, format="csr", rng=RNG)


def fitted(models: int, columns: int = 12) -> Fitted:
    """Models of a fit that leaves a third of the rows out."""
    weight = RNG.uniform(0.5, 2.0, N) * (RNG.random(N) > 1 / 3)
    own = np.sort(RNG.choice(P, columns, replace=False))
    return Fitted(RNG.standard_normal(N), weight, own, RNG.standard_normal((columns, models)), RNG.standard_normal(models))


def tile() -> CSRBlock:
    """The matrix as a tile."""
    block = as_block(X)
    assert isinstance(block, CSRBlock)
    return block


@pytest.mark.parametrize("models", [0, 1, 7, 8, 9, 16, 17, 40])
def test_sums_are_those_of_predictions_and_residuals(models: int) -> None:
    own = fitted(models)
    ((gradient, total, square),) = gradients(tile(), [own])
    residual = own.y[:, None] - own.intercept - X[:, own.columns] @ own.coef
    slopes = own.weight[:, None] * residual
    np.testing.assert_allclose(gradient, X.T @ slopes, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total, slopes.sum(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(square, own.weight @ residual**2, rtol=1e-12)


def test_the_bits_of_a_fit_do_not_depend_on_the_fits_beside_it() -> None:
    fits = [fitted(models, 10 + models) for models in (3, 5, 9, 33, 1, 16)]
    for together, own in zip(gradients(tile(), fits), fits, strict=True):
        (alone,) = gradients(tile(), [own])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_model_without_columns_has_the_residuals_of_its_intercept() -> None:
    own = fitted(2, 0)
    ((gradient, *_),) = gradients(tile(), [own])
    np.testing.assert_allclose(gradient, X.T @ (own.weight[:, None] * (own.y[:, None] - own.intercept)), atol=1e-12)
