"""Any loss by any solver: solve on the strong set, refit what is unpenalised, sweep all columns, certify.

Where the sums come from is an ``Evaluation``: rounds over the data (``rounds.py``) or columns that are held (``held.py``).
The gap is taken at a dual point that is feasible by construction: intercept and unpenalised columns are refitted at
fixed other coefficients until their slope is rounding only, and the residual is scaled until every column allows it. A
residual is inside the domain of its loss, and so is any shorter one. Read next: ``../certificate.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import dual_scale, fenchel_gap
from distlasso.coordinator.problem import CONFINED, SWEPT, Certified, Task
from distlasso.coordinator.rounds import Rounds
from distlasso.coordinator.unpenalised import Unpenalised
from distlasso.errors import InputError
from distlasso.losses import null_intercept
from distlasso.penalties import AtLambda
from distlasso.queries import LookPartial
from distlasso.solvers.lanes import Trail, halves
from distlasso.solvers.proximal_newton import ProximalNewton
from distlasso.solvers.smooth import Curvature, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH = 10  # lambdas: further ahead, the Hessian where a batch begins is of little use where it ends
_CLOSE = 1e-3  # Newton decrement, relative to the root of the loss, below which one more step squares it
_FLAT = 1e-8  # share of a column's curvature that is left where its coefficient has run to infinity
_EXACT = 1e-8
_LEAST = 1e-14  # gap relative to D0 that is still worth asking for
_HUGE = 1e30  # mean loss beyond which second-order sums overflow float32
_CHARGE = 0.05  # of tol: what the slope left in the unpenalised part may add to a gap


class Evaluation(Protocol):
    """Sums over all rows at models on the strong columns."""

    @property
    def columns(self) -> Ints:
        """The strong set, in order of admission; unpenalised columns come first."""

    def admit(self, columns: Ints) -> None:
        """Put columns behind the strong set."""

    def allow(self, gap: float) -> None:
        """How coarse ``look`` and ``at`` may be from now on: as steps towards this gap, relative to D0, can bear."""

    def look(self, b: Floats, intercept: Floats) -> LookPartial:
        """Loss, and normal equations of unpenalised columns and intercept, centred."""

    def at(self, b: Floats, intercept: Floats, curvature_of: Sequence[int] = ()) -> tuple[Point, list[Curvature]]:
        """Loss and slopes over the strong columns alone."""

    def sweep(self, b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss [L], slope over all columns [p, L], slope in the intercept [L]."""

    def dual(self, b: Floats, intercept: Floats, scale: Floats, level: Floats) -> Floats:
        """Dual values of the residuals less ``level``, scaled, [L]."""


class Restricted(Protocol):
    """Solves lambdas on the strong set."""

    def admit(self, columns: Ints) -> None:
        """The strong set has grown."""

    def solve(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        """Solve a batch from its starting points."""


@final
class Together:
    """All lambdas of a batch at once, under shared Hessians."""

    def __init__(self, task: Task, rounds: Rounds) -> None:
        self._rounds = rounds
        self._solver = ProximalNewton()

    def admit(self, columns: Ints) -> None:
        """Hessians of fewer columns are of no use."""
        self._solver.forget()

    def solve(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats, target: float) -> tuple[Floats, Floats]:
        """Solve a batch from its starting points."""
        columns = self._rounds.columns
        lams, penalties = np.array([at.lam for at in batch]), [at.take(columns) for at in batch]
        return self._solver.solve(self._rounds, lams, penalties, b, intercept, target=target, names=columns)


@final
class General:
    """A convex loss with a penalty."""

    def __init__(self, task: Task, evaluation: Evaluation, solver: Restricted, most: int = BATCH, *, lavish: bool = False) -> None:
        self._task, self._evaluation, self._solver = task, evaluation, solver
        self.certificate = SWEPT
        self.most, self.lavish = most, lavish
        self._share, self._worst = 0.5, 0.0  # of tol that the solver is asked for; gap of the last batch's first lambda
        self._proposals: dict[AtLambda, tuple[Floats, float]] = {}
        self._batch: tuple[Floats, Floats] = (np.empty((0, 0)), np.empty(0))
        self._trail, self._intercept = Trail(np.zeros(task.free.size)), 0.0  # of accepted solutions
        self._asked: list[AtLambda] = []
        self._own = task.penalty.at(1.0).take(task.free)
        largest = 0.0 if task.offset is None else float(np.max(np.abs(task.offset)))
        self._unpenalised = Unpenalised(evaluation.look, self._own, task.space.intercept, largest)
        self._level, self._d0 = self._null()
        self._null_slope: tuple[Floats, Floats] | None = None  # the last one, and where it was asked for

    @property
    def d0(self) -> float:
        """Mean loss of the null model, above its minimum."""
        return self._d0

    @property
    def null_intercept(self) -> float:
        """Intercept of the null model."""
        return self._level

    @property
    def columns(self) -> Ints:
        """The strong set."""
        return self._evaluation.columns

    def null_gradient(self) -> Floats:
        """Gradient at the model of offset, intercept and unpenalised columns."""
        at = np.append(self._trail.b, self._intercept)
        if self._null_slope is None or not np.array_equal(self._null_slope[0], at):
            _, slope, _ = self._evaluation.sweep(at[:-1, None], at[-1:])
            u = np.zeros(slope.shape[0])
            u[self._task.keep] = slope[self._task.keep, 0]
            self._null_slope = at, u
        return self._null_slope[1].copy()

    def admit(self, columns: Ints) -> None:
        """Put columns behind the strong set."""
        self._evaluation.admit(columns)
        self._solver.admit(columns)
        self._trail.extend(columns.size)
        new = np.zeros(columns.size)
        self._proposals = {at: (np.concatenate([b, new]), level) for at, (b, level) in self._proposals.items()}

    def begin(self, at: AtLambda, b: Floats, intercept: float) -> None:
        """Where to start one problem of a later batch."""
        self._proposals[at] = (b, intercept)

    def solve(self, batch: Sequence[AtLambda], sharpness: int) -> None:
        """Solve a batch from the last accepted solution, or from its own that a pass has rejected."""
        if sharpness:
            # What a gap gains when the residual is scaled is of first order for Huber and saturated rows, and unknown
            # to the solver: it is learnt from the certificate, once.
            self._share = max(self._share * min(0.01, 0.1 * self._task.tol / self._worst), _LEAST / self._task.tol)
        self._evaluation.allow(0.0 if self._is_confined(batch) else self._task.tol * self._share)
        target = self._task.tol * self.d0 * self._share
        ahead = self._trail.ahead if self.lavish else lambda at: self._trail.b
        starts = [self._proposals.get(at) or (ahead(at), self._intercept) for at in batch]
        self._asked = list(batch)
        b = np.stack([start for start, _ in starts], axis=1)
        self._batch = self._solver.solve(batch, b, np.array([level for _, level in starts]), target)

    def certify(self, batch: Sequence[AtLambda]) -> Certified:
        """Refit what is unpenalised, sweep, scale the residuals, and compare both sides."""
        task, columns, kinked = self._task, self.columns, self._task.exchange.loss.kinked
        (b, intercept), limit = self._batch, _CHARGE * task.tol * self.d0
        before = np.full(len(batch), np.inf)
        while True:
            b, intercept = self._unpenalised.refit(b, intercept, task.free.size, _CLOSE)
            value, slope, total = self._look_at(batch, b, intercept)
            left = np.abs(np.where(self._pressed(b, slope[task.free]), 0.0, slope[task.free]))
            charge = self._charge(b, intercept, left, total)
            if ((charge <= limit) | (charge > 0.5 * before)).all():
                break
            before = charge
        u = np.zeros_like(slope)
        u[task.keep] = slope[task.keep]
        penalties = [at.take(task.keep) for at in batch]
        u[task.free] = np.where(left > 0.0, 0.0, u[task.free])  # what is left is in the charge
        full = np.zeros_like(u)
        full[columns], models = b, range(len(batch))

        def scales(own: slice) -> list[float]:
            each = [(float(value[k]), u[task.keep, k], full[task.keep, k], penalties[k]) for k in models[own]]
            return [dual_scale(*mine, kinked=kinked) for mine in each]

        scale = np.concatenate(halves(scales, len(batch), u.size))
        dual, total = self._dual(b, intercept, scale, np.where(charge > limit, total, 0.0), total)
        charge = self._charge(b, intercept, left, total)
        gaps, strength = np.empty(len(batch)), np.empty_like(u)

        def compare(own: slice) -> None:
            for k in models[own]:
                mine = u[task.keep, k], full[task.keep, k]
                gap = fenchel_gap(float(value[k]), float(dual[k]), *mine, penalties[k], float(scale[k]))
                gaps[k], strength[:, k] = (gap + charge[k]) / self.d0, batch[k].penalty.strength(u[:, k])

        halves(compare, len(batch), u.size)
        self._worst = float(gaps[0])
        self._proposals = {at: (b[:, k], float(intercept[k])) for k, at in enumerate(batch)}
        return Certified(columns, b, intercept, gaps, value, strength)

    def _dual(
        self, b: Floats, intercept: Floats, scale: Floats, level: Floats, total: Floats
    ) -> tuple[Floats, Floats]:
        """Dual values of the residuals less ``level``, and the slope in the intercept that this leaves.

        Where D0 is near rounding, so is the slope that a refit can reach: the residuals less their mean are stationary
        exactly, if their domain allows.
        """
        dual = self._evaluation.dual(b, intercept, scale, level)
        outside = ~np.isfinite(dual) & (level != 0.0)
        if outside.any():
            level = np.where(outside, 0.0, level)
            dual = self._evaluation.dual(b, intercept, scale, level)
        return dual, total - level

    def value(self, b: Floats, intercept: float) -> float:
        """Mean loss."""
        self._evaluation.allow(0.0)
        return float(self._evaluation.look(b[:, None], np.array([intercept])).value[0])

    def sums(self, columns: Ints) -> None:
        """The loss is not made of them, or the solver does without."""
        return None

    def accept(self, certified: Certified, count: int) -> None:
        """Start from the last of the accepted solutions next time."""
        if count:
            self._intercept = float(certified.intercept[count - 1])
        for k in range(count):
            self._trail.add(self._asked[k], certified.b[:, k])

    def _look_at(self, batch: Sequence[AtLambda], b: Floats, intercept: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss, slope and slope in the intercept; other columns are swept only if they could come in."""
        if not self._is_confined(batch):
            self.certificate = SWEPT
            return self._evaluation.sweep(b, intercept)
        self.certificate = CONFINED
        point, _ = self._evaluation.at(b, intercept)
        slope = np.zeros((self._task.space.sd.size, len(batch)))
        slope[self.columns] = point.gradient
        return point.value, slope, point.total

    def _is_confined(self, batch: Sequence[AtLambda]) -> bool:
        """Whether no column could come in that is not admitted: sums over those that are then certify."""
        return all(at.confined_to(self.columns) for at in batch)

    def _pressed(self, b: Floats, slope: Floats) -> NDArray[np.bool_]:
        """Which unpenalised coefficients a bound holds where they are, [f, L]."""
        models = range(b.shape[1])
        return np.stack([self._own.is_pressed(slope[:, k], b[: slope.shape[0], k]) for k in models], axis=1)

    def _charge(self, b: Floats, intercept: Floats, left: Floats, total: Floats) -> Floats:
        """What the bound loses because the unpenalised part has a slope left, [L].

        The dual value at a slope s is a bound less s x, x the coefficient at the optimum: |s| (1 + 2 |x|) covers every
        optimum whose x is no more than twice as far from 0 as here, plus one; s is near rounding.
        """
        level = np.abs(total) * (1.0 + 2.0 * np.abs(intercept)) if self._task.space.intercept else 0.0
        return np.asarray(np.sum(left * (1.0 + 2.0 * np.abs(b[: len(left)])), axis=0) + level)

    def _spread(self, information: Floats) -> Floats:
        """Curvature of the unpenalised columns beside the intercept, [f]."""
        own = np.diag(information)[:-1]
        if not self._task.space.intercept:
            return own
        return np.asarray(own - information[:-1, -1] ** 2 / max(float(information[-1, -1]), 1e-300))

    def _null(self) -> tuple[float, float]:
        """Fit offset and intercept, then the unpenalised columns too; return intercept and loss of the former."""
        task = self._task
        level = null_intercept(task.exchange.loss, task.y, task.weight, task.offset) if task.space.intercept else 0.0
        b, intercept = self._unpenalised.refit(self._trail.b[:, None], np.array([level]), 0, _EXACT)
        found = self._evaluation.look(b, intercept)
        null, before = (float(intercept[0]), float(found.value[0])), self._spread(found.information[0])
        if not null[1] < _HUGE:
            raise InputError(
                f"the loss of the null model is {null[1]:.1e} a row, beyond {_HUGE:.0e}: y or offset is out of scale, or an "
                "intercept is missing"
            )
        if task.free.size:
            b, intercept = self._unpenalised.refit(b, intercept, task.free.size, _EXACT)
            after = self._spread(self._evaluation.look(b, intercept).information[0])
            if (after <= _FLAT * before).any():
                raise InputError(
                    "the unpenalised part of the model has no finite optimum: its columns separate the classes, or leave some "
                    "rows without an event; penalise them"
                )
        self._trail, self._intercept = Trail(b[:, 0]), float(intercept[0])
        return null
