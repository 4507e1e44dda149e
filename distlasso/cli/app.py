"""The command line: ``demo``, ``ingest``, ``fit``, ``cv``, ``predict``, ``report`` and others, and those of a service.

Each command is a thin face of one public function. Results go to standard output (``--json`` for machines), everything
else to standard error; bad input is one line and exit code 2, and so is what stops a fit that has a checkpoint, with exit
code 75. Read next: ``models.py``, ``data.py``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from distlasso import __version__
from distlasso.cli.data import ingest, inspect
from distlasso.cli.jobs import cancel, jobs, result, resume, submit, watch
from distlasso.cli.models import cv, fit, predict
from distlasso.cli.place import Scheduler, TlsCa, TlsCert, TlsFlag, TlsKey, Workers, a_cluster, tls_of
from distlasso.cli.report import report
from distlasso.cli.security import tls
from distlasso.cli.service import serve, tokens
from distlasso.cli.settings import defaults
from distlasso.cli.show import Json
from distlasso.cli.stopping import RESUMABLE
from distlasso.cli.warm import warmup
from distlasso.errors import DistlassoError, ResumableError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line; every error that has a name becomes one line and exit code 2, or 75 where it can go on."""
    warnings.showwarning = _one_line
    try:
        raise SystemExit(app(sys.argv[1:] or ["--help"], prog_name="distlasso", standalone_mode=False))
    except typer.TyperException as error:  # an unknown command or option, or a value of the wrong kind
        print(f"distlasso: {' '.join(error.format_message().split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except ResumableError as error:
        print(f"distlasso: {error}", file=sys.stderr)
        raise SystemExit(RESUMABLE) from None
    except DistlassoError as error:
        print(f"distlasso: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("distlasso: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"distlasso {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[str | None, typer.Option(help="TOML file with defaults of options; by default distlasso.toml.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """Certified L1-regularised paths on data that is too big for one machine's memory."""
    context.default_map = defaults(context.command, config, os.environ)


@app.command()
def demo(
    directory: Annotated[str, typer.Option("--dir", help="Where table, store, model, picture and report go.")] = "distlasso-demo",
    scheduler: Scheduler = None,
    workers: Workers = None,
    tls: TlsFlag = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    json_: Json = False,
) -> None:
    """Fit a certified lasso path to 327,346 flights on a local Dask cluster, from a table to a picture."""
    from distlasso.demo import run

    with a_cluster(scheduler, workers, tls_of(tls, tls_ca, tls_cert, tls_key)) as cluster:
        summary = run(Path(directory), cluster, quiet=json_)
    if json_:
        print(json.dumps(summary))


for command in (ingest, inspect, fit, cv, predict, report, tls, warmup, serve, submit, jobs, watch, cancel, resume, result):
    app.command()(command)
app.add_typer(tokens, name="token")


def _one_line(message: Any, category: Any, *_: Any, **__: Any) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)
