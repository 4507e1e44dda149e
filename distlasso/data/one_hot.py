"""Features of a table and the columns of the matrix they become: one for a number, one a level for a category.

Category columns go straight into CSR: a row stores one entry for each of them, so nothing as wide as the matrix is ever
made. Read next: ``tabular.py``, which reads the tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Feature:
    """One column of a table and what a scan found out about it."""

    name: str
    categorical: bool
    seen: set[Any] = field(default_factory=set)
    places: dict[Any, int] = field(default_factory=dict)  # level -> its position, in sorted order
    total: float = 0.0
    present: int = 0
    first: int = 0  # its first column in the matrix

    @property
    def width(self) -> int:
        return len(self.places) if self.categorical else 1

    @property
    def mean(self) -> float:
        return self.total / max(self.present, 1)

    def names(self) -> list[str]:
        return [f"{self.name}={level}" for level in self.places] if self.categorical else [self.name]

    def add_levels(self, levels: Iterable[Any]) -> None:
        """Note the levels of one batch; None and NaN are missing values, not levels."""
        self.seen.update(level for level in levels if level is not None and level == level)

    def add_numbers(self, values: Floats) -> None:
        """Note the numbers of one batch; NaN is a missing value."""
        known = values[~np.isnan(values)]
        self.total += float(known.sum())
        self.present += known.size

    def positions(self, levels: list[Any], indices: Ints) -> Ints:
        """Matrix column of each row, from the levels of a batch and the level of each row; -1 where it is missing."""
        places = np.array([self.places.get(level, -1) for level in levels] + [-1], dtype=np.int64)
        found = places[indices]
        return np.where(found >= 0, found + self.first, -1)

    def filled(self, values: Floats) -> Floats:
        """Put the mean where a value is missing."""
        return np.where(np.isnan(values), self.mean, values)


def settle(features: list[Feature]) -> list[str]:
    """Sort the levels, give every feature its columns, and return the names of all columns."""
    first = 0
    for feature in features:
        feature.places = {level: place for place, level in enumerate(sorted(feature.seen))}
        feature.seen = set()
        feature.first = first
        first += feature.width
    return [name for feature in features for name in feature.names()]


def csr_of(places: Ints, values: Floats, first: int, width: int) -> sp.csr_array:
    """CSR of the rows of a batch, given the column and value of each feature in each row.

    ``places`` [rows, features] increases along a row; places outside the ``width`` columns from ``first`` on, and the
    -1 of what is not stored, are left out.
    """
    stored = (places >= first) & (places < first + width)
    indptr = np.zeros(len(places) + 1, dtype=np.int32)  # scipy widens the indices to what this is
    np.cumsum(stored.sum(axis=1), out=indptr[1:])
    indices = (places[stored] - first).astype(np.int32)
    return sp.csr_array((values[stored], indices, indptr), shape=(len(places), width))
