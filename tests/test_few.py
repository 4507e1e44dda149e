"""Products of many rows with a few models."""

from __future__ import annotations

import numpy as np
import pytest

from distlasso.kernels.few import times, times_turned

SHAPES = [(0, 3, 2), (5, 0, 2), (7, 3, 0), (300, 40, 1), (1000, 400, 7), (999, 20_000, 3), (40, 20_000, 2), (70_001, 5, 8)]


@pytest.mark.parametrize(("n", "p", "models"), SHAPES)
def test_rows_may_be_taken_in_pieces_of_any_number(n: int, p: int, models: int) -> None:
    rng = np.random.default_rng(0)
    X, B, D = rng.standard_normal((n, p)), rng.standard_normal((p, models)), rng.standard_normal((n, models))
    np.testing.assert_allclose(times(X, B), X @ B, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(times_turned(X, D), X.T @ D, rtol=1e-12, atol=1e-11)


def test_columns_of_a_wider_matrix_are_taken_as_they_lie() -> None:
    rng = np.random.default_rng(1)
    wide, B, D = rng.standard_normal((2000, 90)), rng.standard_normal((70, 9)), rng.standard_normal((2000, 9))
    np.testing.assert_array_equal(times(wide[:, :70], B), times(wide[:, :70].copy(), B))
    np.testing.assert_array_equal(times_turned(wide[:, :70], D), times_turned(wide[:, :70].copy(), D))
