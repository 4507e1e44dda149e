"""Events of a fit as records of a job's stream, and the figures that a list of jobs shows.

Read next: ``runner.py``, which writes them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from distlasso.events import BatchVerified, Event, FitFinished, FitStarted, IngestProgress, PassFinished, PathGrown

Progress = Mapping[str, Any]

_FIGURES = (FitStarted, BatchVerified, IngestProgress)


def kind_of(event: Event) -> str:
    """The name of a kind of event on the wire, such as ``batch_verified``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def data_of(event: Event) -> dict[str, Any] | None:
    """An event as plain values; None where the stream does without it: the coefficients of folds."""
    if isinstance(event, PathGrown) and event.fit:
        return None
    return {name: value if _finite(value) else None for name, value in dataclasses.asdict(event).items()}


def advance(progress: Progress, event: Event) -> Progress:
    """The figures after an event."""
    if isinstance(event, _FIGURES):
        return {**progress, **(data_of(event) or {})}
    if isinstance(event, FitFinished):
        return {**progress, "passes": event.passes, "rounds": event.rounds, "seconds": event.seconds, "reason": event.reason}
    if isinstance(event, PassFinished):
        seconds = (progress.get("pass_seconds", 0.0) if event.number > 1 else 0.0) + event.seconds
        return {**progress, "passes": event.number, "bytes_read": event.bytes_read, "pass_seconds": seconds}
    return progress


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or abs(value) < float("inf")
