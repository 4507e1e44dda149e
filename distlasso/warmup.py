"""``warm_up``: compile every kernel that usual fits need into numba's cache, for images and clusters.

It fits tiny data of every kind, since what real fits compile is then compiled by the very same code. What it compiles goes
where numba keeps its cache: the folder ``NUMBA_CACHE_DIR`` if that is set, else beside the code, else under the home.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from distlasso.data.blocks import CSRBlock
from distlasso.data.cell_moments import cell_moments
from distlasso.data.dataset import Dataset, as_block
from distlasso.data.row_by_row import Fitted, gradients
from distlasso.kernels import KERNELS, sparse
from distlasso.path.fit import fit_path
from distlasso.penalties import Bounds4
from distlasso.schedules.concave import MCP
from distlasso.solvers.correlations import Correlations, approach
from distlasso.solvers.quadratic import DenseForm

_TALL, _WIDE = (300, 20), (40, 200)
_USUAL: dict[str, Any] = {"n_lambdas": 6, "lambda_min_ratio": 0.1, "runtime": "serial"}


@dataclass(frozen=True, slots=True)
class Warmed:
    """What a process has compiled or loaded."""

    kernels: int
    """Functions that are compiled for one combination of dtypes or more."""
    signatures: int
    """Combinations of dtypes over all of them."""
    compiled: int
    """Of these, how many were not in the cache."""
    seconds: float
    folder: str | None
    """Where the cache is; None where there is no folder that numba may write to."""


def warm_up() -> Warmed:
    """Compile what is not in the cache yet.

    Returns
    -------
    Warmed

    Notes
    -----
    Numba's cache is for one CPU type and one version of the code. Processes that fill it at the same time may lose each
    other's entries: run this once a machine, or once a shared folder. Whoever uses the cache must be allowed to write there.
    """
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny data may leave a certificate open; nobody looks at the solutions
        for data, y, options in _cases():
            fit_path(data, y, **(_USUAL | options))
        _by_correlations()
        _of_folds()
        _of_files()
    stats = [kernel.stats for kernel in KERNELS if kernel.signatures]
    folders = {str(Path(one.cache_path)) for one in stats if one.cache_path}
    return Warmed(
        len(stats), sum(len(kernel.signatures) for kernel in KERNELS), sum(sum(one.cache_misses.values()) for one in stats),
        time.perf_counter() - started, min(folders, default=None),
    )  # fmt: skip


def _cases() -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Data, target and options of the fits: every encoding, tall and wide, squared and other losses, every solver."""
    rng = np.random.default_rng(0)
    for shape in (_TALL, _WIDE):
        codes = rng.integers(0, 3, shape)
        y = codes[:, :3].sum(axis=1) + rng.standard_normal(shape[0])
        for X in _encodings(codes):
            for loss in ("squared", "logistic"):
                yield X, (y > np.median(y)).astype(np.float64) if loss == "logistic" else y, {"loss": loss}
        yield codes.astype(np.float64), y, {"schedule": MCP()}
        for missing, X in ((0, codes.astype(np.int8)), (np.nan, np.where(codes == 0, np.nan, codes))):
            for ordered in (np.ascontiguousarray(X), np.asfortranarray(X)):
                yield Dataset.from_arrays(ordered, y, missing_value=missing), None, {}
        for solver in ("admm", "fista"):
            for X in (codes.astype(np.float64), sp.csr_array(codes.astype(np.float64))):
                yield X, y, {"solver": solver}
        yield codes.astype(np.float64), np.column_stack([y, -y]), {"multi_task": True}
    # So few entries that no Gram is worth having; lambdas then go abreast, in groups of every size.
    scarce = sp.random_array((60, 400), density=0.03, format="csc", rng=rng)
    y = scarce[:, :9].sum(axis=1) + 0.1 * rng.standard_normal(60)
    for count in (6, 11, 13):
        for loss, target in (("squared", y), ("logistic", (y > np.median(y)).astype(np.float64))):
            yield scarce, target, {"loss": loss, "n_lambdas": count}


def _by_correlations() -> None:
    """What descends on correlations in float32, which fits of few rows do not."""
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((40, 9)))
    form = DenseForm(X, np.zeros(9), (X * X).mean(axis=0), np.full(40, 1 / 40), X[:, :3].sum(axis=1), None)
    penalty = Bounds4(np.full(9, 0.1), np.zeros(9), np.full(9, -np.inf), np.full(9, np.inf))
    approach(form, Correlations(9), [penalty] * 2, np.zeros((9, 2)), 1e-9)


def _of_folds() -> None:
    """What folds ask of dense columns and of sparse rows, and paths of few lambdas do not."""
    rng = np.random.default_rng(0)
    weight, y = np.ones(40), rng.standard_normal(40)
    for dtype in (np.float64, np.float32, np.int8):
        cell_moments(as_block(np.asfortranarray(rng.integers(0, 3, (40, 9)), dtype)), [(weight, y)])
    rows = as_block(sp.random_array((40, 9), density=0.3, format="csr", rng=rng))
    assert isinstance(rows, CSRBlock)
    for count in sparse.WIDTHS:
        gradients(rows, [Fitted(y, weight, np.arange(3), np.ones((3, count)), np.zeros(count))])


def _of_files() -> None:
    """What ingest asks of a file that is mapped, which must not be written to: that is another type to numba."""
    for dtype in (np.float64, np.float32, np.int8):
        X = np.zeros((40, 9), dtype)
        X.flags.writeable = False
        as_block(X).moments(np.ones(40), np.arange(40.0))


def _encodings(codes: Any) -> Iterator[Any]:
    """The same matrix in every encoding and order that is used as it is stored."""
    for dtype in (np.float64, np.float32, np.int8):
        yield np.ascontiguousarray(codes, dtype)
        yield np.asfortranarray(codes, dtype)
    yield sp.csr_array(codes.astype(np.float64))
    yield sp.csc_array(codes.astype(np.float64))
