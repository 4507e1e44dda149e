"""Node-wise regressions: the lasso of chosen columns on all others, side by side.

Which lambda is right is told by two figures of what is left, z (Zhang & Zhang 2014, section 2.3): the bias factor
eta = sqrt(n) max_k |z' x_k| / ||z||, which by stationarity is sqrt(n) lam / ||z|| once any coefficient is nonzero, and the noise
factor tau = ||z|| / |z' x|. Read next: ``debias.py``, which needs them, ``../path/side_by_side.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.space import Space
from distlasso.coordinator.squared import fetch_gram
from distlasso.data.dataset import Dataset
from distlasso.data.missing import Imputation
from distlasso.errors import InputError, warn
from distlasso.events import FitFinished
from distlasso.losses import Squared
from distlasso.path.course import Course, Fitted
from distlasso.path.grid import Grid
from distlasso.path.identity import of_arrays
from distlasso.path.opened import Kept, Opened, opened
from distlasso.path.options import Options
from distlasso.path.progress import Together
from distlasso.path.side_by_side import Fit, fit_all
from distlasso.runtime.local import RowSpace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LAMBDAS = 60
_TALL, _WIDE = 1e-3, 2e-2  # smallest over largest lambda, for more rows than columns and otherwise
_MORE_NOISE = 0.25  # kappa_0: how much larger than needed a standard error may be, for less bias
_NOTHING = 1e-10  # share of a column that counts as nothing left
_ALIKE = 0.95  # correlation of what is left with another column, at its best, from which on the two cannot be told apart
_MORE_BIAS = 0.5  # kappa_1: by how much the bound on eta is raised where no lambda is within it


@dataclass(frozen=True, slots=True)
class Design:
    """What the regressions are made of."""

    targets: Floats  # [n, q]: the chosen columns
    weight: Floats  # [n], sums to 1: weights times curvature
    imputation: Imputation | None


@dataclass(frozen=True, slots=True)
class Node:
    """What one regression came to, sums over weights that sum to one."""

    columns: Ints
    coef: Floats
    zz: float  # z' z
    zx: float  # z' x
    lam: float
    gap: float


def node_wise(
    dataset: Dataset, options: Options, design: Design, which: Ints, lam: float | None, checkpoint: Any = None
) -> list[Node]:  # fmt: skip
    """Regress each of some columns on all others.

    Parameters
    ----------
    dataset, options
        The data; of the options, intercept, tolerance and runtime count.
    design : Design
        Weights and targets.
    which : int64 [q]
        The columns.
    lam : float, optional
        On targets of standard deviation 1; by default each column has the one that the two factors choose.
    checkpoint : path, optional
        Folder where answers are kept.

    Raises
    ------
    InputError
        If nothing is left of a column: it is a combination of others.
    """
    ratio = _TALL if dataset.shape[0] > dataset.shape[1] else _WIDE
    limits = replace(options.limits, max_active=None)
    plain = replace(options, loss=Squared(), standardize=True, grid=Grid(None, _LAMBDAS, ratio), limits=limits)

    def rows(dataset: Dataset) -> list[RowSpace]:
        return [RowSpace(np.ascontiguousarray(target), design.weight) for target in design.targets.T]

    started = time.perf_counter()
    fill = [] if design.imputation is None else [design.imputation.fill]
    made_of = of_arrays(which, design.targets, design.weight, *fill)
    more = {"call": "debiased", "node_lam": lam, "design": made_of}
    kept = None if checkpoint is None else Kept(checkpoint, more)
    with opened(dataset, plain, rows, fits=which.size, kept=kept) as data:
        data.announce(which.size * _LAMBDAS)
        work = _Regressions(data, design, which, lam)
        fits = [Fit(k, partial(work.course, k), partial(work.grid, k)) for k in range(which.size)]
        n = int(np.count_nonzero(design.weight))
        done = fit_all(data, fits, Together(options.listener, which.size))
        found = [_chosen(space, lambdas, fitted, n, int(j))
                 for space, j, (lambdas, fitted) in zip(work.spaces, which, done, strict=True)]  # fmt: skip
        cost = (data.exchange.passes, data.exchange.rounds, time.perf_counter() - started)
        options.listener(FitFinished(which.size * _LAMBDAS, *cost, "complete"))
    gap = max(node.gap for node in found)
    if gap > options.tol:
        warn(f"node-wise regressions stopped above tol={options.tol:g} (largest gap {gap:.2e})")
    return found


class _Regressions:
    """The regressions of some columns on opened data."""

    def __init__(self, data: Opened, design: Design, which: Ints, lam: float | None) -> None:
        self._data, self._which, self._lam = data, which, lam
        found = data.measure(range(which.size))
        if design.imputation is not None:  # missing values are what they were in the model, whatever the weights here
            found = [own.filled(design.imputation.fill) for own in found]
        self.spaces = [replace(space, imputation=design.imputation) for space in data.centred(found)]
        data.exchange.imputation = design.imputation
        self._varying = np.flatnonzero(~self.spaces[0].constant)
        self._gram = fetch_gram(data.exchange, self.spaces[0], self._varying) if data.shared else None

    def course(self, k: int, exchange: Exchange) -> Course:
        """One of them: its own column is excluded."""
        factors = np.ones(self._data.dataset.shape[1])
        factors[self._which[k]] = np.inf
        data = replace(self._data, options=replace(self._data.options, penalty_factors=factors))
        task = data.task(self.spaces[k], data.rows[k], exchange)
        if self._gram is not None:
            places = np.searchsorted(self._varying, task.keep)
            task = replace(task, gram=np.ascontiguousarray(self._gram[np.ix_(places, places)]))
        return Course(task, data.make, shared=data.shared)

    def grid(self, k: int, top: float | None) -> Floats:
        """Its lambdas, from the one where the first coefficient comes in."""
        scale = float(np.sqrt(self.spaces[k].yy))
        if self._lam is not None:
            return np.array([self._lam * scale])
        if top is None or top <= 1e-12 * scale:
            return np.array([scale])  # nothing is correlated with the column: it is left as it is
        return self._data.options.grid.at(top, self._data.dataset.shape)


def _chosen(space: Space, lambdas: Floats, fitted: Fitted, n: int, column: int) -> Node:
    """What the regression of one column came to, at the lambda that the two factors choose."""
    solutions = fitted.solutions
    zz = 2.0 * np.array(solutions.value)
    zx = np.array([space.yy - float(row.data @ space.g0[row.indices]) for row in solutions.coef])
    likeness = lambdas[: zz.size] / np.sqrt(np.maximum(zz, 1e-300))  # largest correlation of z with another column
    there = (zz > _NOTHING * space.yy) & (zx > _NOTHING * space.yy)
    alike = lambdas.size > 1 and float(np.min(likeness[there], initial=1.0)) > _ALIKE
    if not there.any() or alike:
        raise InputError(f"column {column} is a combination of others: nothing is left of it to tell its coefficient from")
    tau = np.where(there, np.sqrt(zz) / np.where(there, zx, 1.0), np.inf)
    k = tuned(np.where(there, np.sqrt(n) * likeness, np.inf), tau, np.sqrt(2.0 * np.log(max(space.sd.size, 2))))
    row = solutions.coef[k]
    return Node(row.indices.astype(np.int64), row.data, float(zz[k]), float(zx[k]), float(lambdas[k]), float(solutions.gap[k]))


def tuned(eta: Floats, tau: Floats, limit: float) -> int:
    """Index of the lambda that two factors choose: Zhang & Zhang (2014), table 1.

    Parameters
    ----------
    eta, tau : float64 [k]
        Bias and noise factor.
    limit : float
        What the bias factor should not pass.
    """
    if not (eta <= limit).any():
        limit = (1.0 + _MORE_BIAS) * float(eta.min())
    enough = (1.0 + _MORE_NOISE) * float(tau[eta <= limit].min())
    return int(np.argmin(np.where(tau <= enough, eta, np.inf)))
