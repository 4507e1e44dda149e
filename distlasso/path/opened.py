"""Data placed on a runtime and ready to be asked: what every fit starts from, be it of one target, several, or folds.

Read next: ``course.py`` (a path over it), ``../coordinator/exchange.py`` (the questions).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.build import build
from distlasso.coordinator.checkpoint import opened_checkpoint
from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.form import Form
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.space import Space, centre
from distlasso.data.dataset import Dataset, is_dask
from distlasso.data.statistics import Statistics
from distlasso.errors import InputError, ResourceError, warn
from distlasso.events import FitFinished, FitStarted
from distlasso.losses import Loss
from distlasso.path.folds import Known
from distlasso.path.identity import about, of_cut
from distlasso.path.options import Options
from distlasso.path.outputs import Outputs
from distlasso.path.plan import Projection, project
from distlasso.path.result import Path
from distlasso.queries import CellMoments, Moments
from distlasso.runtime.blas import one_blas_thread
from distlasso.runtime.chunks import Chunks, from_chunks
from distlasso.runtime.local import Local, RowSpace, Runtime, serial, threads
from distlasso.runtime.memory import peak_bytes, resident_bytes
from distlasso.runtime.plan import plan_bundles

Floats = NDArray[np.float64]

_TINY = 1e-140  # squares of smaller values have lost digits, or are 0
_KEPT = 1 << 30  # decoded bytes of a store whose tiles are kept, where no memory is stated


@dataclass(frozen=True, slots=True)
class Opened:
    """A dataset that a runtime has opened, with the row spaces that may be asked about."""

    dataset: Dataset
    options: Options
    rows: Sequence[RowSpace]
    exchange: Exchange
    form: Form
    by_columns: bool
    beside: int  # bytes that the fit is projected to hold in this process
    chain: int  # of additions behind the sums over rows of a pass: see ``Plan.chain``

    @property
    def sparse(self) -> bool:
        """Whether tiles are sparse."""
        return self.dataset.encoding != "dense"

    @property
    def make(self) -> Callable[[Task], tuple[Problem, str]]:
        """What makes the problem of a task."""
        return partial(build, form=self.form, solver=self.options.solver)

    @property
    def shared(self) -> bool:
        """Whether a problem holds all columns anyway."""
        return self.form.kind == "gram" and self.options.loss.quadratic

    @property
    def takes_gram(self) -> bool:
        """Whether a fit may be given the Gram of all columns, and then asks nothing else of the rows."""
        return self.form.kind == "gram" and not self.options.by_rounds

    def announce(self, count: int) -> None:
        """Say that a fit of so many lambdas begins, within the memory that is planned from here on."""
        planned = resident_bytes() + self.beside
        self.options.listener(FitStarted(*self.dataset.shape, count, self.form.reason, planned))

    def measure(self, spaces: Sequence[int]) -> list[Statistics]:
        """Statistics under the weights and targets of some row spaces: one pass, which looks at every value.

        Raises
        ------
        InputError
            For values that are not finite, or whose squares are not.
        """
        dataset = self.dataset
        at_once = len(spaces) > 1 and self.by_columns and not self.sparse and dataset.missing_value is None
        query = CellMoments() if at_once else Moments()
        asks = [replace(self.exchange, rows=k).compose([query], present=self.sparse) for k in spaces]  # dense tiles leave them out
        found: list[Statistics] = [answer for (answer,) in self.exchange.send(asks)]
        absent_rows = dataset.sample_weight is not None and not dataset.sample_weight.all()
        finite = all(np.isfinite(own.m2).all() and np.isfinite(own.max_abs).all() for own in found)
        if not dataset.validated and (absent_rows or not finite):
            _refuse_not_finite(dataset)
        for own in found:
            if not np.isfinite(own.m2).all():
                raise InputError(f"column {int(np.argmin(np.isfinite(own.m2)))} overflows float64 when squared: rescale it")
        return found

    def centred(self, found: Sequence[Statistics]) -> list[Space]:
        """The spaces of fits with these statistics, the first over all rows; what they share is made known to the exchange.

        Raises
        ------
        InputError
            For a column whose squares are lost, wherever its statistics come from.
        """
        dataset, largest = self.dataset, found[0].max_abs
        tiny = np.flatnonzero((largest > 0.0) & (largest < _TINY))
        if tiny.size:
            raise InputError(f"column {int(tiny[0])} underflows float64 when squared: rescale it")
        spaces = [centre(own, intercept=self.options.fit_intercept, sparse=self.sparse, narrow=dataset.dtype != np.float64,
                         missing_value=dataset.missing_value) for own in found]  # fmt: skip
        self.exchange.shift, self.exchange.imputation = spaces[0].shift, spaces[0].imputation
        return spaces

    def task(self, space: Space, rows: RowSpace, exchange: Exchange) -> Task:
        """The problem of one row space.

        Raises
        ------
        InputError
            For a target whose squares are lost.
        """
        if 0.0 < float(np.max(np.abs(rows.y), initial=0.0)) < _TINY:
            raise InputError("y underflows float64 when squared: rescale it")
        penalty, excluded = self.options.penalty(space)
        keep = np.flatnonzero(~space.constant & ~excluded)
        free = keep[penalty.at(1.0).take(keep).is_free()]
        chain = self.chain + len(self.rows)  # where these are cells, what all of them sum to is added up here
        return Task(space, penalty, keep, free, exchange, rows.y, rows.weight, rows.offset, self.sparse, self.by_columns,
                    self.options.tol, chain)  # fmt: skip

    def warn_above(self, gaps: Floats, where: str = "") -> None:
        """Say how many solutions are not proved to the tolerance."""
        tol = self.options.tol
        above = ~(gaps <= tol)  # NaN proves nothing
        if above.any():
            warn(f"{int(above.sum())} of {gaps.size} solutions{where} stopped above tol={tol:g} "
                 f"(largest gap {float(gaps.max()):.2e})")  # fmt: skip

    def path(self, found: Outputs, dropped: NDArray[np.int64], asked: int, started: float, **rest: Any) -> Path:
        """The result, and what it cost so far; ``asked`` is how many lambdas were asked for."""
        options, exchange = self.options, self.exchange
        seconds = time.perf_counter() - started
        weight, total = row_weights(self.dataset)
        options.listener(FitFinished(found.lambdas.size, exchange.passes, exchange.rounds, seconds, found.ended or "complete"))
        return Path(
            lambdas=found.lambdas, coef=found.coef, intercept=found.intercept, gap=found.gap,
            deviance_ratio=found.deviance_ratio, converged=found.gap <= options.tol, certificate=found.certificate,
            dropped=dropped, feature_names=self.dataset.feature_names, passes=exchange.passes, rounds=exchange.rounds,
            bytes_read=exchange.runtime.bytes_read(), bytes_moved=exchange.runtime.bytes_moved(), seconds=seconds,
            peak_bytes=peak_bytes(), loss=options.loss.name, l1_ratio=options.l1_ratio, standardize=options.standardize,
            tol=options.tol, solver=found.solver, complete=found.lambdas.size == asked, null_deviance=found.d0,
            imputation=exchange.imputation, stages=found.stages, history=found.history,
            n_rows=int(np.count_nonzero(weight)), weight=total, fit_intercept=options.fit_intercept,
            resumed=getattr(exchange.runtime, "resumed", 0), ended=found.ended, **rest,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """Where answers are kept, and which options a fit has beyond those of a path."""

    folder: Any
    more: Mapping[str, Any]


@contextmanager
def opened(
    dataset: Dataset, options: Options, make_rows: Callable[[Dataset], Sequence[RowSpace]], *, fits: int,
    kept: Kept | None = None,
) -> Iterator[Opened]:  # fmt: skip
    """Place a dataset where it can be asked, and plan for some fits that go side by side.

    ``make_rows`` makes the row spaces of the dataset, or refuses its target; ``kept`` says where a checkpoint is.

    Raises
    ------
    InputError
        If the checkpoint is of another fit.
    ResourceError
        If the projected memory is beyond ``memory`` in any form.
    StoreError
        If the checkpoint cannot be used.
    """
    place = _runtime(options.runtime, options.client, apart=isinstance(dataset.reader, Chunks))
    # A trial step that overflows is refused by its value; the user need not hear of it.
    with ExitStack() as stack, one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        checkpoint = None
        if kept is not None:  # before anything is done that a refusal would make vain
            checkpoint = stack.enter_context(opened_checkpoint(kept.folder, about(dataset, options, kept.more)))
        rows = make_rows(dataset)  # before a cluster is started
        try:
            dataset = place.place(dataset)
            budget = None if options.multi_task or options.solver == "admm" else options.memory
            projection = project(dataset, fits, by_rounds=options.by_rounds, memory=budget)
            _check_memory(projection, options.memory)
            form = projection.form
            by_columns = form.kind == "residual" and dataset.row_bounds.size == 2 and dataset.col_bounds.size > 2
            by_columns = by_columns and options.solver != "admm"
            grams = form.kind == "gram" and not options.by_rounds
            left = _KEPT if options.memory is None else options.memory - projection.coordinator_bytes
            keeps = not dataset.in_memory and dataset.nbytes <= left
            plan = plan_bundles(dataset.row_bounds, dataset.col_bounds, by_columns=by_columns, room=projection.room,
                                answer=8 * dataset.shape[1] ** (2 if grams else 1), keeps=keeps)  # fmt: skip
            options = replace(options, listener=place.open(dataset, plan, rows, options.listener))
            decoded = place.tiles_at_once() * projection.tile_bytes
            beside = projection.coordinator_bytes + decoded + (dataset.nbytes if keeps and decoded else 0)
            exchange = Exchange(place, options.loss, None, options.listener, resident=dataset.resident)
            if checkpoint is not None:
                room = None if options.memory is None else options.memory // 4
                recorded = checkpoint.answers(place, of_cut(dataset, plan), options.listener, room)
                exchange.runtime = exchange.workings = recorded
            yield Opened(dataset, options, rows, exchange, form, by_columns, beside, plan.chain(dataset.row_bounds))
        finally:
            place.close()


def as_dataset(data: Any, y: Any, sample_weight: Any, offset: Any) -> Dataset:
    """What a user passes as data, with its target.

    Raises
    ------
    InputError
        If there is no target, or shapes or values do not fit.
    """
    if isinstance(data, Dataset):
        dataset = data.with_target(y, sample_weight, offset)
    else:
        if y is None:
            raise InputError("y is missing: pass the target, or a Dataset that stores one")
        make = from_chunks if is_dask(data) else Dataset.from_arrays
        dataset = make(data, y, sample_weight=sample_weight, offset=offset)
    if dataset.y is None:
        raise InputError("the dataset stores no target: pass y")
    return dataset


def outputs_of(dataset: Dataset) -> int:
    """Number of responses."""
    return 1 if dataset.y is None or dataset.y.ndim == 1 else int(dataset.y.shape[1])


def row_spaces(dataset: Dataset, loss: Loss, *, intercept: bool) -> list[RowSpace]:
    """Every response as the loss wants it, weights that sum to one, and the offset where it is not simply a part of y."""
    y, offset = np.asarray(dataset.y, dtype=np.float64), dataset.offset
    weight, total = row_weights(dataset)
    rows = []
    for own in (y,) if y.ndim == 1 else np.ascontiguousarray(y.T):
        own = loss.target(own, weight, intercept=intercept)
        if loss.quadratic and offset is not None:
            own = own - offset
        rows.append(RowSpace(own, weight / total, None if loss.quadratic else offset))
    return rows


def row_weights(dataset: Dataset) -> tuple[Floats, float]:
    """Weights [n], and their sum."""
    weight = np.ones(dataset.shape[0]) if dataset.sample_weight is None else dataset.sample_weight
    return weight, float(np.sum(weight))


def known_rows(dataset: Dataset, loss: Loss, seed: int) -> Known:
    """What a plan of folds may know of a dataset: for logistic loss also which class a row is of."""
    y = np.asarray(dataset.y, dtype=np.float64)
    classes = (y > 0.5).astype(np.int64) if loss.name == "logistic" else None
    return Known(row_weights(dataset)[0], classes, seed)


def _check_memory(projection: Projection, memory: int | None) -> None:
    if memory is not None and projection.coordinator_bytes > memory:
        raise ResourceError(
            f"the fit is projected to hold up to {projection.coordinator_bytes / 1e6:,.2f} MB beside the data, with "
            f"{projection.form.what}, beyond memory of {memory / 1e6:,.2f} MB: allow more, or drop columns"
        )


def _runtime(runtime: str | Runtime | None, client: Any, *, apart: bool) -> Runtime:
    """Where to run; ``apart`` says that the data is a dask array, whose chunks are elsewhere."""
    name = runtime if runtime is not None else ("dask" if client is not None or apart else "threads")
    if apart and (name in ("serial", "threads") or isinstance(name, Local)):
        raise InputError("X is a dask array, whose chunks the workers hold: leave `runtime` out, or compute() X first")
    choices: Mapping[str, Callable[[], Any]] = {"serial": serial, "threads": threads, "dask": partial(_cluster, client)}
    if isinstance(name, str) and name in choices:
        chosen: Runtime = choices[name]()
        return chosen
    if isinstance(name, str) or not callable(getattr(name, "run", None)):
        raise InputError(f"runtime={name!r} is not known: use 'serial', 'threads' or 'dask'")
    return name


def _cluster(client: Any) -> Runtime:
    from distlasso.runtime.cluster import Cluster

    return Cluster(client)


def _refuse_not_finite(dataset: Dataset) -> None:
    """Name the first NaN or infinity."""
    for i in range(dataset.row_bounds.size - 1):
        for j in range(dataset.col_bounds.size - 1):
            bad = dataset.tile(i, j).first_not_finite()
            if bad is not None:
                row, column = int(dataset.row_bounds[i]) + bad[0], int(dataset.col_bounds[j]) + bad[1]
                name = f" ({dataset.feature_names[column]})" if dataset.feature_names else ""
                raise InputError(
                    f"X is NaN or infinite in row {row}, column {column}{name}: clean it, or say that NaN means missing "
                    "with Dataset.from_arrays(X, y, missing_value=np.nan) or dl.ingest(..., missing='keep')"
                )
