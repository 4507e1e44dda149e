"""``distlasso report``: a model as one HTML file. Read next: ``../report/page.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import distlasso as dl
from distlasso.cli.place import Overwrite, check_output
from distlasso.cli.show import Json, show
from distlasso.errors import InputError


def report(
    model: Annotated[str, typer.Argument(help="A model written by fit or cv.")],
    out: Annotated[str, typer.Option(help="Where the report goes: .html.")],
    lam: Annotated[
        float | None, typer.Option("--lambda", help="Whose model is listed; by default the one that cv chose, or the last of fit.")
    ] = None,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Write a report: path, proof, scores, model and cost in one HTML file that needs no network."""
    from distlasso.report.page import write_report

    check_output(out, overwrite=overwrite)
    if Path(out).suffix != ".html":
        raise InputError(f"--out {out}: a report is written as .html")
    found = dl.load(model)
    cv = found if isinstance(found, dl.CrossValidation) else None
    path = found if isinstance(found, dl.Path) else found.path
    write_report(out, path, cv, title=Path(model).name, lam=lam, overwrite=overwrite)
    show({"report": out, "bytes": Path(out).stat().st_size}, json_)
