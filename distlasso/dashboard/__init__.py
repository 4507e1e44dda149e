"""The page ``/distlasso`` in the scheduler's own dashboard, and metrics for Prometheus beside Dask's.

Everything here runs on the scheduler. Give it at the start, ``dask scheduler --preload distlasso.dashboard``, or later,
``dl.install_dashboard(client)``; a fit on a cluster that has it not yet installs it by itself. Read next: ``board.py``
(what is kept of a fit), ``plugin.py`` (how it gets into the scheduler), ``page.py`` (what is drawn).
"""

from __future__ import annotations

from typing import Any

from distlasso.errors import InputError, SchedulerError


async def dask_setup(server: Any) -> None:
    """Install on a scheduler that preloads this package; on workers, which may be told to preload it as well, do nothing."""
    from distributed import Scheduler

    from distlasso.dashboard.plugin import DashboardPlugin

    if isinstance(server, Scheduler) and DashboardPlugin.name not in server.plugins:
        server.add_plugin(DashboardPlugin())  # the scheduler starts its plugins after its preloads


def install_dashboard(client: Any) -> None:
    """Add distlasso's page to the dashboard of a cluster that runs; where it is already, nothing happens.

    A fit on the cluster does that by itself. The page is then at ``/distlasso`` of the dashboard, in its navigation bar and
    among its individual plots; it shows fits of all clients.

    Parameters
    ----------
    client : distributed.Client
        A client of the cluster, whose scheduler must be able to import distlasso.

    Raises
    ------
    InputError
        If ``client`` is not a synchronous ``distributed.Client``.
    SchedulerError
        If the scheduler cannot be reached, or does not take it.

    Examples
    --------
    >>> import distlasso as dl
    >>> dl.install_dashboard(client)  # doctest: +SKIP
    """
    import distributed

    if not isinstance(client, distributed.Client) or client.asynchronous:
        raise InputError(f"client is a {type(client).__name__}, expected a synchronous distributed.Client")
    from distlasso.dashboard.plugin import DashboardPlugin

    try:
        client.register_plugin(DashboardPlugin())
    except Exception as error:  # whatever the scheduler raises when it unpickles
        raise SchedulerError(
            f"the scheduler did not take the dashboard page: {error}; it needs the same distlasso as this process"
        ) from error
