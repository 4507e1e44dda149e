"""What can be asked of the data in one pass, and how the answers of its parts merge.

A pass carries one ``Request``: some models and a list of queries. Every bundle (a fixed rectangle of tiles)
answers with one partial per query; partials add over row ranges and are placed side by side over column ranges.
Three phases happen inside a bundle: *eta* of the models on its rows, a *row step* that turns eta into row
derivatives, and a *sweep* over its tiles. Read next: ``runtime/local.py`` (who asks), ``data/blocks.py`` (who answers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.statistics import Statistics, hstack, merge
from distlasso.losses import Loss

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = Any  # NDArray in the stored dtype, or csc_array of float64

_PIECE = 4096  # rows densified at a time when tiles of several column ranges meet in one Gram


@dataclass(frozen=True, slots=True)
class Models:
    """Sparse coefficients of several models that share their support columns."""

    columns: Ints  # [S], ascending
    coef: Floats  # [S, L]
    intercept: Floats  # [L], of the shifted columns


@dataclass(frozen=True, slots=True)
class Rows:
    """Row-space quantities of a bundle: slices of what the coordinator or the store holds."""

    y: Floats  # offset already subtracted
    weight: Floats
    derivative: Floats | None = None  # [rows, L]: w r / W, when the coordinator computed it


class Band(Protocol):
    """The tiles of one bundle, one row range after the other; reading is lazy."""

    @property
    def column_bounds(self) -> Ints:
        """Column offsets of the tiles, relative to the bundle, length tiles + 1."""

    def bands(self) -> Iterator[tuple[int, list[Block], Rows]]:
        """Yield (first row relative to the bundle, tiles across the columns, row quantities)."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """One row range of a bundle: tiles side by side, their shifts, and their first columns in the whole matrix."""

    tiles: list[Block]
    shifts: list[Floats]
    bounds: Ints  # [tiles + 1]


@final
@dataclass(frozen=True, slots=True)
class GradientPartial:
    """Sums over rows of one bundle."""

    gradient: Floats  # [p_bundle, L]: sum_i (x_ij - shift_j) d_il
    total: Floats  # [L]: sum_i d_il
    square: Floats  # [L]: sum_i w_i r_il^2


class Query(Protocol):
    """A question whose answers merge; ``axis`` is 0 for neighbouring rows, 1 for neighbouring columns."""

    def ask(self, band: Tiles, rows: Rows, derivative: Floats) -> object:
        """Answer for one band of tiles."""

    def merge(self, left: object, right: object, axis: int) -> object:
        """Answer for two neighbours together."""


@final
@dataclass(frozen=True, slots=True)
class Gradient:
    """X'd of every model, and the sums that its certificate needs."""

    def ask(self, band: Tiles, rows: Rows, derivative: Floats) -> GradientPartial:
        parts = [tile.gradient(derivative, shift) for tile, shift in zip(band.tiles, band.shifts, strict=True)]
        weight = rows.weight[:, None]
        square = np.divide(derivative * derivative, weight, out=np.zeros_like(derivative), where=weight > 0)
        gradient = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return GradientPartial(gradient, derivative.sum(axis=0), square.sum(axis=0))

    def merge(self, left: object, right: object, axis: int) -> GradientPartial:
        assert isinstance(left, GradientPartial) and isinstance(right, GradientPartial)
        if axis == 1:
            return GradientPartial(np.concatenate([left.gradient, right.gradient]), left.total, left.square)
        return GradientPartial(
            left.gradient + right.gradient, left.total + right.total, left.square + right.square
        )


@final
@dataclass(frozen=True, slots=True)
class Gather:
    """The stored values of some columns."""

    columns: Ints  # ascending, of the whole matrix

    def ask(self, band: Tiles, rows: Rows, derivative: Floats) -> Columns:
        cuts = np.searchsorted(self.columns, band.bounds)
        spans = zip(band.tiles, band.bounds[:-1], cuts[:-1], cuts[1:], strict=True)
        return _beside([tile.gather(self.columns[a:b] - first) for tile, first, a, b in spans])

    def merge(self, left: object, right: object, axis: int) -> Columns:
        return _beside([left, right]) if axis == 1 else _below([left, right])


@final
@dataclass(frozen=True, slots=True)
class Square:
    """The whole weighted Gram, sum_i w_i x_i x_i' of the shifted columns; for few columns."""

    def ask(self, band: Tiles, rows: Rows, derivative: Floats) -> Floats:
        if len(band.tiles) == 1:
            return band.tiles[0].square(rows.weight, band.shifts[0])
        shift = np.concatenate(band.shifts)
        total = np.zeros((shift.size, shift.size))
        whole = _beside([tile.gather(np.arange(tile.shape[1])) for tile in band.tiles])
        for start in range(0, rows.weight.size, _PIECE):
            piece = whole[start : start + _PIECE]
            x = (piece.toarray() if sp.issparse(piece) else np.asarray(piece, np.float64)) - shift
            total += x.T @ (x * rows.weight[start : start + _PIECE, None])
        return total

    def merge(self, left: object, right: object, axis: int) -> Floats:
        assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and axis == 0
        return left + right


@final
@dataclass(frozen=True, slots=True)
class Moments:
    """Feature statistics under the present weights and target."""

    def ask(self, band: Tiles, rows: Rows, derivative: Floats) -> Statistics:
        return hstack([tile.moments(rows.weight, rows.y) for tile in band.tiles])

    def merge(self, left: object, right: object, axis: int) -> Statistics:
        assert isinstance(left, Statistics) and isinstance(right, Statistics)
        return hstack([left, right]) if axis == 1 else merge(left, right)


@dataclass(frozen=True, slots=True)
class Request:
    """One pass: a list of models and a list of queries about them."""

    queries: tuple[Query, ...]
    models: Models | None = None
    loss: Loss | None = None
    shift: Floats | None = None  # [p]; None is zero


def answer(band: Band, request: Request, shift: Floats, first_column: int) -> list[object]:
    """Answer all queries for one bundle, reading each of its tiles once.

    Parameters
    ----------
    band : Band
        The bundle's tiles and row quantities.
    request : Request
        Models and queries, with columns relative to the whole matrix.
    shift : float64 [p_bundle]
        Shift of the bundle's columns.
    first_column : int
        Where the bundle's columns start in the whole matrix.
    """
    bounds = band.column_bounds
    shifts = [shift[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    total: list[object] = []
    for _, blocks, rows in band.bands():
        tiles = Tiles(blocks, shifts, first_column + bounds)
        derivative = _derivative(tiles, rows, request)
        partials = [query.ask(tiles, rows, derivative) for query in request.queries]
        total = (
            [q.merge(a, b, 0) for q, a, b in zip(request.queries, total, partials, strict=True)]
            if total
            else partials
        )
    return total


def _derivative(band: Tiles, rows: Rows, request: Request) -> Floats:
    """Eta of the models, then the loss's row step: w times the negative derivative, [rows, models]."""
    if rows.derivative is not None:
        return rows.derivative
    models = request.models
    if models is None or request.loss is None:
        return np.empty((rows.y.size, 0))
    eta = np.tile(models.intercept, (rows.y.size, 1))
    cuts = np.searchsorted(models.columns, band.bounds)
    spans = zip(band.tiles, band.shifts, band.bounds[:-1], cuts[:-1], cuts[1:], strict=True)
    for tile, shift, first, a, b in spans:
        if b > a:
            own = models.columns[a:b] - first
            eta += tile.eta(own, np.ascontiguousarray(models.coef[a:b]), shift[own])
    return np.ascontiguousarray(rows.weight[:, None] * request.loss.residual(rows.y, eta))


def _beside(parts: list[object]) -> Columns:
    """Columns side by side."""
    if sp.issparse(parts[0]):
        return sp.csc_array(sp.hstack(parts, format="csc"))
    return np.asfortranarray(np.concatenate(parts, axis=1)) if len(parts) > 1 else np.asarray(parts[0])  # type: ignore[arg-type]


def _below(parts: list[object]) -> Columns:
    """Rows below each other."""
    if sp.issparse(parts[0]):
        return sp.csc_array(sp.vstack(parts, format="csc"))
    return np.asfortranarray(np.concatenate(parts, axis=0))  # type: ignore[arg-type]
