"""Statistics of a dense tile are those of their definition, however it lies in memory and wherever its pieces end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distlasso.data.blocks import DenseBlock

Array = np.ndarray[Any, Any]


def expected(
    X: np.ndarray[Any, Any], w: np.ndarray[Any, Any], y: np.ndarray[Any, Any], code: Any
) -> dict[str, np.ndarray[Any, Any]]:
    """What the definition says, column by column, in more digits than are compared."""
    Z, w, y = X.astype(np.longdouble), w.astype(np.longdouble), y.astype(np.longdouble)
    y_mean = w @ y / w.sum() if w.sum() else np.longdouble(0)
    found: dict[str, list[Any]] = {name: [] for name in ("present", "present_y", "mean", "m2", "cross_y", "max_abs")}
    for z in Z.T:
        here = w * (np.ones_like(w) if code is None else ~(np.isnan(z) | (z == code)))
        total, z = here.sum(), np.where(here > 0, z, 0)
        mean = here @ z / total if total else 0
        found["present"].append(total)
        found["present_y"].append(here @ y / total if total else 0)
        found["mean"].append(mean)
        found["m2"].append(here @ (z - mean) ** 2)
        found["cross_y"].append(here @ ((z - mean) * (y - y_mean)))
        found["max_abs"].append(np.abs(z).max(initial=0))
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200), p=st.integers(1, 150), dtype=st.sampled_from(["int8", "uint8", "float32", "float64"]),
    order=st.sampled_from("CF"), holes=st.booleans(), idle=st.sampled_from([0.0, 0.4, 1.0]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_moments_are_those_of_their_definition(
    n: int, p: int, dtype: str, order: Any, holes: bool, idle: float, seed: int
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    X = np.array(rng.integers(0, 9, (n, p)) + 1e6 * (dtype == "float64"), dtype=dtype, order=order)
    code = None if not holes else np.nan if dtype.startswith("float") else 5
    if holes:
        X[rng.random((n, p)) < 0.2] = code
    w, y = rng.random(n) * (rng.random(n) >= idle), rng.standard_normal(n) + 50.0
    got = DenseBlock(X, code).moments(w, y)
    for name, values in expected(X, w, y, code).items():
        scale = {"m2": 1e3, "cross_y": 1e3}.get(name, 1e4)
        assert getattr(got, name) == pytest.approx(values, rel=1e-12, abs=1e-14 * scale), name
    assert got.n_rows == np.count_nonzero(w) and got.weight == pytest.approx(w.sum())
