"""Everything that happens during a fit, as one stream of small records.

Progress bars, logs, dashboards, metrics and checkpoints subscribe to it (``on_event=``); the mathematics
emits records and never knows who listens. Read next: ``coordinator/drive.py``, which emits most of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all records."""


@dataclass(frozen=True, slots=True)
class IngestProgress(Event):
    """A shard of a store has reached its final name."""

    rows: int
    """Rows written so far."""
    bytes_written: int
    """Bytes written so far, as stored."""


@dataclass(frozen=True, slots=True)
class FitStarted(Event):
    """The plan of a fit is fixed."""

    n_rows: int
    n_columns: int
    n_lambdas: int
    form: str
    """Form of the restricted problem and why it was chosen."""
    planned_bytes: int
    """Upper bound on the memory the fit will hold."""


@dataclass(frozen=True, slots=True)
class PassFinished(Event):
    """One sweep over all rows and columns has been merged."""

    number: int
    """Passes so far."""
    n_models: int
    """Models whose gradients the pass computed."""
    bytes_read: int
    """Bytes of decoded blocks visited so far."""
    seconds: float
    """Wall time of this pass."""


@dataclass(frozen=True, slots=True)
class BatchVerified(Event):
    """A batch of lambdas has been certified, wholly or in part."""

    n_accepted: int
    """Lambdas of the path that are certified so far."""
    n_lambdas: int
    """Lambdas of the whole path."""
    lam: float
    """The smallest certified lambda."""
    gap: float
    """The largest certified gap of the batch."""
    n_active: int
    """Nonzero coefficients at ``lam``."""
    n_strong: int
    """Columns admitted to the strong set."""


@dataclass(frozen=True, slots=True)
class PathGrown(Event):
    """The path is certified at further lambdas: what it looks like there."""

    lambdas: tuple[float, ...]
    """The lambdas that are new, descending."""
    gaps: tuple[float, ...]
    """Certified gap at each."""
    n_active: tuple[int, ...]
    """Nonzero coefficients at each."""
    columns: tuple[int, ...]
    """The columns with the largest coefficients at the last of them, in standard deviations; at most 20, ascending."""
    coef: tuple[tuple[float, ...], ...]
    """Coefficients of these columns at each lambda, original scale, of the first response."""
    before: tuple[tuple[float, ...], ...] = ()
    """The same at the lambdas that were told before, so that a column that comes in late has a line from its beginning."""
    fit: int = 0
    """Which of the fits that go side by side: of a response or fold; in cross-validation 0 is that of all rows."""


@dataclass(frozen=True, slots=True)
class ConsensusRound(Event):
    """A round of ADMM is over."""

    number: int
    """Rounds of this batch so far."""
    rho: float
    """Penalty parameter of the round."""
    apart: float
    """Primal residual: the largest disagreement of the bundles, relative to the consensus."""
    adrift: float
    """Dual residual: the largest move of the consensus, relative to the duals."""
    n_moving: int
    """Lambdas of the batch that have not reached their gap."""


@dataclass(frozen=True, slots=True)
class StageVerified(Event):
    """A schedule has fitted some lambdas again, each certified."""

    stage: int
    """Fits at these lambdas after the first."""
    n_lambdas: int
    """Lambdas that were fitted."""
    gap: float
    """The largest gap among them."""


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """A worker has left in the middle of a fit; what it was at work on is asked of others."""

    worker: str
    """Its address."""
    expected: bool
    """Whether it was retired; else it died, froze or lost its connection."""
    n_bundles: int
    """Bundles that have to be asked again."""


@dataclass(frozen=True, slots=True)
class WorkerJoined(Event):
    """A worker is ready in the middle of a fit: a new one, or one that was silent."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerRefused(Event):
    """A worker that joined in the middle of a fit is not used."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoundResubmitted(Event):
    """A worker is silent for too long; another one has been asked about the same bundles, and the first answer counts."""

    worker: str
    """Who is silent."""
    n_bundles: int
    seconds: float
    """For how long."""


@dataclass(frozen=True, slots=True)
class BlockQuarantined(Event):
    """Bundles that cannot be had: they killed one worker after another, or failed time after time."""

    rows: tuple[int, int]
    """Rows from the first up to but without the second."""
    columns: tuple[int, int]
    deaths: int
    """Workers in a row that died over them; 0 where the attempts failed and the workers live."""


@dataclass(frozen=True, slots=True)
class SchedulerLost(Event):
    """The scheduler does not answer; the fit waits for another one."""

    address: str


@dataclass(frozen=True, slots=True)
class SchedulerFound(Event):
    """The fit goes on with another scheduler."""

    address: str
    seconds: float
    """Since the first was lost."""


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """A checkpoint was found, and is continued."""

    rounds: int
    """Exchanges that are in it."""
    again: int
    """Questions in it whose answers were too large to keep, and are computed again."""
    bytes: int
    """Size of it."""


@dataclass(frozen=True, slots=True)
class CheckpointWritten(Event):
    """The last exchange is in the checkpoint: what follows it is all that a death would lose."""

    round: int
    """Exchanges that are in it."""
    bytes: int
    """Bytes that were written."""
    seconds: float
    """Wall time that it took."""


@dataclass(frozen=True, slots=True)
class FitFinished(Event):
    """The path is complete, or was stopped with a certified prefix."""

    n_lambdas: int
    passes: int
    rounds: int
    seconds: float
    reason: str


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
