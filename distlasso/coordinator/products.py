"""Grams of sparse strong columns for fits that are made of whole cells of rows, grown as columns are admitted.

A row is multiplied once, whatever the number of folds that train on it: products are taken cell by cell, and every fit gets
the sum over its own cells, never a difference (``../path/cells.py`` says why). A fit alone has all rows as its only cell. Read
next: ``squared.py``, which descends on them. Dense columns have none: what they would save, products of the columns that become
active (``../solvers/newton.py``) save too, and of these there are fewer than folds admit together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.space import Space
from distlasso.data import csc
from distlasso.kernels import sparse
from distlasso.solvers.quadratic import SPARSE_ADVANTAGE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LIMIT = 6144  # columns: beyond, a Gram leaves the cache for good
_BYTES = 2 << 30  # of the Grams of all fits
_ROWS = 1 << 15  # whose products are summed up before they are added to those of others: shorter sums lose fewer digits


@dataclass(frozen=True, slots=True)
class Member:
    """A fit, and the cells whose rows it has."""

    space: Space
    cells: tuple[int, ...]


@final
class Products:
    """Centred Grams over the total weight, one a fit; None once they would be too large to be of use."""

    def __init__(self, cells: Sequence[Floats], members: Sequence[Member]) -> None:
        """``cells`` are the weights [n] of the rows of each cell, 0 outside."""
        self._rows = [np.flatnonzero(weight) for weight in cells]
        self._weights = [weight[rows] for weight, rows in zip(cells, self._rows, strict=True)]
        self._members = members
        self._size = 0
        self._grams: list[Floats] | None = [np.empty((0, 0)) for _ in members]
        self._longest = 0  # way of a row into a cell's sums

    def extend(self, X: sp.csc_array, columns: Ints) -> None:
        """Columns have been admitted: ``X`` and ``columns`` are those of all, the new ones last."""
        held, self._size = self._size, columns.size
        if self._grams is None or held == columns.size:
            return
        if not self._worth(X):
            self._grams = None
            return
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            cells = self._sums(X, held, pool)
            jobs = [partial(self._grown, gram, member, cells, columns, held)
                    for gram, member in zip(self._grams, self._members, strict=True)]  # fmt: skip
            self._grams = [future.result() for future in [pool.submit(job) for job in jobs]]

    def gram(self, fit: int, size: int) -> Floats | None:
        """The Gram of the first few columns for one fit."""
        return None if self._grams is None else self._grams[fit][:size, :size]

    @property
    def chain(self) -> int:
        """Additions, one after the other, on the longest way of a row into a Gram: rows of a band, bands, cells."""
        return self._longest + len(self._rows)

    def _worth(self, X: sp.csc_array) -> bool:
        """Whether descent on Grams is the cheaper one, and there is room for them."""
        if len(self._members) * 8 * self._size**2 > _BYTES:
            return False
        return self._size <= _LIMIT and self._size**2 <= SPARSE_ADVANTAGE * int(X.nnz)

    def _grown(self, gram: Floats, member: Member, cells: Sequence[Floats], columns: Ints, held: int) -> Floats:
        """The Gram of one fit with the new columns."""
        size, rest = columns.size, member.space.remainder[columns]
        if gram.shape[0] < size:
            room = np.empty((size + size // 4, size + size // 4))
            room[:held, :held] = gram[:held, :held]
            gram = room
        total, weight = np.zeros_like(cells[0]), 0.0
        for c in member.cells:
            total += cells[c]
            weight += float(self._weights[c].sum())
        total /= weight
        total -= np.outer(rest, rest[held:])
        gram[:size, held:size], gram[held:size, :held] = total, total[:held].T
        return gram

    def _sums(self, X: sp.csc_array, held: int, pool: ThreadPoolExecutor) -> list[Floats]:
        """Products of all columns with the new ones over every cell: [S, new]."""
        n, size = X.shape
        sums = [np.zeros((size, size - held)) for _ in self._rows]
        worth = int(X.nnz) // (size * (size - held))  # bands whose sums cost less to add up than an entry each
        height, most, count = max(_ROWS, -(-n // max(worth, 1))) * len(self._rows), 0, 0
        for first, band in csc.bands(X, height):
            parts = [slice(*np.searchsorted(rows, (first, first + height))) for rows in self._rows]
            list(pool.map(partial(self._add, band, first, held), range(len(parts)), parts, sums))
            most, count = max(most, *(part.stop - part.start for part in parts)), count + 1
        self._longest = max(self._longest, int(most) + count)
        return sums

    def _add(
        self, band: tuple[Floats, NDArray[np.int32], Ints], first: int, held: int, cell: int, part: slice, out: Floats
    ) -> None:  # fmt: skip
        """Add the products over some rows of a cell, which are in a band that begins with ``first``."""
        own = np.zeros_like(out) if first else out
        sparse.cross_csr(*band, self._rows[cell][part] - first, self._weights[cell][part], held, own)
        if first:
            out += own
