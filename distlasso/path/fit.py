"""``fit_path``: one path for every response, each solution certified.

Read next: ``opened.py`` (data that can be asked), ``course.py`` (one path), ``../coordinator/drive.py`` (the batch loop).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.build import build_multi_task
from distlasso.coordinator.lockstep import Lockstep
from distlasso.coordinator.squared import fetch_gram
from distlasso.errors import InputError, warn
from distlasso.events import Listener
from distlasso.losses import Loss
from distlasso.path.again import Again
from distlasso.path.course import Course, Fitted, grids, highest
from distlasso.path.grid import Grid, warn_constant
from distlasso.path.opened import Kept, Opened, as_dataset, opened, outputs_of, row_spaces, row_weights
from distlasso.path.options import Options, parse
from distlasso.path.outputs import Outputs, gather_outputs
from distlasso.path.plan import at_once, turns
from distlasso.path.progress import Together
from distlasso.path.result import Path
from distlasso.path.stages import MAX_STAGES
from distlasso.path.start import starts
from distlasso.priors import Prior, describe, noise_variance
from distlasso.runtime.local import Runtime
from distlasso.schedules.unknown_noise import UnknownNoise

Floats = NDArray[np.float64]


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
    init: Any = None,
    random_state: int = 0,
    runtime: str | Runtime | None = None,
    client: Any = None,
    memory: str | int | None = None,
    checkpoint: Any = None,
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
    init : Path, CrossValidation or float [p], optional
        Where to begin: solutions of an earlier fit, or coefficients on the original scale. They save passes, by whom is looked
        at first; the solutions are certified as ever, and the same to the tolerance.
    random_state : int
        Seed of everything random (nothing in this solver is).
    runtime : {"serial", "threads", "dask"} or Runtime, optional
        Where passes run; by default ``threads``, or ``dask`` when ``client`` is given.
    client : distributed.Client, optional
        Cluster for the ``dask`` runtime.
    memory : str or int, optional
        Bytes that this process may hold beside the data, tiles that are being read not counted. A fit that is projected
        to need more works on blocks of the strong set, in more rounds, and is refused where these do not fit either.
    checkpoint : path, optional
        Folder where every answer of the runtime is kept, so that the same call after the death of this process goes on from
        there, to the same bits, on whatever number of workers. It is small beside the data, is left behind when the fit has
        ended, and is not to be shared with whom one does not trust: numbers in it are believed.
    on_event : callable, optional
        Receives every event of the fit.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For data or options that cannot be used, with the culprit named; a checkpoint of another fit is one.
    ResourceError
        If the projected memory is beyond ``memory`` in any form, or ``time_limit`` ends before the first lambda.
    ResumableError
        With ``checkpoint``: if the scheduler, the data or the disk of the checkpoint fails in mid-fit.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> path = dl.fit_path(X, X @ [3.0, 0, 0, -2.0, 0], n_lambdas=20)
    >>> bool(path.converged.all())
    True
    """
    started = time.perf_counter()
    options = parse(
        started, loss=loss, l1_ratio=l1_ratio, prior=prior, penalty_factors=penalty_factors, bounds=bounds, schedule=schedule,
        multi_task=multi_task, lambdas=lambdas, n_lambdas=n_lambdas, lambda_min_ratio=lambda_min_ratio,
        standardize=standardize, fit_intercept=fit_intercept, solver=solver, tol=tol, max_active=max_active,
        time_limit=time_limit, runtime=runtime, client=client, memory=memory, on_event=on_event, init=init,
    )  # fmt: skip
    dataset = as_dataset(data, y, sample_weight, offset)
    options = _for_outputs(options, outputs_of(dataset))
    with opened(dataset, options, lambda own: row_spaces(own, options.loss, intercept=options.fit_intercept),
                fits=1 if options.multi_task else outputs_of(dataset),
                kept=None if checkpoint is None else Kept(checkpoint, {"call": "fit_path"})) as data_open:  # fmt: skip
        path = _fit(data_open, started)

    def again(lam: float, near: Path) -> Path:
        return fit_path(
            data, y, loss=loss, l1_ratio=l1_ratio, penalty_factors=penalty_factors, bounds=bounds, schedule=schedule,
            multi_task=multi_task, lambdas=[lam], standardize=standardize, fit_intercept=fit_intercept,
            sample_weight=sample_weight, offset=offset, solver=solver, tol=tol, init=None if multi_task else near,
            runtime=runtime, client=client, memory=memory,
        )  # fmt: skip

    return replace(path, again=Again(again))


def _fit(data: Opened, started: float) -> Path:
    options, exchange, total = data.options, data.exchange, row_weights(data.dataset)[1]
    variance = None if options.prior is None else noise_variance(options.prior, options.loss.name)
    if options.prior is not None:
        options = _of_prior(options, options.prior, variance, total)
        data = replace(data, options=options)
    if data.dataset.statistics is not None and len(data.rows) == 1:
        found = [data.dataset.statistics.scaled(1.0 / total)]
    else:
        found = data.measure(range(len(data.rows)))
    spaces = data.centred(found)
    paths = 1 if options.multi_task else len(data.rows)
    data.announce(options.grid.size * paths)
    lockstep = Lockstep(exchange, paths, at_once=at_once(data.dataset.shape), turns=turns(data.dataset.shape),
                        announce=Together(options.listener, paths).announce)  # fmt: skip
    asks = [replace(exchange, rows=k, fit=k) for k in range(len(data.rows))] if options.multi_task else lockstep.exchanges
    asks[0] = exchange if options.multi_task else asks[0]
    tasks = [data.task(*each) for each in zip(spaces, data.rows, asks, strict=True)]
    if options.multi_task:
        courses = [Course(tasks[0], lambda task: build_multi_task(tasks, data.form))]
    else:
        if len(tasks) > 1 and data.takes_gram:
            gram = fetch_gram(exchange, tasks[0].space, tasks[0].keep)
            tasks = [replace(task, gram=gram) for task in tasks]
        begins = starts(options.init, data.dataset.shape[1], len(tasks))
        courses = [Course(task, data.make, (options.schedule,), weight=total, shared=data.shared, start=start)
                   for task, start in zip(tasks, begins, strict=True)]  # fmt: skip
    lambdas, fitted = _run(courses, lockstep, options)
    result = gather_outputs(lambdas, fitted)
    _warn(data, result, fitted)
    stated = "" if options.prior is None else _stated(options.prior, float(result.lambdas[0]), variance, total)
    schedule = "" if options.schedule is None or options.prior is not None else repr(options.schedule)
    return data.path(result, np.flatnonzero(spaces[0].constant), lambdas.size, started, prior=stated, schedule=schedule)


def _run(courses: Sequence[Course], lockstep: Lockstep, options: Options) -> tuple[Floats, list[Fitted]]:
    """Fit every course at the same lambdas: those of the response that needs the largest."""
    tops = [top for (top,) in lockstep.run([course.begin for course in courses])]
    constant = [k for k, top in enumerate(tops) if top is None]
    top, grid = highest(tops), options.grid
    if isinstance(options.schedule, UnknownNoise) and top is not None:
        grid = Grid(np.array([courses[0].strength()]), 1, None)
    (lambdas,) = grids(grid, [top], courses[0].task)
    if constant:
        warn_constant("" if len(constant) == len(courses) else f" in columns {constant} of y")
    follow = not isinstance(options.schedule, UnknownNoise)
    works = [partial(course.run, [lambdas], options.limits, follow=follow) for course in courses]
    return lambdas, [one for (one,) in lockstep.run(works)]


def _for_outputs(options: Options, outputs: int) -> Options:
    """Refuse what several responses cannot have; one response is not multi-task."""
    if outputs == 1:
        return replace(options, multi_task=False)
    for name, value in (("prior", options.prior), ("schedule", options.schedule)):
        if value is not None:
            raise InputError(f"{name}= is for one response, and y has {outputs}: fit them one by one")
    if not options.multi_task:
        return options
    if not options.loss.quadratic:
        raise InputError(f"multi_task=True is for squared loss, not {options.loss.name}: fit the responses without it")
    if options.bounds is not None:
        raise InputError("multi_task=True knows no bounds: a row of coefficients is penalised by its length")
    if options.init is not None:
        raise InputError("init= is for coefficients with penalties of their own: leave it out of a multi-task fit")
    if options.solver not in ("auto", "bcd"):
        raise InputError(f"multi_task=True is solved by 'bcd', not by {options.solver!r}")
    return options


def _of_prior(options: Options, prior: Prior, variance: float | None, total: float) -> Options:
    """The penalty that a prior implies; where its noise is not known, fits before the path find it."""
    lambdas = None if variance is None else np.array([prior.lam(variance, total)])
    schedule = UnknownNoise(prior) if variance is None else None
    return replace(options, l1_ratio=prior.l1_ratio, grid=Grid(lambdas, 1, None), schedule=schedule)


def _stated(prior: Prior, lam: float, variance: float | None, total: float) -> str:
    estimated = lam / prior.lam(1.0, total)
    return describe(prior, lam, estimated if variance is None else variance, estimated=variance is None)


def _warn(data: Opened, result: Outputs, fitted: Sequence[Fitted]) -> None:
    """Say which solutions are not what was asked for."""
    data.warn_above(result.gap)
    if fitted[0].unsettled:
        warn(f"schedule={data.options.schedule!r} was stopped after {MAX_STAGES} fits at {fitted[0].unsettled} of "
             f"{result.gap.size} lambdas, before it settled")  # fmt: skip
