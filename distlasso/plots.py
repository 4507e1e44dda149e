"""Pictures of a path: coefficients against lambda, the strongest named at their ends, and the active count below.

matplotlib is optional and lives here only; figures are built without pyplot, so nothing global changes.
"""

from __future__ import annotations

import os
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from distlasso.errors import InputError

if TYPE_CHECKING:
    from distlasso.path.result import Path

_SUFFIXES = (".png", ".svg", ".pdf")
_GREY_LINES = 500
_COLOURS = ("#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#5f3dc4", "#e67700", "#1864ab", "#087f5b", "#495057")


def plot_path(path: Path, file: str | os.PathLike[str] | None = None, *, top: int = 10) -> Any:
    """Draw a path; return the matplotlib figure, written to ``file`` if given.

    Parameters
    ----------
    path : Path
        A fitted path.
    file : path, optional
        Where to write it: ``.png``, ``.svg`` or ``.pdf``.
    top : int
        How many coefficients, the largest at the end of the path, are named.

    Raises
    ------
    InputError
        If matplotlib is not installed or the suffix of ``file`` is not known.
    """
    if file is not None and FilePath(file).suffix not in _SUFFIXES:
        raise InputError(f"cannot draw to {file}: use one of {', '.join(_SUFFIXES)}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("drawing needs matplotlib: pip install 'distlasso[plot]'") from error
    figure = Figure(figsize=(12, 7), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    _draw_coefficients(upper, path, top)
    lower.fill_between(path.lambdas, path.n_active, color="#ced4da", linewidth=0)
    lower.set_ylabel("active")
    lower.set_xlabel("lambda")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    if file is not None:
        wip = FilePath(file).with_name(f".{FilePath(file).name}.wip")
        figure.savefig(wip, format=FilePath(file).suffix[1:], dpi=100)
        wip.replace(file)
    return figure


def _draw_coefficients(axes: Any, path: Path, top: int) -> None:
    from matplotlib.collections import LineCollection

    coef = path.coef.tocsc()
    used = np.unique(path.coef.indices)
    last = np.abs(path.coef[[-1]].toarray()[0])
    order = used[np.argsort(-last[used], kind="stable")]
    grey = [np.column_stack([path.lambdas, coef[:, [j]].toarray()[:, 0]]) for j in order[top : top + _GREY_LINES]]
    axes.add_collection(LineCollection(grey, colors="#adb5bd", linewidths=0.5, alpha=0.7))
    named = [j for j in order[:top] if last[j] > 0]
    for k, j in enumerate(named):
        axes.plot(path.lambdas, coef[:, [j]].toarray()[:, 0], color=_COLOURS[k % len(_COLOURS)], linewidth=1.6)
    axes.axhline(0.0, color="#343a40", linewidth=0.6)
    axes.autoscale_view()
    if path.lambdas.size > 1:
        axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_ylabel("coefficient")
    sizes = f"{path.coef.shape[1]:,} features, {path.lambdas.size} lambdas"
    axes.set_title(f"{sizes}, largest gap {path.gap.max():.1e}", loc="left")
    _label_ends(axes, path, named, coef)


def _label_ends(axes: Any, path: Path, named: list[Any], coef: Any) -> None:
    """Write names at the line ends, pushed apart so that none covers another."""
    low, high = axes.get_ylim()
    space = 0.04 * (high - low)
    ends = sorted((float(coef[[-1], [j]][0]), k, int(j)) for k, j in enumerate(named))
    place = -np.inf
    for value, k, j in ends:
        place = max(value, place + space)
        name = path.feature_names[j] if path.feature_names else f"column {j}"
        axes.annotate(
            name, (path.lambdas[-1], value), xytext=(1.01, place), textcoords=axes.get_yaxis_transform(), va="center",
            fontsize=8, color=_COLOURS[k % len(_COLOURS)], annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#ced4da", "linewidth": 0.5},
        )  # fmt: skip
