"""From the responses of a fit, one or several, to certified solutions: statistics, one grid for all, the batch loops.

Responses share the data, the penalty and the lambdas: every sweep serves all of them, each its own path, bit for bit the
one that it would have alone at these lambdas. Under ``multi_task`` they are one problem. Read next:
``../coordinator/drive.py`` (one path), ``../coordinator/lockstep.py`` (several at once).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator import drive
from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.form import Form
from distlasso.coordinator.lockstep import Lockstep
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.squared import fetch_gram
from distlasso.data.dataset import Dataset
from distlasso.data.statistics import Statistics
from distlasso.errors import CertificateWarning, InputError, ResourceError
from distlasso.events import BatchVerified, Event, Listener
from distlasso.queries import Moments

Floats = NDArray[np.float64]

CONSTANT = "constant target"


@dataclass(frozen=True, slots=True)
class Grid:
    """The lambdas as given, or how to choose them."""

    lambdas: Floats | None
    n_lambdas: int
    min_ratio: float | None

    @property
    def size(self) -> int:
        """Number of lambdas."""
        return self.n_lambdas if self.lambdas is None else int(self.lambdas.size)

    def at(self, lam_max: float, shape: tuple[int, int]) -> Floats:
        """The lambdas of a fit whose largest useful one is ``lam_max``."""
        if self.lambdas is not None:
            return self.lambdas
        if lam_max <= 0:
            raise InputError("no penalised column has any correlation with the target: pass explicit `lambdas`")
        n, p = shape
        ratio = self.min_ratio if self.min_ratio is not None else (1e-4 if n >= p else 1e-2)
        return np.asarray(lam_max * np.geomspace(1.0, ratio, self.n_lambdas))


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a path of one response came to."""

    solutions: drive.Solutions
    d0: float
    certificate: str
    solver: str


def statistics(dataset: Dataset, exchange: Exchange, total: float, count: int) -> list[Statistics]:
    """Stored statistics, or those of one pass for all responses, which also looks at every value."""
    if dataset.statistics is not None and count == 1:
        return [dataset.statistics.scaled(1.0 / total)]
    asks = [replace(exchange, rows=k).compose([Moments()]) for k in range(count)]
    found: list[Statistics] = [answer for (answer,) in exchange.send(asks)]
    first = found[0]
    absent_rows = dataset.sample_weight is not None and not dataset.sample_weight.all()
    finite = np.isfinite(first.m2).all() and np.isfinite(first.max_abs).all()
    if not dataset.validated and (absent_rows or not finite):
        _refuse_not_finite(dataset)
    if not np.isfinite(first.m2).all():
        raise InputError(f"column {int(np.argmin(np.isfinite(first.m2)))} overflows float64 when squared: rescale it")
    return found


def share_gram(tasks: Sequence[Task], exchange: Exchange, form: Form, solver: str) -> list[Task]:
    """Where the full Gram is the form of the problem, fetch it once for all responses."""
    if len(tasks) == 1 or form.kind != "gram" or solver not in ("auto", "bcd") or not exchange.loss.quadratic:
        return list(tasks)
    gram = fetch_gram(exchange, tasks[0].space, tasks[0].keep)
    return [replace(task, gram=gram) for task in tasks]


def fit_responses(
    tasks: Sequence[Task], make: Callable[[Task], tuple[Problem, str]], grid: Grid, lockstep: Lockstep, limits: drive.Limits
) -> tuple[Floats, list[Fitted]]:
    """Fit every response at the same lambdas; the largest is that of the response that needs the largest.

    Parameters
    ----------
    tasks : sequence of Task
        One a response, or one alone that stands for all.
    make : callable
        Makes the problem of a task, and says which solver runs it.
    grid, lockstep, limits
        The lambdas, who runs the fits, and when they end.

    Returns
    -------
    lambdas : float64
        All that were asked for.
    fitted : list of Fitted
        One a task, perhaps of fewer lambdas, where a limit was met.
    """
    built = lockstep.run([partial(make, task) for task in tasks])
    lambdas, highest = _choose(tasks, [problem for problem, _ in built], grid, lockstep)
    works: list[Callable[[], drive.Solutions]] = []
    for task, (problem, _), lam_max in zip(tasks, built, highest, strict=True):
        if lam_max is None:
            works.append(partial(null_models, task, problem, lambdas))
        else:
            works.append(partial(_drive, task, problem, lambdas, lam_max, limits))
    fitted = []
    for solutions, (problem, reason), lam_max in zip(lockstep.run(works), built, highest, strict=True):
        if not solutions.gap:
            raise ResourceError(f"{solutions.ended} before the first lambda was certified: allow more")
        certificate = CONSTANT if lam_max is None else problem.certificate
        fitted.append(Fitted(solutions, problem.d0, certificate, reason))
    return lambdas, fitted


def _choose(
    tasks: Sequence[Task], problems: Sequence[Problem], grid: Grid, lockstep: Lockstep
) -> tuple[Floats, list[float | None]]:
    """The lambdas, and the largest useful one of every response; None for a constant target."""
    gradients = lockstep.run([problem.null_gradient for problem in problems])
    found: list[float | None] = []
    for task, problem, gradient in zip(tasks, problems, gradients, strict=True):
        found.append(None if is_degenerate(task, problem) else _useful(task, gradient))
    constant = [k for k, lam_max in enumerate(found) if lam_max is None]
    if len(constant) == len(tasks):
        return lambdas_of_constant(grid), found
    if constant:
        _warn_constant(f" in columns {constant} of y")
    shape = (tasks[0].y.size, tasks[0].space.sd.size)
    return grid.at(max((lam_max for lam_max in found if lam_max is not None), default=0.0), shape), found


def lambdas_of_constant(grid: Grid) -> Floats:
    """The lambdas where nothing depends on them."""
    if grid.lambdas is None:
        raise InputError("constant target: every coefficient is 0 at any lambda; pass explicit `lambdas` for that model")
    _warn_constant()
    return grid.lambdas


def _warn_constant(which: str = "") -> None:
    text = f"constant target{which}: the null model is returned with gap 0"
    warnings.warn(text, CertificateWarning, stacklevel=6)


def largest(task: Task, problem: Problem) -> float:
    """Lambda at which the first coefficient comes in."""
    return _useful(task, problem.null_gradient())


def _useful(task: Task, gradient: Floats) -> float:
    return float(np.max(task.penalty.strength(gradient)[task.keep], initial=0.0))


def _drive(task: Task, problem: Problem, lambdas: Floats, lam_max: float, limits: drive.Limits) -> drive.Solutions:
    return drive.fit(task, problem, lambdas, lam_max, task.exchange.listener, limits)


def is_degenerate(task: Task, problem: Problem) -> bool:
    """Whether the null model leaves nothing to explain, but for rounding."""
    return problem.d0 <= 0.5e-28 * max(task.space.y_centre**2, 1e-280) or not problem.d0 > 0


def null_models(task: Task, problem: Problem, lambdas: Floats) -> drive.Solutions:
    """The null model at every lambda."""
    k, level = lambdas.size, problem.null_intercept
    empty = sp.csr_array((np.size(level), task.space.sd.size))
    return drive.Solutions([empty] * k, [level] * k, [0.0] * k, [0.0] * k)


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


@dataclass(slots=True)
class Together:
    """Announces the progress of several responses as that of one path of all their lambdas."""

    listener: Listener
    count: int
    accepted: dict[int, int] = field(default_factory=dict)

    def announce(self, fit: int, event: Event) -> None:
        """Pass on an event of one response."""
        if isinstance(event, BatchVerified):
            self.accepted[fit] = event.n_accepted
            done = sum(self.accepted.values())
            event = replace(event, n_accepted=done, n_lambdas=event.n_lambdas * self.count)
        self.listener(event)
