"""How the board gets into a scheduler: a plugin that hears the topic, and puts the page where a browser finds it.

Dask has no public way to add a page to a dashboard that runs. What is used of its insides, and of Bokeh's, is in
``_listed`` and ``_linked``; where a version has them no longer, the page is still served at its address.
Read next: ``page.py``.
"""

from __future__ import annotations

import logging
from typing import Any, final

from distributed.diagnostics.plugin import SchedulerPlugin

from distlasso.dashboard.board import TOPIC, Board
from distlasso.dashboard.metrics import measured, unmeasured

logger = logging.getLogger("distlasso.dashboard")

PAGE = "distlasso"


@final
class DashboardPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Keeps a board of fits on the scheduler, and serves it."""

    name = "distlasso-dashboard"
    idempotent = True

    def __init__(self) -> None:
        self.board = Board()
        self._scheduler: Any = None

    def __reduce__(self) -> tuple[type[DashboardPlugin], tuple[()]]:
        """Travel to a scheduler empty."""
        return DashboardPlugin, ()

    async def start(self, scheduler: Any) -> None:
        """Take in what the scheduler has heard already, and put up page and metrics."""
        self._scheduler = scheduler
        for _, message in scheduler.get_events(TOPIC):
            self.board.take(message)
        measured(self.board, self)
        try:
            serve(scheduler, self.board)
        except Exception:  # a dashboard of another version must not cost the scheduler
            logger.warning("the page /%s could not be added to the dashboard", PAGE, exc_info=True)

    async def close(self) -> None:
        """Leave the metrics."""
        unmeasured(self)

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear what is sent."""
        if topic == TOPIC:
            self.board.take(msg)

    def remove_client(self, scheduler: Any, client: str) -> None:
        """A process that is gone sends no word about its fits."""
        for fit in self.board.running():
            if fit.client == client:
                fit.end("failed", "its client has left the cluster")


def serve(scheduler: Any, board: Board) -> None:
    """Add the page and its single plots to the dashboard of a scheduler, if it has one."""
    try:
        from bokeh.server.tornado import BokehTornado
        from distributed.dashboard.core import BokehApplication
        from distributed.dashboard.scheduler import template_variables
    except ImportError:
        return  # no Bokeh, so that the scheduler has no dashboard either
    from functools import partial

    from distlasso.dashboard.page import PLOTS, page, single

    own = next((app for app in scheduler.http_application.applications if isinstance(app, BokehTornado)), None)
    if own is None:
        return  # started with --no-dashboard
    pages = {f"/{PAGE}": partial(page, board)}
    pages |= {f"/individual-{PAGE}-{name}": partial(single, board, plot) for name, plot in PLOTS.items()}
    added = BokehApplication(pages, scheduler, prefix=own.prefix, template_variables=template_variables(scheduler))
    scheduler.http_application.add_application(added)
    added.initialize(scheduler.loop)
    added.start()
    _linked(template_variables(scheduler))
    _listed(own, added)


def _linked(shared: Any) -> None:
    """Links in the navigation bar and its menu: all pages of a scheduler share the lists that hold them."""
    try:
        if PAGE not in shared["pages"]:
            shared["pages"].insert(1, PAGE)
            shared["plots"].extend({"url": f"individual-{PAGE}-{name}", "name": f"Distlasso {name.title()}"} for name in _names())
            shared["plots"].sort(key=lambda plot: plot["name"])
    except (AttributeError, KeyError, TypeError):
        logger.warning("this version of distributed has another navigation bar: open /%s by its address", PAGE)


def _listed(own: Any, added: Any) -> None:
    """``/individual-plots.json``, which JupyterLab reads, lists the paths of the scheduler's first Bokeh application only."""
    try:
        own._applications.update({path: added._applications[path] for path in added.app_paths if "individual-" in path})
    except (AttributeError, KeyError, TypeError):
        logger.warning("this version of Bokeh keeps its applications elsewhere: single plots are not listed")


def _names() -> list[str]:
    from distlasso.dashboard.page import PLOTS

    return list(PLOTS)
