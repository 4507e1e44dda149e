"""Products of a matrix with its own transpose."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from distlasso.kernels.rank_k import add_products, add_square


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_upper_triangle_of_the_product_is_added(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    X, out = rng.standard_normal((50, 7)).astype(dtype), np.asfortranarray(rng.standard_normal((7, 7)).astype(dtype))
    expected = out + np.triu(dtype(0.5) * (X.T @ X))
    wide = np.full((50, 9), np.nan, dtype)
    wide[:, :7] = X
    for rows in (X, wide[:, :7]):
        found = out.copy(order="F")
        add_square(rows, 0.5, found)
        np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("first", [0, 3, 7])
def test_products_with_the_last_columns_are_added_where_they_belong(first: int) -> None:
    rng = np.random.default_rng(1)
    X = np.asfortranarray(rng.standard_normal((50, 7)).astype(np.float32))
    out = np.asfortranarray(rng.standard_normal((9, 9)).astype(np.float32))
    expected = out.copy()
    expected[:7, first:7] += np.triu(X.T @ X)[:, first:]
    add_products(X, first, out)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_other_threads_run_meanwhile() -> None:
    X, out = np.ones((20_000, 400)), np.zeros((400, 400), order="F")
    turns, seen, usual = [0], list[int](), sys.getswitchinterval()

    def multiply() -> None:
        seen.append(turns[0])
        add_square(X, 1.0, out)
        seen.append(turns[0])

    sys.setswitchinterval(60.0)  # nobody is made to give the lock away
    try:
        product = threading.Thread(target=multiply)
        product.start()
        while product.is_alive():
            turns[0] += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(usual)
    assert seen[1] > seen[0] and out[0, 1] == 20_000.0
