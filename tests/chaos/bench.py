"""Runs fits one after the other, does to each what its plan says, and sees to it that each ends with the right bits.

A fit may end with a clear error, as where a chunk was damaged or the disk was full; then it must go on from its checkpoint
once that is repaired. Read next: ``faults.py`` (the plan), ``coordinator.py`` (the fit), ``report.py`` (the table).
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distributed

from tests.chaos.coordinator import Coordinator
from tests.chaos.farm import Farm
from tests.chaos.faults import Fault, draw_plan
from tests.chaos.jobs import JOBS, Job, make_stores
from tests.chaos.report import Ended, Report
from tests.chaos.troubled import Troubled

WORKERS = 3
_PATIENCE = {"distlasso.round-floor": "400ms", "distlasso.workers": "20s", "distlasso.failover": "20s"}
_HANGS = 60.0  # seconds after the last fault
_TICK = 0.004
_PULSE = 0.03


@dataclass(frozen=True)
class _Quiet:
    """What a job is where nothing goes wrong."""

    digest: str
    seconds: float
    opening: float  # seconds before the first round
    rounds: tuple[str, ...]  # the phase of each


@dataclass
class _Fit:
    """A fit under way, and what is still to be done to it and to be repaired."""

    job: Job
    source: Path
    checkpoint: Path
    plan: list[Fault]
    rng: random.Random
    own: bool  # whether the source is this fit's alone
    coordinator: Coordinator
    began: float
    ended: Ended
    repairs: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    slow: dict[Any, float] = field(default_factory=dict)  # process: until when
    damaged: dict[Path, bytes] = field(default_factory=dict)
    last: float = 0.0  # when something was done
    reached: float | None = None  # when the round of the next fault was


class Bench:
    """The farm, the stores and the count."""

    def __init__(self, seed: int, *, mean: float = 5.0, tell: Callable[[str], None] = print) -> None:
        """``mean`` is how many faults a fit gets on average."""
        self.seed, self.mean, self.tell, self.report = seed, mean, tell, Report()
        self._folder = tempfile.TemporaryDirectory(prefix="chaos-")
        self.folder = Path(self._folder.name)
        self._troubled = Troubled(str(self.folder))
        self.stores = make_stores(self.folder)
        self.farm = self._new_farm()
        self.quiet: dict[str, _Quiet] = {}

    def close(self) -> None:
        self.farm.close()
        self._folder.cleanup()

    def run(self, fits: int, seconds: float, first: int = 0) -> Report:
        """Do so many fits of the plan, from the ``first`` on, or as many as there is time for."""
        began = time.monotonic()
        for index in range(first, first + fits):
            if time.monotonic() - began > seconds:
                break
            rng = random.Random(f"{self.seed}-{index}")
            job = rng.choice(JOBS)
            self._learn(job)
            ended = self._fit(index, job, rng)
            self.report.add(ended)
            if ended.trouble:
                self.tell(f"fit {index} ({job.name}): {ended.trouble}\n{dict(ended.faults)}{ended.stacks}")
            if index % 10 == 9:
                self.tell(f"{index + 1 - first} fits, {self.report.n_faults} faults, {time.monotonic() - began:.0f} s: "
                          f"{self.report.n_troubles} wrong or hung")  # fmt: skip
        self.report.seconds = time.monotonic() - began
        return self.report

    def _new_farm(self) -> Farm:
        return Farm(WORKERS, relayed=True, prepare=self._troubled, config={"distributed.comm.timeouts.connect": "2s"})

    def _learn(self, job: Job) -> None:
        """What a job is where nothing goes wrong: in this process, and how long it takes on the farm."""
        if job.name in self.quiet:
            return
        source, place = self.stores[job.source], self.folder / f"quiet-{len(self.quiet)}"
        digest = job.run(job.prepare(source, f"{place}-serial.zarr"), runtime="serial")
        alone = Coordinator(job, source, self.farm.address, place, _PATIENCE)
        told = alone.outcome()
        assert told.get("digest") == digest, (job, told)
        self.quiet[job.name] = _Quiet(digest, time.monotonic() - alone.began, told["opening"], tuple(told["rounds"]))

    def _fit(self, index: int, job: Job, rng: random.Random) -> Ended:
        quiet = self.quiet[job.name]
        plan = draw_plan(rng, quiet.rounds, quiet.opening, self.mean, ingests=job.ingests)
        checkpoint = self.folder / f"fit-{index}"
        source, own = Path(self.stores[job.source]), any(fault.kind == "bit flipped" for fault in plan) and not job.ingests
        if own:
            source = Path(shutil.copytree(source, self.folder / f"store-{index}.zarr"))
        coordinator = self._coordinate(job, source, checkpoint)
        fit = _Fit(job, source, checkpoint, plan, rng, own, coordinator, time.monotonic(), Ended(job.name))
        try:
            while not self._step(fit):
                time.sleep(_TICK)
        finally:
            fit.ended.seconds = time.monotonic() - fit.began
            fit.ended.quiet_seconds = quiet.seconds
            self._repair(fit)
            self._tidy(fit)
        return fit.ended

    def _coordinate(self, job: Job, source: Path, checkpoint: Path) -> Coordinator:
        return Coordinator(job, str(source), self.farm.address, checkpoint, _PATIENCE)

    def _step(self, fit: _Fit) -> bool:
        """Look at a fit once; say whether it is over."""
        now = time.monotonic()
        while fit.plan and fit.coordinator.running and self._due(fit, now):
            fit.reached = None
            self._do(fit, fit.plan.pop(0))
        for repair in [repair for repair in fit.repairs if now >= repair[0]]:
            fit.repairs.remove(repair)
            repair[1]()
        self._pulse(fit, now)
        self._top_up(fit, now)
        if fit.coordinator.running:
            if now - max(fit.last, fit.began) > _HANGS:
                fit.ended.trouble = f"hung in {fit.coordinator.phase}\n{fit.coordinator.last_words()}"
                return True
            return False
        return self._over(fit)

    def _due(self, fit: _Fit, now: float) -> bool:
        """Whether the fit is where the next fault of its plan is to find it, or beyond."""
        fault, rounds = fit.plan[0], fit.ended.rounds + fit.coordinator.rounds.value
        if fit.reached is None and (rounds > fault.round or (rounds == fault.round and fit.coordinator.phase == fault.phase)):
            fit.reached = now
        return fit.reached is not None and now - fit.reached >= fault.later

    def _over(self, fit: _Fit) -> bool:
        """What a process that has ended leaves behind; another one goes on where it did not come to its end."""
        told = fit.coordinator.outcome()
        quiet = self.quiet[fit.job.name]
        fit.ended.rounds += fit.coordinator.rounds.value
        if "digest" in told:
            fit.ended.redone = max(0, fit.ended.rounds - len(quiet.rounds))
            if told["digest"] != quiet.digest:
                fit.ended.trouble = "wrong"
            return True
        if "bug" in told or (told["code"] != -signal.SIGKILL and "error" not in told):
            fit.ended.trouble = f"no clear error: {told}"
            return True
        if "error" in told:
            fit.ended.errors.append(f"{told['error']}: {told['message']}")
            if len(fit.ended.errors) > 6:
                fit.ended.trouble = f"does not go on: {fit.ended.errors}"
                return True
            self._repair(fit)
        fit.ended.interruptions += 1
        fit.coordinator = self._coordinate(fit.job, fit.source, fit.checkpoint)
        fit.last = time.monotonic()
        return False

    def _do(self, fit: _Fit, fault: Fault) -> None:
        """Carry out a fault, and count it where it could be."""
        phase = fit.coordinator.phase
        now = fit.last = time.monotonic()
        workers = [process for process in self.farm.living() if process not in fit.slow]
        one = fit.rng.choice(workers) if workers else None
        done = True
        match fault.kind:
            case "worker killed" if one is not None:
                self.farm.kill(one)
            case "worker frozen" if one is not None:
                self.farm.freeze(one)
                fit.repairs.append((now + fault.lasts, lambda: self.farm.thaw(one)))
            case "worker slow" if one is not None:
                fit.slow[one] = now + fault.lasts
            case "connections dropped":
                assert self.farm.relay is not None
                done = self.farm.relay.cut(fit.rng, fit.rng.randint(1, 3)) > 0
            case "reads fail" if one is not None:
                self._troubled.begin()
                fit.repairs.append((now + fault.lasts, lambda: self._end_of_reads(fit, phase)))
                self.farm.kill(one)  # so that somebody reads
                fit.ended.count("worker killed", phase)
                return  # counted when a read has failed
            case "worker retired" if len(workers) > 1:
                threading.Thread(target=_retire, args=(self.farm.address,), daemon=True).start()
            case "worker joins" if len(workers) < 2 * WORKERS:
                self.farm.start_worker()
            case "coordinator killed":
                os.kill(fit.coordinator.process.pid, signal.SIGKILL)
            case "scheduler killed":
                self.farm.kill(self.farm.scheduler)
                self.farm.scheduler.join()
                fit.repairs.append((now + fault.lasts, self.farm.start_scheduler))
            case "bit flipped" if fit.own and one is not None:
                _flip(fit)
                self.farm.kill(one)
                fit.ended.count("worker killed", phase)
            case "disk full":
                with contextlib.suppress(ProcessLookupError):
                    _, hard = resource.prlimit(fit.coordinator.process.pid, resource.RLIMIT_FSIZE)
                    resource.prlimit(fit.coordinator.process.pid, resource.RLIMIT_FSIZE, (0, hard))
            case _:
                done = False
        if done:
            fit.ended.count(fault.kind, phase)

    def _end_of_reads(self, fit: _Fit, phase: str) -> None:
        if self._troubled.end():
            fit.ended.count("reads fail", phase)

    def _pulse(self, fit: _Fit, now: float) -> None:
        """Slow workers run a third of the time."""
        for process, until in list(fit.slow.items()):
            if now > until:
                del fit.slow[process]
                self.farm.thaw(process)
            elif int(now / _PULSE) % 3:
                self.farm.freeze(process)
            else:
                self.farm.thaw(process)

    def _top_up(self, fit: _Fit, now: float) -> None:
        """As a supervisor would: who has died is replaced."""
        if self.farm.scheduler.is_alive() and len(self.farm.living()) < WORKERS:
            self.farm.start_worker()

    def _repair(self, fit: _Fit) -> None:
        """Mend everything that does not mend itself."""
        for _, repair in fit.repairs:
            repair()
        fit.repairs.clear()
        for process in fit.slow:
            self.farm.thaw(process)
        fit.slow.clear()
        for file, content in fit.damaged.items():
            file.write_bytes(content)
        fit.damaged.clear()

    def _tidy(self, fit: _Fit) -> None:
        """Leave the farm as the next fit should find it."""
        self.farm.kill(fit.coordinator.process)
        if fit.ended.trouble:
            fit.ended.stacks = self.farm.stacks()
            self.farm.close()
            self.farm = self._new_farm()
        for process in self.farm.living()[WORKERS:]:
            self.farm.kill(process)
        while len(self.farm.living()) < WORKERS:
            self.farm.start_worker()
        for folder in (fit.checkpoint, Path(f"{fit.checkpoint}.zarr"), *([fit.source] if fit.own else [])):
            shutil.rmtree(folder, ignore_errors=True)


def _retire(address: str) -> None:
    with contextlib.suppress(Exception), distributed.Client(address, set_as_default=False, timeout=5) as client:
        client.retire_workers(sorted(client.scheduler_info()["workers"])[:1])


def _flip(fit: _Fit) -> None:
    """Change one bit of one chunk."""
    chunks = sorted(file for file in fit.source.glob("X/**/c/**/*") if file.is_file())
    file = fit.rng.choice(chunks)
    content = bytearray(file.read_bytes())
    fit.damaged.setdefault(file, bytes(content))
    at = fit.rng.randrange(len(content))
    content[at] ^= 1 << fit.rng.randrange(8)
    file.write_bytes(content)
