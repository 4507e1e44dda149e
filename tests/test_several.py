"""Products of stored columns with several models, widened in registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distlasso.kernels.several import combine, correlate

MISSING = 2


def case(n: int, p: int, models: int, dtype: Any, missing: bool, seed: int) -> tuple[Any, ...]:
    """Columns in any order out of a wider matrix, their values as they count, and numbers for rows and columns."""
    rng = np.random.default_rng(seed)
    stored = np.asfortranarray(rng.integers(0, 3, (n, p + 3)).astype(dtype))
    at, centre, fill = rng.permutation(p + 3)[:p], rng.standard_normal(p), rng.standard_normal(p)
    code = stored.dtype.type(MISSING) if missing else None
    counted = np.where(stored[:, at] == MISSING, fill, stored[:, at]) if missing else stored[:, at].astype(np.float64)
    held = (at, centre, code, fill - centre)
    return stored, held, counted - centre, rng.standard_normal((n, models)), rng.standard_normal((p, models))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40), p=st.integers(0, 11), models=st.integers(0, 9), dtype=st.sampled_from([np.int8, np.float32, np.float64]),
    missing=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_products_are_those_of_the_centred_values(n: int, p: int, models: int, dtype: Any, missing: bool, seed: int) -> None:
    X, held, values, d, b = case(n, p, models, dtype, missing, seed)
    np.testing.assert_allclose(correlate(X, *held, d), values.T @ d, rtol=1e-12, atol=1e-11)
    rows = slice(n // 3, n)
    np.testing.assert_allclose(combine(X, rows, *held, b), values[rows] @ b, rtol=1e-12, atol=1e-11)


def same_bits(few: NDArray[np.float64], many: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(np.ascontiguousarray(few), np.ascontiguousarray(many))


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
@pytest.mark.parametrize(("n", "p"), [(20_011, 7), (517, 64), (13, 30)])
def test_bits_of_a_model_and_of_a_column_do_not_depend_on_their_company(n: int, p: int, dtype: Any, missing: bool) -> None:
    X, held, _, d, b = case(n, p, 11, dtype, missing, 5)
    at, centre, code, lift = held
    together, fitted = correlate(X, *held, d), combine(X, slice(0, n), *held, b)
    for k in range(11):
        same_bits(correlate(X, *held, d[:, [k]]), together[:, [k]])
        same_bits(combine(X, slice(0, n), *held, b[:, [k]]), fitted[:, [k]])
    for j in range(p):
        same_bits(correlate(X, at[[j]], centre[[j]], code, lift[[j]], d), together[[j]])


def test_a_value_that_is_not_a_number_touches_its_own_column_alone() -> None:
    X = np.asfortranarray(np.ones((9, 6)))
    X[4, 5] = np.nan
    found = correlate(X, np.arange(6), np.zeros(6), None, np.zeros(6), np.ones((9, 2)))
    np.testing.assert_array_equal(np.isnan(found[:, 0]), np.arange(6) == 5)
