"""The options of a fit, checked once, before anything is read.

Read next: ``opened.py`` (what they are applied to), ``fit.py`` (their meaning).
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator import drive
from distlasso.coordinator.build import SOLVERS
from distlasso.coordinator.space import Space
from distlasso.data.chunks import parse_bytes
from distlasso.errors import InputError
from distlasso.events import Listener, ignore
from distlasso.losses import Loss, as_loss
from distlasso.path.grid import Grid
from distlasso.penalties import ElasticNet
from distlasso.priors import Gaussian, Laplace, Prior, noise_variance
from distlasso.runtime.local import Runtime
from distlasso.schedules.schedule import Schedule, as_schedule

Floats = NDArray[np.float64]

LARGEST_SEED = 2**32 - 1  # scikit-learn's and NumPy's


@dataclass(frozen=True, slots=True)
class Options:
    """What ``fit_path`` and ``cross_validate`` were asked to do; see there."""

    loss: Loss
    l1_ratio: float
    prior: Prior | None
    penalty_factors: Any
    bounds: Any
    schedule: Schedule | None
    multi_task: bool
    grid: Grid
    standardize: bool
    fit_intercept: bool
    solver: str
    tol: float
    limits: drive.Limits
    runtime: str | Runtime | None
    client: Any
    memory: int | None
    listener: Listener
    init: Any = None

    @property
    def by_rounds(self) -> bool:
        """Whether sums over the strong columns are asked for in rounds: any loss but squared, any solver but ``bcd``."""
        return not self.loss.quadratic or self.solver not in ("auto", "bcd")

    def penalty(self, space: Space) -> tuple[ElasticNet, NDArray[np.bool_]]:
        """The penalty in the space of a fit, and which columns it excludes.

        Raises
        ------
        InputError
            If factors or bounds do not fit the columns.
        """
        p = space.sd.size
        v = np.ones(p) if self.penalty_factors is None else _numbers("penalty_factors", self.penalty_factors)
        if v.shape != (p,):
            raise InputError(f"penalty_factors has shape {v.shape}, expected ({p},)")
        if np.isnan(v).any() or (v < 0).any():
            raise InputError(f"penalty_factors[{int(np.argmax(np.isnan(v) | (v < 0)))}] is negative or NaN")
        excluded = np.isinf(v)
        v = np.where(excluded, 1.0, v)
        low, high = self._bounds(p)
        scale = np.where(space.constant, 1.0, space.sd) if self.standardize else np.ones(p)
        return ElasticNet(self.l1_ratio, scale, v, low, high), excluded

    def _bounds(self, p: int) -> tuple[Floats, Floats]:
        if self.bounds is None:
            return np.full(p, -np.inf), np.full(p, np.inf)
        try:
            low, high = self.bounds
        except (TypeError, ValueError) as error:
            raise InputError(f"bounds={self.bounds!r} is not a pair (low, high)") from error
        both = []
        for name, given in (("low", low), ("high", high)):
            values = _numbers(f"the {name} bounds", given)
            if values.shape not in ((), (p,)):
                raise InputError(f"the {name} bounds have shape {values.shape}, expected one number or ({p},)")
            both.append(np.broadcast_to(values, (p,)).copy())
        if not ((both[0] <= 0) & (both[1] >= 0)).all():
            raise InputError("bounds must satisfy low <= 0 <= high for every coefficient")
        return both[0], both[1]


def parse(
    started: float, *, loss: Any = "squared", l1_ratio: Any = 1.0, prior: Any = None, penalty_factors: Any = None,
    bounds: Any = None, schedule: Any = None, multi_task: Any = False, lambdas: Any = None, n_lambdas: Any = 100,
    lambda_min_ratio: Any = None, standardize: Any = True, fit_intercept: Any = True, solver: Any = "auto",
    tol: Any = 1e-6, max_active: Any = None, time_limit: Any = None, runtime: Any = None,
    client: Any = None, memory: Any = None, on_event: Any = None, init: Any = None,
) -> Options:  # fmt: skip
    """Check options as users give them; ``started`` is when the fit began, of time.perf_counter.

    Raises
    ------
    InputError
        For the first option that cannot be used.
    """
    chosen = as_loss(loss)
    ratio = number("l1_ratio", l1_ratio, lambda a: 0.0 <= a <= 1.0, "in [0, 1]")
    gap = number("tol", tol, lambda t: 0.0 < t < 1.0, "in (0, 1): it is a duality gap relative to the null deviance")
    least = None
    if lambda_min_ratio is not None:
        least = number("lambda_min_ratio", lambda_min_ratio, lambda r: 0.0 < r < 1.0, "in (0, 1)")
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise InputError(f"solver={solver!r} is not known: use one of {', '.join(SOLVERS)}")
    most = None if max_active is None else whole("max_active", max_active, "number of coefficients")
    seconds = None
    if time_limit is not None:
        seconds = number("time_limit", time_limit, lambda s: s > 0, "that is positive, in seconds")
    _check_prior(prior, chosen.name, {"lambdas": lambdas, "lambda_min_ratio": lambda_min_ratio, "schedule": schedule,
                                      "l1_ratio": None if ratio == 1.0 else ratio})  # fmt: skip
    if on_event is not None and not callable(on_event):
        raise InputError(f"on_event={on_event!r} is not a function of an event")
    return Options(
        chosen, ratio, prior, penalty_factors, bounds, as_schedule(schedule), flag("multi_task", multi_task),
        Grid(explicit(lambdas), whole("n_lambdas", n_lambdas, "number"), least), flag("standardize", standardize),
        flag("fit_intercept", fit_intercept), solver, gap, drive.Limits(most, None if seconds is None else started + seconds),
        runtime, client, None if memory is None else parse_bytes(memory), on_event or ignore, init,
    )  # fmt: skip


def number(name: str, value: Any, good: Callable[[float], bool], expected: str) -> float:
    """A number that passes a test, or what is wrong with it."""
    if isinstance(value, str | bytes) or not isinstance(value, numbers.Real | np.generic) or not good(float(value)):
        raise InputError(f"{name}={value!r} is not a number {expected}")
    return float(value)


def whole(name: str, value: Any, what: str) -> int:
    """A positive whole number of something, or what is wrong with it."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or int(value) != value or value < 1:
        raise InputError(f"{name}={value!r} is not a positive whole {what}")
    return int(value)


def seed(value: Any) -> int:
    """What random numbers are drawn from, or what is wrong with it."""
    try:
        found = operator.index(value)
    except TypeError:
        found = -1
    if isinstance(value, bool) or not 0 <= found <= LARGEST_SEED:
        raise InputError(f"random_state={value!r} is not a whole number from 0 to {LARGEST_SEED}")
    return found


def flag(name: str, value: Any) -> bool:
    """True or False, or what is wrong with it."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    try:
        bit = operator.index(value)
    except TypeError:
        bit = -1
    if bit not in (0, 1):
        raise InputError(f"{name}={value!r} is neither True nor False")
    return bool(bit)


def explicit(lambdas: Any) -> Floats | None:
    """Lambdas as given, descending, each once."""
    if lambdas is None:
        return None
    values = np.atleast_1d(_numbers("lambdas", lambdas))
    if values.ndim != 1:
        raise InputError(f"lambdas has shape {values.shape}, expected one list of numbers")
    if values.size == 0:
        raise InputError("lambdas is empty: give at least one positive number")
    bad = np.flatnonzero(~np.isfinite(values) | (values <= 0))
    if bad.size:
        raise InputError(f"lambdas[{bad[0]}] = {values[bad[0]]}: every lambda must be a positive finite number")
    return np.unique(values)[::-1].copy()


def _numbers(name: str, given: Any) -> Floats:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be read as numbers: {error}") from error


def _check_prior(prior: Any, loss: str, rest: Mapping[str, Any]) -> None:
    if prior is None:
        return
    if not isinstance(prior, Laplace | Gaussian):
        raise InputError(f"prior={prior!r} is not a prior: use dl.Laplace(scale) or dl.Gaussian(scale)")
    for name, value in rest.items():
        if value is not None:
            raise InputError(f"prior and {name} were both given: a prior implies its own penalty, leave {name} out")
    noise_variance(prior, loss)
