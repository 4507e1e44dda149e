"""Statistics of cells of rows, from one visit to dense columns."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import distlasso as dl
from distlasso.data.cell_moments import cell_moments
from distlasso.data.dataset import as_block
from distlasso.queries import CellMoments, Moments, Query, Request

RNG = np.random.default_rng(11)
N, P = 500, 150


def cells(count: int) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Weights, 0 outside of a cell, and a target."""
    own, weight, y = RNG.integers(0, count, N), RNG.uniform(0.5, 2.0, N), RNG.standard_normal(N) + 3.0
    return [(np.where(own == c, weight, 0.0), y) for c in range(count)]


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
@pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray])
def test_a_cell_has_the_statistics_of_its_rows_by_themselves(dtype: Any, layout: Any) -> None:
    X = layout((5.0 + 40.0 * RNG.random((N, P))).astype(dtype))
    given = [*cells(4), (np.zeros(N), np.ones(N))]  # the last one is empty
    found = cell_moments(as_block(X), given)
    for (weight, y), own in zip(given[:-1], found[:-1], strict=True):
        there = weight > 0
        alone = as_block(np.asfortranarray(X[there])).moments(weight[there], y[there])
        for field in fields(own):
            np.testing.assert_allclose(getattr(own, field.name), getattr(alone, field.name), rtol=1e-11, atol=1e-9)
    assert found[-1].weight == 0.0 and not found[-1].m2.any() and found[-1].n_rows == 0


def test_the_bits_of_a_cell_do_not_depend_on_the_cells_beside_it() -> None:
    tile, given = as_block(np.asfortranarray(RNG.standard_normal((N, P)))), cells(6)
    for together, cell in zip(cell_moments(tile, given), given, strict=True):
        (alone,) = cell_moments(tile, [cell])
        for field in fields(alone):
            np.testing.assert_array_equal(getattr(together, field.name), getattr(alone, field.name))


@pytest.mark.parametrize("missing", [False, True])
def test_folds_of_wide_dense_data_are_measured_in_one_visit_unless_values_are_missing(missing: bool) -> None:
    asked: list[type[Query]] = []

    def request(queries: Any, *rest: Any, **options: Any) -> Request:
        asked.extend(type(query) for query in queries)
        return Request(queries, *rest, **options)

    X = np.asfortranarray(RNG.integers(0, 3, (60, 5_000)).astype(np.int8))
    data = dl.Dataset.from_arrays(X, X[:, 0] + RNG.standard_normal(60), missing_value=2 if missing else None, col_chunks=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distlasso.coordinator.exchange.Request", request)
        dl.cross_validate(data, folds=3, n_lambdas=3, lambda_min_ratio=0.7)
    assert asked[0] is (Moments if missing else CellMoments)
