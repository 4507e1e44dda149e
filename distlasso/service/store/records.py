"""What a store of the service keeps and answers; nothing here knows how.

Read next: ``sqlite.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from distlasso.service.jobs import Command, Event, Job
from distlasso.service.tokens import Scope, Token

NewEvent = tuple[float, str, Mapping[str, Any]]  # when, kind, data


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it is kept."""

    number: int
    """In order of submission."""
    id: str
    owner: str
    """Of the token that submitted it."""
    spec: Mapping[str, Any]
    output: str
    created: float
    changed: float
    job: Job
    progress: Mapping[str, Any]
    """The latest figures of its events."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record of a job's stream."""

    seq: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A store under a name."""

    name: str
    path: str
    created: float
    job: str | None
    """Which wrote it; None if it was registered."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model under a name."""

    name: str
    path: str
    created: float
    job: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when, and how it ended."""

    number: int
    at: float
    who: str
    action: str
    subject: str
    status: int


@dataclass(frozen=True, slots=True)
class Publication:
    """What a job leaves behind: carried out when, and only when, its success is recorded."""

    kind: str
    """model, dataset or file."""
    name: str
    path: str
    place: Callable[[], None]
    """Gives the finished output its final name; done again, it does nothing."""


class Jobs(Protocol):
    """Jobs and their streams of events."""

    def submit(
        self, spec: Mapping[str, Any], *, owner: str, output: str | None, key: str | None, most: int
    ) -> tuple[JobRecord, bool]:  # fmt: skip
        """Queue a job; with a ``key`` that its owner has used for the same job, that one, and False."""

    def get(self, job: str) -> JobRecord | None:
        """A job by its id."""

    def page(self, *, state: str | None, before: int | None, limit: int) -> list[JobRecord]:
        """Jobs, the latest first, below a number."""

    def apply(self, job: str, event: Event, publication: Publication | None = None) -> tuple[JobRecord, tuple[Command, ...]]:
        """Move a job on by one event, with whatever it publishes, as one transaction."""

    def claim(self, *, most: int) -> JobRecord | None:
        """Take up the next job that may run, if fewer than ``most`` do."""

    def running(self) -> list[JobRecord]:
        """Jobs that somebody runs."""

    def counts(self) -> dict[str, int]:
        """Jobs by state."""

    def record(self, job: str, attempt: int, events: Sequence[NewEvent], progress: Mapping[str, Any]) -> bool:
        """Append to a job's stream, unless the attempt is over: then False."""

    def events(self, job: str, after: int, limit: int) -> list[EventRecord]:
        """A job's stream from a place on; the oldest of a long one are gone."""


class Catalogue(Protocol):
    """Datasets and models by name."""

    def register(self, name: str, path: str) -> DatasetRecord:
        """Give a store a name."""

    def dataset(self, name: str) -> DatasetRecord | None:
        """A dataset by its name."""

    def datasets(self) -> list[DatasetRecord]:
        """All datasets by name."""

    def model(self, name: str) -> ModelRecord | None:
        """A model by its name."""

    def models(self) -> list[ModelRecord]:
        """All models, the latest first."""


class Access(Protocol):
    """Tokens, and who did what with them."""

    def create_token(self, name: str, scope: Scope, expires: float | None) -> tuple[Token, str]:
        """A new token and its secret, which is shown this once."""

    def tokens(self) -> list[Token]:
        """All tokens."""

    def revoke(self, token: str) -> bool:
        """Make a token worthless from now on; False if there is none."""

    def token_of(self, secret: str) -> Token | None:
        """The valid token of a secret."""

    def audit(self, who: str, action: str, subject: str, status: int) -> None:
        """Note who did what."""

    def audited(self, before: int | None, limit: int) -> list[AuditEntry]:
        """What was done, the latest first."""


class Store(Protocol):
    """Everything that the service remembers."""

    @property
    def jobs(self) -> Jobs:
        """Jobs and their streams of events."""

    @property
    def catalogue(self) -> Catalogue:
        """Datasets and models by name."""

    @property
    def access(self) -> Access:
        """Tokens, and who did what with them."""
