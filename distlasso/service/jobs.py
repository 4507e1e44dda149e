"""The life of a job as a pure state machine: ``step(job, event) -> (job, commands)``.

    queued ──claimed──> running ──succeeded──> succeeded
      ^                  │  │ └──failed──────> failed ────┐
      │                  │  └────stopped─────> cancelled ─┤
      │               lost, stopped                       │
      │                  v                                │
      └──resume──── resumable ──claimed──> running        │
      └──resume───────────────────────────────────────────┘

A job that runs has a lease, which heartbeats extend, and an attempt number, which fences off whoever ran it before: what
an earlier attempt says changes nothing. Nothing here reads a clock or touches a process. Read next: ``store.py`` (which
keeps jobs), ``supervisor.py`` (which carries out commands).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never, get_args

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "resumable"]
STATES: tuple[State, ...] = get_args(State)
FINAL = ("succeeded", "failed", "cancelled")  # states that nothing leaves without being asked

LEASE = 60.0  # seconds without a heartbeat after which a runner counts as lost
MOST_LOST = 5  # runners in a row that may be lost without any progress
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before a job whose runner was lost is taken up again


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the state machine sees it; times are seconds since the epoch."""

    state: State = "queued"
    attempt: int = 0
    """Runners so far; the last one's number fences off the others."""
    lease_until: float = 0.0
    not_before: float = 0.0
    """When it may be taken up."""
    lost: int = 0
    """Runners in a row that were lost without progress."""
    cancelling: bool = False
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A supervisor has a place for the job."""

    now: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A runner is alive; ``progress`` is whether it got any further."""

    attempt: int
    now: float
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A runner has finished the work."""

    attempt: int
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """A runner cannot do the work, nor could any other."""

    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """A runner that was told to stop has ended, its checkpoint in place."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A runner has died, or the scheduler that it worked on."""

    attempt: int
    now: float
    why: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A supervisor has looked at the lease."""

    now: float


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A user wants it to stop."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """A user wants it to go on."""


Event = Claimed | Beat | Succeeded | Failed | Stopped | Lost | Looked | CancelAsked | ResumeAsked


@dataclass(frozen=True, slots=True)
class Start:
    """Start a runner of this attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Have the runner of this attempt end."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Fence:
    """Whoever said this is no longer wanted, and must end without leaving anything behind."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The event is impossible in this state, for a reason that a user can read."""

    why: str


Command = Start | Stop | Fence | Refuse


def claimable(job: Job, now: float) -> bool:
    """Whether a supervisor may take the job up."""
    return job.state in ("queued", "resumable") and now >= job.not_before


def step(job: Job, event: Event) -> tuple[Job, tuple[Command, ...]]:
    """The job after an event, and what is to be done about it."""
    match event:
        case Claimed(now):
            if not claimable(job, now):
                return job, (Refuse(f"the job is {job.state}"),)
            attempt = job.attempt + 1
            taken = replace(job, state="running", attempt=attempt, lease_until=now + LEASE, cancelling=False, error="")
            return taken, (Start(attempt),)
        case Beat() | Succeeded() | Failed() | Stopped() | Lost():
            if job.state != "running" or event.attempt != job.attempt:
                return job, (Fence(event.attempt),)
            return _of_runner(job, event)
        case Looked(now):
            if job.state != "running" or now < job.lease_until:
                return job, ()
            lost = _lost(job, now, f"its runner gave no sign of life for {LEASE:.0f} s")
            return lost, (Fence(job.attempt),)
        case CancelAsked():
            return _cancel(job)
        case ResumeAsked():
            return _resume(job)
    assert_never(event)


def _of_runner(job: Job, event: Beat | Succeeded | Failed | Stopped | Lost) -> tuple[Job, tuple[Command, ...]]:
    """What the runner of the current attempt has said."""
    match event:
        case Beat(_, now, progress):
            alive = replace(job, lease_until=max(job.lease_until, now + LEASE), lost=0 if progress else job.lost)
            return alive, (Stop(job.attempt),) if job.cancelling else ()
        case Succeeded(_, result):  # also while it is being cancelled: the work is done
            return replace(job, state="succeeded", result=result, cancelling=False, error=""), ()
        case Failed(_, error):
            return replace(job, state="failed", error=error, cancelling=False), ()
        case Stopped():
            return replace(job, state="cancelled" if job.cancelling else "resumable", cancelling=False), ()
        case Lost(_, now, why):
            return _lost(job, now, why), ()
    assert_never(event)


def _lost(job: Job, now: float, why: str) -> Job:
    """The runner is gone: somebody else goes on from the checkpoint, unless that has been tried often enough."""
    if job.cancelling:
        return replace(job, state="cancelled", cancelling=False)
    lost = job.lost + 1
    if lost >= MOST_LOST:
        return replace(job, state="failed", lost=lost, error=f"{why}, {lost} times in a row without progress: look at its log")
    wait = min(_FIRST_WAIT * 2 ** (lost - 1), _LONGEST_WAIT)
    return replace(job, state="resumable", lost=lost, not_before=now + wait, error=why)


def _cancel(job: Job) -> tuple[Job, tuple[Command, ...]]:
    if job.state in ("queued", "resumable"):
        return replace(job, state="cancelled", error=""), ()
    if job.state == "running":
        return replace(job, cancelling=True), (Stop(job.attempt),)
    if job.state == "cancelled":
        return job, ()
    return job, (Refuse(f"the job has {job.state}: there is nothing left to cancel"),)


def _resume(job: Job) -> tuple[Job, tuple[Command, ...]]:
    if job.state in ("failed", "cancelled", "resumable"):
        return replace(job, state="queued", lost=0, not_before=0.0, error=""), ()
    if job.state == "running" and job.cancelling:
        return job, (Refuse("the job is being cancelled: wait until it has stopped, then resume it"),)
    if job.state == "succeeded":
        return job, (Refuse("the job has succeeded: its result is there, submit a new job for another"),)
    return job, ()
