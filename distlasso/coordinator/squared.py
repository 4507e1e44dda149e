"""Squared loss by block-coordinate descent: exact quadratics on the strong set, statistics that can certify.

In *Gram form* one pass answers every lambda; in *residual form* the coordinator holds the strong columns
(``form.py`` decides). Read next: ``../solvers/block_coordinate.py`` (the solve), ``../certificate.py`` (the proof).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.certificate import Free, duality_gap, project
from distlasso.coordinator.active_set import EXPECTED, LAVISH, MAX_BATCH
from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.problem import CONFINED, SPANNED, STATISTICS, SWEPT, Certified, Sums, Task
from distlasso.coordinator.products import Member, Products
from distlasso.coordinator.space import Space
from distlasso.coordinator.spanned import Spanned
from distlasso.data.blocks import symmetric
from distlasso.kernels.dense import take_outer
from distlasso.kernels.gap import at_worst, strengths, told
from distlasso.penalties import AtLambda, Bounds4, ElasticNet, spelled
from distlasso.queries import Gather, Gradient, GradientPartial, Models, Square
from distlasso.solvers import abreast as sparse_columns
from distlasso.solvers import correlations
from distlasso.solvers.block_coordinate import is_small, solve
from distlasso.solvers.columns import Columns, LossRows
from distlasso.solvers.correlations import Correlations
from distlasso.solvers.lanes import LANES, Trail, side_by_side
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import DenseForm, GramForm, Quadratic, SparseForm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
_Approach = Callable[[Sequence[Bounds4], Floats], tuple[Floats, Mask]]

_EPS = float(np.finfo(np.float64).eps)
_A_FEW = 16  # roundings of a product: of shift, weight, square root, scale and total


@dataclass(slots=True)
class Strong:
    """The strong set: admitted columns in order, the form that holds them, and the current coefficients."""

    columns: Ints
    form: Quadratic
    trail: Trail  # of accepted solutions
    proposals: dict[AtLambda, Floats] = field(default_factory=dict)  # where to start, and what a pass has rejected


@final
class Squared:
    """The least-squares problem."""

    def __init__(self, task: Task, form: str) -> None:
        """``form`` is "gram" or "residual"."""
        self._task, self._form = task, form
        self._free = fetch_free(task) if task.free.size else None
        self._strong: Strong | None = None
        shared = None if task.shared is None else task.shared.gathered
        self._gathered = Gathered(task.exchange) if shared is None else shared
        self._products: Products | None = None  # of a fit alone
        self._asked: list[AtLambda] = []  # of the last batch, and its solutions
        self._batch = np.empty((0, 0))
        self._spanned: Spanned | None = None
        self._last: tuple[ElasticNet, Floats, Floats] | None = None  # a penalty, its L1 part, and its charge
        self._inside = np.zeros(task.space.sd.size, dtype=np.bool_)  # who belongs to the problem
        self._inside[task.keep] = True
        self.certificate = ""
        self.lavish = task.sparse and form == "residual"
        self.most = MAX_BATCH

    @property
    def d0(self) -> float:
        """Half the null deviance per weight."""
        return 0.5 * self._task.space.yy

    @property
    def null_intercept(self) -> float:
        """Weighted mean of the target."""
        return self._task.space.y_centre

    @property
    def columns(self) -> Ints:
        """The strong set; asking for it the first time gathers what it starts with."""
        return self._held().columns

    @cached_property
    def _y(self) -> Floats:
        """Target less its mean."""
        return self._task.y - self._task.space.y_centre

    def null_gradient(self) -> Floats:
        """Gradient at the model of offset, intercept and unpenalised columns."""
        task = self._task
        u = np.zeros_like(task.space.g0)
        u[task.keep] = task.space.g0[task.keep]
        if self._free is not None:
            b = np.zeros(task.free.size)
            form = GramForm(np.ascontiguousarray(self._free.cross[task.free]), u[task.free], task.space.yy)
            own, names = task.penalty.at(1.0).take(task.free), np.arange(task.free.size)
            b = solve(form, own, b, target=1e-14 * self.d0, newton=Newton(), names=names).b
            u -= self._free.cross @ b
            u[task.free] = 0.0
        return u

    def admit(self, columns: Ints) -> None:
        """Fetch new columns and put them behind the old ones."""
        strong = self._held()
        both = np.concatenate([strong.columns, columns])
        form = self._residual(both)
        new = np.zeros(columns.size)
        proposals = {at: np.concatenate([b, new]) for at, b in strong.proposals.items()}
        strong.trail.extend(columns.size)
        self._strong = Strong(both, form, strong.trail, proposals)

    def begin(self, at: AtLambda, b: Floats, intercept: float) -> None:
        """Where to start one problem of a later batch."""
        self._held().proposals[at] = b

    def solve(self, batch: Sequence[AtLambda], sharpness: int) -> None:
        """Solve a batch on the strong set, each problem from its predecessors."""
        strong, task = self._held(), self._task
        target = task.tol * self.d0 * 0.5 * 0.1**sharpness
        starts = [strong.proposals.get(at) for at in batch]
        given = ["squared", strong.columns, spelled(batch, strong.columns), starts, strong.trail.spelled(batch), target]
        shape = (strong.columns.size, len(batch))
        (solutions,) = task.exchange.recall(given, [shape], lambda: [self._descend(batch, starts, target)])
        strong.proposals = {at: solutions[:, k] for k, at in enumerate(batch)}
        self._asked, self._batch = list(batch), solutions

    def _descend(self, batch: Sequence[AtLambda], starts: Sequence[Floats | None], target: float) -> Floats:
        """Solutions [S, L] of a batch; a problem without a start follows its predecessors."""
        strong, task = self._held(), self._task
        solutions = np.empty((strong.columns.size, len(batch)))
        form = self._at_work(batch, starts, target)
        entries = form.entries if isinstance(form, GramForm) else strong.columns.size * task.y.size
        forms = [form, *(form.twin() for _ in range(LANES - 1))]
        newtons = [Newton() for _ in range(LANES)]
        ahead, at_once = self._abreast(target)
        trail = strong.trail.copy()
        own = {id(at.penalty): at.penalty.take(strong.columns) for at in batch}
        penalties = [own[id(at.penalty)].at(at.lam) for at in batch]
        for first in range(0, len(batch), at_once):
            models = range(first, min(first + at_once, len(batch)))
            for k in models:
                start = starts[k]
                solutions[:, k] = trail.ahead(batch[k]) if start is None else start
            left = list(models)
            if ahead is not None:
                solutions[:, models], arrived = ahead([penalties[k] for k in models], solutions[:, models])
                left = [k for k, there in zip(models, arrived, strict=True) if not there]
            for at in range(0, len(left), LANES):
                lanes = left[at : at + LANES]
                jobs = [partial(solve, forms[lane], penalties[k], solutions[:, k], target=target,
                                newton=newtons[lane], names=strong.columns, polish=True)
                        for lane, k in enumerate(lanes)]  # fmt: skip
                for k, solved in zip(lanes, side_by_side(jobs, entries), strict=True):
                    solutions[:, k] = solved.b
            for k in models:
                trail.add(batch[k], solutions[:, k])
        return solutions

    def _at_work(self, batch: Sequence[AtLambda], starts: Sequence[Floats | None], target: float) -> Quadratic:
        """What to descend on: products alone, where they are held and their rounding cannot be seen in a gap of ``target``."""
        strong, space = self._held(), self._task.space
        form, known = strong.form, np.stack([strong.trail.b, *(b for b in starts if b is not None)], axis=1)
        if isinstance(form, SparseForm) and self._rounding_bound(batch, known) <= 0.2 * target:
            form = form.by_products(space.g0[strong.columns], space.yy)
        return form.twin()

    def _abreast(self, target: float) -> tuple[_Approach | None, int]:
        """What takes several lambdas of a batch to their optima at once, if anything does, and how many."""
        form, task = self._held().form, self._task
        if isinstance(form, DenseForm):
            told = Correlations(form.curvature.size)
            return (lambda penalties, b: correlations.approach(form, told, penalties, b, target, polish=True)), correlations.SPAN
        if not isinstance(form, SparseForm) or form.has_gram:
            return None, LANES
        held = Columns(form.X, form.centre, None, LossRows(task.exchange.loss, self._y, task.weight, None, task.space.intercept))

        def approach(penalties: Sequence[Bounds4], b: Floats) -> tuple[Floats, Mask]:
            found, _, arrived = sparse_columns.approach(held, penalties, b, np.zeros(len(penalties)), target)
            return found, arrived & ~np.array([is_small(own) for own in found.T])

        return approach, sparse_columns.SPAN

    def certify(self, batch: Sequence[AtLambda]) -> Certified:
        """Gaps of the batch: from complete statistics where their rounding bound allows, else from a fresh pass."""
        task, strong, solutions = self._task, self._held(), self._batch
        space, n_models = task.space, len(batch)
        gradients, mean = np.zeros((space.sd.size, n_models), order="F"), np.zeros(n_models)
        rounding = self._rounding_bound(batch, solutions)
        exact = rounding <= 0.1 * task.tol * self.d0
        complete = self._form == "gram" and exact
        if complete or (self._form == "residual" and all(at.confined_to(strong.columns) for at in batch)):
            self.certificate = (self.certificate or STATISTICS) if complete else CONFINED
            gradients[strong.columns], rr = strong.form.look(solutions)
        elif exact and self._free is None and all(at.penalty is batch[0].penalty for at in batch):
            self.certificate = SPANNED
            gradients, rr = self._span(batch, rounding)
        else:
            self.certificate = SWEPT if self._spanned is None else SPANNED
            gradients, rr, mean = self._sweep(np.arange(n_models))
        gaps, strength = np.empty(n_models), np.empty_like(gradients)
        for k, at in enumerate(batch):
            gaps[k], strength[:, k], rr[k] = self._certify_one(at, solutions[:, k], gradients[:, k], rr[k])
        value = 0.5 * np.maximum(rr, 0.0)
        return Certified(strong.columns, solutions, space.y_centre + mean, gaps, value, strength)

    def _span(self, batch: Sequence[AtLambda], rounding: float) -> tuple[Floats, Floats]:
        """Gradients [p, L] and rr [L]: of some models by a pass, of those between as bad as they may be."""
        space, columns, form = self._task.space, self._held().columns, self._held().form
        if self._spanned is None:
            self._spanned = Spanned(space, self.null_gradient())
        form = form.by_products(space.g0[columns], space.yy) if isinstance(form, SparseForm) else form
        slopes, rr = form.look(self._batch)
        spread, outside = np.sqrt(space.curvature), self._inside.copy()
        outside[columns] = False
        lams, penalty, unit = np.array([at.lam for at in batch]), batch[0].penalty, self._unit(batch[0].penalty)[0]
        reach = float(np.min(unit[outside] / spread[outside], initial=np.inf))
        allowed = reach * np.maximum(lams - (LAVISH if self.lavish else EXPECTED) * lams[-1], 0.0)

        def sweep(which: Ints) -> Floats:
            return self._sweep(which)[0]

        gradients, radius = self._spanned.gradients(columns, self._batch, slopes, rounding, allowed, sweep)
        for k in np.flatnonzero(radius):
            at_worst(gradients[:, k], radius[k], spread, lams[k], unit, penalty.low, penalty.high)
        gradients[columns] = slopes
        return gradients, rr

    def value(self, b: Floats, intercept: float) -> float:
        """Half the mean squared residual at the best intercept."""
        return 0.5 * self._held().form.move(b)[1]

    def accept(self, certified: Certified, count: int) -> None:
        """Follow the accepted solutions on next time."""
        for k in range(count):
            self._held().trail.add(self._asked[k], certified.b[:, k])

    def sums(self, columns: Ints) -> Sums:
        """Sums of admitted columns: from the full Gram, or from the columns that are held."""
        strong, place = self._held(), np.empty(self._task.space.sd.size, dtype=np.int64)
        place[strong.columns] = np.arange(strong.columns.size)
        gram = strong.form.hessian(place[columns])
        return Sums(gram, self._task.space.g0[columns], self._task.space.yy, self._chain())

    def _held(self) -> Strong:
        if self._strong is None:
            self._strong = self._full_gram() if self._form == "gram" else self._start()
        return self._strong

    def _start(self) -> Strong:
        """Start with the unpenalised columns only."""
        columns = self._task.free
        form = self._residual(columns)
        return Strong(columns, form, Trail(np.zeros(columns.size)))

    def _residual(self, columns: Ints) -> DenseForm | SparseForm:
        """The form that holds some columns, which begin with those it has held so far."""
        task, space, held = self._task, self._task.space, self._gathered
        if task.shared is None and (columns.size > held.columns.size or not columns.size):
            held.extend(columns[held.columns.size :])
        y, centre, curvature = self._y, space.centre[columns], space.curvature[columns]
        if task.sparse:
            X = held.first(columns.size)
            return SparseForm(X, centre, curvature, task.weight, y, self._gram(X, columns))
        every, places = held.dense(columns)
        return DenseForm(every, centre, curvature, task.weight, y, space.imputed(columns), places)

    def _gram(self, X: sp.csc_array, columns: Ints) -> Floats | None:
        """The Gram of sparse strong columns, where descent on it is the cheaper one."""
        task = self._task
        if task.shared is not None:
            return task.shared.gram(columns.size)
        if self._products is None:
            self._products = Products([task.weight], [Member(task.space, (0,))])
        self._products.extend(X, columns)
        return self._products.gram(0, columns.size)

    def _rounding_bound(self, batch: Sequence[AtLambda], b: Floats) -> float:
        """Bound on the rounding error of gaps of a batch at solutions b [S, L], from products where they are held."""
        columns, chain = self._held().columns, self._chain()
        penalties = {id(at.penalty): at.penalty for at in batch}.values()
        units = [self._unit(penalty)[0][columns] for penalty in penalties]
        return max(float(rounding_bound(self._task.space, columns, b, l1, chain).max()) for l1 in units)

    def _chain(self) -> int:
        """Additions, one after the other, behind the products that are held, or else those of rows."""
        task, form = self._task, self._held().form
        if isinstance(form, GramForm):
            return task.chain
        if isinstance(form, SparseForm) and form.has_gram:
            own = self._products if task.shared is None else task.shared
            return task.y.size if own is None else own.chain
        return int(task.y.size)

    def _full_gram(self) -> Strong:
        """The Gram of all columns, and what it needs of the target."""
        task, space = self._task, self._task.space
        gram = fetch_gram(task.exchange, space, task.keep) if task.gram is None else task.gram
        form = GramForm(gram, space.g0[task.keep], space.yy)
        return Strong(task.keep, form, Trail(np.zeros(task.keep.size)))

    def _certify_one(self, at: AtLambda, b: Floats, u: Floats, rr: float) -> tuple[float, Floats, float]:
        """Gap relative to D0, strength of every column, and rr; refits unpenalised columns of b in place."""
        columns, charge = self._held().columns, 0.0
        if self._free is not None:
            own = np.isin(columns, self._free.columns)
            u, rr, b[own], charge = self._refit(self._free, u, rr, b[own])
        full = np.zeros_like(u)
        full[columns] = b
        # All others add nothing to the gap: 0 times their slope, and a conjugate that is 0 on the way there. NaN is told.
        looked = full != 0.0
        unit, charge_of_one = self._unit(at.penalty)
        u = np.ascontiguousarray(u)
        told(u, at.lam, unit, self._inside, looked)
        few = np.flatnonzero(looked)
        gap, _ = duality_gap(rr, u[few], full[few], at.take(few))
        found = np.empty(u.size)
        strengths(u, charge_of_one, at.penalty.low, at.penalty.high, found)
        return (gap + charge) / self.d0, found, rr

    def _unit(self, penalty: ElasticNet) -> tuple[Floats, Floats]:
        """The L1 part of a penalty at strength 1, and its charge, which are made once for all lambdas that share it, [p]."""
        if self._last is None or self._last[0] is not penalty:
            self._last = (penalty, penalty.at(1.0).l1, penalty.charge())
        return self._last[1:]

    def _refit(self, free: Free, u: Floats, rr: float, b: Floats) -> tuple[Floats, float, Floats, float]:
        """Refit the unpenalised columns that no bound holds; what cannot be made exact is charged to the gap."""
        own = self._task.penalty.at(1.0).take(free.columns)
        moving = ~own.is_pressed(u[free.columns], b)
        moved, left, step = project(u, rr, Free(free.columns[moving], free.cross[:, moving]))
        there = b.copy()
        there[moving] += step
        if ((there >= own.low) & (there <= own.high)).all():
            u, rr, b = moved, left, there
        slope = np.where(own.is_pressed(u[free.columns], b), 0.0, np.abs(u[free.columns]))
        u = u.copy()
        u[free.columns[slope > 0.0]] = 0.0
        return u, rr, b, float(slope @ (1.0 + 2.0 * np.abs(b)))

    def _sweep(self, which: Ints) -> tuple[Floats, Floats, Floats]:
        """One pass over everything at some solutions of the batch: gradients [p, m], rr and mean residual [m]."""
        task, space, strong, batch = self._task, self._task.space, self._held(), self._batch[:, which]
        support = np.flatnonzero((batch != 0).any(axis=1))
        support = support[np.argsort(strong.columns[support])]
        own, coef = strong.columns[support], np.ascontiguousarray(batch[support])
        models = Models(own, coef, space.y_centre - space.remainder[own] @ coef)
        if task.by_columns:
            assert isinstance(strong.form, SparseForm | DenseForm)
            residuals = strong.form.residuals(batch)
            found = task.exchange.gradient(task.weight[:, None] * residuals, models, sparse=task.sparse)
        else:
            found = task.exchange.ask(Gradient(), models)
        assert isinstance(found, GradientPartial)
        mean = found.total if space.intercept else np.zeros(which.size)
        gradients = found.gradient - np.outer(space.remainder, mean)
        gradients[~self._inside] = 0.0
        return gradients, found.square - mean**2, mean


def rounding_bound(space: Space, columns: Ints, b: Floats, l1: Floats, chain: int) -> Floats:
    """Bound on the rounding error of gaps taken from Gram, g0 and yy at solutions b [S, L], [L].

    An entry is a sum over rows. Its error is at most the number of roundings that one row goes through, one after the other,
    times eps/2 and the product of the norms of what is multiplied, in whichever order and pieces the others are summed up
    (Higham 2002, sec. 3.1 and 4.2): ``chain`` additions behind the Gram, those of the statistics behind g0 and yy, and a few
    multiplications. The gap sums entries with weights 1, |b_j| and |b_j b_k|, S at a time. Means, which centring multiplies,
    are as far off, and the slope enters it twice, as it is and by the scale of the dual point: hence 8 times eps/2. The scale is
    that of one column, and shortens what all others gain: a column that is long for its ``l1`` [S], the L1 part of the penalty at
    any strength, costs as much as if all coefficients were of columns so long.
    """
    norms = np.sqrt(space.curvature + space.remainder**2)[columns]
    reach = np.sqrt(space.yy + space.y_centre**2) + np.abs(b).T @ norms
    held = (l1 > 0.0) & np.isfinite(l1)
    scaled = np.max(norms[held] / l1[held], initial=0.0) * (np.abs(b[held]).T @ l1[held])
    return np.asarray(4.0 * (max(chain, space.chain) + columns.size + _A_FEW) * _EPS * reach * np.maximum(reach, scaled))


def fetch_gram(exchange: Exchange, space: Space, keep: Ints) -> Floats:
    """Fetch the Gram of the columns of a problem, centred: one pass."""
    gram = symmetric(exchange.ask(Square()))
    take_outer(gram, space.remainder, space.remainder)
    return gram if keep.size == len(gram) else np.ascontiguousarray(gram[np.ix_(keep, keep)])


def fetch_free(task: Task) -> Free:
    """Fetch unpenalised columns and their products with all others: one gather, one pass."""
    gathered = task.exchange.ask(Gather(task.free), sweep=False).joined()
    derivative = np.ascontiguousarray(task.weight[:, None] * task.space.centred(task.free, gathered))
    found = task.exchange.ask(Gradient(), None, derivative)
    return Free(task.free, found.gradient - np.outer(task.space.remainder, found.total))
