"""The plots of a fit: each a Bokeh model and a source that a version of the fit fills.

Read next: ``page.py``, which lays them out, ``board.py``, which holds what they draw.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, final

from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    DataRange1d,
    Div,
    FactorRange,
    HoverTool,
    LogTicker,
    NumeralTickFormatter,
)
from bokeh.plotting import figure

from distlasso.dashboard.board import Watched

_BLUE, _ORANGE, _GREEN, _GREY, _LIGHT = "#1f77b4", "#e6770b", "#2b8a3e", "#868e96", "#dee2e6"
_COLOURS = (
    "#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#5f3dc4", "#e67700", "#1864ab", "#087f5b", "#495057",
)  # fmt: skip
_HEIGHT = 280
_SMALLEST = 1e-17  # what a gap of zero is drawn as
_GIGA = 1e9


class Plot(Protocol):
    """One plot; made for every page that is open."""

    root: Any

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Show a fit as it is now."""


@final
class Coefficients:
    """The path as it grows: the largest coefficients against lambda."""

    def __init__(self) -> None:
        self.root = _figure("coefficients", x_axis_type="log", x_range=DataRange1d(flipped=True), x_axis_label="lambda")
        self._source = _source("coefficients", "lambdas", "values", "column", "label", "colour")
        lines = self.root.multi_line("lambdas", "values", color="colour", line_width=2, source=self._source)
        self.root.add_tools(HoverTool(
            renderers=[lines], line_policy="nearest",
            tooltips=[("feature", "@label"), ("lambda", "$snap_x"), ("coefficient", "$snap_y{0.0000}")],
        ))  # fmt: skip

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw a line a column; it begins late where what was before it is not known."""
        columns = list(fit.coef)
        self._source.data = {
            "lambdas": [fit.lambdas] * len(columns), "values": [fit.coef[j] for j in columns], "column": columns,
            "label": [fit.names[j] for j in columns],
            "colour": [_COLOURS[k % len(_COLOURS)] for k in range(len(columns))],
        }  # fmt: skip


@final
class Gaps:
    """Certified gap against lambda."""

    def __init__(self) -> None:
        self.root = _figure(
            "duality gap", x_axis_type="log", y_axis_type="log", x_range=DataRange1d(flipped=True), x_axis_label="lambda"
        )
        self._source = _source("gap", "lam", "gap", "drawn")
        self.root.line("lam", "drawn", color=_LIGHT, source=self._source)
        dots = self.root.scatter("lam", "drawn", size=6, color=_BLUE, source=self._source)
        self.root.add_tools(HoverTool(renderers=[dots], tooltips=[("lambda", "@lam"), ("gap", "@gap{0.0e+0}")]))

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw a point a certified lambda."""
        drawn = [max(gap, _SMALLEST) for gap in fit.gaps]
        self._source.data = {"lam": list(fit.lambdas), "gap": list(fit.gaps), "drawn": drawn}


@final
class Columns:
    """How many columns are active, admitted, and screened out, against lambda."""

    def __init__(self) -> None:
        self.root = _figure(
            "columns", x_axis_type="log", y_axis_type="log", x_range=DataRange1d(flipped=True), x_axis_label="lambda"
        )
        self._source = _source("columns", "lam", "active", "strong", "screened")
        named = (("screened", _GREY, "screened out"), ("strong", _ORANGE, "strong"), ("active", _BLUE, "active"))
        for name, colour, label in named:
            self.root.line("lam", name, color=colour, line_width=2, legend_label=label, source=self._source)
        self.root.yaxis.formatter = NumeralTickFormatter(format="0,0")
        self.root.yaxis.ticker = LogTicker(mantissas=[1, 3])
        _small_legend(self.root)

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw three lines; a count of zero has no place on a logarithmic axis."""
        columns = fit.numbers.get("columns", math.nan)
        screened = [_positive(columns - strong) for strong in fit.strong]
        self._source.data = {
            "lam": list(fit.lambdas), "active": [_positive(count) for count in fit.active],
            "strong": [_positive(count) for count in fit.strong], "screened": screened,
        }  # fmt: skip


@final
class Passes:
    """How long each sweep over the data took."""

    def __init__(self) -> None:
        self.root = _figure("seconds a pass", x_axis_label="pass")
        self.root.y_range = DataRange1d(start=0)
        self.root.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
        self._source = _source("passes", "number", "seconds", "rate")
        bars = self.root.vbar(x="number", top="seconds", width=0.8, color=_BLUE, source=self._source)
        tips = [("pass", "@number"), ("seconds", "@seconds{0.000}"), ("GB/s", "@rate{0.00}")]
        self.root.add_tools(HoverTool(renderers=[bars], tooltips=tips))

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw a bar a pass."""
        rows = list(fit.swept)
        rates = [read / seconds / _GIGA if seconds > 0 else math.nan for _, seconds, read in rows]
        self._source.data = {"number": [row[0] for row in rows], "seconds": [row[1] for row in rows], "rate": rates}


@final
class Workers:
    """How fast each worker goes over its blocks, while it is at it."""

    def __init__(self) -> None:
        self.root = _figure("GB/s of blocks by worker", y_range=FactorRange(), x_range=DataRange1d(start=0))
        self._source = _source("workers", "worker", "rate", "read")
        bars = self.root.hbar(y="worker", right="rate", height=0.7, color=_BLUE, source=self._source)
        tips = [("worker", "@worker"), ("GB/s", "@rate{0.00}"), ("GB visited", "@read{0.00}")]
        self.root.add_tools(HoverTool(renderers=[bars], tooltips=tips))

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw a bar a worker."""
        rows = sorted(fit.workers.items())
        labels = [_short(address) for address, _ in rows]
        self.root.y_range.factors = labels[::-1]
        self._source.data = {
            "worker": labels, "rate": [read / seconds / _GIGA if seconds > 0 else 0.0 for _, (read, seconds) in rows],
            "read": [read / _GIGA for _, (read, _) in rows],
        }  # fmt: skip


@final
class Memory:
    """Resident memory of the coordinator against what was planned, and of each worker against its limit."""

    def __init__(self) -> None:
        self.root = _figure("memory, GB (grey: planned, or the limit)", y_range=FactorRange(), x_range=DataRange1d(start=0))
        self._source = _source("memory", "who", "used", "allowed", "colour")
        self.root.hbar(y="who", right="allowed", height=0.8, color=_LIGHT, source=self._source)
        bars = self.root.hbar(y="who", right="used", height=0.5, color="colour", source=self._source)
        tips = [("", "@who"), ("GB", "@used{0.000}"), ("allowed", "@allowed{0.000}")]
        self.root.add_tools(HoverTool(renderers=[bars], tooltips=tips))

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw the coordinator and every worker."""
        rows = [("coordinator", fit.numbers.get("resident", math.nan), fit.numbers.get("planned", math.nan))]
        rows += [
            (_short(address), float(worker.metrics.get("memory", 0)), float(worker.memory_limit or math.nan))
            for address, worker in sorted(scheduler.workers.items())
        ]
        self.root.y_range.factors = [row[0] for row in rows][::-1]
        self._source.data = {
            "who": [row[0] for row in rows], "used": [row[1] / _GIGA for row in rows],
            "allowed": [row[2] / _GIGA for row in rows],
            "colour": [_ORANGE if row[1] > row[2] else _GREEN for row in rows],
        }  # fmt: skip


@final
class Consensus:
    """Residuals and rho of ADMM, round by round; there only where ADMM runs."""

    def __init__(self) -> None:
        self.root = _figure("ADMM: residuals and rho", y_axis_type="log", x_axis_label="round", visible=False)
        self._source = _source("consensus", "round", "rho", "apart", "adrift", "moving")
        for name, colour, label in (("apart", _BLUE, "primal"), ("adrift", _ORANGE, "dual"), ("rho", _GREEN, "rho")):
            self.root.line("round", name, color=colour, legend_label=label, line_width=1.5, source=self._source)
        _small_legend(self.root)

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """Draw three lines; a residual of zero is not drawn."""
        number, rho, apart, adrift, moving = zip(*fit.consensus, strict=True) if fit.consensus else ((),) * 5
        self.root.visible = bool(fit.consensus)
        self._source.data = {
            "round": list(number), "rho": list(rho), "apart": [_positive(value) for value in apart],
            "adrift": [_positive(value) for value in adrift], "moving": list(moving),
        }  # fmt: skip


@final
class Notes:
    """What else has happened, the latest first; there only where something has."""

    def __init__(self) -> None:
        self.root = Div(name="distlasso-notes", height=_HEIGHT, sizing_mode="stretch_width", visible=False,
                        styles={"overflow-y": "auto"})  # fmt: skip

    def draw(self, fit: Watched, scheduler: Any) -> None:
        """List them; their words come over the wire."""
        rows = [(f"{max(at - fit.began, 0.0):,.1f} s", text) for at, text in list(fit.notes)[::-1]]
        self.root.visible = bool(rows)
        self.root.text = table_of(("after", "event"), rows)


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text; Bokeh's own shows what it showed first, however its source changes."""

    def line(tag: str, cells: Sequence[str]) -> str:
        style = "text-align:left;padding:2px 14px 2px 4px;vertical-align:top"
        return "<tr>" + "".join(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell in cells) + "</tr>"

    return "<table>" + line("th", heads) + "".join(line("td", row) for row in rows) + "</table>"


def _figure(title: str, **options: Any) -> Any:
    plot = figure(title=title, height=_HEIGHT, sizing_mode="stretch_width", tools="pan,wheel_zoom,box_zoom,reset",
                  toolbar_location=None, **options)  # fmt: skip
    plot.title.text_font_size = "10pt"
    return plot


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=f"distlasso-{name}")


def _small_legend(plot: Any) -> None:
    plot.legend.label_text_font_size = "8pt"
    plot.legend.border_line_alpha = plot.legend.background_fill_alpha = 0.0
    plot.add_layout(plot.legend[0], "right")


def _positive(value: float) -> float:
    return value if value > 0 else math.nan


def _short(address: str) -> str:
    return address.rsplit("://", 1)[-1]


