"""``fit``, ``cv`` and ``predict``: models.

Read next: ``../path/fit.py``, ``../path/selection.py``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

import distlasso as dl
from distlasso.cli.place import (
    Overwrite,
    Runtime,
    Scheduler,
    TlsCa,
    TlsCert,
    TlsFlag,
    TlsKey,
    Workers,
    a_runtime,
    check_output,
    tls_of,
)
from distlasso.cli.predictions import check_suffix, write_predictions
from distlasso.cli.show import Json, show, table_of_path, table_of_scores
from distlasso.cli.stopping import CheckpointDir, Resume, check_checkpoint, stoppable
from distlasso.errors import InputError, note
from distlasso.progress import Progress

Store = Annotated[str, typer.Argument(help="A store.")]
Out = Annotated[str, typer.Option(help="Where the model goes.")]
Loss = Annotated[str, typer.Option(help="squared, logistic, poisson or huber.")]
Solver = Annotated[str, typer.Option(help="auto, bcd, admm or fista.")]
Lambdas = Annotated[str | None, typer.Option(help="Penalty strengths, separated by commas.")]
NLambdas = Annotated[int, typer.Option(help="Length of the geometric grid.")]
LambdaMinRatio = Annotated[float | None, typer.Option(help="Smallest over largest lambda.")]
Standardize = Annotated[bool, typer.Option(help="Penalise columns of unit standard deviation.")]
Intercept = Annotated[bool, typer.Option(help="Fit an intercept.")]
Tol = Annotated[float, typer.Option(help="Duality gap to reach, relative to half the null deviance.")]
MaxActive = Annotated[int | None, typer.Option(help="End the path before more coefficients are nonzero.")]
TimeLimit = Annotated[float | None, typer.Option(help="Seconds; what is certified by then is the model.")]
Memory = Annotated[str | None, typer.Option(help="Refuse a fit projected to hold more beside the data.")]

SCHEDULES: dict[str, Callable[[], Any]] = {
    "none": lambda: None, "prune-refine": dl.PruneRefine, "relaxed": dl.Relaxed, "mcp": dl.MCP, "scad": dl.SCAD,
    "adaptive": dl.Adaptive,
}  # fmt: skip


def fit(
    store: Store,
    out: Out,
    loss: Loss = "squared",
    solver: Solver = "auto",
    l1_ratio: Annotated[float, typer.Option(help="1 is the lasso, 0 is ridge.")] = 1.0,
    lambdas: Lambdas = None,
    n_lambdas: NLambdas = 100,
    lambda_min_ratio: LambdaMinRatio = None,
    standardize: Standardize = True,
    intercept: Intercept = True,
    tol: Tol = 1e-6,
    max_active: MaxActive = None,
    time_limit: TimeLimit = None,
    memory: Memory = None,
    runtime: Runtime = "dask",
    scheduler: Scheduler = None,
    workers: Workers = None,
    tls: TlsFlag = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    checkpoint: CheckpointDir = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Fit a regularisation path; every solution carries its duality gap."""
    check_output(out, overwrite=overwrite)
    check_checkpoint(checkpoint, resume=resume)
    dataset, grid = dl.open_dataset(store), _numbers("--lambdas", lambdas)
    encryption = tls_of(tls, tls_ca, tls_cert, tls_key)
    with (
        stoppable(checkpoint), a_runtime(runtime, scheduler, workers, encryption) as place,
        Progress(enabled=not json_) as progress,
    ):  # fmt: skip
        path = dl.fit_path(
            dataset, loss=loss, solver=solver, l1_ratio=l1_ratio, lambdas=grid, n_lambdas=n_lambdas,
            lambda_min_ratio=lambda_min_ratio, standardize=standardize, fit_intercept=intercept, tol=tol,
            max_active=max_active, time_limit=time_limit, memory=memory, runtime=place,
            checkpoint=checkpoint, on_event=progress,
        )  # fmt: skip
    path.save(out, overwrite=overwrite)
    if json_:
        print(json.dumps(path.summary() | {"model": out}))
    else:
        table_of_path(path)


def cv(
    store: Store,
    out: Out,
    folds: Annotated[int | None, typer.Option(help="How many; by default those that the store has, else 10.")] = None,
    rule: Annotated[str, typer.Option(help="min or 1se.")] = "min",
    score: Annotated[str | None, typer.Option(help="mse, mae, r2, loss, deviance; auc, accuracy, log_loss for classes.")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"{', '.join(SCHEDULES)}; several, separated by commas.")] = None,
    l1_ratio: Annotated[str, typer.Option(help="1 is the lasso, 0 is ridge; several, separated by commas.")] = "1",
    max_features: Annotated[int | None, typer.Option(help="Choose among models of at most so many features.")] = None,
    random_state: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    loss: Loss = "squared",
    solver: Solver = "auto",
    lambdas: Lambdas = None,
    n_lambdas: NLambdas = 100,
    lambda_min_ratio: LambdaMinRatio = None,
    standardize: Standardize = True,
    intercept: Intercept = True,
    tol: Tol = 1e-6,
    max_active: MaxActive = None,
    time_limit: TimeLimit = None,
    memory: Memory = None,
    runtime: Runtime = "dask",
    scheduler: Scheduler = None,
    workers: Workers = None,
    tls: TlsFlag = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    checkpoint: CheckpointDir = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Choose a model by cross-validation; all folds share every pass over the data."""
    check_output(out, overwrite=overwrite)
    check_checkpoint(checkpoint, resume=resume)
    dataset, grid, ratios = dl.open_dataset(store), _numbers("--lambdas", lambdas), _numbers("--l1-ratio", l1_ratio)
    schedules = _schedules(schedule)
    encryption = tls_of(tls, tls_ca, tls_cert, tls_key)
    with (
        stoppable(checkpoint), a_runtime(runtime, scheduler, workers, encryption) as place,
        Progress(enabled=not json_) as progress,
    ):  # fmt: skip
        found = dl.cross_validate(
            dataset, folds=folds, rule=rule, score=score, schedule=schedules, l1_ratio=ratios, max_features=max_features,
            random_state=random_state, loss=loss, solver=solver, lambdas=grid, n_lambdas=n_lambdas,
            lambda_min_ratio=lambda_min_ratio, standardize=standardize, fit_intercept=intercept, tol=tol,
            max_active=max_active, time_limit=time_limit, memory=memory, runtime=place,
            checkpoint=checkpoint, on_event=progress,
        )  # fmt: skip
    found.save(out, overwrite=overwrite)
    if json_:
        print(json.dumps(found.summary() | {"model": out}))
    else:
        table_of_scores(found)


def predict(
    model: Annotated[str, typer.Argument(help="A model written by fit or cv.")],
    store: Annotated[str, typer.Argument(help="A store with the same columns.")],
    out: Annotated[str, typer.Option(help="Where the predictions go: .npy or .csv.")],
    lam: Annotated[
        float | None, typer.Option("--lambda", help="One lambda; by default the one that cv chose, or the whole path of fit.")
    ] = None,
    kind: Annotated[str, typer.Option("--type", help="link, response (means, probabilities) or class.")] = "link",
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Predict the rows of a store."""
    check_output(out, overwrite=overwrite)
    check_suffix(out)
    found = dl.load(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dl.InterpolationNote)  # it names an option of Python's
        predictions = found.predict(dl.open_dataset(store), lam=lam, type=kind)
    if lam is not None and not _path_of(found).has(lam):
        note(f"--lambda {lam} is between lambdas of {model}: coefficients are interpolated; `distlasso fit` with the options of "
             f"that model and --lambdas {lam} fits it")  # fmt: skip
    whole_path = lam is None and isinstance(found, dl.Path)
    write_predictions(out, predictions, _path_of(found).lambdas.tolist() if whole_path else None)
    lambdas = 1 if predictions.ndim == 1 else predictions.shape[1]
    show({"predictions": out, "rows": predictions.shape[0], "lambdas": lambdas, "type": kind}, json_)


def _path_of(model: dl.Path | dl.CrossValidation) -> dl.Path:
    return model if isinstance(model, dl.Path) else model.path


def _schedules(names: str | None) -> list[Any] | None:
    if names is None:
        return None
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in SCHEDULES:
            raise InputError(f"--schedule {name!r} is not known: use {', '.join(SCHEDULES)}")
    return [SCHEDULES[name]() for name in wanted]


def _numbers(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"{option} {text!r} are not numbers separated by commas") from None
