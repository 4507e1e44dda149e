"""Kernels that a solve on a working set asks: each says what the plain formula says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distlasso.kernels import working_set
from distlasso.kernels.dense import take_outer
from distlasso.penalties import Bounds4

SIZE = 40


def drawn(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray, Bounds4]:
    """Slopes, coefficients within their bounds, and penalties of every kind."""
    rng = np.random.default_rng(seed)
    l1, l2 = (rng.random(SIZE) * (rng.random(SIZE) < 0.7) for _ in range(2))
    low, high = (side * np.where(rng.random(SIZE) < 0.5, np.inf, rng.random(SIZE) * (rng.random(SIZE) < 0.7)) for side in (-1, 1))
    b = np.clip(rng.standard_normal(SIZE) * (rng.random(SIZE) < 0.5), low, high)
    return rng, 2 * rng.standard_normal(SIZE), b, Bounds4(l1, l2, low, high)


@given(st.integers(0, 2**32))
def test_columns_are_near_that_have_a_coefficient_or_a_slope_that_nearly_allows_one(seed: int) -> None:
    _, u, b, penalty = drawn(seed)
    allowed = np.maximum(np.where(penalty.high > 0, u, 0.0), np.where(penalty.low < 0, -u, 0.0))
    expected = np.flatnonzero((b != 0) | (allowed > 0.9 * penalty.l1) | penalty.is_free())
    np.testing.assert_array_equal(working_set.near(u, b, *penalty, 0.9), expected)


@given(st.integers(0, 2**32))
def test_a_support_knows_its_slopes_and_which_would_not_matter(seed: int) -> None:
    _, u, b, penalty = drawn(seed)
    support, slope, enough = working_set.on_support(u, b, *penalty, 0.01, 3.0)
    expected = np.flatnonzero((b > penalty.low) & (b < penalty.high) & ((b != 0) | penalty.is_free()))
    np.testing.assert_array_equal(support, expected)
    own, mine = penalty.take(expected), b[expected]
    np.testing.assert_allclose(slope, u[expected] - own.l1 * np.sign(mine) - own.l2 * mine, atol=1e-14)
    np.testing.assert_allclose(enough, 0.01 * (own.l1 + own.l2 * abs(mine) + own.is_free() * 3.0 / (1.0 + abs(mine))), rtol=1e-14)


@given(st.integers(0, 2**32), st.sampled_from([1.0, 0.5]))
def test_a_step_stays_within_bounds_and_on_its_side_of_zero(seed: int, length: float) -> None:
    rng, _, b, penalty = drawn(seed)
    support = np.flatnonzero(b)
    start, step = b[support].copy(), 3 * rng.standard_normal(support.size)
    own, there = penalty.take(support), b.copy()
    moved = np.clip(start + length * step, own.low, own.high)
    moved[(own.l1 > 0) & (moved * start < 0)] = 0.0
    change = working_set.advance(there, start, support, step, length, penalty.l1, penalty.low, penalty.high)
    np.testing.assert_allclose(there[support], moved, atol=1e-14)
    np.testing.assert_allclose(b + change, there, atol=1e-14)


@given(st.integers(0, 2**32))
def test_a_penalty_is_what_it_is_and_infinite_beyond_its_bounds(seed: int) -> None:
    _, _, b, penalty = drawn(seed)
    assert working_set.penalised(b, *penalty) == pytest.approx(penalty.value(b))
    penalty.high[0], b[0] = 1.0, 1.5
    assert np.isinf(working_set.penalised(b, *penalty))


@given(st.integers(0, 2**32))
def test_a_path_is_followed_where_no_coefficient_is_new_or_changes_sides(seed: int) -> None:
    rng, older, last, _ = drawn(seed)
    older *= rng.random(SIZE) < 0.6
    ahead = last + 0.8 * (last - older)
    expected = np.where((older != 0) & (ahead * last > 0), ahead, last)
    np.testing.assert_allclose(working_set.follow(older, last, 0.8), expected, atol=1e-15)


def test_the_outer_product_is_taken_away_in_place() -> None:
    rng = np.random.default_rng(1)
    matrix, one, other = rng.standard_normal((5, 7)), np.array([0.0, 1.0, -2.0, 3.0, 0.5]), rng.standard_normal(7)
    expected = matrix - np.outer(one, other)
    take_outer(matrix, one, other)
    np.testing.assert_allclose(matrix, expected, atol=1e-15)
