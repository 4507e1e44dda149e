"""The page: which fits there are, and of the one that is looked at everything that the board has.

A plot is drawn again only when there is another version of its fit, so that a page that is open costs the scheduler next
to nothing. Read next: ``plots.py``, ``board.py``.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from typing import Any, final

from bokeh.core.properties import without_property_validation
from bokeh.layouts import column, row
from bokeh.models import Div, Select
from distributed.dashboard.components import add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from distlasso.dashboard.board import Board, Watched
from distlasso.dashboard.plots import Coefficients, Columns, Consensus, Gaps, Memory, Notes, Passes, Plot, Workers, table_of

PLOTS: Mapping[str, Callable[[], Plot]] = {"path": Coefficients, "gap": Gaps, "columns": Columns, "workers": Workers}

_EVERY = 500  # milliseconds
_TABLE = ("fit", "state", "lambdas", "gap", "active", "passes", "time", "data", "form")
_LATEST = "latest fit"
_EMPTY = "No fit has been heard of yet. One that starts on this cluster appears here by itself."


def page(board: Board, scheduler: Any, extra: Mapping[str, Any], doc: Any) -> None:
    """Fill a document of the dashboard; called for every browser that opens it."""
    plots: list[Plot] = [Coefficients(), Gaps(), Columns(), Passes(), Workers(), Memory(), Consensus(), Notes()]
    coefficients, gaps, columns, passes, workers, memory, consensus, notes = (plot.root for plot in plots)
    view = View(board, scheduler, plots)
    doc.add_root(column(
        row(view.headline, view.choice, sizing_mode="stretch_width"), row(coefficients, gaps, sizing_mode="stretch_width"),
        row(columns, passes, sizing_mode="stretch_width"), row(workers, memory, sizing_mode="stretch_width"),
        row(consensus, notes, sizing_mode="stretch_width"), view.table, sizing_mode="stretch_width",
    ))  # fmt: skip
    doc.title = "distlasso"
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    _keep_up(doc, view)


def single(board: Board, plot: Callable[[], Plot], scheduler: Any, extra: Mapping[str, Any], doc: Any) -> None:
    """Fill a document with one plot, as JupyterLab shows it in a panel."""
    one = plot()
    one.root.sizing_mode = "stretch_both"
    doc.add_root(one.root)
    doc.title = f"distlasso: {one.root.title.text}"
    _keep_up(doc, View(board, scheduler, [one]))


def _keep_up(doc: Any, view: View) -> None:
    doc.theme = BOKEH_THEME
    view.update()
    add_periodic_callback(doc, view, _EVERY)


@final
class View:
    """What one browser looks at: the fit that was chosen, or else the latest."""

    def __init__(self, board: Board, scheduler: Any, plots: list[Plot]) -> None:
        self._board, self._scheduler, self._plots = board, scheduler, plots
        self._drawn: tuple[str, int] | None = None
        self.headline = Div(name="distlasso-headline", text=_EMPTY, sizing_mode="stretch_width",
                            styles={"font-size": "120%", "margin": "8px"})  # fmt: skip
        self.choice = Select(name="distlasso-choice", options=[_LATEST], value=_LATEST, width=220)
        self.table = Div(name="distlasso-fits", sizing_mode="stretch_width", styles={"margin": "8px"})

    @without_property_validation  # type: ignore[untyped-decorator]
    def update(self) -> None:
        """Show what is new."""
        fits = list(self._board.fits.values())[::-1]
        fit = self._board.fits.get(self.choice.value) or self._board.latest()
        if fit is None:
            return
        self.headline.text = _headline(fit)
        self.table.text = table_of(_TABLE, [_row(one) for one in fits])
        options = [_LATEST, *(one.fit for one in fits)]
        if self.choice.options != options:
            self.choice.options = options
        stale = self._drawn != (fit.fit, fit.version)
        for plot in self._plots:
            if stale or (isinstance(plot, Memory) and fit.state == "running"):
                plot.draw(fit, self._scheduler)
        self._drawn = (fit.fit, fit.version)


def _row(fit: Watched) -> list[str]:
    """A fit as a row of the table."""
    n = fit.numbers
    shape = f"{n['rows']:,.0f} x {n['columns']:,.0f}" if "rows" in n and "columns" in n else ""
    done = f"{n.get('accepted', 0):,.0f} of {n['lambdas']:,.0f}" if "lambdas" in n else ""
    gap, active = f"{n['gap']:.1e}" if "gap" in n else "", f"{n['active']:,.0f}" if "active" in n else ""
    return [fit.fit, fit.state, done, gap, active, f"{n.get('passes', 0):,.0f}", _clock(_seconds(fit)), shape, fit.form]


def _headline(fit: Watched) -> str:
    n = fit.numbers
    parts = [f"<b>{html.escape(fit.fit)}</b> {fit.state}" + (f" ({html.escape(fit.reason)})" if fit.reason else "")]
    if "lambdas" in n:
        parts.append(f"lambda {n.get('accepted', 0):,.0f} of {n['lambdas']:,.0f}")
    if "active" in n and "columns" in n:
        strong = n.get("strong", 0)
        parts.append(f"{n['active']:,.0f} active, {strong:,.0f} strong, {n['columns'] - strong:,.0f} screened out")
    if "gap" in n:
        parts.append(f"gap {n['gap']:.1e}")
    parts.append(f"{n.get('passes', 0):,.0f} passes, {n.get('read', 0) / 1e9:,.2f} GB of blocks, {_clock(_seconds(fit))}")
    if "checkpoint" in n:
        parts.append(f"checkpoint of {n['checkpoint']:,.0f} rounds")
    return " &middot; ".join(parts)


def _seconds(fit: Watched) -> float:
    """How long a fit has been going on, or went on."""
    return max((time.time() if fit.state == "running" else fit.latest) - fit.began, 0.0)


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(seconds) % 60:02} s"
