"""What the service answers, as OpenAPI describes it.

Read next: ``routers/``.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from distlasso.service.jobs import State
from distlasso.service.spec import JobSpec, Name, Positive, Where
from distlasso.service.store import DatasetRecord, JobRecord, ModelRecord

JobId = Annotated[str, Field(pattern=r"^job-[0-9a-f]{12}$", examples=["job-0123456789ab"])]


class JobView(BaseModel):
    """A job; times are seconds since the epoch."""

    id: str
    number: int
    kind: str
    state: State
    cancelling: bool
    attempt: int
    output: str
    owner: str
    created: float
    changed: float
    error: str
    progress: dict[str, Any]
    spec: dict[str, Any]

    @classmethod
    def of(cls, record: JobRecord) -> JobView:
        """A job as it is kept."""
        job = record.job
        return cls(
            id=record.id, number=record.number, kind=record.spec["kind"], state=job.state, cancelling=job.cancelling,
            attempt=job.attempt, output=record.output, owner=record.owner, created=record.created, changed=record.changed,
            error=job.error, progress=dict(record.progress), spec=dict(record.spec),
        )  # fmt: skip


class JobList(BaseModel):
    """A page of jobs, the latest first."""

    jobs: list[JobView]
    next: int | None
    """Of the next page: its ``before``."""


class JobResult(BaseModel):
    """What a job came to."""

    id: str
    kind: str
    output: str
    result: dict[str, Any]


class PlanView(BaseModel):
    """What a job would cost."""

    form: str | None
    passes: list[int] | None = Field(description="At least, at most.")
    bytes_per_pass: int | None
    coordinator_bytes: int | None = Field(description="Upper bound on the memory beside the data.")
    largest_tile_bytes: int | None
    seconds: list[float] | None = Field(description="At least, at most.")
    basis: str = Field(description="What the estimate of the time rests on.")


class NewDataset(BaseModel):
    """A store to be known by a name."""

    model_config = {"extra": "forbid", "strict": True}

    name: Name
    path: Where


class DatasetView(BaseModel):
    """A dataset by its name."""

    name: str
    path: str
    created: float
    job: str | None

    @classmethod
    def of(cls, record: DatasetRecord) -> DatasetView:
        """A dataset as it is kept."""
        return cls(name=record.name, path=record.path, created=record.created, job=record.job)


class DatasetDetail(DatasetView):
    """A dataset, looked into."""

    rows: int
    columns: int
    encoding: str
    dtype: str
    decoded_bytes: int
    stored_entries: int | None
    target: bool
    fold: bool
    feature_names: list[str] | None = Field(description="The first hundred.")


class ModelView(BaseModel):
    """A model by its name."""

    name: str
    job: str
    created: float

    @classmethod
    def of(cls, record: ModelRecord) -> ModelView:
        """A model as it is kept."""
        return cls(name=record.name, job=record.job, created=record.created)


class ModelDetail(ModelView):
    """A model and its summary."""

    summary: dict[str, Any]


class PathView(BaseModel):
    """A path to explore: its largest coefficients at every lambda."""

    lambdas: list[float]
    gap: list[float]
    n_active: list[int]
    deviance_ratio: list[float]
    columns: list[int]
    names: list[str]
    coef: list[list[float]] = Field(description="One list a column, of its coefficients at every lambda.")
    chosen: int | None = Field(description="Which lambda cross-validation chose.")
    mean_score: list[float] | None
    score: str | None


class Rows(BaseModel):
    """Rows to predict."""

    model_config = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    rows: Annotated[list[list[float | None]], Field(min_length=1, max_length=100_000)]
    lam: Positive | None = None
    type: Annotated[str, Field(pattern="^(link|response|class)$")] = "link"


class Predictions(BaseModel):
    """One number a row; a list of one a lambda where no lambda was given, or one a response."""

    predictions: list[Any]


class ClusterView(BaseModel):
    """Where jobs run."""

    scheduler: str
    workers: int | None
    threads: int | None
    memory_bytes: int | None
    dashboard: str | None
    running: int
    most_jobs: int


class AuditView(BaseModel):
    """Who did what, and how it ended."""

    number: int
    at: float
    who: str
    action: str
    subject: str
    status: int


NewJob = JobSpec
