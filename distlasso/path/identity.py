"""What a fit is, so that its checkpoint knows it again: options and data in JSON, arrays by a digest of their content.

Left out is what does not change the questions that are asked: where a fit runs, who listens, how long it may take, and how
a model is chosen at the end. Read next: ``../coordinator/checkpoint.py``, which compares.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import scipy.sparse as sp

import distlasso
from distlasso.data.dataset import Dataset
from distlasso.errors import InputError
from distlasso.losses import LOSSES
from distlasso.path.folds import Partition
from distlasso.path.options import Options
from distlasso.path.result import Path
from distlasso.runtime.blas import blas_core
from distlasso.runtime.chunks import Chunks
from distlasso.runtime.plan import Plan
from distlasso.schedules.schedule import Each, Schedule

_FEW = 8  # numbers that are spelled out
_DIGESTS = ("X", "y", "sample_weight", "offset", "init", "folds", "columns", "model", "design")  # what is kept as such


def about(dataset: Dataset, options: Options, more: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a checkpoint keeps about a fit; ``more`` are options beyond those of one path.

    Raises
    ------
    InputError
        For a dask array, which has no content that could be known again.
    """
    kept, data = _options(options) | dict(more), _data(dataset)
    return {"options": kept, "data": data, "platform": _platform(), "shown": _shown(options, kept | data)}


def of_cut(dataset: Dataset, plan: Plan) -> list[Any]:
    """How data is cut and merged, on which the bits of answers depend."""
    return [_array(dataset.row_bounds), _array(dataset.col_bounds), plan.axis, plan.room, len(plan.bundles)]


def of_folds(partitions: Sequence[Partition]) -> str:
    """Digest of the rows that every fold trains on and holds out."""
    told = hashlib.blake2b(digest_size=12)
    for partition in partitions:
        told.update(np.ascontiguousarray(partition.cell).data)
        told.update(repr((partition.train, partition.test)).encode())
    return told.hexdigest()


def of_arrays(*arrays: Any) -> list[str]:
    """Digests of arrays that a fit follows from beside its data, sparse ones by their parts."""
    parts = [(one.data, one.indices, one.indptr) if sp.issparse(one) else (one,) for one in arrays]
    return [_array(part) for own in parts for part in own]


def of_schedule(schedule: Schedule | None) -> str | None:
    """A schedule with its parameters; of what a user has written, the name."""
    if schedule is None or (is_dataclass(schedule) and not isinstance(schedule, Each)):
        return None if schedule is None else repr(schedule)
    what: Any = schedule.function if isinstance(schedule, Each) else type(schedule)
    return f"{getattr(what, '__module__', '')}.{getattr(what, '__qualname__', type(what).__qualname__)}"


def _options(options: Options) -> dict[str, Any]:
    grid = options.grid
    return {
        "loss": repr(options.loss), "l1_ratio": options.l1_ratio, "prior": None if options.prior is None else repr(options.prior),
        "penalty_factors": _numbers(options.penalty_factors),
        "bounds": None if options.bounds is None else [_numbers(side) for side in options.bounds],
        "schedule": of_schedule(options.schedule), "multi_task": options.multi_task, "lambdas": _numbers(grid.lambdas),
        "n_lambdas": grid.n_lambdas, "lambda_min_ratio": grid.min_ratio, "standardize": options.standardize,
        "fit_intercept": options.fit_intercept, "solver": options.solver, "tol": options.tol,
        "max_active": options.limits.max_active, "memory": options.memory, "init": _start(options.init),
    }  # fmt: skip


def _shown(options: Options, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What a difference is told by, where what is kept would mean nothing to whom it is told."""
    loss = options.loss
    named = loss.name if loss == LOSSES[loss.name] else f"dl.{type(loss).__name__}({getattr(loss, 'delta', '')})"
    shown: dict[str, Any] = {name: "given" for name in _DIGESTS if kept.get(name) is not None}
    for name, values in (("penalty_factors", options.penalty_factors), ("lambdas", options.grid.lambdas)):
        if values is not None:
            shown[name] = _few(values)
    if options.bounds is not None:
        shown["bounds"] = [_few(side) for side in options.bounds]
    return shown | {"loss": named}


def _few(values: Any) -> Any:
    """Numbers, or how many there are."""
    numbers = np.asarray(values, dtype=np.float64)
    return numbers.tolist() if numbers.size <= _FEW else f"{numbers.size} numbers"


def _data(dataset: Dataset) -> dict[str, Any]:
    if isinstance(dataset.reader, Chunks):
        raise InputError(
            "checkpoint= needs data that can be known again, and a dask array is computed anew: write it with dl.ingest, "
            "and pass the dataset"
        )
    rows = {"y": dataset.y, "sample_weight": dataset.sample_weight, "offset": dataset.offset}
    code = None if dataset.missing_value is None else float(dataset.missing_value)
    return {
        "X": dataset.fingerprint or _content(dataset), "shape": [int(k) for k in dataset.shape], "encoding": dataset.encoding,
        "dtype": dataset.dtype.name, "missing_value": "NaN" if code != code else code,
    } | {name: None if values is None else _array(values) for name, values in rows.items()}  # fmt: skip


def _content(dataset: Dataset) -> str:
    """Digest of all tiles; where ``ingest`` has left none, they have to be read for it."""
    told = hashlib.blake2b(digest_size=16)
    for i in range(dataset.row_bounds.size - 1):
        for j in range(dataset.col_bounds.size - 1):
            tile = dataset.tile(i, j)
            values: Any = tile.gather(np.arange(tile.shape[1]))
            for part in (values.data, values.indices, values.indptr) if sp.issparse(values) else (values,):
                told.update(np.ascontiguousarray(part).tobytes())
    return told.hexdigest()


def _start(init: Any) -> str | None:
    """Coefficients to start from: as they are, or of a path."""
    path = getattr(init, "path", init)
    if init is None or not isinstance(path, Path):
        return None if init is None else _array(np.asarray(init))
    parts = [path.lambdas, path.intercept, *(part for one in path.outputs for part in (one.data, one.indices, one.indptr))]
    return " ".join(_array(part) for part in parts)


def _numbers(given: Any) -> Any:
    if given is None:
        return None
    values = np.asarray(given, dtype=np.float64)
    return repr(values.tolist()) if values.size <= _FEW else _array(values)


def _array(values: Any) -> str:
    content = np.ascontiguousarray(values)
    shape = "x".join(str(k) for k in content.shape)
    return f"{content.dtype.name} {shape} {hashlib.blake2b(content.tobytes(), digest_size=12).hexdigest()}"


@cache
def _platform() -> dict[str, str]:
    """What the bits depend on beside data and options."""
    packages = {name: version(name) for name in ("numpy", "scipy", "numba")}
    machine = {"machine": platform.machine(), "processor": _processor(), "blas": blas_core()}
    return machine | packages | {"distlasso": distlasso.__version__}


def _processor() -> str:
    try:
        lines = FilePath("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
