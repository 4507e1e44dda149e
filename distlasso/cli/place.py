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
from distlasso.errors import InputError, SchedulerError, StoreError

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Runtime = Annotated[str, typer.Option(help="dask, threads or serial.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, or its scheduler file.")]
TlsFlag = Annotated[bool, typer.Option("--tls", help="Encrypt all that scheduler, workers and this process say.")]
TlsCa = Annotated[str | None, typer.Option(help="Certificate authority, PEM; made for an embedded cluster where it is left out.")]
TlsCert = Annotated[str | None, typer.Option(help="Certificate of this process, PEM.")]
TlsKey = Annotated[str | None, typer.Option(help="Its key, PEM.")]
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


def tls_of(tls: bool, ca: str | None, cert: str | None, key: str | None) -> bool | tuple[str, str, str]:
    """What the options about encryption say together."""
    if ca is None and cert is None and key is None:
        return tls
    if ca is None or cert is None or key is None:
        raise InputError("--tls-ca, --tls-cert and --tls-key belong together: give all three")
    return ca, cert, key


@contextmanager
def a_cluster(scheduler: str | None, workers: int | None, tls: bool | tuple[str, str, str] = False) -> Iterator[Any]:
    """A Dask cluster that starts when a fit uses it, with its dashboard link on standard error."""
    cluster = dl.Cluster(address=scheduler, n_workers=workers, tls=tls, on_start=_announce)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def _announce(cluster: dl.Cluster) -> None:
    print(f"dashboard: {_page(cluster)}", file=sys.stderr)


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
def a_runtime(
    name: str, scheduler: str | None, workers: int | None, tls: bool | tuple[str, str, str] = False
) -> Iterator[Any]:
    """A runtime by name; an embedded or given cluster for ``dask``."""
    if name != "dask" and scheduler is None:
        if tls is not False:
            raise InputError(f"--tls is for clusters, and --runtime {name} has none")
        yield name
        return
    with a_cluster(scheduler, workers, tls) as cluster:
        yield cluster
