"""Scores of fitted paths on rows that they have not seen: from sums that are at hand, or by one more pass.

For squared loss and the full Gram of every cell of rows, a held-out error is a quadratic in coefficients that are known.
Everything else asks the rows. Read next: ``../held_out.py`` (the questions), ``selection.py`` (who needs the scores).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.gathered import Gathered
from distlasso.data.blocks import Block
from distlasso.data.dataset import as_block
from distlasso.data.statistics import Statistics
from distlasso.held_out import Eta, HeldOut
from distlasso.queries import Ask, Models, Query
from distlasso.runtime.local import RowSpace
from distlasso.scores import Score, auc
from distlasso.solvers.lanes import side_by_side

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)
_DIGITS = 1e-6  # relative error, by a bound that is far from reached, up to which sums serve as well as a pass
_PREDICTIONS = 1 << 29  # bytes of predictions that are fetched at once
_ROWS = 1024  # predicted at once by columns that are held: a hundred models of them stay in cache


@dataclass(frozen=True, slots=True)
class Held:
    """Models of one fold, and the cells that it holds out."""

    coef: sp.csr_array  # [L, p]
    intercept: Floats  # [L]
    cells: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CellGram:
    """What a squared error on one cell of rows is made of; columns less the shift of the exchange."""

    statistics: Statistics
    gram: Floats  # [p, p]: sum_i w_i x_i x_i'
    shift: Floats | None

    def errors(self, coef: sp.csr_array, intercept: Floats) -> tuple[Floats, Floats]:
        """Weighted sum of squared errors of every model, and a bound on its rounding error, [L]."""
        s = self.statistics
        own = np.unique(coef.indices)
        b = coef[:, own].toarray().T
        mean = s.mean[own] if self.shift is None else s.mean[own] - self.shift[own]
        quadratic = np.einsum("sl,sl->l", b, self.gram[np.ix_(own, own)] @ b) - s.weight * (mean @ b) ** 2
        spread = s.y_m2 - 2.0 * (s.cross_y[own] @ b) + quadratic
        away = s.y_mean - intercept - s.mean[own] @ b
        reach = np.sqrt(s.y_m2) + np.abs(b).T @ np.sqrt(np.maximum(np.diag(self.gram)[own], 0.0))
        return np.maximum(spread, 0.0) + s.weight * away**2, 4.0 * s.n_rows * _EPS * reach**2


def from_sums(held: Sequence[Held], cells: Sequence[CellGram]) -> list[Floats] | None:
    """Mean squared error of every model [L], fold by fold; None where rounding might show."""
    found = []
    for own in held:
        parts = [cells[c].errors(own.coef, own.intercept) for c in own.cells]
        total, bound = (sum((part[k] for part in parts), np.zeros(own.intercept.size)) for k in (0, 1))
        if (bound > _DIGITS * total).any():
            return None
        found.append(total / sum(cells[c].statistics.weight for c in own.cells))
    return found


def by_pass(
    held: Sequence[Held], score: Score, exchange: Exchange, rows: Sequence[RowSpace], first: int, *, by_columns: bool,
    gathered: Gathered | None = None,
) -> list[Floats]:
    """Score of every model [L], fold by fold: one pass for all of them, or as many as their predictions need.

    None is needed where the coordinator holds every column that a model has, sparse.

    Parameters
    ----------
    held : sequence of Held
        Models, and what they are held against.
    score : Score
        How.
    exchange : Exchange
        Who asks.
    rows : sequence of RowSpace
        What the runtime was opened with; cell c is ``rows[first + c]``.
    first : int
        See above.
    by_columns : bool
        Whether bundles are ranges of columns, so that only predictions can be put together.
    gathered : Gathered, optional
        The columns that the coordinator holds.
    """
    known = gathered is not None and all(np.isin(own.coef.indices, gathered.columns).all() for own in held)
    if known or score.rows is None or by_columns:
        return _by_predictions(held, score, exchange, rows, first, by_columns, gathered if known else None)
    asks = [ask for own in held for ask in _asks(own, HeldOut(score.name), exchange, first, intercept=True)]
    answers = iter(exchange.send(asks))
    found = []
    for own in held:
        total = sum((next(answers)[0] for _ in own.cells), np.zeros(own.intercept.size))
        found.append(total / sum(float(rows[first + c].weight.sum()) for c in own.cells))
    return found


def variance(y: Floats, weight: Floats) -> float:
    """Weighted variance of a target; NaN where it does not vary, so that nothing is its share."""
    mean = float(weight @ y) / float(weight.sum())
    found = float(weight @ (y - mean) ** 2) / float(weight.sum())
    return found if found > 1e-28 * max(mean**2, 1e-280) else np.nan


def no_score(name: str) -> str:
    """Why a score is not a number."""
    if name == "auc":
        return "only one class is held out; use fewer folds, or another score"
    if name == "r2":
        return "the target does not vary where it is held out; use fewer folds, or another score"
    return "a prediction overflows; use more lambdas near the largest, or another score"


def _by_predictions(
    held: Sequence[Held], score: Score, exchange: Exchange, rows: Sequence[RowSpace], first: int, by_columns: bool,
    gathered: Gathered | None,
) -> list[Floats]:  # fmt: skip
    found, X = list[Floats](), None if gathered is None else as_block(sp.csr_array(gathered.first(gathered.columns.size)))
    size = [8 * own.intercept.size * sum(int(np.count_nonzero(rows[first + c].weight)) for c in own.cells) for own in held]
    start = 0
    while start < len(held):
        stop = start + 1
        while stop < len(held) and sum(size[start : stop + 1]) <= _PREDICTIONS:
            stop += 1
        pieces: list[Iterable[tuple[RowSpace, Floats]]]
        if gathered is None or X is None:
            asks = [ask for own in held[start:stop]
                    for ask in _asks(own, Eta(), exchange, first, intercept=False, columns_first=by_columns)]  # fmt: skip
            etas = iter([eta for (eta,) in exchange.send(asks)])
            pieces = [[(_there(rows[first + c]), next(etas)) for c in own.cells] for own in held[start:stop]]
        else:
            pieces = [_etas(own, X, gathered.columns, rows, first) for own in held[start:stop]]
        jobs = [partial(_score, score, exchange, own, part) for own, part in zip(held[start:stop], pieces, strict=True)]
        found += side_by_side(jobs, sum(size[start:stop]) // 8)
        start = stop
    return found


def _score(score: Score, exchange: Exchange, own: Held, pieces: Iterable[tuple[RowSpace, Floats]]) -> Floats:
    """Score of every model [L] of a fold from its linear predictors without intercept, piece by piece."""
    level, every = _level(own, exchange), list[tuple[RowSpace, Floats]]()
    total, weight = np.zeros(level.size), 0.0
    for space, predicted in pieces:
        eta = predicted + level if space.offset is None else predicted + level + space.offset[:, None]
        if score.rows is None:
            every.append((space, eta))
        else:
            total += space.weight @ score.rows(exchange.loss, space.y[:, None], eta)
            weight += float(space.weight.sum())
    if score.rows is not None:
        return total / weight
    return auc(*(np.concatenate(parts) for parts in zip(*((space.y, space.weight, eta) for space, eta in every), strict=True)))


def _etas(
    own: Held, X: Block, columns: Ints, rows: Sequence[RowSpace], first: int
) -> Iterator[tuple[RowSpace, Floats]]:
    """Rows of the cells of a fold, a few at a time, and their linear predictors [rows, L] by the columns that are held."""
    coef, every = np.ascontiguousarray(own.coef[:, columns].toarray().T), np.arange(columns.size)
    for c in own.cells:
        space, own_rows = _there(rows[first + c]), X.some(np.flatnonzero(rows[first + c].weight))
        for start in range(0, space.y.size, _ROWS):
            few = np.arange(start, min(start + _ROWS, space.y.size))
            yield space.cut(start, start + _ROWS), own_rows.some(few).eta(every, coef, np.zeros(columns.size))


def _asks(
    own: Held, query: Query, exchange: Exchange, first: int, *, intercept: bool, columns_first: bool = False
) -> list[Ask]:
    columns = np.unique(own.coef.indices).astype(np.int64)
    coef = np.ascontiguousarray(own.coef[:, columns].toarray().T)
    level = _level(own, exchange) if intercept else np.zeros(own.intercept.size)
    models = Models(columns, coef, level)
    return [replace(exchange, rows=first + c).compose([query], models, present=True, predicts=columns_first)
            for c in own.cells]


def _level(own: Held, exchange: Exchange) -> Floats:
    """Intercepts on the shifted columns."""
    return own.intercept if exchange.shift is None else own.intercept + own.coef @ exchange.shift


def _there(rows: RowSpace) -> RowSpace:
    """Only the rows that have a weight."""
    there = np.flatnonzero(rows.weight)
    return RowSpace(rows.y[there], rows.weight[there], None if rows.offset is None else rows.offset[there])
