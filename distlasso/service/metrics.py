"""Counters of the service, and the text that Prometheus reads.

Read next: ``routers/health.py``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from distlasso.service.jobs import STATES
from distlasso.service.store import JobRecord

_FIGURES = {
    "n_accepted": ("distlasso_job_lambdas_certified", "Lambdas that are certified so far."),
    "n_lambdas": ("distlasso_job_lambdas", "Lambdas of the whole path."),
    "n_active": ("distlasso_job_active_columns", "Nonzero coefficients at the last certified lambda."),
    "gap": ("distlasso_job_gap", "Largest certified duality gap of the last batch."),
    "passes": ("distlasso_job_passes", "Sweeps over all rows and columns."),
    "bytes_read": ("distlasso_job_bytes_read", "Bytes of decoded blocks visited."),
}


@dataclass(slots=True)
class Counters:
    """What is counted while the service runs."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # method, route, status
    streams: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, route: str, status: int) -> None:
        """Count a request."""
        with self.lock:
            self.requests[method, route, status] += 1


def text(counters: Counters, states: Mapping[str, int], running: Iterable[JobRecord]) -> str:
    """Everything, in Prometheus' text format."""
    lines = ["# HELP distlasso_jobs Jobs by state.", "# TYPE distlasso_jobs gauge"]
    lines += [f'distlasso_jobs{{state="{state}"}} {states.get(state, 0)}' for state in STATES]
    lines += ["# HELP distlasso_http_requests_total Requests.", "# TYPE distlasso_http_requests_total counter"]
    with counters.lock:
        found = sorted(counters.requests.items())
    lines += [
        f'distlasso_http_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
        for (method, route, status), count in found
    ]
    lines += ["# HELP distlasso_event_streams Open event streams.", "# TYPE distlasso_event_streams gauge"]
    lines += [f"distlasso_event_streams {counters.streams}"]
    jobs = list(running)
    for figure, (name, meaning) in _FIGURES.items():
        values = [(job.id, job.progress[figure]) for job in jobs if job.progress.get(figure) is not None]
        if values:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
            lines += [f'{name}{{job="{job}"}} {value}' for job, value in values]
    return "\n".join(lines) + "\n"
