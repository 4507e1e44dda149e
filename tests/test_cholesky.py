"""Cholesky factors that other threads do not wait for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distlasso.kernels import cholesky


@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_what_a_factor_solves_satisfies_the_equations(dtype: Any, within: float) -> None:
    rng = np.random.default_rng(1)
    X, right = rng.standard_normal((60, 20)), rng.standard_normal(20).astype(dtype)
    gram = np.asfortranarray(X.T @ X, dtype=dtype)
    factor, x = np.triu(gram).copy(order="F"), right.copy()
    assert cholesky.factor(factor)
    cholesky.solve(factor, x)
    np.testing.assert_allclose(gram @ x, right, atol=within)


def test_a_matrix_that_is_not_positive_definite_has_no_factor() -> None:
    assert not cholesky.factor(np.asfortranarray(np.diag([1.0, -1.0, 2.0])))
