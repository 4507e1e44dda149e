"""A fit in a process of its own, which can be killed and goes on from its checkpoint in another one."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import signal
import time
import traceback
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import distlasso as dl
from distlasso import events
from distlasso.runtime.cluster import Cluster
from tests.chaos.farm import SERVER, quietly
from tests.chaos.faults import INGEST, PHASES
from tests.chaos.jobs import Job

_WORTH_A_NOTE = (
    events.WorkerLost, events.WorkerJoined, events.WorkerRefused, events.RoundResubmitted, events.BlockQuarantined,
    events.SchedulerLost, events.SchedulerFound,
)  # fmt: skip


class Coordinator:
    """One attempt at a fit, and what the outside may know of it."""

    def __init__(self, job: Job, source: str, address: str, checkpoint: Path, patience: dict[str, Any]) -> None:
        self._phase = SERVER.Value("i", PHASES.index("opening"), lock=False)
        self.rounds = SERVER.Value("i", 0, lock=False)  # that were asked of the workers
        self.began = time.monotonic()
        self._outcome = checkpoint.with_name(f"{checkpoint.name}.outcome-{time.monotonic_ns()}.json")
        self.process = SERVER.Process(target=_fit, daemon=True, args=(
            job, source, address, str(checkpoint), patience, str(self._outcome), self._phase, self.rounds))  # fmt: skip
        self.process.start()

    @property
    def phase(self) -> str:
        return PHASES[self._phase.value]

    @property
    def running(self) -> bool:
        return bool(self.process.is_alive())

    def last_words(self) -> str:
        """What it noted, and where it is."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)
        time.sleep(0.5)
        return Path(f"{self._outcome}.diary").read_text()

    def outcome(self) -> dict[str, Any]:
        """What became of it, once it has ended."""
        self.process.join()
        with contextlib.suppress(OSError):
            return json.loads(self._outcome.read_text()) | {"code": self.process.exitcode}
        return {"code": self.process.exitcode}


def _fit(
    job: Job, source: str, address: str, checkpoint: str, patience: dict[str, Any], outcome: str, phase: Any, rounds: Any
) -> None:
    quietly(patience)
    warnings.simplefilter("ignore")
    diary = open(f"{outcome}.diary", "w", buffering=1)  # noqa: SIM115 - for as long as the process lives
    faulthandler.register(signal.SIGUSR1, file=diary)
    seen = _tell_phases(job, phase, rounds)
    try:
        phase.value = PHASES.index(INGEST if job.ingests and not Path(f"{checkpoint}.zarr").exists() else "opening")
        store = job.prepare(source, f"{checkpoint}.zarr")
        phase.value = PHASES.index("opening")
        with dl.Cluster(address=address) as cluster:
            told = {"digest": job.run(store, runtime=cluster, checkpoint=checkpoint, on_event=partial(_note, diary))} | seen
    except dl.DistlassoError as error:
        told = {"error": type(error).__name__, "message": str(error)}
    except BaseException as error:  # a bug, or the end of this process: the bench wants to know
        told = {"bug": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # the disk was full for the fit only
    with contextlib.suppress(OSError):
        wip = Path(f"{outcome}.wip")
        wip.write_text(json.dumps(told))
        wip.rename(outcome)
    os._exit(0 if "digest" in told else 1)


def _note(diary: Any, event: events.Event) -> None:
    if isinstance(event, _WORTH_A_NOTE):
        with contextlib.suppress(OSError):  # the disk may be full on purpose
            diary.write(f"{time.monotonic():.2f} {event}\n")


def _tell_phases(job: Job, phase: Any, rounds: Any) -> dict[str, Any]:
    """Have every round of this process say which it is; they are kept in what is returned."""
    inner, began = Cluster.run, time.monotonic()
    seen: dict[str, Any] = {"rounds": []}

    def run(self: Any, asks: Any) -> Any:
        names = {type(query).__name__ for ask in asks for query in ask.request.queries}
        seen.setdefault("opening", time.monotonic() - began)
        seen["rounds"].append(_phase(job, names, sweep=any(ask.sweep for ask in asks)))
        phase.value = PHASES.index(seen["rounds"][-1])
        rounds.value += 1
        found = inner(self, asks)
        phase.value = PHASES.index("between rounds")
        return found

    Cluster.run = run  # type: ignore[method-assign]
    return seen


def _phase(job: Job, names: set[str], *, sweep: bool) -> str:
    if "Moments" in names:  # of folds: those of all rows are in the store
        return "statistics"
    if job.folds:
        return "cross-validation"
    if job.options.get("solver") == "admm" and not sweep:
        return "ADMM round"
    return "pass" if sweep else "round over strong columns"
