"""The command line: ``demo``, ``ingest``, ``inspect``, ``fit``, ``predict``.

Each command is a thin face of one public function. Results go to standard output (``--json`` for machines), everything
else to standard error; bad input is one line and exit code 2. Read next: ``path/fit.py``, ``data/ingest.py``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import distlasso as dl
from distlasso.data.missing import spelled
from distlasso.errors import DistlassoError, InputError, StoreError
from distlasso.progress import Progress

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False,
    help="Certified L1-regularised paths on data that is too big for one machine's memory.",
)  # fmt: skip

Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, or its scheduler file.")]
Workers = Annotated[int | None, typer.Option(help="Workers of the embedded cluster; one a processor by default.")]


def main() -> None:
    """Run the command line; every error that has a name becomes one line and exit code 2."""
    warnings.showwarning = _one_line
    try:
        raise SystemExit(app(sys.argv[1:] or ["--help"], prog_name="distlasso", standalone_mode=False))
    except typer.TyperException as error:  # an unknown command or option, or a value of the wrong kind
        print(f"distlasso: {' '.join(error.format_message().split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except DistlassoError as error:
        print(f"distlasso: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("distlasso: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


@app.command()
def demo(
    directory: Annotated[str, typer.Option("--dir", help="Where store, model and picture go.")] = "distlasso-demo",
    scheduler: Scheduler = None,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Fit a certified lasso path to 327,346 flights on a local Dask cluster, from a table to a picture."""
    from distlasso.demo import run

    with _cluster(scheduler, workers) as cluster:
        summary = run(FilePath(directory), cluster, quiet=json_)
    if json_:
        print(json.dumps(summary))


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help=".npy, .npz, svmlight, CSV or Parquet.")],
    store: Annotated[str, typer.Argument(help="Where the store goes.")],
    target: Annotated[str | None, typer.Option(help="Name of the target column.")] = None,
    weight: Annotated[str | None, typer.Option(help="Name of the column of sample weights.")] = None,
    offset: Annotated[str | None, typer.Option(help="Name of the column of offsets.")] = None,
    fold: Annotated[str | None, typer.Option(help="Name of the column of cross-validation folds.")] = None,
    one_hot: Annotated[list[str] | None, typer.Option(help="Numeric column to encode as categories; repeat it.")] = None,
    encoding: Annotated[str, typer.Option(help="auto, dense, csr or csc.")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="float64, float32, int8 or uint8, of dense values.")] = None,
    chunks: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS of a chunk; planned by default.")] = None,
    missing: Annotated[str, typer.Option(help="error, mean, drop or keep.")] = "error",
    missing_value: Annotated[float | None, typer.Option(help="Value that means missing, with --missing keep.")] = None,
    memory: Annotated[str, typer.Option(help="Bytes of values held at once.")] = "1GB",
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Write a source to a chunked zarr store; killed half-way, the same command continues."""
    with Progress(enabled=not json_) as progress:
        dataset = dl.ingest(
            source, store, target=target, weight=weight, offset=offset, fold=fold, one_hot=one_hot,
            encoding=encoding, dtype=_dtype(dtype), chunks=_chunks(chunks), missing=missing, missing_value=missing_value,
            memory=memory, overwrite=overwrite, on_event=progress,
        )  # fmt: skip
    _show(_about(dataset), json_)


@app.command()
def inspect(store: Annotated[str, typer.Argument(help="A store.")], json_: Json = False) -> None:
    """Show shape, encoding, chunks and statistics of a store, and what a fit of it would cost."""
    dataset = dl.open_dataset(store)
    summary = _about(dataset)
    if dataset.statistics is not None:
        s = dataset.statistics
        constant = s.sd <= 1e-12 * s.max_abs
        summary |= {
            "target_mean": s.y_mean, "target_sd": float(np.sqrt(s.y_m2 / s.weight)),
            "constant_columns": int(constant.sum()), "missing_share": float(np.mean(1.0 - s.present / s.weight)),
            "largest_mean_over_sd": _largest_ratio(s, constant),
        }  # fmt: skip
    from distlasso.path.plan import project

    summary |= project(dataset).summary()
    _show(summary, json_)


@app.command()
def fit(
    store: Annotated[str, typer.Argument(help="A store.")],
    out: Annotated[str, typer.Option(help="Where the model goes.")],
    loss: Annotated[str, typer.Option(help="squared, logistic, poisson or huber.")] = "squared",
    solver: Annotated[str, typer.Option(help="auto, bcd, admm or fista.")] = "auto",
    l1_ratio: Annotated[float, typer.Option(help="1 is the lasso, 0 is ridge.")] = 1.0,
    lambdas: Annotated[str | None, typer.Option(help="Penalty strengths, separated by commas.")] = None,
    n_lambdas: Annotated[int, typer.Option(help="Length of the geometric grid.")] = 100,
    lambda_min_ratio: Annotated[float | None, typer.Option(help="Smallest over largest lambda.")] = None,
    standardize: Annotated[bool, typer.Option(help="Penalise columns of unit standard deviation.")] = True,
    intercept: Annotated[bool, typer.Option(help="Fit an intercept.")] = True,
    tol: Annotated[float, typer.Option(help="Duality gap to reach, relative to half the null deviance.")] = 1e-6,
    max_active: Annotated[int | None, typer.Option(help="End the path before more coefficients are nonzero.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds; what is certified by then is the model.")] = None,
    memory: Annotated[str | None, typer.Option(help="Refuse a fit projected to hold more beside the data.")] = None,
    runtime: Annotated[str, typer.Option(help="dask, threads or serial.")] = "dask",
    scheduler: Scheduler = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Fit a regularisation path; every solution carries its duality gap."""
    _check_output(out, overwrite=overwrite)
    dataset = dl.open_dataset(store)
    grid = _numbers(lambdas)
    with _runtime(runtime, scheduler, workers) as place, Progress(enabled=not json_) as progress:
        path = dl.fit_path(
            dataset, loss=loss, solver=solver, l1_ratio=l1_ratio, lambdas=grid, n_lambdas=n_lambdas,
            lambda_min_ratio=lambda_min_ratio, standardize=standardize, fit_intercept=intercept, tol=tol,
            max_active=max_active, time_limit=time_limit, memory=memory, runtime=place, on_event=progress,
        )  # fmt: skip
    path.save(out, overwrite=overwrite)
    if json_:
        print(json.dumps(path.summary() | {"model": out}))
    else:
        _table(path)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A model written by fit.")],
    store: Annotated[str, typer.Argument(help="A store with the same columns.")],
    out: Annotated[str, typer.Option(help="Where the predictions go: .npy.")],
    lam: Annotated[float | None, typer.Option("--lambda", help="One lambda; the whole path by default.")] = None,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Predict the rows of a store."""
    _check_output(out, overwrite=overwrite)
    if FilePath(out).suffix != ".npy":
        raise InputError(f"--out {out}: predictions are written as .npy")
    predictions = dl.load(model).predict(dl.open_dataset(store), lam=lam)
    wip = FilePath(out).with_name(f".{FilePath(out).name}.wip")
    try:
        with wip.open("wb") as file:
            np.save(file, predictions, allow_pickle=False)
        wip.replace(out)
    except OSError as error:
        wip.unlink(missing_ok=True)
        raise StoreError(f"cannot write {out}: {error.strerror or error}") from error
    _show({"predictions": out, "rows": predictions.shape[0], "lambdas": 1 if lam is not None else predictions.shape[1]}, json_)


def _check_output(out: str, *, overwrite: bool) -> None:
    """Refuse, before any work, an output that could not be written at its end."""
    try:
        place = FilePath(out)
        if place.exists() and not overwrite:
            raise StoreError(f"{out} exists already: choose another name or pass --overwrite")
        folder = next(parent for parent in place.absolute().parents if parent.exists())
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {out!r}: {getattr(error, 'strerror', None) or error}") from error
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StoreError(f"cannot write {out}: {folder} is not a folder that can be written to")


@contextmanager
def _cluster(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A Dask cluster, with its dashboard link on standard error."""
    with dl.Cluster(address=scheduler, n_workers=workers) as cluster:
        print(f"dashboard: {cluster.dashboard_link}", file=sys.stderr)
        yield cluster


@contextmanager
def _runtime(name: str, scheduler: str | None, workers: int | None) -> Iterator[Any]:
    if name != "dask" and scheduler is None:
        yield name
        return
    with _cluster(scheduler, workers) as cluster:
        yield cluster


def _about(dataset: dl.Dataset) -> dict[str, Any]:
    n, p = dataset.shape
    bounds = (dataset.row_bounds, dataset.col_bounds)
    return {
        "store": dataset.path, "rows": n, "columns": p, "encoding": dataset.encoding, "dtype": dataset.dtype.name,
        "stored_entries": dataset.nnz, "decoded_bytes": dataset.nbytes,
        "chunks": [cuts.size - 1 for cuts in bounds], "chunk_shape": [int(np.diff(cuts).max()) for cuts in bounds],
        "target": dataset.y is not None,
        "sample_weight": dataset.sample_weight is not None, "offset": dataset.offset is not None,
        "fold": dataset.fold is not None, "feature_names": dataset.feature_names is not None,
        "missing_value": spelled(dataset.missing_value), "fingerprint": dataset.fingerprint,
    }  # fmt: skip


def _largest_ratio(statistics: Any, constant: Any) -> float:
    ratio = np.divide(np.abs(statistics.mean), statistics.sd, out=np.zeros(constant.size), where=~constant)
    return float(ratio.max(initial=0.0))


def _show(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    width = max(len(name) for name in summary)
    for name, value in summary.items():
        text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"
        print(f"{name.replace('_', ' '):<{width}}  {text}")


def _table(path: dl.Path) -> None:
    """Ten lambdas of a path, and what it cost."""
    table = Table("lambda", "active", "deviance explained", "gap", box=None)
    for k in np.unique(np.linspace(0, path.lambdas.size - 1, 10).round().astype(int)):
        table.add_row(f"{path.lambdas[k]:.6g}", f"{path.n_active[k]:,}", f"{path.deviance_ratio[k]:.4f}", f"{path.gap[k]:.1e}")
    Console().print(table)
    print(
        f"{path.passes} passes, {path.rounds} rounds, {path.bytes_read / 1e6:,.0f} MB of blocks, "
        f"{path.bytes_moved / 1e6:,.0f} MB moved, {path.seconds:.1f} s, peak memory {path.peak_bytes / 1e6:,.0f} MB; "
        f"certificate: {path.certificate}"
    )
    if not path.complete:
        print("the path ended early, at a limit or an interruption: it is the certified prefix of what was asked for")


def _dtype(name: str | None) -> Any:
    if name is None:
        return None
    try:
        return np.dtype(name)
    except TypeError:
        raise InputError(f"--dtype {name} is not known: use float64, float32, int8 or uint8") from None


def _chunks(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        rows, columns = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"--chunks {text} is not ROWSxCOLUMNS, such as 10000x500") from None
    return rows, columns


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"--lambdas {text!r} are not numbers separated by commas") from None


def _one_line(message: Any, category: Any, *_: Any, **__: Any) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "default")
    main()
