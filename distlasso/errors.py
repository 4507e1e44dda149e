"""Every error a user can meet, in one tree; the command line turns each into one line and exit code 2,
a ``ResumableError`` into exit code 75.

    DistlassoError
    ├── InputError       bad data or options (also a ValueError)
    ├── StoreError       a store that is missing, unfinished, corrupt or of another format
    ├── ResourceError    memory, disk or time that does not suffice
    ├── SchedulerError   a Dask scheduler or worker that cannot be reached or used
    └── ResumableError   a fit that was stopped and can go on from its checkpoint

A message says what was given, what was expected and what to do. Foreign exceptions are converted once,
where they enter, with ``raise ... from``.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path


class DistlassoError(Exception):
    """Base class of all errors raised on purpose."""


class InputError(DistlassoError, ValueError):
    """Data or options that cannot be used as given."""


class StoreError(DistlassoError):
    """A dataset or model store that cannot be read or written."""


class ResourceError(DistlassoError):
    """Not enough memory, disk or time for what was asked."""


class SchedulerError(DistlassoError):
    """A Dask cluster that cannot be reached or used."""


class ClusterWarning(UserWarning):
    """A cluster works, but is set up so that faults cost much, or bits may differ."""


class ResumableError(DistlassoError):
    """A fit that was stopped, by no fault of its own; the same fit with the same checkpoint goes on from there."""


class CertificateWarning(UserWarning):
    """A solution is returned whose duality gap is above the tolerance."""


class InterpolationNote(UserWarning):
    """Coefficients between two lambdas of a path are interpolated, and nothing certifies them."""


class CheckpointWarning(UserWarning):
    """A checkpoint of which not all can be used."""


def warn(message: str, category: type[Warning] = CertificateWarning) -> None:
    """Warn about a solution or a checkpoint, at the line of the user's code that asked for it."""
    _say(message, category)


def note(message: str) -> None:
    """Note that coefficients are interpolated, at the line of the user's code that asked for them."""
    _say(message, InterpolationNote)


def first_line(error: BaseException) -> str:
    """What an error of others says, in one line of ours."""
    text = str(error)
    return ((text[:1000].splitlines() if text else []) or [type(error).__name__])[0]


def _say(message: str, category: type[Warning]) -> None:
    frame, depth, inside = sys._getframe(), 1, str(Path(__file__).parent)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
