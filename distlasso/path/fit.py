"""``fit_path``: checks what it is given, plans, runs the coordinator, and returns a ``Path``.

Read next: ``coordinator/drive.py``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from distlasso.coordinator import drive
from distlasso.coordinator.build import SOLVERS, build, build_multi_task
from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.form import Form
from distlasso.coordinator.lockstep import Lockstep
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.space import Space, centre
from distlasso.data.chunks import parse_bytes
from distlasso.data.dataset import Dataset, is_dask
from distlasso.errors import CertificateWarning, InputError, ResourceError
from distlasso.events import FitFinished, FitStarted, Listener, ignore
from distlasso.losses import Loss, as_loss
from distlasso.path.history import no_records
from distlasso.path.memory import peak_bytes, resident_bytes
from distlasso.path.outputs import gather_outputs
from distlasso.path.plan import Projection, at_once, project
from distlasso.path.responses import Grid, Together, fit_responses, share_gram, statistics
from distlasso.path.result import Path
from distlasso.path.schedules import Schedule, UnknownNoise, as_schedule
from distlasso.path.staged import Plan, fit_in_stages
from distlasso.path.stages import MAX_STAGES
from distlasso.penalties import ElasticNet
from distlasso.priors import Gaussian, Laplace, Prior, describe, noise_variance
from distlasso.runtime.chunks import Chunks, from_chunks
from distlasso.runtime.local import Local, RowSpace, Runtime, serial, threads
from distlasso.runtime.plan import plan_bundles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def fit_path(
    data: Any,
    y: Any = None,
    *,
    loss: str | Loss = "squared",
    l1_ratio: float = 1.0,
    prior: Prior | None = None,
    penalty_factors: Any = None,
    bounds: tuple[Any, Any] | None = None,
    schedule: Any = None,
    multi_task: bool = False,
    lambdas: Any = None,
    n_lambdas: int = 100,
    lambda_min_ratio: float | None = None,
    standardize: bool = True,
    fit_intercept: bool = True,
    sample_weight: Any = None,
    offset: Any = None,
    solver: str = "auto",
    tol: float = 1e-6,
    max_active: int | None = None,
    time_limit: float | None = None,
    random_state: int = 0,
    runtime: str | Runtime | None = None,
    client: Any = None,
    memory: str | int | None = None,
    on_event: Listener | None = None,
) -> Path:
    """Fit a regularisation path, each solution certified by its duality gap.

    Minimises ``(1/W) sum_i w_i loss(y_i, o_i + b0 + x_i b) + lam sum_j v_j (a |s_j b_j| + (1-a)/2 (s_j b_j)^2)``
    for each ``lam`` (glmnet's lambda, scikit-learn's alpha), W the sum of the weights, s_j the population standard
    deviation of column j if ``standardize`` and 1 otherwise (Friedman, Hastie & Tibshirani 2010).

    Parameters
    ----------
    data : Dataset, array [n, p] or scipy.sparse matrix [n, p]
        Features; float64, float32, int8 and uint8 are used as they are stored. A value that a Dataset marks as missing
        counts as the weighted mean of its column over all rows of the fit that have one.
    y : float [n] or [n, q], optional
        Target; by default the one stored in the Dataset. Several responses have a path each, at the same lambdas; one
        pass over the data serves all of them.
    loss : {"squared", "logistic", "poisson", "huber"} or Huber
        Negative log-likelihood per row: ``(y - eta)^2 / 2``, ``log(1 + e^eta) - y eta`` (y 0 or 1), ``e^eta - y eta``,
        or Huber's with ``dl.Huber(delta)``.
    l1_ratio : float
        ``a`` in [0, 1]: 1 is the lasso, 0 is ridge.
    prior : Laplace or Gaussian, optional
        Prior on the coefficients, instead of ``l1_ratio`` and ``lambdas``: one solution, at the lambda that it implies.
    penalty_factors : float [p], optional
        ``v_j >= 0``, taken as given: 0 is unpenalised, inf is excluded. (glmnet rescales them to sum to p.)
    bounds : (low, high), optional
        Bounds on coefficients on the original scale, scalars or [p], ``low <= 0 <= high``.
    schedule : MCP, SCAD, Adaptive, Relaxed, Thresholded, PruneRefine or callable, optional
        Further fits at every lambda, under penalties that depend on the last solution; a callable takes the last
        ``Stage`` and returns ``stage.then(weights, ...)`` or None.
    multi_task : bool
        Whether several responses share one penalty, ``||B_j||_2`` of the row of coefficients of column j in the place of
        ``|b_j|``, so that they have the same nonzero rows (squared loss, no bounds).
    lambdas : float [k], optional
        Penalty strengths; sorted descending, duplicates removed. Overrides the grid below.
    n_lambdas : int
        Length of the geometric grid from the largest useful lambda (of the response that needs the largest).
    lambda_min_ratio : float, optional
        Smallest over largest lambda; by default 1e-4 if n >= p, else 1e-2.
    standardize, fit_intercept : bool
        See the formula; the intercept is never penalised.
    sample_weight : float [n], optional
        Nonnegative; rows of weight 0 are as if absent.
    offset : float [n], optional
        Added to the linear predictor.
    solver : {"auto", "bcd", "admm", "fista", "ista"}
        ``bcd`` is block-coordinate descent; ``admm`` is consensus ADMM, whose rows stay where they are; ``fista`` is
        accelerated proximal gradient with adaptive restart, ``ista`` the same without acceleration: reference and fallback.
        What was chosen and why is in ``Path.solver``.
    tol : float
        Gap to reach, relative to half the null deviance per weight.
    max_active : int, optional
        End the path before a solution has more nonzero coefficients; what is returned is marked as incomplete.
    time_limit : float, optional
        Seconds after which no further batch of lambdas is begun; the certified prefix is returned, marked.
    random_state : int
        Seed of everything random (nothing in this solver is).
    runtime : {"serial", "threads", "dask"} or Runtime, optional
        Where passes run; by default ``threads``, or ``dask`` when ``client`` is given.
    client : distributed.Client, optional
        Cluster for the ``dask`` runtime.
    memory : str or int, optional
        Bytes that this process may hold beside the data, tiles that are being read not counted. A fit that is projected
        to need more works on blocks of the strong set, in more rounds, and is refused where these do not fit either.
    on_event : callable, optional
        Receives every event of the fit.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For data or options that cannot be used, with the culprit named.
    ResourceError
        If the projected memory is beyond ``memory`` in any form, or ``time_limit`` ends before the first lambda.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> path = dl.fit_path(X, X @ [3.0, 0, 0, -2.0, 0], n_lambdas=20)
    >>> bool(path.converged.all())
    True
    """
    started = time.perf_counter()
    listener = on_event or ignore
    chosen = as_loss(loss)
    _check_options(l1_ratio, tol, solver, n_lambdas, lambda_min_ratio)
    _check_prior(prior, chosen.name, {"lambdas": lambdas, "lambda_min_ratio": lambda_min_ratio, "schedule": schedule,
                                      "l1_ratio": None if l1_ratio == 1.0 else l1_ratio})  # fmt: skip
    penalties = as_schedule(schedule)
    dataset = _dataset(data, y, sample_weight, offset)
    _check_one_response(dataset, prior=prior, schedule=penalties)
    multi_task = multi_task and _several(dataset) > 1
    if multi_task:
        _check_multi_task(chosen, bounds, solver)
    limits = _limits(started, max_active, time_limit)
    grid = Grid(_explicit(lambdas), n_lambdas, lambda_min_ratio)
    n, p = dataset.shape
    sparse = dataset.encoding != "dense"
    place = _runtime(runtime, client, apart=isinstance(dataset.reader, Chunks))
    # A trial step that overflows is refused by its value; the user need not hear of it.
    with threadpool_limits(1, "blas"), np.errstate(over="ignore", invalid="ignore"):
        try:
            dataset = place.place(dataset)
            projection = project(
                dataset, 1 if multi_task else _several(dataset), by_rounds=not chosen.quadratic or solver not in ("auto", "bcd"),
                memory=None if memory is None or multi_task or solver == "admm" else parse_bytes(memory),
            )  # fmt: skip
            _check_memory(projection, memory)
            form = projection.form
            by_columns = form.kind == "residual" and dataset.row_bounds.size == 2 and dataset.col_bounds.size > 2
            by_columns = by_columns and solver != "admm"
            plan = plan_bundles(dataset.row_bounds, dataset.col_bounds, by_columns=by_columns, keep=projection.keep)
            rows, total = _rows(dataset, chosen, intercept=fit_intercept)
            place.open(dataset, plan, rows)
            exchange = Exchange(place, chosen, None, listener)
            found = statistics(dataset, exchange, total, len(rows))
            spaces = [centre(own, intercept=fit_intercept, sparse=sparse, narrow=dataset.dtype != np.float64,
                             missing_value=dataset.missing_value) for own in found]  # fmt: skip
            exchange.shift, exchange.imputation = spaces[0].shift, spaces[0].imputation
            planned = resident_bytes() + projection.coordinator_bytes + place.tiles_at_once() * projection.tile_bytes
            count = 1 if prior is not None else grid.size * (1 if multi_task else len(rows))
            listener(FitStarted(n, p, count, form.reason, planned))
            return _fit(dataset, spaces, grid, exchange, form, rows, by_columns, started,
                        l1_ratio=l1_ratio, factors=penalty_factors, bounds=bounds, standardize=standardize, tol=tol,
                        limits=limits, solver=solver, prior=prior, schedule=penalties, total=total,
                        multi_task=multi_task)  # fmt: skip
        finally:
            place.close()


def _fit(
    dataset: Dataset, spaces: list[Space], grid: Grid, exchange: Exchange, form: Form, rows: list[RowSpace],
    by_columns: bool, started: float, *, l1_ratio: float, factors: Any, bounds: tuple[Any, Any] | None,
    standardize: bool, tol: float, limits: drive.Limits, solver: str, prior: Prior | None, schedule: Schedule | None,
    total: float, multi_task: bool,
) -> Path:  # fmt: skip
    space, listener, variance = spaces[0], exchange.listener, None
    if prior is not None:
        variance, l1_ratio = noise_variance(prior, exchange.loss.name), prior.l1_ratio
        schedule = UnknownNoise(prior) if variance is None else None
        grid = Grid(None if variance is None else np.array([prior.lam(variance, total)]), 1, None)
    penalty, excluded = _penalty(dataset.shape[1], space, l1_ratio, factors, bounds, standardize)
    keep = np.flatnonzero(~space.constant & ~excluded)
    free = keep[penalty.at(1.0).take(keep).is_free()]
    paths = 1 if multi_task else len(rows)
    lockstep = Lockstep(exchange, paths, at_once=at_once(dataset.shape), announce=Together(listener, paths).announce)
    asks = [exchange, *(replace(exchange, rows=k) for k in range(1, len(rows)))] if multi_task else lockstep.exchanges
    sparse = dataset.encoding != "dense"
    tasks = [Task(mine, penalty, keep, free, ask, own.y, own.weight, own.offset, sparse, by_columns, tol)
             for mine, ask, own in zip(spaces, asks, rows, strict=True)]  # fmt: skip
    make: Callable[[Task], tuple[Problem, str]] = partial(build, form=form, solver=solver)
    staged = None
    if multi_task:
        lambdas, fitted = fit_responses(tasks[:1], lambda task: build_multi_task(tasks, form), grid, lockstep, limits)
    elif schedule is None:
        lambdas, fitted = fit_responses(share_gram(tasks, exchange, form, solver), make, grid, lockstep, limits)
    else:
        whole = form.kind == "gram" and exchange.loss.quadratic  # the Gram of all columns serves every fit
        plan = Plan(schedule, total, before=prior is not None, shared=whole)
        lambdas, one, staged = fit_in_stages(tasks[0], make, grid, plan, limits)
        fitted = [one]
    found = gather_outputs(lambdas, fitted)
    gap, converged = found.gap, found.gap <= tol
    if not converged.all():
        warnings.warn(
            f"{int((~converged).sum())} of {converged.size} solutions stopped above tol={tol:g} "
            f"(largest gap {float(gap.max()):.2e})", CertificateWarning, stacklevel=3,
        )  # fmt: skip
    if staged is not None and staged.unsettled:
        warnings.warn(
            f"schedule={schedule!r} was stopped after {MAX_STAGES} fits at {staged.unsettled} of {gap.size} lambdas, "
            "before it settled", CertificateWarning, stacklevel=3,
        )  # fmt: skip
    stated = ""
    if prior is not None:
        lam = float(lambdas[0])
        estimated = lam / prior.lam(1.0, total)
        stated = describe(prior, lam, estimated if variance is None else variance, estimated=variance is None)
    seconds = time.perf_counter() - started
    listener(FitFinished(converged.size, exchange.passes, exchange.rounds, seconds, found.ended or "complete"))
    return Path(
        lambdas=found.lambdas, coef=found.coef, intercept=found.intercept, gap=gap,
        deviance_ratio=found.deviance_ratio, converged=converged, certificate=found.certificate,
        dropped=np.flatnonzero(space.constant), feature_names=dataset.feature_names, passes=exchange.passes,
        rounds=exchange.rounds, bytes_read=exchange.runtime.bytes_read(), bytes_moved=exchange.runtime.bytes_moved(),
        seconds=seconds, peak_bytes=peak_bytes(), loss=exchange.loss.name, l1_ratio=l1_ratio, standardize=standardize,
        tol=tol, solver=found.solver, complete=found.lambdas.size == lambdas.size, null_deviance=found.d0,
        imputation=space.imputation, prior=stated, schedule="" if schedule is None or prior is not None else repr(schedule),
        stages=np.zeros(len(gap), dtype=np.int64) if staged is None else staged.counts,
        history=no_records() if staged is None else staged.history,
    )  # fmt: skip


def _check_memory(projection: Projection, memory: str | int | None) -> None:
    if memory is not None and projection.coordinator_bytes > parse_bytes(memory):
        raise ResourceError(
            f"the fit is projected to hold up to {projection.coordinator_bytes / 1e6:,.2f} MB beside the data, with "
            f"{projection.form.what}, beyond memory={memory}: allow more, or drop columns"
        )


def _limits(started: float, max_active: int | None, time_limit: float | None) -> drive.Limits:
    if max_active is not None and max_active < 1:
        raise InputError(f"max_active={max_active} is not a positive number of coefficients")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"time_limit={time_limit} is not a positive number of seconds")
    return drive.Limits(max_active, None if time_limit is None else started + time_limit)


def _check_options(l1_ratio: float, tol: float, solver: str, n_lambdas: int, ratio: float | None) -> None:
    if not 0.0 <= l1_ratio <= 1.0:
        raise InputError(f"l1_ratio={l1_ratio} is outside [0, 1]")
    if not 0.0 < tol < 1.0:
        raise InputError(f"tol={tol} is outside (0, 1): it is a duality gap relative to the null deviance")
    if solver not in SOLVERS:
        raise InputError(f"solver={solver!r} is not known: use one of {', '.join(SOLVERS)}")
    if int(n_lambdas) != n_lambdas or n_lambdas < 1:
        raise InputError(f"n_lambdas={n_lambdas} is not a positive whole number")
    if ratio is not None and not 0.0 < ratio < 1.0:
        raise InputError(f"lambda_min_ratio={ratio} is outside (0, 1)")


def _check_prior(prior: Prior | None, loss: str, rest: Mapping[str, Any]) -> None:
    if prior is None:
        return
    if not isinstance(prior, Laplace | Gaussian):
        raise InputError(f"prior={prior!r} is not a prior: use dl.Laplace(scale) or dl.Gaussian(scale)")
    for name, value in rest.items():
        if value is not None:
            raise InputError(f"prior and {name} were both given: a prior implies its own penalty, leave {name} out")
    noise_variance(prior, loss)


def _check_one_response(dataset: Dataset, **options: object) -> None:
    for name, value in options.items():
        if value is not None and dataset.y is not None and dataset.y.ndim == 2:
            raise InputError(f"{name}= is for one response, and y has {dataset.y.shape[1]}: fit them one by one")


def _several(dataset: Dataset) -> int:
    """Number of responses."""
    return 1 if dataset.y is None or dataset.y.ndim == 1 else int(dataset.y.shape[1])


def _check_multi_task(loss: Loss, bounds: object, solver: str) -> None:
    if not loss.quadratic:
        raise InputError(f"multi_task=True is for squared loss, not {loss.name}: fit the responses without it")
    if bounds is not None:
        raise InputError("multi_task=True knows no bounds: a row of coefficients is penalised by its length")
    if solver not in ("auto", "bcd"):
        raise InputError(f"multi_task=True is solved by 'bcd', not by {solver!r}")


def _explicit(lambdas: Any) -> Floats | None:
    if lambdas is None:
        return None
    try:
        values = np.atleast_1d(np.asarray(lambdas, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"lambdas cannot be read as numbers: {error}") from error
    if values.ndim != 1 or values.size == 0:
        raise InputError("lambdas is empty: give at least one positive number")
    bad = np.flatnonzero(~np.isfinite(values) | (values <= 0))
    if bad.size:
        raise InputError(f"lambdas[{bad[0]}] = {values[bad[0]]}: every lambda must be a positive finite number")
    return np.unique(values)[::-1].copy()


def _dataset(data: Any, y: Any, sample_weight: Any, offset: Any) -> Dataset:
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


def _rows(dataset: Dataset, loss: Loss, *, intercept: bool) -> tuple[list[RowSpace], float]:
    """Every response as the loss wants it, weights that sum to one, and the offset where it is not simply a part of y."""
    y, offset = np.asarray(dataset.y, dtype=np.float64), dataset.offset
    weight = np.ones(len(y)) if dataset.sample_weight is None else dataset.sample_weight
    total = float(np.sum(weight))
    rows = []
    for own in (y,) if y.ndim == 1 else np.ascontiguousarray(y.T):
        own = loss.target(own, weight, intercept=intercept)
        if loss.quadratic and offset is not None:
            own = own - offset
        rows.append(RowSpace(own, weight / total, None if loss.quadratic else offset))
    return rows, total


def _penalty(
    p: int, space: Space, l1_ratio: float, factors: Any, bounds: tuple[Any, Any] | None, standardize: bool
) -> tuple[ElasticNet, NDArray[np.bool_]]:
    v = np.ones(p) if factors is None else np.asarray(factors, dtype=np.float64)
    if v.shape != (p,):
        raise InputError(f"penalty_factors has shape {v.shape}, expected ({p},)")
    if np.isnan(v).any() or (v < 0).any():
        raise InputError(f"penalty_factors[{int(np.argmax(np.isnan(v) | (v < 0)))}] is negative or NaN")
    excluded = np.isinf(v)
    v = np.where(excluded, 1.0, v)
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    low = np.broadcast_to(np.asarray(low, dtype=np.float64), (p,)).copy()
    high = np.broadcast_to(np.asarray(high, dtype=np.float64), (p,)).copy()
    if not ((low <= 0) & (high >= 0)).all():
        raise InputError("bounds must satisfy low <= 0 <= high for every coefficient")
    scale = np.where(space.constant, 1.0, space.sd) if standardize else np.ones(p)
    return ElasticNet(l1_ratio, scale, v, low, high), excluded


def _runtime(runtime: str | Runtime | None, client: Any, *, apart: bool) -> Runtime:
    """Where to run; ``apart`` says that the data is a dask array, whose chunks are elsewhere."""
    name = runtime if runtime is not None else ("dask" if client is not None or apart else "threads")
    if apart and (name in ("serial", "threads") or isinstance(name, Local)):
        raise InputError("X is a dask array, whose chunks the workers hold: leave `runtime` out, or compute() X first")
    if not isinstance(name, str):
        return name
    if name == "dask":
        from distlasso.runtime.cluster import Cluster

        return Cluster(client)
    choices: Mapping[str, Any] = {"serial": serial, "threads": threads}
    if name not in choices:
        raise InputError(f"runtime={name!r} is not known: use 'serial', 'threads' or 'dask'")
    local: Runtime = choices[name]()
    return local
