"""Pictures of a path: coefficients against lambda, the strongest named at their ends, and the active count below.

matplotlib is optional and lives here only; figures are built without pyplot, so nothing global changes.
Read next: ``path/result.py``, which is what is drawn.
"""

from __future__ import annotations

import os
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from distlasso.errors import InputError
from distlasso.whole import whole_file

if TYPE_CHECKING:
    from distlasso.path.cross_validation import CrossValidation
    from distlasso.path.result import Path

_SUFFIXES = (".png", ".svg", ".pdf")
_GREY_LINES = 500
_COLOURS = (
    "#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#5f3dc4", "#e67700", "#1864ab", "#087f5b", "#495057",
)  # fmt: skip
_LABEL_SPACE = 0.04  # of the height of the axes, at the full font size
_LABEL_FONT = 8.0
_LABEL_LENGTH = 32


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
        If matplotlib is not installed, the suffix of ``file`` is not known, or it cannot be written.
    """
    if top < 0:
        raise InputError(f"top={top} is negative: it is the number of coefficients to name")
    figure = _figure(file, (12, 7))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    _draw_coefficients(upper, path, top)
    _draw_active(lower, path)
    return _finished(figure, file)


def plot_scores(cv: CrossValidation, file: str | os.PathLike[str] | None = None) -> Any:
    """Draw held-out scores against lambda, with the choices of both rules; parameters and errors as of ``plot_path``."""
    figure = _figure(file, (9, 5))
    axes = figure.subplots()
    axes.plot(cv.lambdas, cv.mean, color=_COLOURS[0], linewidth=1.6)
    if np.isfinite(cv.se).all():
        axes.fill_between(cv.lambdas, cv.mean - cv.se, cv.mean + cv.se, color=_COLOURS[0], alpha=0.2, linewidth=0)
    for lam, name, style in ((cv.lambda_min, "min", "--"), (cv.lambda_1se, "1se", ":")):
        axes.axvline(lam, color="#343a40", linewidth=0.8, linestyle=style, label=f"{name}: {lam:.4g}")
    if cv.lambdas.size > 1:
        axes.set_xscale("log")
        axes.set_xlim(cv.lambdas[0], cv.lambdas[-1])
    axes.set_xlabel("lambda")
    axes.set_ylabel(cv.score)
    axes.set_title(f"{cv.scores.shape[1]} folds; {cv.path.n_active[cv.best]:,} features by rule {cv.rule}", loc="left")
    axes.legend(frameon=False)
    return _finished(figure, file)


def spread(values: Any, space: float, low: float, high: float) -> NDArray[np.float64]:
    """Places at least ``space`` apart, within [low, high] if they fit, closest to ascending ``values``."""
    steps = np.arange(len(values), dtype=np.float64) * space
    if not steps.size:
        return steps
    # Subtracting the steps turns the spacing into monotonicity, so least squares is isotonic regression.
    level: NDArray[np.float64] = isotonic_regression(np.asarray(values) - steps).x
    return np.clip(level, low, max(high - steps[-1], low)) + steps


def _figure(file: str | os.PathLike[str] | None, size: tuple[float, float]) -> Any:
    """An empty figure, if it can be drawn and written."""
    if file is not None and FilePath(file).suffix.lower() not in _SUFFIXES:
        raise InputError(f"cannot draw to {file}: use one of {', '.join(_SUFFIXES)}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("drawing needs matplotlib: pip install 'distlasso[plot]'") from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finished(figure: Any, file: str | os.PathLike[str] | None) -> Any:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    if file is not None:
        _write(figure, FilePath(file))
    return figure


def _draw_coefficients(axes: Any, path: Path, top: int) -> None:
    from matplotlib.collections import LineCollection

    last = path.coef[[-1]].toarray()[0]
    used = np.unique(path.coef.indices)
    order = used[np.argsort(-np.abs(last[used]), kind="stable")]
    named = [int(j) for j in order[:top] if last[j] != 0]
    shown = order[: len(named) + _GREY_LINES]
    values = path.coef.tocsc()[:, shown].toarray()
    marker = "o" if path.lambdas.size == 1 else ""
    grey = [np.column_stack([path.lambdas, column]) for column in values.T[len(named) :]]
    axes.add_collection(LineCollection(grey, colors="#adb5bd", linewidths=0.5, alpha=0.7))
    for k in range(len(named)):
        axes.plot(path.lambdas, values[:, k], color=_COLOURS[k % len(_COLOURS)], linewidth=1.6, marker=marker)
    axes.axhline(0.0, color="#343a40", linewidth=0.6)
    axes.autoscale_view()
    if path.lambdas.size > 1:
        axes.set_xscale("log")
        axes.set_xlim(path.lambdas[0], path.lambdas[-1])
    axes.set_ylabel("coefficient")
    hidden = order.size - shown.size
    counts = f"{path.coef.shape[1]:,} features" + (f" ({hidden:,} small ones not drawn)" if hidden else "")
    many = "lambda" if path.lambdas.size == 1 else "lambdas"
    axes.set_title(f"{counts}, {path.lambdas.size} {many}, largest gap {path.gap.max():.1e}", loc="left")
    _label_ends(axes, path, named, last)


def _draw_active(axes: Any, path: Path) -> None:
    if path.lambdas.size == 1:
        axes.plot(path.lambdas, path.n_active, "o", color="#868e96")
    axes.fill_between(path.lambdas, path.n_active, color="#ced4da", linewidth=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("active")
    axes.set_xlabel("lambda")


def _label_ends(axes: Any, path: Path, named: list[int], last: Any) -> None:
    """Write names beside the line ends, pushed apart so that none covers another."""
    low, high = axes.get_ylim()
    share = min(_LABEL_SPACE, 1.0 / max(len(named) - 1, 1))
    ends = sorted((float(last[j]), k, j) for k, j in enumerate(named))
    places = spread([value for value, _, _ in ends], share * (high - low), low, high)
    for (value, k, j), place in zip(ends, places, strict=True):
        name = path.feature_names[j] if path.feature_names else f"column {j}"
        short = name if len(name) <= _LABEL_LENGTH else f"{name[: _LABEL_LENGTH - 1]}…"
        axes.annotate(
            short, (path.lambdas[-1], value), xytext=(1.02, place), textcoords=axes.get_yaxis_transform(), va="center",
            fontsize=_LABEL_FONT * share / _LABEL_SPACE, color=_COLOURS[k % len(_COLOURS)], annotation_clip=False,
            parse_math=False, arrowprops={"arrowstyle": "-", "color": "#ced4da", "linewidth": 0.5},
        )  # fmt: skip


def _write(figure: Any, file: FilePath) -> None:
    """Save under a temporary name, then rename: a reader never sees half a picture."""
    try:
        with whole_file(file) as wip:
            figure.savefig(wip, format=file.suffix[1:].lower(), dpi=100)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error
