"""The factor of a support that columns have left and come to since."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distlasso.kernels import cholesky
from distlasso.solvers.factor import Factor, factored
from distlasso.solvers.newton import SMALL, Newton
from distlasso.solvers.quadratic import GramForm

SIZE = 400
RNG = np.random.default_rng(3)
X = RNG.standard_normal((900, SIZE)) + RNG.standard_normal((900, 1))
GRAM = X.T @ X / 900
FORM = GramForm(GRAM, np.zeros(SIZE), 1.0)
NAMES = RNG.permutation(5 * SIZE)[:SIZE]  # in no order, and not the numbers of the form

Support = NDArray[np.int64]


def made(support: Support, l2: float = 0.0) -> Factor:
    factor = factored(FORM, support, NAMES[support], np.full(support.size, l2))
    assert factor is not None
    return factor


def solves(factor: Factor, support: Support, l2: float = 0.0) -> None:
    """The system of the support, to what float32 and the ridge leave."""
    hessian = GRAM[np.ix_(support, support)] + l2 * np.eye(support.size)
    right = np.random.default_rng(support.size).standard_normal(support.size)
    found = factor.solve(NAMES[support], right, np.diag(hessian))
    np.testing.assert_allclose(hessian @ found, right, atol=3e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), steps=st.integers(1, 5), l2=st.sampled_from([0.0, 0.3]))
def test_it_solves_for_the_support_however_columns_come_and_go(seed: int, steps: int, l2: float) -> None:
    rng = np.random.default_rng(seed)
    support = np.sort(rng.permutation(SIZE)[:300])
    factor = made(support, l2)
    for _ in range(steps):
        stay, others = rng.permutation(support)[: support.size - 3], np.setdiff1d(np.arange(SIZE), support)
        support = rng.permutation(np.concatenate([stay, rng.permutation(others)[: rng.integers(0, 5)]]))
        if factor.follow(FORM, support, NAMES[support], np.full(support.size, l2)):
            solves(factor, support, l2)
        else:
            factor = made(support, l2)


def test_columns_that_come_back_are_as_if_they_had_never_left() -> None:
    support = np.arange(300)
    factor = made(support)
    for own in (support[5:], np.append(support[3:], 350), support, np.append(support[:-1], 351)):
        assert factor.follow(FORM, own, NAMES[own], np.zeros(own.size))
        solves(factor, own)


def test_a_support_that_is_another_one_needs_a_factor_of_its_own() -> None:
    assert not made(np.arange(300)).follow(FORM, np.arange(50, 350), NAMES[50:350], np.zeros(300))


def test_a_border_that_would_not_be_positive_definite_is_refused() -> None:
    """Products of another Hessian may not go with the base."""
    other = GRAM.copy()
    other[300:, :300] *= 4.0
    other[:300, 300:] *= 4.0
    support = np.append(np.arange(300), 301)
    assert not made(np.arange(300)).follow(GramForm(other, np.zeros(SIZE), 1.0), support, NAMES[support], np.zeros(301))


def test_columns_that_nobody_has_told_it_of_are_solved_by_their_diagonal() -> None:
    support, right = np.array([7, 9, 350]), np.array([1.0, 2.0, 4.0])
    found = made(np.array([7, 9])).solve(NAMES[support], right, np.diag(GRAM)[support])
    assert found[2] == 4.0 / GRAM[350, 350]
    np.testing.assert_allclose(GRAM[np.ix_([7, 9], [7, 9])] @ found[:2], right[:2], atol=1e-3)


@pytest.mark.parametrize("change", [-9, 9])
def test_newton_steps_need_no_second_factor_while_few_columns_come_or_go(change: int, monkeypatch: pytest.MonkeyPatch) -> None:
    newton, made_ = Newton(), []
    factor = cholesky.factor

    def counted(gram: NDArray[np.float64]) -> bool:
        made_.append(len(gram))
        return factor(gram)

    monkeypatch.setattr(cholesky, "factor", counted)
    for count in (SMALL + 40, SMALL + 40 + change):
        support, slope = np.arange(count), RNG.standard_normal(count)
        step = newton.step(FORM, support, NAMES[support], np.ones(count), np.zeros(count), slope, np.full(count, 1e-9))
        np.testing.assert_allclose(GRAM[:count, :count] @ step, slope, atol=1e-7)
    assert [size for size in made_ if size > SMALL] == [SMALL + 40]
