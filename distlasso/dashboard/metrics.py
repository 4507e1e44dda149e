"""``distlasso_...`` on the scheduler's ``/metrics``: totals of all fits, and the numbers of the one that runs.

Nothing is labelled by fit, which would make a time series of each for ever. Read next: ``board.py``.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, final

from distlasso.dashboard.board import Board

# One process may have several schedulers after or beside each other, but it has one registry.
_BOARDS: weakref.WeakSet[Any] = weakref.WeakSet()
_REGISTERED: list[Any] = []

_TOTALS = (
    ("fits", "fits", "Fits that the scheduler has heard of."),
    ("passes", "passes", "Passes over the data of all fits."),
    ("read", "read_bytes", "Decoded bytes of blocks that all fits have visited."),
)
_NUMBERS = (
    ("gap", "gap", "Largest duality gap of the batch certified last."),
    ("lam", "lambda", "Smallest lambda certified so far."),
    ("active", "active_columns", "Nonzero coefficients at that lambda."),
    ("strong", "strong_columns", "Columns admitted to the strong set."),
    ("accepted", "certified_lambdas", "Lambdas certified so far."),
    ("lambdas", "lambdas", "Lambdas asked for."),
    ("resident", "coordinator_resident_bytes", "Resident memory of the process that coordinates the fit."),
    ("planned", "coordinator_planned_bytes", "Upper bound on it that was planned."),
)


def measured(board: Board, owner: Any) -> None:
    """Have a board on ``/metrics`` as long as its owner lives; without ``prometheus_client``, which is optional, nowhere."""
    try:
        import prometheus_client
    except ImportError:
        return
    _BOARDS.add(owner)
    if not _REGISTERED:
        _REGISTERED.append(_Collector())
        prometheus_client.REGISTRY.register(_REGISTERED[0])


def unmeasured(owner: Any) -> None:
    """Take it off again."""
    _BOARDS.discard(owner)


@final
class _Collector:
    """What ``prometheus_client`` asks."""

    def collect(self) -> Iterable[Any]:
        """The metrics of every board, added up; of the numbers, those of the fit that began last."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        boards: list[Board] = [owner.board for owner in _BOARDS]
        for key, name, text in _TOTALS:
            yield CounterMetricFamily(f"distlasso_{name}", text, value=sum(board.totals[key] for board in boards))
        running = [fit for board in boards for fit in board.running()]
        yield GaugeMetricFamily("distlasso_fits_running", "Fits that run now.", value=len(running))
        if not running:
            return
        last = max(running, key=lambda fit: fit.began)
        for key, name, text in _NUMBERS:
            if key in last.numbers:
                yield GaugeMetricFamily(f"distlasso_{name}", f"{text} Of the fit that began last.", value=last.numbers[key])
        rate = GaugeMetricFamily(
            "distlasso_worker_read_bytes_per_second", "Decoded bytes visited, by second of work.", labels=["worker"]
        )
        for address, (read, seconds) in last.workers.items():
            rate.add_metric([address], read / seconds if seconds > 0 else 0.0)
        yield rate
