"""Forms of the restricted problem: whichever holds the columns, the same gradient, residual and Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from distlasso.solvers.quadratic import DenseForm, GramForm, SparseForm

RNG = np.random.default_rng(3)
N, P = 80, 50
X = RNG.standard_normal((N, P)) * (RNG.random((N, P)) < 0.4)
W = RNG.random(N) / N
W /= W.sum()
CENTRE = W @ X
Y = X[:, 0] - X[:, 1] + RNG.standard_normal(N)
Y -= W @ Y
Z = X - CENTRE
GRAM, CURVATURE = Z.T @ (W[:, None] * Z), W @ Z**2


def forms() -> list[Any]:
    """The same problem in every form."""
    csc = sp.csc_array(X)
    csc = sp.csc_array((csc.data, csc.indices.astype(np.int32), csc.indptr), shape=X.shape)
    return [GramForm(GRAM, Z.T @ (W * Y), float(W @ Y**2)), DenseForm(np.asfortranarray(X), CENTRE, CURVATURE, W, Y, None),
            SparseForm(csc, CENTRE, CURVATURE, W, Y)]  # fmt: skip


@pytest.mark.parametrize("form", forms(), ids=["gram", "dense", "sparse"])
@pytest.mark.parametrize("count", [0, 1, 7, 45, P])
def test_hessians_of_few_columns_and_of_many_multiply_alike(form: Any, count: int) -> None:
    columns = np.sort(RNG.choice(P, count, replace=False))
    v = RNG.standard_normal(count)
    np.testing.assert_allclose(form.apply(columns, v), GRAM[np.ix_(columns, columns)] @ v, atol=1e-12)


@pytest.mark.parametrize("form", forms(), ids=["gram", "dense", "sparse"])
def test_a_state_that_was_moved_and_then_shifted_is_that_of_the_sum(form: Any) -> None:
    b, change = (RNG.standard_normal(P) * (RNG.random(P) < share) for share in (0.3, 0.5))
    for there, (u, rr) in ((b, form.move(b)), (b + change, (form.shift(change), form.peek())[1])):
        resid = Y - Z @ there
        np.testing.assert_allclose(u, Z.T @ (W * resid), atol=1e-12)
        assert rr == pytest.approx(float(W @ resid**2))


@pytest.mark.parametrize("form", forms(), ids=["gram", "dense", "sparse"])
@pytest.mark.parametrize("count", [7, P])
def test_a_problem_on_some_columns_begins_where_the_whole_one_is(form: Any, count: int) -> None:
    work, b = np.sort(RNG.choice(P, count, replace=False)), np.zeros(P)
    b[work[::2]] = RNG.standard_normal(work[::2].size)
    u, rr = form.move(b)
    part = form.restrict(work, b)
    for change in (np.zeros(count), RNG.standard_normal(count)):
        part.shift(change)
        b[work] += change
        resid = Y - Z @ b
        np.testing.assert_allclose(part.peek()[0], (Z.T @ (W * resid))[work], atol=1e-12)
        assert part.rr() == pytest.approx(float(W @ resid**2))
    np.testing.assert_allclose(form.peek()[0], u, atol=1e-12)
    assert form.rr() == pytest.approx(rr)


def test_a_look_at_no_columns_leaves_the_target() -> None:
    form = DenseForm(np.asfortranarray(X), CENTRE, CURVATURE, W, Y, None).restrict(np.empty(0, np.int64), np.zeros(CURVATURE.size))
    u, rr = form.look(np.empty((0, 2)))
    assert u.shape == (0, 2)
    np.testing.assert_allclose(rr, np.full(2, W @ Y**2))
