"""Which rows train and which are held out.

Rows go to folds by a hash of the seed and their number in the whole data, so that the layout of the data has no say. Every
plan cuts the rows into *cells* that do not overlap, and makes folds of whole cells: what is known of cells adds up to what is
known of folds. Read next: ``selection.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distlasso.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Partition:
    """Rows in cells, and folds made of cells."""

    cell: Ints  # [n]: the cell of every row
    train: tuple[tuple[int, ...], ...]  # cells of each fold's training rows
    test: tuple[tuple[int, ...], ...]  # cells that are held out

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.cell.max()) + 1


@dataclass(frozen=True, slots=True)
class Known:
    """What a plan of folds may know of the rows."""

    weight: Floats  # [n]; rows of weight 0 are as if absent
    classes: NDArray[Any] | None  # [n]: what folds should have in equal shares
    seed: int


class Folds(Protocol):
    """A plan of folds."""

    def partitions(self, rows: Known) -> list[Partition]:
        """Cut the rows."""


@final
@dataclass(frozen=True, slots=True)
class KFold:
    """K folds of random rows, each held out once; of both classes in equal shares for logistic loss.

    Parameters
    ----------
    k : int
        Folds, at least 2.
    repeats : int
        How often, with other folds each time.
    """

    k: int = 10
    repeats: int = 1

    def __post_init__(self) -> None:
        _require(self.k, 2, "k", "KFold")
        _require(self.repeats, 1, "repeats", "KFold")

    def partitions(self, rows: Known) -> list[Partition]:
        """Deal the rows out in the order of their hash."""
        there = np.flatnonzero(rows.weight)
        if self.k > there.size:
            raise InputError(f"{self.k} folds are more than the {there.size} rows: use at most one a row")
        return [_leave_one_out(self._cells(rows, there, repeat), self.k) for repeat in range(self.repeats)]

    def _cells(self, rows: Known, there: Ints, repeat: int) -> Ints:
        cell = np.zeros(rows.weight.size, dtype=np.int64)
        classes = np.zeros(there.size) if rows.classes is None else rows.classes[there]
        cell[there[np.lexsort((hashed(there, rows.seed, repeat), classes))]] = np.arange(there.size) % self.k
        return cell


@final
@dataclass(frozen=True, slots=True, eq=False)
class GroupKFold:
    """K folds that never part a group: patients, shops, days.

    Parameters
    ----------
    groups : array [n]
        The group of every row.
    k : int
        Folds, at least 2 and at most the number of groups; large groups are dealt out first, to the smallest fold.
    """

    groups: ArrayLike
    k: int = 10

    def __post_init__(self) -> None:
        _require(self.k, 2, "k", "GroupKFold(groups, k)")

    def partitions(self, rows: Known) -> list[Partition]:
        """Deal the groups out."""
        groups = _labels("groups", self.groups, rows.weight.size)
        there = np.flatnonzero(rows.weight)
        names, own = np.unique(groups[there], return_inverse=True)
        if names.size < self.k:
            raise InputError(f"{self.k} folds are more than the {names.size} group(s): a group is never parted")
        sizes = np.bincount(own)
        held, fold = np.zeros(self.k, dtype=np.int64), np.zeros(names.size, dtype=np.int64)
        for group in np.lexsort((hashed(np.arange(names.size), rows.seed), -sizes)):
            fold[group] = np.argmin(held)
            held[fold[group]] += sizes[group]
        cell = np.zeros(groups.size, dtype=np.int64)
        cell[there] = fold[own]
        return [_leave_one_out(cell, self.k)]


@final
@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Folds of rows in the order of time: each trains on what came before, and is held against what came next.

    Parameters
    ----------
    k : int
        Folds; the rows are cut into ``k + 1`` stretches, and all but the first are held out, one a fold.
    gap : int
        Rows left out between training and held-out rows.
    """

    k: int = 5
    gap: int = 0

    def __post_init__(self) -> None:
        _require(self.k, 1, "k", "TimeSeries")
        _require(self.gap, 0, "gap", "TimeSeries")

    def partitions(self, rows: Known) -> list[Partition]:
        """Cut where held-out stretches and gaps begin."""
        there = np.flatnonzero(rows.weight)
        starts = there.size * np.arange(1, self.k + 2) // (self.k + 1)
        if there.size < self.k + 1 or starts[0] <= self.gap:
            raise InputError(
                f"{self.k} folds in time with a gap of {self.gap} leave none of {there.size} rows to train on: use fewer"
            )
        cuts = np.unique(np.concatenate([[0], starts[:-1] - self.gap, starts]))
        train, test = [], []
        for begin, end in zip(starts[:-1], starts[1:], strict=True):
            train.append(tuple(range(int(np.searchsorted(cuts, begin - self.gap)))))
            test.append(tuple(range(int(np.searchsorted(cuts, begin)), int(np.searchsorted(cuts, end)))))
        cell = np.zeros(rows.weight.size, dtype=np.int64)
        cell[there] = np.searchsorted(cuts, np.arange(there.size), side="right") - 1
        return [Partition(cell, tuple(train), tuple(test))]


@final
@dataclass(frozen=True, slots=True)
class HoldOut:
    """One split: a random share of the rows is held out.

    Parameters
    ----------
    share : float
        Of the rows, in (0, 1).
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise InputError(f"share={self.share} of HoldOut is not in (0, 1)")

    def partitions(self, rows: Known) -> list[Partition]:
        """Hold the rows of the smallest hashes out."""
        there = np.flatnonzero(rows.weight)
        count = round(self.share * there.size)
        if not 0 < count < there.size:
            raise InputError(f"HoldOut({self.share}) of {there.size} rows leaves nothing to train on or nothing to hold out")
        cell = np.ones(rows.weight.size, dtype=np.int64)
        cell[there[np.argsort(hashed(there, rows.seed))[:count]]] = 0
        return [Partition(cell, ((1,),), ((0,),))]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Fold ids as somebody chose them; rows of id -1 train in every fold (as scikit-learn's PredefinedSplit)."""

    ids: Any

    def left(self, weight: Floats) -> Given:
        """Those folds that still have a row of positive weight, [n]; what has none counts nowhere, and joins any of them."""
        ids = _labels("folds", self.ids, weight.size)
        return Given(np.where(weight > 0, ids, ids[np.argmax(weight > 0)]))

    def partitions(self, rows: Known) -> list[Partition]:
        """One fold an id."""
        ids = _labels("folds", self.ids, rows.weight.size)
        there = ids[rows.weight > 0]
        names, cell = np.unique(ids, return_inverse=True)
        gone = [str(name) for name in names[~np.isin(names, there)]]
        if gone:
            raise InputError(f"fold {', '.join(gone)} has no row of positive weight: leave it out")
        always = names == -1 if names.dtype.kind in "if" else np.zeros(names.size, dtype=np.bool_)
        held = np.flatnonzero(~always)
        if held.size < 2 and not always.any():
            raise InputError(f"fold ids have {held.size} value(s): at least two folds are needed")
        if held.size == 0:
            raise InputError("every fold id is -1: no row is ever held out")
        others = tuple(tuple(k for k in range(names.size) if k != fold) for fold in held)
        return [Partition(cell.astype(np.int64), others, tuple((int(fold),) for fold in held))]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Pairs of training and held-out row numbers, as scikit-learn's splitters give them."""

    pairs: Sequence[tuple[Any, Any]]

    def partitions(self, rows: Known) -> list[Partition]:
        """The cells of K folds where every pair trains on all that it does not hold out, and no row is held out twice.

        Otherwise three cells a pair: rows that train, rows that are held out, all others.
        """
        if not self.pairs:
            raise InputError("folds has no pair of training and held-out rows")
        cells = [self._cells(k, rows) for k in range(len(self.pairs))]
        held = np.sum([cell == 1 for cell in cells], axis=0)
        if held.max() > 1 or any((cell == 2).any() for cell in cells):
            return [Partition(cell, ((0,),), ((1,),)) for cell in cells]
        names = np.full(held.size, len(cells))
        for k, cell in enumerate(cells):
            names[cell == 1] = k
        every = range(int(names.max()) + 1)
        others = tuple(tuple(c for c in every if c != k) for k in range(len(cells)))
        return [Partition(names.astype(np.int64), others, tuple((k,) for k in range(len(cells))))]

    def _cells(self, k: int, rows: Known) -> Ints:
        """0 where a row trains, 1 where it is held out, else 2."""
        cell = np.full(rows.weight.size, 2, dtype=np.int64)
        for place, own in enumerate(self.pairs[k]):
            index = np.asarray(own)
            if index.dtype == np.bool_ and index.shape == cell.shape:
                index = np.flatnonzero(index)
            if index.ndim != 1 or index.dtype.kind not in "iu" or ((index < 0) | (index >= cell.size)).any():
                raise InputError(f"folds[{k}] is not a pair of row numbers of {cell.size} rows")
            if np.unique(index).size < index.size:
                raise InputError(f"folds[{k}] names a row twice: give it a larger weight instead")
            if (cell[index] < place).any():
                raise InputError(f"folds[{k}] holds out rows that it trains on")
            cell[index] = place
        for place, what in enumerate(("train on", "hold out")):
            if not rows.weight[cell == place].any():
                raise InputError(f"folds[{k}] has no row of positive weight to {what}")
        return cell


def as_folds(folds: Any, shape: tuple[int, int], y: Any) -> Folds:
    """Return a plan of folds from what a user passed.

    Parameters
    ----------
    folds : int, array [n], Folds, splitter or pairs
        Number of folds, fold ids, one of the classes here, an object with scikit-learn's ``split``, or pairs of row numbers.
    shape, y
        Of the data, for splitters.

    Raises
    ------
    InputError
        If it is none of these.
    """
    unknown = InputError(
        f"folds={folds!r} is not known: use a number, fold ids, dl.KFold, dl.GroupKFold, dl.TimeSeries or dl.HoldOut"
    )
    if isinstance(folds, str | bytes | bool):
        raise unknown
    if isinstance(folds, int | np.integer):
        return KFold(int(folds))
    if callable(getattr(folds, "partitions", None)):
        plan: Folds = folds
        return plan
    if callable(getattr(folds, "split", None)):
        return Splits(list(folds.split(np.zeros((shape[0], 1)), y)))
    if isinstance(folds, np.ndarray):
        return Given(folds)
    if isinstance(folds, Iterable):
        items = list(folds)
        if items and all(isinstance(item, tuple | list) and len(item) == 2 for item in items):
            return Splits(items)
        return Given(np.asarray(items))
    raise unknown


def repetitions(partitions: Sequence[Partition]) -> Ints:
    """Repetition of each fold, int64 [folds]; single splits belong together."""
    sizes = [len(partition.train) for partition in partitions]
    return np.zeros(len(sizes), dtype=np.int64) if max(sizes) == 1 else np.repeat(np.arange(len(sizes)), sizes)


def hashed(rows: Ints, seed: int, stream: int = 0) -> NDArray[np.uint64]:
    """A hash of row numbers (splitmix64: Steele, Lea & Flood 2014), uint64."""
    with np.errstate(over="ignore"):
        state = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state += _mixed(np.array([seed], dtype=np.int64).astype(np.uint64) * np.uint64(0xD1B54A32D192ED03) + np.uint64(stream))
        return _mixed(state + np.uint64(0x9E3779B97F4A7C15))


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _leave_one_out(cell: Ints, k: int) -> Partition:
    others = tuple(tuple(c for c in range(k) if c != fold) for fold in range(k))
    return Partition(cell, others, tuple((fold,) for fold in range(k)))


def _labels(name: str, given: Any, n: int) -> NDArray[Any]:
    """One label a row, none of them missing; those of Python are numbers or text, as they are."""
    labels = np.asarray(given)
    if labels.shape != (n,):
        raise InputError(f"{name} has shape {labels.shape}, expected one for each of {n} rows")
    if labels.dtype.kind == "c":
        raise InputError(f"{name} has complex numbers: use whole numbers or text")
    bad = np.flatnonzero(np.ma.getmaskarray(given) if np.ma.isMaskedArray(given) else _missing(labels))
    if bad.size:
        raise InputError(f"{name}[{bad[0]}] is {labels[bad[0]]}: every row needs one")
    if labels.dtype.kind != "O":
        return labels
    text = [isinstance(label, str) for label in labels]
    if any(text) and not all(text):
        other = labels[text.index(False)]
        raise InputError(f"{name} has text, {labels[text.index(True)]!r}, and other labels, {other!r}: use one of both")
    return labels.astype(np.int64 if all(isinstance(label, int | np.integer) for label in labels) else str)


def _missing(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels say that there is none."""
    if labels.dtype.kind == "f":
        return np.asarray(~np.isfinite(labels))
    if labels.dtype.kind in "mM":
        return np.asarray(np.isnat(labels))
    if labels.dtype.kind == "O":
        return np.array([_is_none(label) for label in labels], dtype=np.bool_)
    return np.zeros(labels.size, dtype=np.bool_)


def _is_none(label: Any) -> bool:
    """None, and what is not equal to itself: NaN, NaT, and pandas' NA, which does not say."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True


def _require(value: Any, least: int, name: str, owner: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        given = repr(value) if value is None or np.isscalar(value) else f"a value of type {type(value).__name__}"
        raise InputError(f"{name}={given} of {owner} must be a whole number of at least {least}")
