"""Errors that only a service has; ``problems.py`` gives each its HTTP status.

    InputError
    ├── NotFound     what is named is not there, or not for clients to see
    └── Conflict     what was asked for contradicts what is there
        └── Refused  a job is in a state in which this cannot be done to it
    DistlassoError
    └── QueueFull    so many jobs wait already that another is refused
"""

from __future__ import annotations

from distlasso.errors import DistlassoError, InputError


class NotFound(InputError):
    """What is named is not there, or not for clients to see."""


class Conflict(InputError):
    """What was asked for contradicts what is there."""


class Refused(Conflict):
    """A job is in a state in which this cannot be done to it."""


class QueueFull(DistlassoError):
    """So many jobs wait already that another is refused."""
