"""``stability_selection``: paths on many random halves of the rows, side by side, and how often every column is selected.

Rows are dealt to 64 cells by a hash, whatever the layout of the data; a half-sample is 32 cells, and the other 32 are its
complement. So the Gram of any half is a sum of Grams that one pass has fetched. Read next: ``../path/cells.py``,
``../path/side_by_side.py``, ``stable.py`` (what follows from the probabilities).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.data.dataset import Dataset
from distlasso.errors import InputError
from distlasso.inference.stable import StabilitySelection, Tally, check_bound, check_limit, check_threshold
from distlasso.losses import Loss
from distlasso.path.cells import GRAMS, measure, with_gram
from distlasso.path.course import Course
from distlasso.path.folds import KFold, hashed
from distlasso.path.grid import warn_constant
from distlasso.path.keywords import check_options
from distlasso.path.opened import Kept, Opened, as_dataset, known_rows, opened, outputs_of, row_spaces
from distlasso.path.options import parse, seed, whole
from distlasso.path.outputs import gather_outputs
from distlasso.path.progress import Together
from distlasso.path.side_by_side import Fit, fit_all
from distlasso.runtime.local import RowSpace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_CELLS = 64
_LEAST_ROWS = 8
_PAIRS = 1000  # first stream of the hash that draws halves, beyond those that deal rows out


def stability_selection(
    data: Any,
    y: Any = None,
    *,
    n_halves: int = 100,
    threshold: float = 0.75,
    max_false: float | None = 1.0,
    bound: str = "worst",
    sample_weight: Any = None,
    offset: Any = None,
    random_state: int = 0,
    checkpoint: Any = None,
    **options: Any,
) -> StabilitySelection:
    """Fit paths on random halves of the rows, and tell which columns are selected on most of them.

    Halves come in complementary pairs (Shah & Samworth 2013). All of them go side by side and share every pass. In Gram form
    with squared loss one pass for moments and one for the Grams of 64 cells (more beyond 512 columns) answer everything, as long
    as these Grams, 512 p^2 bytes, are within 2 GiB (p up to 2,048) and within ``memory``; otherwise every group of halves asks
    for its own Grams in a pass. Memory: 8 n (n_halves + 65) bytes of row weights, and the Grams of a group, within 1 GiB.

    Parameters
    ----------
    data, y, sample_weight, offset
        As in ``fit_path``; one response. Rows of weight 0 are in no half.
    n_halves : int
        Half-samples, an even number.
    threshold : float
        Share of the halves, in (0.5, 1], that makes a column stable.
    max_false : float or None
        How many false selections to expect at most: where the bound passes it the region of lambdas ends. None is no limit.
    bound : {"worst", "unimodal"}
        Which bound; both are in ``StabilitySelection``. "unimodal" is sharper, and assumes more.
    random_state : int
        Seed of cells and halves.
    checkpoint : path, optional
        As in ``fit_path``: a folder from which the same selection goes on where it was stopped.
    **options
        As in ``fit_path``: ``loss``, ``lambdas``, ``l1_ratio``, ... all but ``prior``, ``schedule`` and ``multi_task``.
        By default lambdas go from twice the largest useful one of all rows, since halves are noisier, to a twentieth of that.

    Returns
    -------
    StabilitySelection

    Raises
    ------
    InputError
        For data or options that cannot be used, fewer than 8 rows, or a half that has one class only.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((200, 20))
    >>> found = dl.stability_selection(X, X @ np.eye(20)[0] * 3 + X[::-1, 1], n_halves=20)
    >>> found.stable.tolist()
    [0]
    """
    started = time.perf_counter()
    check_options(options, stability_selection, refused=("prior", "schedule", "multi_task"))
    for name, instead in (("prior", "fit_path"), ("schedule", "fit_path"), ("multi_task", "one response")):
        if options.pop(name, None):
            raise InputError(f"{name}= is not for stability selection: use {instead}")
    count = whole("n_halves", n_halves, "number of half-samples")
    if count % 2:
        raise InputError(f"n_halves={count} is odd: halves come in complementary pairs")
    wanted = (check_threshold(threshold), check_limit(max_false), check_bound(bound))
    options = {"lambda_min_ratio": 0.05} | options
    chosen = parse(started, **options)
    dataset = as_dataset(data, y, sample_weight, offset)
    if outputs_of(dataset) > 1:
        raise InputError(f"stability selection is for one response, and y has {outputs_of(dataset)}: do them one by one")
    drawn = seed(random_state)
    plan = _plan(dataset, chosen.loss, count // 2, drawn)
    make_rows = partial(_rows, plan, loss=chosen.loss, intercept=chosen.fit_intercept)
    more = {"call": "stability_selection", "n_halves": count, "random_state": drawn}
    kept = None if checkpoint is None else Kept(checkpoint, more)
    with opened(dataset, chosen, make_rows, fits=1 + count, kept=kept) as data_open:
        return _Run(data_open, plan, started).select(*wanted)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Row space 0 is all rows, then come the cells, then the halves."""

    cell: Ints  # [n]
    n_cells: int
    halves: tuple[tuple[int, ...], ...]  # cells of each

    @property
    def first_half(self) -> int:
        """Row space of the first half."""
        return 1 + self.n_cells


def _plan(dataset: Dataset, loss: Loss, pairs: int, seed: int) -> _Plan:
    rows = known_rows(dataset, loss, seed)
    there = int(np.count_nonzero(rows.weight))
    if there < _LEAST_ROWS:
        raise InputError(f"{there} rows of positive weight are too few for half-samples: at least {_LEAST_ROWS} are needed")
    cells = min(N_CELLS, there - there % 2)
    (partition,) = KFold(cells).partitions(rows)
    return _Plan(partition.cell, cells, tuple(half for k in range(pairs) for half in _pair(cells, there % cells, seed, k)))


def _pair(cells: int, larger: int, seed: int, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two halves of the cells; the first ``larger`` cells have a row more, and are shared out equally too."""
    order = hashed(np.arange(cells), seed, _PAIRS + number)
    shuffled = np.lexsort((order, np.arange(cells) >= larger))
    first, second = (tuple(sorted(int(c) for c in shuffled[start::2])) for start in (0, 1))
    return first, second


def _rows(plan: _Plan, dataset: Dataset, *, loss: Loss, intercept: bool) -> list[RowSpace]:
    (whole_,) = row_spaces(dataset, loss, intercept=intercept)
    cells = [replace(whole_, weight=whole_.weight * (plan.cell == c)) for c in range(plan.n_cells)]
    halves = []
    for k, own in enumerate(plan.halves):
        weight = whole_.weight * np.isin(np.arange(plan.n_cells), own)[plan.cell]
        try:
            loss.target(whole_.y, weight, intercept=intercept)
        except InputError as error:
            raise InputError(f"half-sample {k} cannot be fitted: {error}") from error
        halves.append(replace(whole_, weight=weight / weight.sum()))
    return [whole_, *cells, *halves]


class _Run:
    """One stability selection on opened data."""

    def __init__(self, data: Opened, plan: _Plan, started: float) -> None:
        self._data, self._plan, self._started = data, plan, started
        self._tally = Tally(data.dataset.shape[1])
        self._members = [tuple(range(plan.n_cells)), *plan.halves]
        self._cells, self._spaces = measure(data, range(1, plan.first_half), self._members)
        self._grams = self._of_cells()

    def select(self, threshold: float, max_false: float | None, bound: str) -> StabilitySelection:
        """Fit all rows, then the halves at the same lambdas; count."""
        data = self._data
        data.announce(data.options.grid.size * len(self._members))
        grid, shape = data.options.grid, data.dataset.shape
        together = Together(data.options.listener, len(self._members))
        everything = Fit(0, partial(self._course, 0), lambda top: grid.at(_higher(top), shape))
        ((lambdas, whole_fit),) = fit_all(data, [everything], together)
        if self._spaces[0].yy <= 0:
            warn_constant()
        halves = [Fit(self._rows(k), partial(self._course, k), lambda _: lambdas) for k in range(1, len(self._members))]
        for _, half in fit_all(data, halves, together, before=1):
            self._tally.add(half)
        found = gather_outputs(lambdas, [whole_fit])
        length = min(found.lambdas.size, self._tally.length)
        path = data.path(found, np.flatnonzero(self._spaces[0].constant), lambdas.size, self._started)
        self._warn(path.gap)
        count = len(self._plan.halves)
        return StabilitySelection(
            path=_first(path, length), probabilities=sp.csr_array(self._tally.counts[:length] * (1.0 / count)),
            q=self._tally.sizes[:length] / count, gaps=np.array([gap[:length] for gap in self._tally.gaps]).T,
            n_halves=count, threshold=threshold, max_false=max_false, bound=bound,
        )  # fmt: skip

    def _of_cells(self) -> list[Floats] | None:
        """Grams of the cells, where that is the form and there is room for them."""
        data, size = self._data, self._plan.n_cells * 8 * self._data.dataset.shape[1] ** 2
        room = GRAMS if data.options.memory is None else min(GRAMS, data.options.memory - data.beside)
        if not data.takes_gram or size > room:
            return None
        return self._cells.grams()

    def _rows(self, fit: int) -> int:
        """Row space of a fit; the first is that to all rows."""
        return 0 if fit == 0 else self._plan.first_half + fit - 1

    def _course(self, fit: int, exchange: Exchange) -> Course:
        data, space = self._data, self._spaces[fit]
        task = data.task(space, data.rows[self._rows(fit)], exchange)
        if self._grams is not None:
            task = with_gram(task, self._cells.gram(space, self._grams, self._members[fit]))
        return Course(task, data.make, shared=data.shared)

    def _warn(self, gap: Floats) -> None:
        self._data.warn_above(np.concatenate([gap, *self._tally.gaps]), " of all halves")


def _higher(top: float | None) -> float | None:
    """Where the lambdas begin: noise in the slopes of a half is sqrt(2) times that of all rows, and at its largest more."""
    return None if top is None else 2.0 * top


def _first(path: Any, length: int) -> Any:
    """The first ``length`` lambdas of a path."""
    if length == path.lambdas.size:
        return path
    cut = {name: getattr(path, name)[:length]
           for name in ("lambdas", "coef", "intercept", "gap", "deviance_ratio", "converged", "stages")}  # fmt: skip
    return replace(path, complete=False, **cut)
