"""The one schema of a job, for Python, ``job.toml`` and REST: strict, closed, and small enough to check before anything is read.

Read next: ``work.py``, which does what a job says.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from distlasso.errors import InputError

MOST_LAMBDAS = 10_000
MOST_COLUMNS = 1_000_000  # of what is given column by column

def _whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Name = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Letters, digits, ., _ and -.")
]
Where = Annotated[str, Field(min_length=1, max_length=1000, description="Name of a registered dataset, or a path below a root.")]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, le=1e300)]
Factors = Annotated[list[Annotated[float, Field(ge=0.0)]], Field(min_length=1, max_length=MOST_COLUMNS)]
Bytes = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[1-9][0-9]{0,9}(\.[0-9]+)? ?([kMGT]i?)?B$", examples=["2GB"])]
Column = Annotated[str, Field(min_length=1, max_length=1000)]


class Closed(BaseModel):
    """A record that takes nothing but what it names, of the types it says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class HuberLoss(Closed):
    """Huber's loss with a corner of its own."""

    name: Literal["huber"]
    delta: Positive


class Schedule(Closed):
    """A schedule by name; ``parameters`` as its class in Python takes them."""

    name: Literal["relaxed", "mcp", "scad", "adaptive", "prune-refine", "thresholded"]
    parameters: dict[Literal["gamma", "a", "init", "strength", "phi", "threshold", "refine", "stages"], float | int | str] = Field(
        default_factory=dict, max_length=4
    )


class Prior(Closed):
    """A prior on the coefficients, in the place of ``l1_ratio`` and ``lambdas``."""

    name: Literal["laplace", "gaussian"]
    scale: Positive
    sigma: Positive | None = None


ScheduleName = Literal["none", "relaxed", "mcp", "scad", "adaptive", "prune-refine"]


class SharedOptions(Closed):
    """Options of ``fit_path`` that ``cross_validate`` takes as well."""

    loss: Literal["squared", "logistic", "poisson", "huber"] | HuberLoss = "squared"
    penalty_factors: Factors | None = None
    bounds: Annotated[list[float], Field(min_length=2, max_length=2, description="low <= 0 <= high")] | None = None
    lambdas: Annotated[list[Positive], Field(min_length=1, max_length=MOST_LAMBDAS)] | None = None
    n_lambdas: Annotated[int, Field(ge=1, le=MOST_LAMBDAS), WHOLE] = 100
    lambda_min_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    standardize: bool = True
    fit_intercept: bool = True
    solver: Literal["auto", "bcd", "admm", "fista", "ista"] = "auto"
    tol: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-6
    max_active: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    time_limit: Positive | None = None
    memory: Bytes | None = None


class FitOptions(SharedOptions):
    """What ``fit_path`` takes."""

    l1_ratio: Ratio = 1.0
    prior: Prior | None = None
    schedule: ScheduleName | Schedule | None = None
    multi_task: bool = False


class CvOptions(SharedOptions):
    """What ``cross_validate`` takes."""

    folds: Annotated[int, Field(ge=2, le=1000), WHOLE] | None = None
    rule: Literal["min", "1se"] = "min"
    score: Literal["loss", "deviance", "mse", "mae", "r2", "auc", "accuracy", "log_loss"] | None = None
    max_features: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    l1_ratio: Ratio | Annotated[list[Ratio], Field(min_length=1, max_length=20)] = 1.0
    schedule: ScheduleName | Schedule | Annotated[list[ScheduleName | Schedule], Field(min_length=1, max_length=10)] | None = None
    average: Literal["rows", "folds"] = "rows"
    fixed: Literal["lambda", "C"] = "lambda"
    random_state: Annotated[int, Field(ge=0, le=2**31), WHOLE] = 0


class IngestOptions(Closed):
    """What ``ingest`` takes."""

    target: Column | None = None
    weight: Column | None = None
    offset: Column | None = None
    fold: Column | None = None
    one_hot: Annotated[list[Column], Field(max_length=1000)] | None = None
    drop: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=1000)] | None = None  # an index has no name
    encoding: Literal["auto", "dense", "csr", "csc"] = "auto"
    dtype: Literal["float64", "float32", "int8", "uint8"] | None = None
    chunks: Annotated[list[Annotated[int, Field(ge=1, le=2**40), WHOLE]], Field(min_length=2, max_length=2)] | None = None
    missing: Literal["error", "mean", "drop", "keep"] = "error"
    missing_value: float | None = None
    memory: Bytes = "1GB"


class PredictOptions(Closed):
    """What ``predict`` takes."""

    lam: Positive | None = None
    type: Literal["link", "response", "class"] = "link"


class FitJob(Closed):
    """Fit a path to a dataset; the output is a model."""

    kind: Literal["fit"]
    dataset: Where
    output: Name | None = None
    options: FitOptions = FitOptions()


class CvJob(Closed):
    """Choose a model by cross-validation; the output is a model."""

    kind: Literal["cv"]
    dataset: Where
    output: Name | None = None
    options: CvOptions = CvOptions()


class IngestJob(Closed):
    """Write a file to a store; the output is a dataset."""

    kind: Literal["ingest"]
    source: Where
    output: Name
    options: IngestOptions = IngestOptions()


class PredictJob(Closed):
    """Predict the rows of a dataset by a model; the output is a file, the result of the job."""

    kind: Literal["predict"]
    model: Name
    dataset: Where
    output: Name | None = None
    options: PredictOptions = PredictOptions()


JobSpec = Annotated[FitJob | CvJob | IngestJob | PredictJob, Field(discriminator="kind")]
Spec = FitJob | CvJob | IngestJob | PredictJob

_ADAPTER: TypeAdapter[Spec] = TypeAdapter(JobSpec)


def parse_job(given: Mapping[str, Any]) -> Spec:
    """Check a job given as plain values.

    Raises
    ------
    InputError
        Naming the first thing that is wrong with it.
    """
    try:
        return _ADAPTER.validate_python(dict(given))
    except ValidationError as error:
        raise InputError(first_fault(error)) from None


def read_job(file: str | Path) -> Spec:
    """Read ``job.toml``.

    Raises
    ------
    InputError
        If it cannot be read, is no TOML, or no job.
    """
    try:
        return parse_job(tomllib.loads(Path(file).read_text()))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML: {error}") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def first_fault(error: ValidationError) -> str:
    """The first thing that pydantic found, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("fit", "cv", "ingest", "predict")) or "the job"
    given = "" if first["type"] == "missing" else f", given {first['input']!r:.80}"
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}{given}"
