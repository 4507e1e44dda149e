"""Runtimes inside this process: ``serial``, the reference, and ``threads``, the default for data in memory.

A runtime answers a request over all bundles of a plan. Both do it with the same code, ``answer_bundle``; so does
the Dask runtime (``cluster.py``), which only calls it elsewhere.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.chosen import ChosenColumns
from distlasso.data.dataset import Dataset, strong_bytes
from distlasso.data.pieces import Pieces
from distlasso.data.unread import Unread
from distlasso.events import Listener, ignore
from distlasso.queries import (
    Ask,
    Gather,
    Own,
    Place,
    Request,
    Rows,
    Tiles,
    answer,
    answer_alike,
    are_alike,
    merge_answers,
)
from distlasso.runtime.blas import one_blas_thread
from distlasso.runtime.cache import Keeping, StrongColumns, TileCache, room_of
from distlasso.runtime.plan import Bundle, MergeTree, Plan
from distlasso.runtime.traffic import asked, carried

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HELD_AT_ONCE = 128 << 20  # bytes of tiles that lie side by side in a range of rows; those beyond are read for every question


@dataclass(frozen=True, slots=True)
class RowSpace:
    """Row-space quantities of the fit, [n] each; ``offset`` is None where it was subtracted from y."""

    y: Floats
    weight: Floats
    offset: Floats | None = None

    def cut(self, start: int, stop: int) -> RowSpace:
        """Rows [start, stop)."""
        own = None if self.offset is None else self.offset[start:stop]
        return RowSpace(self.y[start:stop], self.weight[start:stop], own)

    def slice(self, start: int, stop: int, derivative: Floats | None) -> Rows:
        """Rows [start, stop), with what the coordinator computed of them."""
        own, part = self.cut(start, stop), None
        if derivative is not None:
            part = np.ascontiguousarray(derivative[start:stop])
        return Rows(own.y, own.weight, own.offset, part)


class Runtime(Protocol):
    """Answers requests over all bundles of a plan; used as a context manager."""

    def place(self, dataset: Dataset) -> Dataset:
        """Put a dataset where the runtime can read it."""

    def open(self, dataset: Dataset, plan: Plan, rows: Sequence[RowSpace], listener: Listener = ignore) -> Listener:
        """Prepare to answer requests about a dataset that was placed, and row spaces by their number; say what happens.

        Returns who is to hear of the fit from now on: the listener, and whoever else watches where the runtime is.
        """

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Answer requests, each merged over all bundles, in one sweep."""

    def bytes_read(self) -> int:
        """Decoded bytes of all tiles visited so far."""

    def bytes_moved(self) -> int:
        """Bytes of all requests and answers so far, counted as if every bundle were on a node of its own."""

    def tiles_at_once(self) -> int:
        """Tiles that this process decodes at the same time."""

    def close(self) -> None:
        """Let go of caches and workers."""


class Tiled(Protocol):
    """What has tiles: a Dataset, or a cache in front of one."""

    @property
    def row_bounds(self) -> Ints:
        """Row bounds of the grid."""

    @property
    def col_bounds(self) -> Ints:
        """Column bounds of the grid."""

    @property
    def in_memory(self) -> bool:
        """Whether tiles are held anyway."""

    def tile(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""


@final
@dataclass(frozen=True, slots=True)
class Part:
    """One bundle as whoever answers for it sees it: its tiles, and the row quantities of every fit."""

    dataset: Tiled
    bundle: Bundle
    spaces: Sequence[RowSpace]
    first_row: int = 0  # of the row quantities in the whole matrix
    each: Callable[..., Iterable[Any]] = map  # as in ``Tiles``

    def bands(self, asks: Sequence[Ask]) -> Iterator[tuple[list[Block], int, int]]:
        """Yield tiles across the columns, and their rows in terms of the row quantities; reading is lazy."""
        bounds, bundle = self.dataset.row_bounds - self.first_row, self.bundle
        known = all(ask.is_known for ask in asks)
        for i in range(bundle.r0, bundle.r1):
            yield self._band(i, known=known), int(bounds[i]), int(bounds[i + 1])

    def _band(self, i: int, *, known: bool) -> list[Block]:
        """Tiles of a range of rows: as they are, where they have room beside each other, else read whenever they are asked.

        Where all that is asked about them is known, none may have to be read.
        """
        data, places = self.dataset, range(self.bundle.c0, self.bundle.c1)
        if data.in_memory or not known:
            first = data.tile(i, places[0])
            if data.in_memory or len(places) * first.nbytes <= max(HELD_AT_ONCE, first.nbytes):
                return [first, *(data.tile(i, j) for j in places[1:])]
        rows, columns = int(np.diff(data.row_bounds)[i]), np.diff(data.col_bounds)
        return [Unread(partial(data.tile, i, j), (rows, int(columns[j]))) for j in places]

    def tiles(self, blocks: list[Block], request: Request) -> Tiles:
        """Tiles with the shift of a request, and with what it puts where a value is missing."""
        bounds = self.dataset.col_bounds[self.bundle.c0 : self.bundle.c1 + 1]
        spans = list(zip(bounds[:-1], bounds[1:], strict=True))
        if request.imputation is not None:
            fills = [request.imputation.take(slice(a, b)) for a, b in spans]
            blocks = [block.imputed(fill) for block, fill in zip(blocks, fills, strict=True)]
        shifts = [np.zeros(b - a) if request.shift is None else request.shift[a:b] for a, b in spans]
        return Tiles(blocks, shifts, bounds, Own(), self.each)

    def chosen(self, blocks: list[Block], request: Request) -> Tiles:
        """The columns that a request names, as one tile."""
        assert request.columns is not None
        bounds = self.dataset.col_bounds[self.bundle.c0 : self.bundle.c1 + 1]
        block: Block = ChosenColumns(blocks, bounds, request.columns)
        if request.imputation is not None:
            block = block.imputed(request.imputation)
        return whole(block, request, Own())


def whole(block: Block, request: Request, own: Own) -> Tiles:
    """One tile that has all the columns of a request."""
    size = block.shape[1]
    shift = np.zeros(size) if request.shift is None else request.shift
    return Tiles([block], [shift], np.array([0, size]), own)


def answer_bundle(part: Part, asks: Sequence[Ask], kept: StrongColumns | None) -> list[list[object]]:
    """Answer requests for one bundle, reading each of its tiles once.

    Every request is computed on its own, so that its bits do not depend on what is asked beside it. ``kept`` has the
    columns of earlier requests that named some; without it these are looked up in the tiles, every time.
    """
    if kept is None:
        return _sweep(part, asks, None)
    _gather_lacking(part, [ask for ask in asks if ask.request.columns is not None], kept)
    swept = iter(_sweep(part, [ask for ask in asks if ask.request.columns is None], kept))
    return [next(swept) if ask.request.columns is None else _look(part, ask, kept) for ask in asks]


def _sweep(part: Part, asks: Sequence[Ask], kept: StrongColumns | None) -> list[list[object]]:
    """Answer requests band by band."""
    totals: list[list[object]] = [[] for _ in asks]
    if not asks:
        return totals
    groups = _alike(asks)
    for blocks, start, stop in part.bands(asks):
        for group in groups:
            own = [asks[k] for k in group]
            rows, requests = [part.spaces[ask.rows].slice(start, stop, ask.derivative) for ask in own], [ask.request for ask in own]
            tiles = (part.tiles if requests[0].columns is None else part.chosen)(blocks, requests[0])
            if kept is not None and requests[0].again:
                tiles = replace(tiles, own=Own(recall=kept.recall(own[0].fit, part.bundle.index, start)))
            found = answer_alike(tiles, rows, requests) if len(group) > 1 else [answer(tiles, rows[0], requests[0])]
            for k, one in zip(group, found, strict=True):
                totals[k] = merge_answers(asks[k].request, 0, totals[k], one) if totals[k] else one
    return totals


def _alike(asks: Sequence[Ask]) -> list[list[int]]:
    """Asks in groups whose tiles are widened once for all."""
    groups: list[list[int]] = []
    for k, ask in enumerate(asks):
        for group in groups:
            if are_alike(asks[group[0]].request, ask.request):
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def _look(part: Part, ask: Ask, kept: StrongColumns) -> list[object]:
    """Answer a request about columns that are kept, as one tile with all rows."""
    request, bounds = ask.request, part.dataset.row_bounds - part.first_row
    assert request.columns is not None
    block = kept.block(ask.place, part.bundle.index, request.columns)
    if request.imputation is not None:
        block = block.imputed(request.imputation)
    rows = part.spaces[ask.rows].slice(int(bounds[part.bundle.r0]), int(bounds[part.bundle.r1]), ask.derivative)
    told = None if request.told is None else request.told[part.bundle.index - request.first]
    own = Own(told, kept.recall(ask.fit, part.bundle.index, request.columns))
    return answer(whole(block, request, own), rows, request)


def _gather_lacking(part: Part, asks: Sequence[Ask], kept: StrongColumns) -> None:
    """Gather what requests name and nobody asked for before; what several lack is gathered once."""
    lacking: dict[Place, tuple[Ints, Ints]] = {}
    widest: dict[Place, Ints] = {}
    for ask in asks:
        assert ask.request.columns is not None
        if ask.place not in widest or ask.request.columns.size > widest[ask.place].size:
            widest[ask.place] = ask.request.columns
    for place, columns in widest.items():
        missing = kept.lacking(place, part.bundle.index, columns)
        if missing is not None:
            lacking[place] = (columns, missing)
    if not lacking:
        return
    union = np.unique(np.concatenate([missing for _, missing in lacking.values()]))
    ((found,),) = _sweep(part, [Ask(Request((Gather(union),)))], None)
    assert isinstance(found, Pieces)
    gathered, most = found.joined(), int(part.dataset.col_bounds[-1])
    for place, (columns, _) in lacking.items():
        kept.add(place, part.bundle.index, columns, gathered, union, most)


def merge_all(asks: Sequence[Ask], axis: int) -> Callable[[list[list[object]], list[list[object]]], list[list[object]]]:
    """How the answers of two neighbouring bundles merge, request by request."""

    def merge(left: list[list[object]], right: list[list[object]]) -> list[list[object]]:
        return [merge_answers(ask.request, axis, a, b) for ask, a, b in zip(asks, left, right, strict=True)]

    return merge


def _side_by_side(pool: ThreadPoolExecutor, work: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
    """``map`` on the threads of a pool, each with the caller's np.errstate."""
    futures = [pool.submit(copy_context().run, work, *own) for own in zip(*items, strict=True)]
    return (future.result() for future in futures)


@final
class Local:
    """Bundles one after the other on ``threads`` threads of this process."""

    def __init__(self, threads: int = 1, *, keeps_tiles: bool = False) -> None:
        """``keeps_tiles`` is whether tiles are kept where the plan says so."""
        self._threads, self._keeps_tiles = threads, keeps_tiles
        self._bytes = self._moved = 0
        self._kept: StrongColumns | None = None
        self._tiles = TileCache(0)

    def place(self, dataset: Dataset) -> Dataset:
        """Everything is within reach of this process."""
        return dataset

    def open(self, dataset: Dataset, plan: Plan, rows: Sequence[RowSpace], listener: Listener = ignore) -> Listener:
        """Prepare to answer requests about a dataset; nothing happens here that would have to be said."""
        if plan.keeps and self._keeps_tiles:
            self._tiles = TileCache(dataset.nbytes)
            dataset = replace(dataset, reader=Keeping(dataset.reader, self._tiles))
        self._dataset, self._plan, self._rows = dataset, plan, rows
        self._bytes = self._moved = 0
        self._kept = StrongColumns()
        return listener

    def run(self, asks: Sequence[Ask]) -> list[list[object]]:
        """Answer requests, each merged over all bundles, in one sweep."""
        groups = self._groups(asks)
        if not self._has_room(asks):
            self._kept = None
        elif self._kept is None:
            self._kept = StrongColumns()
        with one_blas_thread():
            if len(groups) > self._threads > 1:
                with ThreadPoolExecutor(self._threads) as pool:
                    parts = list(pool.map(partial(self._answer, threads=1), groups))
            else:
                parts = [self._answer(group, threads=self._threads) for group in groups]
        self._moved += sum(asked(ask, len(self._plan.bundles)) for ask in asks) + sum(moved for _, moved in parts)
        answers = [answer for part, _ in parts for answer in part]
        kept = self._kept
        read = [ask for ask in asks if kept is None or (ask.request.columns is None and not ask.is_known)]
        self._bytes += self._dataset.nbytes if read else 0
        self._bytes += sum(kept.nbytes(ask.place) for ask in asks if kept is not None and ask.request.columns is not None)
        return answers

    def _has_room(self, asks: Sequence[Ask]) -> bool:
        """Whether the columns that are asked about may be kept: those of any fit, as far as the plan goes."""
        data, room = self._dataset, self._plan.room
        most = max((ask.request.columns.size for ask in asks if ask.request.columns is not None), default=0)
        return room is None or room_of(most, data.shape[1]) * strong_bytes(data) <= room * data.shape[1]

    def _groups(self, asks: Sequence[Ask]) -> list[Sequence[Ask]]:
        """What to answer bundle by bundle: all at once, so that tiles are read once, unless each takes only its own rows of them.

        Answers of a bundle that are as long as its columns wait for those of its neighbours. Of ten Grams of 1,000 columns these
        take more time in fresh memory than the products; of one after the other they do not. And while there are more of them
        than threads, a thread each spares them the meeting after every bundle.
        """
        dataset, by_rows = self._dataset, self._plan.axis == 0
        little = all(ask.request.columns is None and ask.request.present for ask in asks)
        return [[ask] for ask in asks] if by_rows and dataset.in_memory and little else [asks]

    def _answer(self, asks: Sequence[Ask], threads: int) -> tuple[list[list[object]], int]:
        """Answer requests bundle by bundle; returns also how many bytes the answers of all bundles have."""
        bundles, moved = self._plan.bundles, 0
        tree = MergeTree(len(bundles), merge_all(asks, self._plan.axis))

        def one(bundle: Bundle, each: Callable[..., Iterable[Any]] = map) -> list[list[object]]:
            return answer_bundle(Part(self._dataset, bundle, self._rows, each=each), asks, self._kept)

        def add(bundle: Bundle, found: list[list[object]]) -> None:
            nonlocal moved
            moved += carried(found)
            tree.add(0, bundle.index, found)

        if threads == 1:
            for bundle in bundles:
                add(bundle, one(bundle))
            return tree.result(), moved
        with ThreadPoolExecutor(threads) as pool:
            if len(bundles) == 1:  # its tiles side by side instead
                add(bundles[0], one(bundles[0], partial(_side_by_side, pool)))
                return tree.result(), moved
            pending: deque[tuple[Bundle, Future[list[list[object]]]]] = deque()
            for bundle in bundles:
                # Answers that wait for their turn to be merged hold memory: never more than the plan says.
                if len(pending) == self.tiles_at_once():
                    first, future = pending.popleft()
                    add(first, future.result())
                pending.append((bundle, pool.submit(one, bundle)))
            for bundle, future in pending:
                add(bundle, future.result())
        return tree.result(), moved

    def bytes_read(self) -> int:
        """Decoded bytes of all tiles visited so far."""
        return self._bytes

    def bytes_moved(self) -> int:
        """Bytes of all requests and answers so far."""
        return self._moved

    def tiles_at_once(self) -> int:
        """One a thread, with its scratch."""
        return 2 * self._threads

    def close(self) -> None:
        """Let go of the columns and tiles that were kept."""
        self._kept = None
        self._tiles.shrink(0)


def serial() -> Local:
    """Return the reference runtime: one bundle after the other, read as often as it is asked about."""
    return Local(1)


def threads() -> Local:
    """Return the runtime for data in memory: one thread a processor this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Local(count, keeps_tiles=True)
