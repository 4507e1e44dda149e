"""Runtimes inside this process: ``serial``, the reference, and ``threads``, the default for data in memory.

A runtime answers a request over all bundles of a plan. Both do it with the same code, ``answer_bundle``; so does
the Dask runtime (``cluster.py``), which only calls it elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from distlasso.data.blocks import Block
from distlasso.data.dataset import Dataset
from distlasso.data.missing import Imputation
from distlasso.queries import Gather, Own, Request, Rows, answer
from distlasso.runtime.cache import StrongColumns
from distlasso.runtime.plan import Bundle, MergeTree, Plan
from distlasso.runtime.traffic import asked, carried

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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

    def open(self, dataset: Dataset, plan: Plan, rows: RowSpace) -> None:
        """Prepare to answer requests about a dataset that was placed."""

    def run(self, request: Request, derivative: Floats | None = None) -> list[object]:
        """Answer a request, merged over all bundles."""

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

    def tile(self, i: int, j: int) -> Block:
        """Tile of row range i and column range j."""


@final
@dataclass(frozen=True, slots=True)
class BundleBand:
    """The tiles of one bundle, read one band of rows at a time."""

    dataset: Tiled
    bundle: Bundle
    rows: RowSpace
    derivative: Floats | None
    first_row: int = 0  # of ``rows`` and ``derivative`` in the whole matrix
    imputation: Imputation | None = None  # of the whole matrix

    @property
    def column_bounds(self) -> Ints:
        """Column offsets relative to the bundle."""
        bounds = self.dataset.col_bounds[self.bundle.c0 : self.bundle.c1 + 1]
        return np.asarray(bounds - bounds[0], dtype=np.int64)

    def bands(self) -> Iterator[tuple[int, list[Block], Rows]]:
        """Yield the tiles and row quantities of each tile row."""
        bounds, bundle = self.dataset.row_bounds, self.bundle
        for i in range(bundle.r0, bundle.r1):
            tiles = [self._tile(i, j) for j in range(bundle.c0, bundle.c1)]
            start, stop = int(bounds[i]) - self.first_row, int(bounds[i + 1]) - self.first_row
            rows = self.rows.slice(start, stop, self.derivative)
            yield int(bounds[i] - bounds[bundle.r0]), tiles, rows

    def _tile(self, i: int, j: int) -> Block:
        """A tile with what the fit puts where a value is missing; caches hold tiles as they are stored."""
        tile, bounds = self.dataset.tile(i, j), self.dataset.col_bounds
        return tile if self.imputation is None else tile.imputed(self.imputation.take(slice(bounds[j], bounds[j + 1])))


@final
@dataclass(frozen=True, slots=True)
class StrongBand:
    """Some columns of a bundle as one tile, with all its rows."""

    block: Block
    rows: Rows

    @property
    def column_bounds(self) -> Ints:
        """One tile."""
        return np.array([0, self.block.shape[1]], dtype=np.int64)

    def bands(self) -> Iterator[tuple[int, list[Block], Rows]]:
        """Yield the tile."""
        yield 0, [self.block], self.rows


def answer_bundle(band: BundleBand, request: Request, kept: StrongColumns) -> list[object]:
    """Answer a request for one bundle; ``kept`` has the columns of earlier requests that named some."""
    if request.columns is not None:
        bundle, bounds = band.bundle, band.dataset.row_bounds
        block = kept.block(bundle.index, request.columns, lambda columns: _gather(band, columns))
        if request.imputation is not None:
            block = block.imputed(request.imputation)
        start, stop = int(bounds[bundle.r0]) - band.first_row, int(bounds[bundle.r1]) - band.first_row
        shift = np.zeros(request.columns.size) if request.shift is None else request.shift
        told = None if request.told is None else request.told[bundle.index - request.first]
        strong = StrongBand(block, band.rows.slice(start, stop, band.derivative))
        return answer(strong, request, shift, 0, Own(told, kept.recall(bundle.index, request.columns)))
    bounds = band.dataset.col_bounds
    first, stop = int(bounds[band.bundle.c0]), int(bounds[band.bundle.c1])
    shift = np.zeros(stop - first) if request.shift is None else request.shift[first:stop]
    return answer(replace(band, imputation=request.imputation), request, shift, first)


def _gather(band: BundleBand, columns: Ints) -> object:
    """Columns of a bundle as they are stored."""
    bounds = band.dataset.col_bounds
    first, stop = int(bounds[band.bundle.c0]), int(bounds[band.bundle.c1])
    (found,) = answer(band, Request((Gather(columns),)), np.zeros(stop - first), first)
    return found


def merge_answers(request: Request, axis: int, left: list[object], right: list[object]) -> list[object]:
    """Merge the answers of two neighbouring bundles, query by query."""
    return [q.merge(a, b, axis) for q, a, b in zip(request.queries, left, right, strict=True)]


@final
class Local:
    """Bundles one after the other on ``threads`` threads of this process."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._bytes = self._moved = 0
        self._kept = StrongColumns()

    def place(self, dataset: Dataset) -> Dataset:
        """Everything is within reach of this process."""
        return dataset

    def open(self, dataset: Dataset, plan: Plan, rows: RowSpace) -> None:
        """Prepare to answer requests about a dataset."""
        self._dataset, self._plan, self._rows = dataset, plan, rows
        self._bytes = self._moved = 0
        self._kept.clear()

    def run(self, request: Request, derivative: Floats | None = None) -> list[object]:
        """Answer a request, merged over all bundles."""
        plan = self._plan
        tree = MergeTree(len(plan.bundles), lambda a, b: merge_answers(request, plan.axis, a, b))

        def one(bundle: Bundle) -> list[object]:
            return answer_bundle(BundleBand(self._dataset, bundle, self._rows, derivative), request, self._kept)

        def add(bundle: Bundle, partial: list[object]) -> None:
            self._moved += carried(partial)
            tree.add(0, bundle.index, partial)

        self._moved += asked(request, len(plan.bundles), derivative)
        with threadpool_limits(1, "blas"):
            if self._threads == 1 or len(plan.bundles) == 1:
                for bundle in plan.bundles:
                    add(bundle, one(bundle))
            else:
                with ThreadPoolExecutor(self._threads) as pool:
                    for bundle, partial in zip(plan.bundles, pool.map(one, plan.bundles), strict=True):
                        add(bundle, partial)
        self._bytes += self._dataset.nbytes if request.columns is None else self._kept.nbytes
        return tree.result()

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
        """Let go of the columns that were kept."""
        self._kept.clear()


def serial() -> Local:
    """Return the reference runtime: one bundle after the other."""
    return Local(1)


def threads() -> Local:
    """Return the runtime for data in memory: one thread a processor this process may use."""
    return Local(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
