"""Slopes that single precision is enough for: those of columns that are sure to have no part in a gap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distlasso as dl
from distlasso.data import blocks
from distlasso.data.blocks import SINGLE_ERROR, DenseBlock
from distlasso.data.dataset import Dataset

RNG = np.random.default_rng(3)


@given(st.integers(0, 2**20), st.sampled_from([np.int8, np.float32]), st.sampled_from([0.0, 0.02, 0.1, 1e9]))
def test_slopes_above_their_level_are_exact_and_others_within_the_error_that_is_told(seed: int, dtype: Any, level: float) -> None:
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.integers(-100, 101, (700, 9)).astype(dtype))
    d, shift = rng.standard_normal((700, 3)), rng.normal(0, 50, 9)
    level *= float(np.abs(X - shift).sum(axis=0).max())
    found = DenseBlock(X).gradient(d, shift, np.full((9, 3), level, dtype=np.float32))
    exact = DenseBlock(X).gradient(d, shift)
    error = SINGLE_ERROR * np.abs(X - shift).T @ np.abs(d)
    above = (np.abs(exact) > level + error).any(axis=1)
    np.testing.assert_allclose(found[above], exact[above], rtol=1e-12, atol=1e-9)
    assert (np.abs(found - exact) <= error).all()


def test_gaps_of_columns_of_bytes_are_those_of_the_same_numbers_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    n, p = 300, 3000
    X = RNG.binomial(2, RNG.uniform(0.05, 0.5, p), (n, p)).astype(np.int8)
    y = X[:, :20] @ RNG.standard_normal(20) + RNG.standard_normal(n)
    singles = list[int]()
    plain = DenseBlock._gradient_by_columns

    def noted(self: DenseBlock, d: Any, shift: Any) -> Any:
        singles.append(d.dtype == np.float32)
        return plain(self, d, shift)

    monkeypatch.setattr(blocks.DenseBlock, "_gradient_by_columns", noted)
    options: dict[str, Any] = {"n_lambdas": 30, "lambda_min_ratio": 0.05, "standardize": True}
    dataset = Dataset.from_arrays(np.asfortranarray(X), y, col_chunks=500)
    narrow = dl.fit_path(dataset, **options)
    wide = dl.fit_path(np.asfortranarray(X, dtype=np.float64), y, lambdas=narrow.lambdas, standardize=True)
    assert any(singles) and not all(singles)
    assert narrow.converged.all()
    for k in (5, 15, 29):
        coef, intercept = narrow.coef[[k]].toarray()[0], narrow.intercept[k]
        sd, residual = X.std(axis=0), y - X @ coef - intercept
        u = X.T.astype(float) @ (residual - residual.mean()) / n
        lam = narrow.lambdas[k]
        t = min(1.0, float(np.min(lam * sd / np.maximum(np.abs(u), 1e-300))))
        primal = 0.5 * np.mean(residual**2) + lam * np.abs(sd * coef).sum()
        dual = t * np.mean(residual * (y - y.mean())) - 0.5 * t * t * np.mean((residual - residual.mean()) ** 2)
        assert primal - dual <= (narrow.gap[k] + 1e-9) * 0.5 * y.var()
    np.testing.assert_allclose(narrow.coef.toarray(), wide.coef.toarray(), atol=2e-3)
