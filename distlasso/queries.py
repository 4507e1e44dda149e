"""What can be asked of the data in one pass, and how the answers of its parts merge.

A pass carries one ``Request``: some models and a list of queries. Every bundle (a fixed rectangle of tiles)
answers with one partial per query; partials add over row ranges and are placed side by side over column ranges.
Three phases happen inside a bundle: *eta* of the models on its rows, a *row step* that turns eta into row
derivatives, and a *sweep* over its tiles. Read next: ``runtime/local.py`` (who asks), ``data/blocks.py`` (who answers).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.data.blocks import Block, CSRBlock, symmetric
from distlasso.data.cell_moments import cell_moments
from distlasso.data.missing import Imputation
from distlasso.data.pieces import Pieces, side_by_side
from distlasso.data.row_by_row import Fitted, gradients
from distlasso.data.statistics import Statistics, hstack, merge
from distlasso.data.unread import Unread
from distlasso.kernels.gap import sums_of_rows
from distlasso.losses import Loss

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Recall = Callable[[Hashable, Callable[[], Any]], Any]  # what was worked out under a key, or works it out
Place = tuple[int, bool]  # where columns are kept: for whom, and whether they may be so in float32

_PIECE = 4096  # rows densified at a time when tiles of several column ranges meet in one Gram


@dataclass(frozen=True, slots=True)
class Models:
    """Sparse coefficients of several models that share their support columns."""

    columns: Ints  # [S], ascending
    coef: Floats  # [S, L]
    intercept: Floats  # [L], of the shifted columns

    def spelled(self) -> tuple[bytes, ...]:
        """What is the same for the same models alone."""
        return self.columns.tobytes(), self.coef.tobytes(), self.intercept.tobytes()


@dataclass(frozen=True, slots=True)
class Rows:
    """Row-space quantities of a bundle: slices of what the coordinator or the store holds."""

    y: Floats
    weight: Floats
    offset: Floats | None = None  # None where the loss has it subtracted from y
    derivative: Floats | None = None  # [rows, L]: w r / W, when the coordinator computed it


@dataclass(frozen=True, slots=True)
class RowStep:
    """What the loss makes of the rows of a band: the input of the sweep."""

    rows: Rows
    eta: Floats  # [rows, L], offset included
    derivative: Floats  # [rows, L]: w times the negative derivative of the loss

    def curvature(self, loss: Loss, model: int) -> Floats:
        """w times the second derivative of the loss at one model, [rows]."""
        return np.asarray(self.rows.weight * loss.curvature(self.rows.y, self.eta[:, model]))


def _forget(key: Hashable, work: Callable[[], Any]) -> Any:
    return work()


@dataclass(frozen=True, slots=True)
class Own:
    """What concerns one bundle alone."""

    told: Floats | None = None  # its part of ``Request.told``
    recall: Recall = _forget  # a cache only: what is worked out must follow from the key and the data


@dataclass(frozen=True, slots=True)
class Tiles:
    """One row range of a bundle: tiles side by side, their shifts, and their first columns in the whole matrix."""

    tiles: list[Block]
    shifts: list[Floats]
    bounds: Ints  # [tiles + 1]
    own: Own
    each: Callable[..., Iterable[Any]] = map  # of ``map``'s kind: how tiles are gone through, one by one or side by side


@final
@dataclass(frozen=True, slots=True)
class GradientPartial:
    """Sums over rows of one bundle."""

    gradient: Floats  # [p_bundle, L]: sum_i (x_ij - shift_j) d_il
    total: Floats  # [L]: sum_i d_il; with square, 0 where there are columns to the left of the bundle
    square: Floats  # [L]: sum_i w_i r_il^2


class Query(Protocol):
    """A question whose answers merge; ``axis`` is 0 for neighbouring rows, 1 for neighbouring columns."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> object:
        """Answer for one band of tiles."""

    def merge(self, left: object, right: object, axis: int) -> object:
        """Answer for two neighbours together."""


@final
@dataclass(frozen=True, slots=True)
class Gradient:
    """X'd of every model, and the sums that its certificate needs."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> GradientPartial:
        (found,) = self.ask_all(band, [step])
        return found

    def ask_all(self, band: Tiles, steps: Sequence[RowStep]) -> list[GradientPartial]:
        """Answer for several steps of the same rows, each as if it were alone; tiles are widened once for all of them."""
        slopes = [step.derivative for step in steps]
        tiles = band.each(lambda tile, shift: tile.gradient(slopes, shift), band.tiles, band.shifts)
        return [self._partial(band, step, own) for step, own in zip(steps, zip(*tiles, strict=True), strict=True)]

    def _partial(self, band: Tiles, step: RowStep, parts: Sequence[Floats]) -> GradientPartial:
        derivative, gradient = step.derivative, parts[0] if len(parts) == 1 else np.concatenate(parts)
        if band.bounds[0] > 0:  # sums of the rows alone are for the leftmost to tell
            nothing = np.zeros(derivative.shape[1])
            return GradientPartial(gradient, nothing, nothing)
        total, square = np.zeros(derivative.shape[1]), np.zeros(derivative.shape[1])
        sums_of_rows(np.ascontiguousarray(derivative), step.rows.weight, total, square)
        return GradientPartial(gradient, total, square)

    def merge(self, left: object, right: object, axis: int) -> GradientPartial:
        assert isinstance(left, GradientPartial) and isinstance(right, GradientPartial)
        if axis == 1:
            return GradientPartial(np.concatenate([left.gradient, right.gradient]), left.total, left.square)
        # In place, where the memory is our own: a fresh sum of long gradients costs more than adding them up.
        gradient = np.add(left.gradient, right.gradient, out=left.gradient if left.gradient.flags.writeable else None)
        return GradientPartial(gradient, left.total + right.total, left.square + right.square)


@final
@dataclass(frozen=True, slots=True)
class GramTimes:
    """The weighted Gram times the coefficients of every model: X'(w (eta - offset))."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> GradientPartial:
        rows = step.rows
        fitted = step.eta if rows.offset is None else step.eta - rows.offset[:, None]
        weighted = np.ascontiguousarray(rows.weight[:, None] * fitted)
        return Gradient().ask(band, RowStep(rows, step.eta, weighted), loss)

    def merge(self, left: object, right: object, axis: int) -> GradientPartial:
        return Gradient().merge(left, right, axis)


@final
@dataclass(frozen=True, slots=True)
class Gather:
    """The stored values of some columns, missing ones too."""

    columns: Ints  # ascending, of the whole matrix

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Pieces:
        cuts = np.searchsorted(self.columns, band.bounds)
        spans = list(zip(band.tiles, band.bounds[:-1], cuts[:-1], cuts[1:], strict=True))
        there = [span for span in spans if span[3] > span[2]] or spans[:1]  # the others need not be read

        def part(tile: Block, first: int, a: int, b: int) -> Any:
            return tile.gather(self.columns[a:b] - first)

        return side_by_side(list(_each(band, part, there)))

    def merge(self, left: object, right: object, axis: int) -> Pieces:
        assert isinstance(left, Pieces) and isinstance(right, Pieces)
        return left.beside(right) if axis == 1 else left.below(right)


@final
@dataclass(frozen=True, slots=True)
class Square:
    """The whole weighted Gram, sum_i w_i x_i x_i' of the shifted columns, its upper triangle; for few columns."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Floats:
        return _gram(band, step.rows.weight)

    def merge(self, left: object, right: object, axis: int) -> Floats:
        assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and axis == 0
        # In place, where the memory is our own: a fresh sum of large Grams costs more than adding them up.
        return np.asarray(np.add(left, right, out=left if left.flags.writeable else None))


@final
@dataclass(frozen=True, slots=True)
class Moments:
    """Feature statistics under the present weights and target."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Statistics:
        return hstack(list(band.each(lambda tile: tile.moments(step.rows.weight, step.rows.y), band.tiles)))

    def merge(self, left: object, right: object, axis: int) -> Statistics:
        assert isinstance(left, Statistics) and isinstance(right, Statistics)
        return hstack([left, right]) if axis == 1 else merge(left, right)


@final
@dataclass(frozen=True, slots=True)
class CellMoments:
    """The same of the few rows that have a weight, for dense columns that lie one behind the other and miss no value."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Statistics:
        (found,) = self.ask_all(band, [step.rows])
        return found

    def ask_all(self, band: Tiles, rows: Sequence[Rows]) -> list[Statistics]:
        """Answer for several cells, each as if it were alone; columns are visited once for all of them."""
        cells = [(own.weight, own.y) for own in rows]
        parts = band.each(lambda tile: cell_moments(tile, cells), band.tiles)
        return [hstack(list(own)) for own in zip(*parts, strict=True)]

    def merge(self, left: object, right: object, axis: int) -> Statistics:
        return Moments().merge(left, right, axis)


@final
@dataclass(frozen=True, slots=True)
class HessianPartial:
    """Second-order sums over rows at one model, of the shifted columns; h is w times the curvature of the loss."""

    gram: Floats  # [p, p]: sum_i h_i x_i x_i'
    cross: Floats  # [p]: sum_i h_i x_i
    total: float  # sum_i h_i


@final
@dataclass(frozen=True, slots=True)
class Hessian:
    """Hessian of the loss in coefficients and intercept at one model of the request; for few columns.

    Products are in float32 where tiles are dense, unless the Hessian is the same everywhere: otherwise it only shapes
    steps, and no value or slope comes from it.
    """

    model: int
    within: Ints | None = None  # of these columns; None is all
    near: Hashable = None  # fits side by side that give the same mark may share the answer of the first of them; None is no mark

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> HessianPartial:
        assert loss is not None
        h = step.curvature(loss, self.model)
        if self.within is not None:
            band = _within(band, self.within)
        parts = [tile.gradient([h[:, None]], shift)[0][:, 0] for tile, shift in zip(band.tiles, band.shifts, strict=True)]
        return HessianPartial(symmetric(_gram(band, h, single=not loss.quadratic)), np.concatenate(parts), float(h.sum()))

    def merge(self, left: object, right: object, axis: int) -> HessianPartial:
        assert isinstance(left, HessianPartial) and isinstance(right, HessianPartial) and axis == 0
        return HessianPartial(left.gram + right.gram, left.cross + right.cross, left.total + right.total)


@final
@dataclass(frozen=True, slots=True)
class LookPartial:
    """Row sums of every model, over [free columns, 1]."""

    value: Floats  # [L]: sum_i w_i loss_i
    score: Floats  # [L, f + 1]: sum_i d_i [x_i,free, 1]
    information: Floats  # [L, f + 1, f + 1]: sum_i h_i [x_i,free, 1] [x_i,free, 1]'


@final
@dataclass(frozen=True, slots=True)
class Look:
    """Loss of every model, and what a Newton step of intercept and unpenalised columns needs; no sweep."""

    free: Ints  # ascending

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> LookPartial:
        assert loss is not None
        rows, models = step.rows, step.eta.shape[1]
        value = rows.weight @ loss.value(rows.y[:, None], step.eta)
        border = _border(band, self.free)
        score = step.derivative.T @ border
        information = np.empty((models, border.shape[1], border.shape[1]))
        for k in range(models):
            information[k] = border.T @ (border * step.curvature(loss, k)[:, None])
        return LookPartial(value, score, information)

    def merge(self, left: object, right: object, axis: int) -> LookPartial:
        assert isinstance(left, LookPartial) and isinstance(right, LookPartial) and axis == 0
        return LookPartial(
            left.value + right.value, left.score + right.score, left.information + right.information
        )


@final
@dataclass(frozen=True, slots=True)
class Value:
    """Loss of every model, sum_i w_i loss_i, [L]."""

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Floats:
        assert loss is not None
        return np.asarray(step.rows.weight @ loss.value(step.rows.y[:, None], step.eta))

    def merge(self, left: object, right: object, axis: int) -> Floats:
        assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and axis == 0
        return left + right


@final
@dataclass(frozen=True, slots=True)
class Dual:
    """Dual value of every model's residual less a level, scaled: sum_i w_i min over eta of (loss_i + r_i eta), [L]."""

    scale: Floats  # [L]: t
    level: Floats | float = 0.0  # [L]; r_i = t (resid_i - level)

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> Floats:
        assert loss is not None
        y = step.rows.y[:, None]
        offset = 0.0 if step.rows.offset is None else step.rows.offset[:, None]
        resid = self.scale * (loss.residual(y, step.eta) - self.level)
        return np.asarray(step.rows.weight @ (loss.dual(y, resid) - resid * offset))

    def merge(self, left: object, right: object, axis: int) -> Floats:
        assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and axis == 0
        return left + right


@dataclass(frozen=True, slots=True)
class Request:
    """One exchange: a list of models and a list of queries about them, of all columns or of some."""

    queries: tuple[Query, ...]
    models: Models | None = None
    loss: Loss | None = None
    shift: Floats | None = None  # [p], or of ``columns``; None is zero
    columns: Ints | None = None  # in any order; models and queries then count within them. None is all
    imputation: Imputation | None = None  # of [p], or of ``columns``; None where no value may be missing
    told: Floats | None = None  # [bundles, ...]: to each bundle its own part
    first: int = 0  # bundle whose part comes first
    present: bool = False  # rows of weight 0 are taken out first: for sums over few of the rows
    single: bool = False  # float64 columns that are kept may be so in float32, products too: for steps, which prove nothing
    again: bool = False  # eta is that of the fit's last such request, where the models are the same
    predicts: bool = False  # nothing is asked of columns without coefficients, which may be taken out too

    def cut(self, first: int, stop: int) -> Request:
        """What bundles [first, stop) have to be told."""
        if self.told is None:
            return self
        return replace(self, told=self.told[first - self.first : stop - self.first], first=first)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request about one set of row quantities: those of a response, or of a fold."""

    request: Request
    rows: int = 0  # which of the row spaces that the runtime was opened with
    derivative: Floats | None = None  # [n, L]: w r / W, when the coordinator computed it
    sweep: bool = True  # whether answering visits every column: it is then a pass
    fit: int = 0  # for whom: several fits may share a row space
    kept: int = -1  # whose strong columns; -1 is those of the fit

    @property
    def place(self) -> Place:
        """Where the columns are kept that it asks about."""
        return self.fit if self.kept < 0 else self.kept, self.request.single

    @property
    def is_known(self) -> bool:
        """Whether eta was worked out before, by the sweep that was asked for then, and is all that is asked about."""
        return self.request.again and not self.sweep

    def cut(self, bundles: tuple[int, int], rows: tuple[int, int]) -> Ask:
        """What concerns some bundles, from the first up to but without the second, and their rows."""
        own = None if self.derivative is None else self.derivative[slice(*rows)]
        return replace(self, request=self.request.cut(*bundles), derivative=own)


def answer(band: Tiles, rows: Rows, request: Request) -> list[object]:
    """Answer all queries of a request for one range of rows.

    Parameters
    ----------
    band : Tiles
        Tiles across the columns, with the numbers of these in the whole matrix.
    rows : Rows
        Row quantities.
    request : Request
        Models and queries.
    """
    if request.predicts and request.models is not None:
        band, request = _supported(band, request, request.models)
    if request.present and not rows.weight.all():
        band, rows = _present(band, rows)
    if _goes_row_by_row(band, rows, request):
        return _row_by_row(band, [rows], [request])[0]
    with np.errstate(over="ignore", invalid="ignore"):  # a trial step that overflows is refused by its value
        (step,) = _row_steps(band, [rows], [request])
        return [query.ask(band, step, request.loss) for query in request.queries]


def are_alike(one: Request, other: Request) -> bool:
    """Whether ``answer_alike`` may answer both at once: they want gradients, if not of the same models, or moments of cells."""
    kinds = [[type(query) for query in own.queries] for own in (one, other)]
    if kinds[0] != kinds[1] or kinds[0] not in ([Gradient], [CellMoments]):
        return False
    if any(own.columns is not None or own.present for own in (one, other)):
        return False
    return one.shift is other.shift and one.imputation is other.imputation


def answer_alike(band: Tiles, rows: Sequence[Rows], requests: Sequence[Request]) -> list[list[object]]:
    """Answer requests that ``are_alike`` for one range of rows, each as ``answer`` would."""
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(requests[0].queries[0], CellMoments):
            return [[own] for own in CellMoments().ask_all(band, rows)]
        found: dict[int, list[object]] = {}
        quick = [k for k, request in enumerate(requests) if _goes_row_by_row(band, rows[k], request)]
        others = [k for k in range(len(requests)) if k not in quick]
        for group, work in ((quick, _row_by_row), (others, _by_slopes)):
            if group:
                found |= zip(group, work(band, [rows[k] for k in group], [requests[k] for k in group]), strict=True)
        return [found[k] for k in range(len(requests))]


def _by_slopes(band: Tiles, rows: Sequence[Rows], requests: Sequence[Request]) -> list[list[object]]:
    """Gradients from the slopes of all rows."""
    return [[found] for found in Gradient().ask_all(band, _row_steps(band, rows, requests))]


def _goes_row_by_row(band: Tiles, rows: Rows, request: Request) -> bool:
    """Whether a gradient of squared loss is wanted of one sparse tile."""
    squared = request.models is not None and request.loss is not None and request.loss.quadratic
    alone = len(band.tiles) == 1 and band.bounds[0] == 0 and isinstance(band.tiles[0], CSRBlock)
    known = rows.derivative is not None or rows.offset is not None or request.present
    return squared and alone and not known and [type(query) for query in request.queries] == [Gradient]


def _row_by_row(band: Tiles, rows: Sequence[Rows], requests: Sequence[Request]) -> list[list[object]]:
    """Answer requests all of which go row by row, each as if it were alone."""
    (tile,) = band.tiles
    assert isinstance(tile, CSRBlock)
    fits = [Fitted(own.y, own.weight, request.models.columns, request.models.coef, request.models.intercept)
            for own, request in zip(rows, requests, strict=True) if request.models is not None]  # fmt: skip
    return [[GradientPartial(*found)] for found in gradients(tile, fits)]


def merge_answers(request: Request, axis: int, left: list[object], right: list[object]) -> list[object]:
    """Merge the answers of two neighbours, query by query."""
    return [q.merge(a, b, axis) for q, a, b in zip(request.queries, left, right, strict=True)]


def _present(band: Tiles, rows: Rows) -> tuple[Tiles, Rows]:
    """Only the rows that have a weight."""
    there = np.flatnonzero(rows.weight) if rows.weight.any() else np.zeros(1, dtype=np.int64)  # no tile is empty
    offset = None if rows.offset is None else rows.offset[there]
    tiles = [tile.some(there) for tile in band.tiles]
    return replace(band, tiles=tiles), Rows(rows.y[there], rows.weight[there], offset)


def _supported(band: Tiles, request: Request, models: Models) -> tuple[Tiles, Request]:
    """Only the columns that have coefficients, and the models by their places among these."""
    cuts = np.searchsorted(models.columns, band.bounds)
    spans = list(zip(band.tiles, band.shifts, band.bounds[:-1], cuts[:-1], cuts[1:], strict=True))
    there = [span for span in spans if span[4] > span[3]] or spans[:1]  # the others need not be read
    each = [(tile, shift, models.columns[a:b] - first) for tile, shift, first, a, b in there]
    tiles = list(_each(band, lambda tile, _, own: tile.take(own), each))
    bounds = np.cumsum([0, *(own.size for *_, own in each)])
    within = slice(cuts[0], cuts[-1])
    own = Models(np.arange(bounds[-1]), models.coef[within], models.intercept)
    return replace(band, tiles=tiles, shifts=[shift[own] for _, shift, own in each], bounds=bounds), replace(request, models=own)


def _row_steps(band: Tiles, rows: Sequence[Rows], requests: Sequence[Request]) -> list[RowStep]:
    """Eta of the models of every request, then the loss's derivative on the rows; each as if it were alone."""
    open_ = [k for k, (own, request) in enumerate(zip(rows, requests, strict=True))
             if request.models is not None and request.loss is not None and own.derivative is None]  # fmt: skip
    found = dict(zip(open_, _etas(band, [rows[k] for k in open_], [requests[k] for k in open_]), strict=True))
    return [_step(own, request, found.get(k)) for k, (own, request) in enumerate(zip(rows, requests, strict=True))]


def _step(rows: Rows, request: Request, eta: Floats | None) -> RowStep:
    """What is known of the rows at some eta; None where the request has no models, or the derivative came with it."""
    if eta is None:
        nothing = np.empty((rows.y.size, 0))
        return RowStep(rows, nothing, nothing if rows.derivative is None else rows.derivative)
    if all(isinstance(query, Value | Dual) for query in request.queries):
        return RowStep(rows, eta, np.empty((rows.y.size, 0)))
    assert request.loss is not None
    return RowStep(rows, eta, rows.weight[:, None] * request.loss.residual(rows.y[:, None], eta))


def _etas(band: Tiles, rows: Sequence[Rows], requests: Sequence[Request]) -> list[Floats]:
    """Eta of the models of every request, each as if it were alone."""
    if len(requests) == 1 and requests[0].again:
        models = requests[0].models
        assert models is not None
        return [band.own.recall(models.spelled(), lambda: _new_etas(band, rows, [models])[0])]
    return _new_etas(band, rows, [request.models for request in requests if request.models is not None])


def _new_etas(band: Tiles, rows: Sequence[Rows], models: Sequence[Models]) -> list[Floats]:
    etas, there = [], []
    for own, each in zip(rows, models, strict=True):
        etas.append(np.tile(each.intercept, (own.y.size, 1)))
        if own.offset is not None:
            etas[-1] += own.offset[:, None]
    for tile, shift, first, stop in zip(band.tiles, band.shifts, band.bounds[:-1], band.bounds[1:], strict=True):
        cuts = [np.searchsorted(each.columns, (first, stop)) for each in models]
        parts = [(each.columns[a:b] - first, each.coef[a:b]) for each, (a, b) in zip(models, cuts, strict=True)]
        if any(own.size for own, _ in parts):  # the others need not be read
            there.append((tile, parts, shift))
    for (_, parts, _), products in zip(there, _each(band, lambda tile, *own: tile.etas(*own), there), strict=True):
        for eta, (own, _), found in zip(etas, parts, products, strict=True):
            if own.size:
                np.add(eta, found, out=eta)
    return etas


def _gram(band: Tiles, weight: Floats, *, single: bool = False) -> Floats:
    """sum_i weight_i x_i x_i' of the shifted columns of a band, its upper triangle."""
    if len(band.tiles) == 1:
        return band.tiles[0].square(weight, band.shifts[0], single=single)
    p = int(band.bounds[-1] - band.bounds[0])
    total, tiles = np.zeros((p, p)), [Unread.held(tile) for tile in band.tiles]  # all of them meet in every piece
    for start in range(0, weight.size, _PIECE):
        part = slice(start, start + _PIECE)
        x = np.concatenate([t.widened(part, shift) for t, shift in zip(tiles, band.shifts, strict=True)], axis=1)
        total += x.T @ (x * weight[part, None])
    return total


def _each(band: Tiles, work: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Iterable[Any]:
    """What work finds for each of some items, in their order."""
    return band.each(work, *zip(*items, strict=True)) if items else ()


def _within(band: Tiles, columns: Ints) -> Tiles:
    """Some columns of a band that has one tile."""
    (tile,), (shift,) = band.tiles, band.shifts
    return Tiles([tile.take(columns)], [shift[columns]], np.array([0, columns.size], dtype=np.int64), band.own)


def _border(band: Tiles, free: Ints) -> Floats:
    """Unpenalised columns, shifted, and a column of ones: [rows, f + 1]."""
    rows = band.tiles[0].shape[0]
    border = np.ones((rows, free.size + 1))
    cuts = np.searchsorted(free, band.bounds)
    spans = zip(band.tiles, band.shifts, band.bounds[:-1], cuts[:-1], cuts[1:], strict=True)
    for tile, shift, first, a, b in spans:
        if b > a:
            own = free[a:b] - first
            border[:, a:b] = tile.eta(own, np.eye(own.size), shift[own])
    return border
