"""Where a command runs, and where its output goes: options that several commands share.

Read next: ``models.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

import distlasso as dl
from distlasso.errors import SchedulerError, StoreError

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Runtime = Annotated[str, typer.Option(help="dask, threads or serial.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, or its scheduler file.")]
Workers = Annotated[int | None, typer.Option(help="Workers of the embedded cluster; one a processor by default.")]


def check_output(out: str, *, overwrite: bool) -> None:
    """Refuse, before any work, an output that could not be written at its end."""
    try:
        place = Path(out)
        if place.exists() and not overwrite:
            raise StoreError(f"{out} exists already: choose another name or pass --overwrite")
        folder = next(parent for parent in place.absolute().parents if parent.exists())
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {out!r}: {getattr(error, 'strerror', None) or error}") from error
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StoreError(f"cannot write {out}: {folder} is not a folder that can be written to")


@contextmanager
def a_cluster(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A Dask cluster, with its dashboard link on standard error."""
    with dl.Cluster(address=scheduler, n_workers=workers) as cluster:
        print(f"dashboard: {_page(cluster)}", file=sys.stderr)
        yield cluster


def _page(cluster: Any) -> str:
    """Address of our own page in the dashboard, where there is Bokeh and the scheduler takes it; else of Dask's."""
    link = str(cluster.dashboard_link)
    if find_spec("bokeh") is None:
        return link
    try:
        dl.install_dashboard(cluster.client)
    except SchedulerError:
        return link
    return f"{link.removesuffix('status')}distlasso"


@contextmanager
def a_runtime(name: str, scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A runtime by name; an embedded or given cluster for ``dask``."""
    if name != "dask" and scheduler is None:
        yield name
        return
    with a_cluster(scheduler, workers) as cluster:
        yield cluster
