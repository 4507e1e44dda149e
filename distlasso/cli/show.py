"""What commands print: a summary line by line, or a table."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import distlasso as dl
from distlasso.scores import SCORES

Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")]
_ROWS = 10  # of a table of lambdas


def show(summary: dict[str, Any], as_json: bool) -> None:
    """Print a summary for people or for machines."""
    if as_json:
        print(json.dumps(summary))
        return
    width = max(len(name) for name in summary)
    for name, value in summary.items():
        text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"
        print(f"{name.replace('_', ' '):<{width}}  {text}")


def table_of_path(path: dl.Path) -> None:
    """Ten lambdas of a path, and what it cost."""
    table = Table("lambda", "active", "deviance explained", "gap", box=None)
    for k in _spread(path.lambdas.size):
        table.add_row(f"{path.lambdas[k]:.6g}", f"{path.n_active[k]:,}", f"{path.deviance_ratio[k]:.4f}", f"{path.gap[k]:.1e}")
    Console().print(table)
    _cost(path)


def table_of_scores(cv: dl.CrossValidation) -> None:
    """Ten lambdas of the chosen candidate with the two that the rules choose, the best of all candidates, and what it cost."""
    table = Table("lambda", "active", f"mean {cv.score}", "se", "choice", box=None)
    marks = {cv.best_min: "min", cv.best_1se: "1se"} if cv.best_min != cv.best_1se else {cv.best_min: "min, 1se"}
    for k in sorted({*_spread(cv.lambdas.size), *marks, cv.best}):
        mark = marks.get(k, "") + (" <- chosen" if k == cv.best else "")
        table.add_row(f"{cv.lambdas[k]:.6g}", f"{cv.path.n_active[k]:,}", f"{cv.mean[k]:.6g}", f"{cv.se[k]:.2g}", mark.strip())
    Console().print(table)
    if len(cv.candidates) > 1:
        _candidates(cv)
    _cost(cv.path)


def _candidates(cv: dl.CrossValidation) -> None:
    table = Table("l1 ratio", "schedule", "active", f"best mean {cv.score}", "choice", box=None)
    for number, one in enumerate(cv.candidates):
        k, path = int(np.argmin(SCORES[cv.score].sign * one.mean)), one.path
        mark = "<- chosen" if number == cv.winner else ""
        table.add_row(f"{path.l1_ratio:g}", path.schedule or "none", f"{path.n_active[k]:,}", f"{one.mean[k]:.6g}", mark)
    Console().print(table)


def _spread(size: int) -> list[int]:
    """Ten places of a path, ends included."""
    return [int(k) for k in np.unique(np.linspace(0, size - 1, _ROWS).round())]


def _cost(path: dl.Path) -> None:
    print(
        f"{path.passes} passes, {path.rounds} rounds, {path.bytes_read / 1e6:,.0f} MB of blocks, "
        f"{path.bytes_moved / 1e6:,.0f} MB moved, {path.seconds:.1f} s, peak memory {path.peak_bytes / 1e6:,.0f} MB; "
        f"certificate: {path.certificate}"
    )
    if not path.complete:
        print("the path ended early, at a limit or an interruption: it is the certified prefix of what was asked for")
