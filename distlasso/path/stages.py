"""Runs a schedule: fits before the path, then at every lambda one fit after the other until the schedule ends.

All lambdas of a batch are fitted again together, so that one verification serves them; the Gram or the strong columns of
the path serve every stage. Each fit is certified. Read next: ``schedules.py`` (what a schedule is),
``../coordinator/refit.py`` (how a stage is fitted), ``../coordinator/concave.py`` (where many stages are skipped).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator import drive
from distlasso.coordinator.concave import Settling
from distlasso.coordinator.problem import CONFINED, Problem, Task
from distlasso.coordinator.refit import Solution, refit
from distlasso.errors import InputError
from distlasso.events import Listener, StageVerified
from distlasso.path.history import History, Trail
from distlasso.penalties import AtLambda, ElasticNet
from distlasso.schedules.schedule import Schedule, Stage, Step, frozen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_STAGES = 500
_CELLS = 2**23  # columns times lambdas of a batch: what its penalties and slopes may take
_REACH = 10.0  # how many times as large as the last solution a coefficient without penalty may become in one fit
_WIDENINGS = 3


@dataclass(slots=True)
class _Track:
    """One lambda on its way through the stages."""

    k: int
    stage: Stage
    first: Solution
    last: Solution
    trail: Trail
    step: Step | None = None  # the last fit's


@final
class Stages:
    """A schedule at work on one problem.

    Parameters
    ----------
    task, problem : Task, Problem
        The path's.
    schedule : Schedule
        What to fit.
    weight : float
        Total weight of the rows.
    listener : Listener
        Receives events.
    """

    def __init__(self, task: Task, problem: Problem, schedule: Schedule, *, weight: float, listener: Listener) -> None:
        self._task, self._problem, self._schedule = task, problem, schedule
        self._weight, self._listener = weight, listener
        self._rows = int(np.count_nonzero(task.weight))
        self._history = History()
        self._settling = Settling(task, problem)
        sd = np.where(task.space.constant, 1.0, task.space.sd)
        self._unit = np.sqrt(2.0 * problem.d0) / sd
        self.penalty = task.penalty  # of the path
        self.strength = 0.0  # of the last fit before the path
        self.unsettled = 0  # lambdas at which the schedule did not end
        self._mixed = self._known = False
        self.frozen = frozen(schedule)  # what comes to one refit may be known before it is followed
        self._fits = 2 if self.frozen is not None and self.frozen.mixed else 1

    def begin(self, own: Callable[[], Problem], lam: float) -> None:
        """Fits before the path, on a problem of their own; sets the penalty of the path.

        Parameters
        ----------
        own : callable
            Makes that problem, so that the path's does not hold what only these fits need.
        lam : float
            Where the path would begin without a schedule.
        """
        p = self._task.space.sd.size
        last = Solution(np.empty(0, np.int64), np.empty(0), self._problem.null_intercept, 0.0, self._problem.d0)
        stage, trail = self._first(lam, last), Trail(last.support, last.support, np.zeros(p))
        problem: Problem | None = None
        while True:
            step = self._penalty_of(self._schedule.begin(stage))
            weights = self._weights(step)
            if step.lam is None:
                break
            if stage.number == MAX_STAGES:
                raise InputError(f"{self._schedule!r} does not settle before the path: {MAX_STAGES} fits were made")
            problem = problem or own()
            (last,) = self._fit(problem, [(stage, step)], [last])
            trail = self._history.refitted(-1, stage.number, trail, last.support, self._charge(stage, step))
            stage = self._after(stage, step, last)
        self.strength = stage.strength
        if (weights == 0).any():
            raise InputError(f"schedule={self._schedule!r} gave weights of 0 to the path itself: use penalty_factors for that")
        if np.any(weights != 1.0) or step.l1_ratio is not None:
            self.penalty = self._penalty(step, weights, _REACH)

    @property
    def reach(self) -> Floats:
        """Size of the box around what has no penalty where no coefficient is larger than the null deviation, [p]."""
        return np.asarray(_REACH * self._unit)

    def follow(
        self, solutions: drive.Solutions, lambdas: Floats, limits: drive.Limits, known: Mapping[int, Solution]
    ) -> Ints:
        """Fit every lambda of a path again, in place; returns the number of fits after the first, [k].

        Where a limit is met, only the lambdas whose schedule has ended are left. What is ``known`` of the last solutions
        is not fitted again.
        """
        counts, p = np.zeros(len(solutions.gap), dtype=np.int64), self._task.space.sd.size
        self._history.along_path([np.sort(row.indices).astype(np.int64) for row in solutions.coef])
        size = max(1, min(self._problem.most, _CELLS // p))
        for first in range(0, counts.size, size):
            chosen = range(first, min(first + size, counts.size))
            try:
                ready = {k: known[k] for k in chosen if k in known}
                self._take(solutions, ready)
                counts[list(ready)] = self._fits
                tracks = self._run([self._track(solutions, lambdas, k) for k in chosen if k not in ready])
            except KeyboardInterrupt:
                if first == 0:
                    raise
                _cut(solutions, first, "interrupted")
                break
            for track in tracks:
                _put(solutions, track.k, track.last, p)
                counts[track.k] = track.stage.number
            late = limits.passed(solutions) or (solutions.ended if solutions.ended == "interrupted" else "")
            if late:
                _cut(solutions, chosen.stop, late)
                break
        self._settling.forget()
        return counts[: len(solutions.gap)]

    def _take(self, solutions: drive.Solutions, ready: Mapping[int, Solution]) -> None:
        """Put solutions that are known in the place of the path's."""
        if not ready:
            return
        assert self.frozen is not None
        self._known, self._mixed, p = True, self._mixed or self.frozen.mixed > 0, self._task.space.sd.size
        for k, solution in ready.items():
            self._history.confined(k, np.sort(solutions.coef[k].indices).astype(np.int64), solution.support)
            _put(solutions, k, solution, p)
        self._listener(StageVerified(1, len(ready), max(solution.gap for solution in ready.values())))

    @property
    def certificate(self) -> str:
        """What the gaps are of."""
        mixed = ", whose solution is then mixed with the first" if self._mixed else ""
        return f"{CONFINED if self._known else self._problem.certificate}; gap of the last convex problem at each lambda{mixed}"

    def history(self, count: int) -> NDArray[np.void]:
        """Records of the first ``count`` lambdas."""
        return self._history.array(count)

    def _run(self, tracks: list[_Track]) -> list[_Track]:
        """Fit a batch of lambdas until the schedule ends at each of them."""
        moving = tracks
        for _ in range(MAX_STAGES):
            pairs: list[tuple[_Track, Step]] = []
            for track in moving:
                given = self._schedule.next(track.stage)
                step = None if given is None else self._penalty_of(given)
                if step is not None and step.share is not None:
                    self._mix(track, step)
                elif step is not None:
                    pairs.append((track, step))
            # Columns that provisional fits left out are verified once, when every lambda has settled without them.
            pairs = self._settled(pairs) or self._closing(tracks)
            if not pairs:
                return tracks
            self._advance(pairs)
            # A fit that stopped above tol ends its lambda, and its gap says so.
            moving = [track for track, _ in pairs if track.last.gap <= self._task.tol]
        self.unsettled += len(moving)
        self._advance(self._closing(tracks))
        return tracks

    def _penalty_of(self, given: object) -> Step:
        """What a schedule gave as the next penalty, or why it is none."""
        if isinstance(given, Step):
            return given
        raise InputError(
            f"schedule={self._schedule!r} gave a value of type {type(given).__name__}, which is no penalty: it takes the last "
            "Stage, and returns stage.then(weights, ...), or None to end"
        )

    def _settled(self, pairs: list[tuple[_Track, Step]]) -> list[tuple[_Track, Step]]:
        """The steps; those under the slope of a concave penalty begin where it stands still, under its slope there."""
        folded = [(track, step, step.folded) for track, step in pairs if step.folded is not None]
        if not folded:
            return pairs
        wanted = [(AtLambda(self._task.penalty, track.stage.lam), fold) for track, _, fold in folded]
        found = self._settling.follow(wanted, [track.last for track, *_ in folded])
        if found is None:
            return pairs
        others = [(track, step) for track, step in pairs if step.folded is None]
        for (track, step, fold), solution in zip(folded, found, strict=True):
            track.last, level = solution, track.stage.level
            size = np.divide(np.abs(self._scaled(solution)), level, out=np.zeros_like(level), where=level > 0)
            others.append((track, replace(step, weights=fold.slope(size), provisional=self._settling.narrow)))
        return others

    def _closing(self, tracks: list[_Track]) -> list[tuple[_Track, Step]]:
        """The last fits once more over all columns, where they left any out."""
        if not self._outside().any():
            return []
        last = [(track, track.step) for track in tracks if track.step is not None and track.step.provisional]
        return [(track, replace(step, provisional=False)) for track, step in last]

    def _outside(self) -> NDArray[np.bool_]:
        """Columns of the problem that were never admitted, [p]."""
        outside = np.zeros(self._task.space.sd.size, dtype=np.bool_)
        outside[self._task.keep] = True
        outside[self._problem.columns] = False
        return outside

    def _advance(self, pairs: list[tuple[_Track, Step]]) -> None:
        """One more fit at some lambdas."""
        if not pairs:
            return
        wanted = [(track.stage, step) for track, step in pairs]
        found = self._fit(self._problem, wanted, [track.last for track, _ in pairs])
        for (track, step), last in zip(pairs, found, strict=True):
            charge = self._charge(track.stage, step)
            track.step, track.last, track.stage = step, last, self._after(track.stage, step, last)
            track.trail = self._history.refitted(track.k, track.stage.number, track.trail, last.support, charge)
        self._listener(StageVerified(max(track.stage.number for track, _ in pairs), len(pairs), max(s.gap for s in found)))

    def _fit(self, problem: Problem, wanted: list[tuple[Stage, Step]], starts: list[Solution]) -> list[Solution]:
        """Fit one step at each of some stages; boxes that a solution touches are widened."""
        reach = [self._reach(start) for start in starts]
        batch = [self._at(*pair, r) for pair, r in zip(wanted, reach, strict=True)]
        found = refit(self._task, problem, batch, starts)
        for _ in range(_WIDENINGS):
            tight = [k for k, at in enumerate(batch) if self._touches(at, found[k], reach[k])]
            if not tight:
                return found
            for k in tight:
                reach[k] = self._reach(found[k])
                batch[k] = self._at(*wanted[k], reach[k])
            again = refit(self._task, problem, [batch[k] for k in tight], [found[k] for k in tight])
            for k, solution in zip(tight, again, strict=True):
                found[k] = solution
        for k, at in enumerate(batch):
            if self._touches(at, found[k], reach[k]):
                found[k] = replace(found[k], gap=np.inf)  # what has no penalty has no optimum either
        return found

    def _reach(self, solution: Solution) -> float:
        """Size of the box around what has no penalty, in units of the null deviation."""
        return _REACH * float(np.max(np.abs(solution.b) / self._unit[solution.support], initial=1.0))

    def _touches(self, at: AtLambda, solution: Solution, reach: float) -> bool:
        """Whether a coefficient without penalty comes near its box."""
        own, base, size = solution.support, self._task.penalty, 0.5 * reach * self._unit
        low = (at.penalty.low[own] > base.low[own]) & (solution.b < -size[own])
        high = (at.penalty.high[own] < base.high[own]) & (solution.b > size[own])
        return bool((low | high).any())

    def _at(self, stage: Stage, step: Step, reach: float) -> AtLambda:
        weights = self._weights(step)
        if step.provisional:
            weights = np.where(self._outside(), np.inf, weights)
        lam = stage.lam if step.lam is None else step.lam
        if lam > 0:
            return AtLambda(self._penalty(step, weights, reach), lam)
        bare = np.where(np.isinf(weights), np.inf, 0.0)
        return AtLambda(self._penalty(replace(step, l1_ratio=1.0), bare, reach), stage.lam)

    def _penalty(self, step: Step, weights: Floats, reach: float) -> ElasticNet:
        base = self._task.penalty
        l1_ratio = base.l1_ratio if step.l1_ratio is None else step.l1_ratio
        return base.reweighted(weights, l1_ratio, reach * self._unit)

    def _weights(self, step: Step) -> Floats:
        """Weights of a step as [p], or why they cannot be used."""
        p = self._task.space.sd.size
        weights = np.asarray(step.weights, dtype=np.float64)
        if weights.shape not in ((), (p,)):
            raise InputError(f"schedule={self._schedule!r} gave weights of shape {weights.shape}, expected ({p},)")
        if not (weights >= 0).all():
            raise InputError(f"schedule={self._schedule!r} gave weights that are negative or NaN")
        if step.lam is not None and not (np.isfinite(step.lam) and step.lam >= 0):
            raise InputError(f"schedule={self._schedule!r} gave lam={step.lam}, expected a number that is not negative")
        return np.broadcast_to(weights, (p,))

    def _first(self, lam: float, solution: Solution) -> Stage:
        """What the schedule is shown before any fit of its own."""
        penalty = self.penalty
        ones = np.ones(penalty.factors.size)
        weights = ones if penalty.weights is None else penalty.weights
        weights = np.where(_shut(penalty), np.inf, weights)
        return Stage(
            0, lam, lam, self._scaled(solution), weights, lam * self._task.penalty.l1_ratio * penalty.factors, solution.value,
            self._problem.d0, self._rows, self._weight, self._task.exchange.loss.name, self._task.tol,
        )  # fmt: skip

    def _after(self, stage: Stage, step: Step, solution: Solution) -> Stage:
        """What it is shown next."""
        lam = stage.lam if step.lam is None else step.lam
        if step.share is not None:
            lam = stage.strength
        return replace(stage, number=stage.number + 1, strength=lam, b=self._scaled(solution),
                       weights=self._weights(step), value=solution.value,
                       before=replace(stage, before=None))  # fmt: skip

    def _track(self, solutions: drive.Solutions, lambdas: Floats, k: int) -> _Track:
        row = solutions.coef[k]
        order = np.argsort(row.indices)
        last = Solution(row.indices[order].astype(np.int64), row.data[order], float(solutions.intercept[k]),
                        solutions.gap[k], solutions.value[k])  # fmt: skip
        stage = self._first(float(lambdas[k]), last)
        trail = Trail(last.support, last.support, self._charge(stage, Step(stage.weights)))
        return _Track(k, stage, last, last, trail)

    def _charge(self, stage: Stage, step: Step) -> Floats:
        """L1 penalty of a fit on each column, inf where it is excluded."""
        base, weights = self._task.penalty, self._weights(step)
        lam = stage.lam if step.lam is None else step.lam
        l1_ratio = base.l1_ratio if step.l1_ratio is None else step.l1_ratio
        excluded = np.isinf(weights)
        return np.where(excluded, np.inf, lam * l1_ratio * base.factors * base.scale * np.where(excluded, 0.0, weights))

    def _scaled(self, solution: Solution) -> Floats:
        return solution.dense(self._task.space.sd.size) * self._task.penalty.scale

    def _mix(self, track: _Track, step: Step) -> None:
        """Share of the first solution and rest of the last; the gap stays that of the last fit."""
        assert step.share is not None
        self._mixed, p, share = True, self._task.space.sd.size, step.share
        b = share * track.first.dense(p) + (1.0 - share) * track.last.dense(p)
        intercept = share * track.first.intercept + (1.0 - share) * track.last.intercept
        value = self._problem.value(b[self._problem.columns], intercept + float(self._task.space.centre @ b))
        support = np.flatnonzero(b)
        track.last = Solution(support, b[support], intercept, track.last.gap, value)
        track.stage = self._after(track.stage, step, track.last)


def _shut(penalty: ElasticNet) -> NDArray[np.bool_]:
    return np.asarray((penalty.low == 0) & (penalty.high == 0))


def _cut(solutions: drive.Solutions, count: int, reason: str) -> None:
    """Keep the first ``count`` lambdas, and say why if there were more."""
    while len(solutions.gap) > count:
        solutions.drop_last()
        solutions.ended = reason


def _put(solutions: drive.Solutions, k: int, last: Solution, p: int) -> None:
    solutions.coef[k] = last.row(p)
    solutions.intercept[k] = last.intercept
    solutions.gap[k] = last.gap
    solutions.value[k] = last.value
