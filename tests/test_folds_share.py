"""What the fits of a cross-validation share: strong columns, Grams of cells, and Hessians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.coordinator.borrowed import borrow
from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.products import Member, Products
from distlasso.coordinator.space import centre
from distlasso.data.blocks import CSRBlock, DenseBlock
from distlasso.data.dataset import Dataset
from distlasso.data.pieces import Pieces, side_by_side
from distlasso.data.statistics import Statistics
from distlasso.losses import as_loss
from distlasso.queries import Ask, Gather, Gradient, Hessian, Models, Moments, Request, Value
from distlasso.runtime.local import RowSpace, serial
from distlasso.runtime.plan import plan_bundles

RNG = np.random.default_rng(11)
X = RNG.standard_normal((60, 9))
S = sp.csc_array(np.where(RNG.random((60, 9)) < 0.3, X, 0.0))


def in_four(matrix: Any) -> Pieces:
    """A matrix as bundles of rows and columns would gather it."""
    upper, lower = (side_by_side([rows[:, :1], rows[:, 1:]]) for rows in (matrix[:25], matrix[25:]))
    return upper.below(lower)


class Columns:
    """An exchange that knows one matrix."""

    def __init__(self, X: Any) -> None:
        self.X, self.asked, self.resident = X, list[int](), None

    def ask(self, query: Any, **_: Any) -> Any:
        assert isinstance(query, Gather) and (np.diff(query.columns) > 0).all()
        self.asked += query.columns.tolist()
        return in_four(self.X[:, query.columns])


@pytest.mark.parametrize("matrix", [X, S])
def test_columns_are_held_as_stored_in_the_order_in_which_they_were_admitted(matrix: Any) -> None:
    exchange = Columns(matrix)
    held = Gathered(exchange)  # type: ignore[arg-type]
    held.extend(np.array([4, 1]))
    early = held.first(2)
    held.extend(np.array([8, 0, 5]))
    dense = matrix.toarray() if sp.issparse(matrix) else matrix
    for found, columns in ((early, [4, 1]), (held.first(2), [4, 1]), (held.first(5), [4, 1, 8, 0, 5])):
        np.testing.assert_array_equal(found.toarray() if sp.issparse(found) else found, dense[:, columns])
    assert sorted(exchange.asked) == [0, 1, 4, 5, 8]


def test_grams_of_fits_are_those_of_their_own_rows_however_columns_came_in() -> None:
    """One cell is of another scale: a difference from all rows would lose the digits of the fit without it."""
    cell = RNG.integers(0, 3, 60)
    wild = S.toarray() * np.where(cell == 2, 1e8, 1.0)[:, None]
    weight = RNG.uniform(0.5, 2.0, 60)
    cells = [weight * (cell == c) for c in range(3)]
    members, expected = [], []
    columns = np.array([7, 2, 3, 0, 8])
    for own in ((0, 1), (0, 2), (0, 1, 2)):
        w = np.sum([cells[c] for c in own], axis=0)
        statistics = CSRBlock(*_parts(wild), wild.shape).moments(w, np.arange(60.0))
        members.append(Member(centre(statistics, intercept=True, sparse=True, narrow=False), own))
        chosen = wild[:, columns] - np.average(wild[:, columns], axis=0, weights=w)
        expected.append(chosen.T @ (chosen * w[:, None]) / w.sum())
    products = Products(cells, members)
    for size in (2, 5):
        products.extend(sp.csc_array(wild[:, columns[:size]]), columns[:size])
    for fit, gram in enumerate(expected):
        found = products.gram(fit, 5)
        assert found is not None
        np.testing.assert_allclose(found, gram, rtol=1e-9, atol=1e-12 * np.abs(gram).max())


def _parts(values: Any) -> tuple[Any, Any, Any]:
    matrix = sp.csr_array(values)
    return matrix.data, matrix.indices, matrix.indptr


def test_a_hessian_near_the_same_lambda_is_asked_once_and_answers_keep_their_places() -> None:
    def ask(fit: int, *queries: Any, columns: Sequence[int] = (1, 2)) -> Ask:
        return Ask(Request(queries, columns=np.array(columns)), fit=fit)

    asks = [
        ask(0, Value(), Hessian(0, near=0.5), Gradient()), ask(1, Hessian(2, near=0.5), Value()), ask(2, Hessian(0), Value()),
        ask(3, Value(), Hessian(1, near=0.25)), ask(4, Hessian(0, near=0.5), columns=(1, 3)),
    ]  # fmt: skip
    borrowed = borrow(asks)
    assert [len(own.request.queries) for own in borrowed.asks] == [3, 1, 2, 2, 1]
    answers = [[(k, type(query).__name__) for query in own.request.queries] for k, own in enumerate(borrowed.asks)]
    assert borrowed.complete(answers)[1] == [(0, "Hessian"), (1, "Value")]
    assert borrowed.complete(answers)[0] == [(0, "Value"), (0, "Hessian"), (0, "Gradient")]


@pytest.mark.parametrize("encoding", ["dense", "sparse"])
def test_the_strong_columns_of_all_folds_are_gathered_once(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a column is constant in the training rows of one fold."""
    wide = RNG.standard_normal((80, 300))
    wide[:, 7] = np.where(np.arange(80) % 4 == 0, wide[:, 7], 0.0)
    y = wide[:, :3] @ [2.0, -1.0, 1.0] + 3.0 * wide[:, 7] + RNG.standard_normal(80)
    asked: list[int] = []
    ask = Gather.ask

    def counted(self: Gather, *rest: Any) -> Any:
        asked.extend(self.columns.tolist())
        return ask(self, *rest)

    monkeypatch.setattr(Gather, "ask", counted)
    data = sp.csr_array(wide) if encoding == "sparse" else wide
    one_bundle = Dataset.from_arrays(data, y)
    bundles = one_bundle.row_bounds.size - 1
    cv = dl.cross_validate(one_bundle, folds=np.arange(80) % 4, n_lambdas=10, lambda_min_ratio=0.1)
    assert (cv.chosen.fold_coef[0][:, [7]].toarray() == 0).all() and (cv.chosen.fold_gaps <= 1e-6).all()
    counts = np.bincount(asked, minlength=300)
    assert counts.max() == counts[counts > 0].min() <= bundles


def test_folds_of_one_kind_compute_one_hessian_where_batches_begin_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ask = Hessian.ask

    def counted(self: Hessian, *rest: Any) -> Any:
        asked.append(self.near)
        return ask(self, *rest)

    monkeypatch.setattr(Hessian, "ask", counted)
    rng = np.random.default_rng(5)
    wide = rng.standard_normal((400, 12))
    y = (rng.random(400) < 1.0 / (1.0 + np.exp(-wide[:, 0]))) * 1.0
    one = Dataset.from_arrays(wide, y)
    bundles = one.row_bounds.size - 1
    dl.cross_validate(one, loss="logistic", folds=6, n_lambdas=8, lambda_min_ratio=0.1, runtime="serial")
    shared = [near for near in asked if near is not None]
    assert len(shared) == bundles * len(set(shared))
    own = len(asked) - len(shared)
    assert len(shared) > own
    asked.clear()
    stretched = wide * np.where(np.arange(400) < 100, 30.0, 1.0)[:, None]
    scaled = Dataset.from_arrays(stretched, y)
    dl.cross_validate(scaled, loss="logistic", folds=np.arange(400) // 100, n_lambdas=8, lambda_min_ratio=0.1, runtime="serial")
    shared = [near for near in asked if near is not None]
    assert len(asked) - len(shared) >= own + 4 * bundles  # the fold without the stretched rows takes none of the others


@pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray, sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("dtype", [np.int8, np.float64])
def test_gradients_of_several_fits_in_one_sweep_have_the_bits_that_they_have_alone(layout: Any, dtype: Any) -> None:
    """Tiles are widened once for all of them; a question about something else beside them is answered too."""
    values = RNG.integers(0, 3, (700, 150)).astype(dtype)
    data = Dataset.from_arrays(layout(values), np.zeros(700))
    weight, shift = RNG.uniform(0.5, 2.0, 700), RNG.standard_normal(150) if layout in (np.asfortranarray,) else None
    spaces = [RowSpace(np.zeros(700), weight * (np.arange(700) % 4 != k)) for k in range(4)]
    runtime = serial()
    runtime.open(data, plan_bundles(data.row_bounds, data.col_bounds, by_columns=False, room=0), spaces)
    request = Request((Gradient(),), shift=shift)
    asks = [Ask(request, k, RNG.standard_normal((700, 1 + k))) for k in range(3)]
    for k in range(4):  # with 5 to 11 models, more than are visited together
        columns = np.sort(RNG.choice(150, 20 + k, replace=False))
        models = Models(columns, RNG.standard_normal((columns.size, 5 + 2 * k)), RNG.standard_normal(5 + 2 * k))
        asks.append(Ask(replace(request, models=models, loss=as_loss("squared")), k))
    together = runtime.run([asks[0], Ask(Request((Moments(),)), 3), *asks[1:]])
    assert isinstance(together[1][0], Statistics)
    for ask, (found,) in zip(asks, [together[0], *together[2:]], strict=True):
        ((alone,),) = runtime.run([ask])
        for name in ("gradient", "total", "square"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))


def test_a_fold_of_dense_columns_looks_only_at_those_that_it_has_asked_for() -> None:
    """Noise enters every fold at other columns: together they hold more than any of them."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 3, (120, 3000)).astype(np.int8)
    strong: list[int] = []
    sizes: list[int] = []

    def hear(event: dl.events.Event) -> None:
        if isinstance(event, dl.events.BatchVerified):
            strong.append(event.n_strong)

    extend = Gathered.extend

    def count(self: Gathered, columns: Any) -> None:
        extend(self, columns)
        sizes.append(self.columns.size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gathered, "extend", count)
        dl.cross_validate(noise, rng.standard_normal(120), folds=5, n_lambdas=30, lambda_min_ratio=0.3, on_event=hear)
    assert 0 < max(strong) < max(sizes)


@pytest.mark.parametrize("missing", [None, 2])
def test_held_out_rows_of_wide_dense_data_are_predicted_from_columns_with_coefficients_alone(missing: int | None) -> None:
    rng = np.random.default_rng(8)
    codes = np.asfortranarray(rng.integers(0, 3, (60, 5_000)).astype(np.int8))
    y, folds, widths = codes[:, 0] - codes[:, 4_999] + rng.standard_normal(60), np.arange(60) % 3, list[int]()
    data, some = Dataset.from_arrays(codes, y, missing_value=missing, col_chunks=3), DenseBlock.some

    def seen(self: DenseBlock, rows: Any) -> DenseBlock:
        widths.append(self.shape[1])
        return some(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseBlock, "some", seen)
        cv = dl.cross_validate(data, folds=folds, n_lambdas=5, lambda_min_ratio=0.7)
    filled = codes.astype(np.float64)
    if missing is not None:
        holes = codes == missing
        filled = np.where(holes, np.where(holes, 0.0, filled).sum(axis=0) / (~holes).sum(axis=0), filled)
    for k, coef in enumerate(cv.chosen.fold_coef):
        predicted = filled[folds == k] @ coef.toarray().T + cv.chosen.fold_intercept[:, k]
        np.testing.assert_allclose(cv.scores[:, k], ((y[folds == k, None] - predicted) ** 2).mean(axis=0), rtol=1e-10)
    assert max(widths[-6:]) < 100
