"""The row spaces of a cross-validation: all rows, the training rows of every fold, and the cells that folds are made of.

Read next: ``folds.py`` (who is in which fold), ``selection.py`` (who fits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset
from distlasso.errors import InputError
from distlasso.losses import Loss
from distlasso.path.folds import Folds, Partition, as_folds, repetitions
from distlasso.path.opened import known_rows, row_spaces
from distlasso.path.options import Options
from distlasso.runtime.local import RowSpace

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FoldRows:
    """Folds of a dataset; row space 0 is all rows, then come the folds' training rows, then the cells."""

    partitions: Sequence[Partition]
    loss: Loss
    intercept: bool
    alike: bool = False  # whether all folds count alike
    same_c: bool = False  # whether the sum of losses, not their mean, stands beside a penalty that all folds share

    @property
    def size(self) -> int:
        """Number of folds."""
        return sum(len(partition.train) for partition in self.partitions)

    @property
    def first_cell(self) -> int:
        """Row space of the first cell."""
        return 1 + self.size

    @property
    def train(self) -> list[tuple[int, ...]]:
        """Cells of each fold's training rows."""
        return self._cells("train")

    @property
    def test(self) -> list[tuple[int, ...]]:
        """Cells that each fold holds out."""
        return self._cells("test")

    @property
    def group(self) -> Ints:
        """Repetition of each fold."""
        return repetitions(self.partitions)

    def rows(self, dataset: Dataset) -> list[RowSpace]:
        """All row spaces."""
        (whole,) = row_spaces(dataset, self.loss, intercept=self.intercept)
        training: list[RowSpace] = []
        cells: list[RowSpace] = []
        for partition in self.partitions:
            for train in partition.train:
                training.append(self._training(whole, np.isin(partition.cell, train), len(training)))
            cells += [replace(whole, weight=whole.weight * (partition.cell == c)) for c in range(partition.n_cells)]
        return [whole, *training, *cells]

    def _training(self, whole: RowSpace, among: NDArray[np.bool_], fold: int) -> RowSpace:
        weight = whole.weight * among
        total = float(weight.sum())
        if not total > 0:
            raise InputError(f"fold {fold} leaves no row of positive weight to train on")
        try:
            self.loss.target(whole.y, weight, intercept=self.intercept)
        except InputError as error:
            raise InputError(f"the training rows of fold {fold} cannot be fitted: {error}") from error
        return replace(whole, weight=weight / total)

    def _cells(self, which: str) -> list[tuple[int, ...]]:
        firsts = np.cumsum([0, *(partition.n_cells for partition in self.partitions)])
        return [tuple(int(first) + c for c in cells) for first, partition in zip(firsts, self.partitions, strict=False)
                for cells in getattr(partition, which)]  # fmt: skip


def fold_rows(dataset: Dataset, folds: Any, options: Options, seed: int) -> FoldRows:
    """Deal the rows of a dataset out as ``folds`` says; by default as the dataset says, else to ten folds."""
    if folds is None:
        folds = 10 if dataset.fold is None else dataset.fold
    plan: Folds = as_folds(folds, dataset.shape, np.asarray(dataset.y, dtype=np.float64))
    return FoldRows(plan.partitions(known_rows(dataset, options.loss, seed)), options.loss, options.fit_intercept)
