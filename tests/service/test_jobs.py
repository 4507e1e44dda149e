"""The life of a job: literal events, and arbitrary orders of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distlasso.service.jobs import (
    FINAL,
    LEASE,
    MOST_LOST,
    Beat,
    CancelAsked,
    Claimed,
    Event,
    Failed,
    Fence,
    Job,
    Looked,
    Lost,
    Refuse,
    ResumeAsked,
    Start,
    Stop,
    Stopped,
    Succeeded,
    claimable,
    step,
)  # fmt: skip


def after(*events: Event, job: Job | None = None) -> Job:
    job = job or Job()
    for event in events:
        job, _ = step(job, event)
    return job


def test_a_job_that_is_taken_up_runs_once() -> None:
    """The second supervisor is refused."""
    job, commands = step(Job(), Claimed(1.0))
    assert (job.state, job.attempt, commands) == ("running", 1, (Start(1),))
    again, commands = step(job, Claimed(2.0))
    assert again == job
    assert isinstance(commands[0], Refuse)


def test_what_a_fenced_runner_says_changes_nothing() -> None:
    """Neither its success nor its failure nor its heartbeat counts once another attempt has begun."""
    job = after(Claimed(0.0), Looked(LEASE + 1), Claimed(100.0))
    assert job.attempt == 2
    for event in (Beat(1, 101.0), Succeeded(1, {}), Failed(1, "no"), Stopped(1), Lost(1, 101.0, "gone")):
        same, commands = step(job, event)
        assert same == job
        assert commands == (Fence(1),)


def test_a_runner_that_gives_no_sign_of_life_is_fenced_off_and_its_job_taken_up_again() -> None:
    """Only once the lease is over."""
    job = after(Claimed(0.0), Beat(1, 10.0))
    assert step(job, Looked(10.0 + LEASE - 1))[0].state == "running"
    job, commands = step(job, Looked(10.0 + LEASE))
    assert (job.state, commands) == ("resumable", (Fence(1),))
    assert not claimable(job, 10.0 + LEASE)
    assert claimable(job, 10.0 + LEASE + 5)


def test_a_job_that_kills_its_runners_fails_in_the_end_and_one_that_makes_progress_does_not() -> None:
    """Losses in a row are counted, and forgotten when something was gained."""
    job, now = Job(), 0.0
    for _ in range(MOST_LOST):
        assert job.state != "failed"
        now += 100
        job = after(Claimed(now), Lost(job.attempt + 1, now, "killed"), job=job)
    assert job.state == "failed"
    assert "killed" in job.error
    job = Job()
    for _ in range(3 * MOST_LOST):
        now += 100
        attempt = job.attempt + 1
        job = after(Claimed(now), Beat(attempt, now, True), Lost(attempt, now, "killed"), job=job)
    assert job.state == "resumable"


def test_cancelling_stops_the_runner_and_resuming_goes_on() -> None:
    """A job that runs is cancelled when its runner has ended, not before."""
    job, commands = step(after(Claimed(0.0)), CancelAsked())
    assert (job.state, job.cancelling, commands) == ("running", True, (Stop(1),))
    assert step(job, Beat(1, 1.0))[1] == (Stop(1),)
    assert isinstance(step(job, ResumeAsked())[1][0], Refuse)
    job = after(Stopped(1), job=job)
    assert job.state == "cancelled"
    job = after(ResumeAsked(), job=job)
    assert (job.state, after(Claimed(5.0), job=job).attempt) == ("queued", 2)


def test_a_runner_whose_service_ends_leaves_a_job_that_is_taken_up_again() -> None:
    """Not cancelled, not failed, and at once."""
    job = after(Claimed(0.0), Stopped(1))
    assert job.state == "resumable"
    assert claimable(job, 0.0)


@pytest.mark.parametrize("event", [CancelAsked(), ResumeAsked()])
def test_a_job_that_has_succeeded_stays_so(event: Event) -> None:
    """The user is told why."""
    job = after(Claimed(0.0), Succeeded(1, {"a": 1}))
    same, commands = step(job, event)
    assert same == job
    assert isinstance(commands[0], Refuse)
    assert "succeeded" in commands[0].why


attempts, times = st.integers(0, 4), st.floats(0, 1000)
events = st.one_of(
    st.builds(Claimed, times), st.builds(Beat, attempts, times, st.booleans()), st.builds(Succeeded, attempts, st.just({"x": 1})),
    st.builds(Failed, attempts, st.just("bad")), st.builds(Stopped, attempts), st.builds(Lost, attempts, times, st.just("gone")),
    st.builds(Looked, times), st.just(CancelAsked()), st.just(ResumeAsked()),
)  # fmt: skip


@given(st.lists(events, max_size=40))
def test_in_any_order_of_events_a_job_is_finished_once_and_only_by_its_last_runner(order: list[Event]) -> None:
    """Success comes from the current attempt alone and is final; attempts only grow; one runner is started an attempt."""
    job, started, successes = Job(), [], 0
    for event in order:
        before = job
        job, commands = step(job, event)
        started += [command.attempt for command in commands if isinstance(command, Start)]
        assert job.attempt - before.attempt in (0, 1)
        assert (job.state == "running") or not job.cancelling
        assert before.state != "succeeded" or job == before
        if before.state in FINAL and job.state not in FINAL:
            assert isinstance(event, ResumeAsked)
        if job.state == "succeeded" and before.state != "succeeded":
            successes += 1
            assert isinstance(event, Succeeded)
            assert event.attempt == before.attempt
            assert before.state == "running"
        if job != before and isinstance(event, Beat | Succeeded | Failed | Stopped | Lost):
            assert event.attempt == before.attempt
    assert successes <= 1
    assert started == sorted(set(started)) == list(range(1, job.attempt + 1))
