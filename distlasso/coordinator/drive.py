"""Carries out what the state machine decides: admits columns, solves, asks passes, certifies.

Everything numerical that leaves this file has been through the certificate. Read next: ``active_set.py`` (the
decisions), ``../solvers/block_coordinate.py`` (the solve), ``../certificate.py`` (the proof).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.certificate import Free, duality_gap, project
from distlasso.coordinator import active_set
from distlasso.coordinator.space import Space
from distlasso.events import BatchVerified, Listener, PassFinished
from distlasso.losses import Loss
from distlasso.penalties import ElasticNet
from distlasso.queries import Gather, Gradient, GradientPartial, Models, Query, Request, Square
from distlasso.runtime.local import Runtime
from distlasso.solvers.block_coordinate import solve
from distlasso.solvers.newton import Newton
from distlasso.solvers.quadratic import DenseForm, GramForm, Quadratic, SparseForm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(slots=True)
class Exchange:
    """Asks requests and counts what they cost."""

    runtime: Runtime
    loss: Loss
    shift: Floats | None
    listener: Listener
    passes: int = 0
    rounds: int = 0

    def ask(
        self, query: Query, models: Models | None = None, derivative: Floats | None = None, *, sweep: bool = True
    ) -> object:
        """Ask one query of all bundles; ``sweep`` says whether all columns are visited."""
        started = time.perf_counter()
        request = Request((query,), models, self.loss, self.shift)
        (answer,) = self.runtime.run(request, derivative)
        self.rounds += 1
        if sweep:
            self.passes += 1
            width = models.coef.shape[1] if models is not None else 0
            seconds = time.perf_counter() - started
            self.listener(PassFinished(self.passes, width, self.runtime.bytes_read(), seconds))
        return answer


@dataclass(slots=True)
class Strong:
    """The strong set: admitted columns in order, the form that holds them, and the current coefficients."""

    columns: Ints
    form: Quadratic
    b: Floats  # at the last accepted lambda
    newton: Newton
    proposals: dict[float, Floats] = field(default_factory=dict)  # solutions that a pass has rejected, by lambda


@dataclass(slots=True)
class Solutions:
    """Accepted solutions, one per lambda, on the original scale."""

    coef: list[sp.csr_array] = field(default_factory=list)
    intercept: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    rr: list[float] = field(default_factory=list)

    def drop_last(self) -> None:
        """Forget the solution at the smallest lambda."""
        for values in (self.coef, self.intercept, self.gap, self.rr):
            values.pop()


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end a path early, with the prefix that is certified by then."""

    max_active: int | None = None
    deadline: float | None = None  # of time.perf_counter

    def passed(self, solutions: Solutions) -> str:
        """Return why the path ends here; empty if it goes on."""
        if self.max_active is not None and any(coef.nnz > self.max_active for coef in solutions.coef[-1:]):
            return f"max_active={self.max_active} was passed"
        if self.deadline is not None and time.perf_counter() > self.deadline:
            return "time_limit was passed"
        return ""


@dataclass(slots=True)
class Task:
    """A path to fit: the problem, the data behind an exchange, and what to stop on."""

    space: Space
    penalty: ElasticNet
    keep: Ints  # columns of the problem: not constant, not excluded
    exchange: Exchange
    free: Free | None
    y: Floats  # [n], offset subtracted
    weight: Floats  # [n], sums to 1
    sparse: bool
    by_columns: bool
    tol: float
    limits: Limits = Limits()
    certificate: str = ""
    ended: str = ""  # why the path is shorter than asked for


def null_gradient(task: Task) -> Floats:
    """Gradient at the model of offset, intercept and unpenalised columns, float64 [p]; 0 outside the problem."""
    u = np.zeros_like(task.space.g0)
    u[task.keep] = task.space.g0[task.keep]
    if task.free is not None:
        u, _, _ = project(u, task.space.yy, task.free)
    return u


def fetch_free(columns: Ints, space: Space, exchange: Exchange, weight: Floats) -> Free:
    """Fetch unpenalised columns and their products with all others: one gather, one pass."""
    gathered = exchange.ask(Gather(columns), sweep=False)
    dense = gathered.toarray() if sp.issparse(gathered) else np.asarray(gathered, np.float64)  # type: ignore[attr-defined]
    derivative = np.ascontiguousarray(weight[:, None] * (dense - space.centre[columns]))
    partial = exchange.ask(Gradient(), None, derivative)
    assert isinstance(partial, GradientPartial)
    return Free(columns, partial.gradient - np.outer(space.remainder, partial.total))


def fit(task: Task, lambdas: Floats, lam_max: float, listener: Listener, form: str) -> Solutions:
    """Fit a descending path of lambdas; every accepted solution carries its gap relative to D0.

    Ctrl-C returns what is certified by then, and so do the limits of the task; ``task.ended`` says why.
    """
    solutions = Solutions()
    try:
        _fit_all(task, solutions, lambdas, lam_max, listener, form)
    except KeyboardInterrupt:
        if not solutions.gap:
            raise
        task.ended = "interrupted"
    most = task.limits.max_active
    while most is not None and solutions.gap and solutions.coef[-1].nnz > most:
        solutions.drop_last()
    return solutions


def _fit_all(
    task: Task, solutions: Solutions, lambdas: Floats, lam_max: float, listener: Listener, form: str
) -> None:
    strength = task.penalty.strength(null_gradient(task))
    strong = _full_gram(task) if form == "gram" else _empty_strong(task)
    admitted = np.zeros(task.space.g0.size, dtype=np.bool_)
    admitted[strong.columns] = True
    outside = np.ones(admitted.size, dtype=np.bool_)
    outside[task.keep] = False
    state, command = active_set.begin(lambdas, task.tol, admitted | outside, strength, lam_max)
    while isinstance(command, active_set.Solve):
        if command.admit.size:
            strong = _admit(task, strong, command.admit)
        lams = lambdas[command.start : command.stop]
        batch = _solve_batch(task, strong, lams, command.sharpness)
        certified = _certify(task, strong, lams, batch, form)
        event = active_set.Verified(certified.gaps, certified.strength)
        start = state.accepted
        state, command = active_set.step(state, event)
        _accept(task, solutions, certified, state.accepted - start)
        if solutions.gap:
            last = len(solutions.gap) - 1
            listener(BatchVerified(last + 1, lambdas.size, float(lambdas[last]), float(certified.gaps.max()),
                                   solutions.coef[-1].nnz, strong.columns.size))  # fmt: skip
        if isinstance(command, active_set.Solve):
            task.ended = task.limits.passed(solutions)
            if task.ended:
                break


def _empty_strong(task: Task) -> Strong:
    """Start with the unpenalised columns only."""
    columns = np.empty(0, np.int64) if task.free is None else task.free.columns
    gathered = task.exchange.ask(Gather(columns), sweep=False)
    return Strong(columns, _residual_form(task, columns, gathered), np.zeros(columns.size), Newton(task.space.g0.size))


def _full_gram(task: Task) -> Strong:
    """One pass: the Gram of all columns."""
    answer = task.exchange.ask(Square())
    assert isinstance(answer, np.ndarray)
    rest = task.space.remainder
    gram = (answer - np.outer(rest, rest))[np.ix_(task.keep, task.keep)]
    form = GramForm(np.ascontiguousarray(gram), task.space.g0[task.keep], task.space.yy)
    return Strong(task.keep, form, np.zeros(task.keep.size), Newton(task.space.g0.size))


def _residual_form(task: Task, columns: Ints, X: object) -> Quadratic:
    space = task.space
    y = task.y - space.y_centre
    centre, curvature = space.centre[columns], space.curvature[columns]
    if sp.issparse(X):
        return SparseForm(sp.csc_array(X), centre, curvature, task.weight, y)
    return DenseForm(np.asfortranarray(X), centre, curvature, task.weight, y)


def _admit(task: Task, strong: Strong, admit: Ints) -> Strong:
    """Fetch new columns and put them behind the old ones."""
    gathered = task.exchange.ask(Gather(admit), sweep=False)
    columns = np.concatenate([strong.columns, admit])
    assert isinstance(strong.form, SparseForm | DenseForm)
    form = strong.form.extend(gathered, task.space.centre[columns], task.space.curvature[columns])  # type: ignore[arg-type]
    new = np.zeros(admit.size)
    proposals = {lam: np.concatenate([b, new]) for lam, b in strong.proposals.items()}
    return Strong(columns, form, np.concatenate([strong.b, new]), strong.newton, proposals)


def _solve_batch(task: Task, strong: Strong, lams: Floats, sharpness: int) -> Floats:
    """Solve all lambdas of a batch on the strong set, each from its predecessors; [|S|, L]."""
    target = task.tol * task.space.d0 * 0.5 * 0.1**sharpness
    batch = np.empty((strong.columns.size, lams.size))
    everything = np.arange(strong.columns.size)
    form, b = strong.form.restrict(everything), strong.b
    for k, lam in enumerate(lams):
        if lam in strong.proposals:
            b = strong.proposals[lam]
        elif k >= 2:
            b = _extrapolate(batch[:, k - 2], b, float((lams[k - 1] - lam) / (lams[k - 2] - lams[k - 1])))
        penalty = task.penalty.at(lam).take(strong.columns)
        b = solve(form, penalty, b, target=target, newton=strong.newton, names=strong.columns).b
        batch[:, k] = b
    strong.proposals = {float(lam): batch[:, k] for k, lam in enumerate(lams)}
    return batch


def _extrapolate(older: Floats, b: Floats, share: float) -> Floats:
    """Follow the path on from its last two solutions: it is piecewise linear in lambda (Osborne et al. 2000)."""
    ahead = b + share * (b - older)
    return np.where((older != 0) & (ahead * b > 0), ahead, b)


@dataclass(slots=True)
class _Certified:
    strong: Strong
    batch: Floats
    shifted: Floats
    gaps: Floats
    rr: Floats
    strength: Floats


def _certify(task: Task, strong: Strong, lams: Floats, batch: Floats, form: str) -> _Certified:
    """Gaps of a batch: from complete statistics where their rounding bound allows, else from a fresh pass."""
    space = task.space
    p, n_lams = space.g0.size, lams.size
    shifted = space.shifted_intercept(strong.columns, batch)
    gradients = np.zeros((p, n_lams))
    rr = np.empty(n_lams)
    if form == "gram" and _rounding_bound(task, strong, batch) <= task.tol / 10:
        task.certificate = task.certificate or "complete float64 statistics, rounding bound below tol/10"
        for k in range(n_lams):
            gradients[strong.columns, k], rr[k] = strong.form.move(batch[:, k])
    else:
        task.certificate = "fresh float64 pass over all rows and columns"
        partial = _sweep(task, strong, batch, shifted)
        mean = partial.total if space.intercept else np.zeros(n_lams)
        swept = partial.gradient - np.outer(space.remainder, mean)
        gradients[task.keep] = swept[task.keep]
        rr, shifted = partial.square - mean**2, shifted + mean
    gaps, strength = np.empty(n_lams), np.empty((p, n_lams))
    before = batch.copy()
    for k in range(n_lams):
        gaps[k], strength[:, k], rr[k] = _certify_one(task, strong, float(lams[k]), batch[:, k], gradients[:, k], rr[k])
    shifted = shifted - space.remainder[strong.columns] @ (batch - before)
    return _Certified(strong, batch, shifted, gaps, rr, strength)


def _certify_one(
    task: Task, strong: Strong, lam: float, b: Floats, u: Floats, rr: float
) -> tuple[float, Floats, float]:
    """Gap relative to D0, strength of every column, and rr; refits unpenalised columns of b in place."""
    if task.free is not None:
        u, rr, step = project(u, rr, task.free)
        b[np.isin(strong.columns, task.free.columns)] += step
    full = np.zeros_like(u)
    full[strong.columns] = b
    penalty = task.penalty.at(lam)
    gap, _ = duality_gap(rr, u[task.keep], full[task.keep], penalty.take(task.keep))
    return gap / task.space.d0, task.penalty.strength(u), rr


def _sweep(task: Task, strong: Strong, batch: Floats, shifted: Floats) -> GradientPartial:
    """One pass over everything at the solutions of a batch."""
    support = np.flatnonzero((batch != 0).any(axis=1))
    support = support[np.argsort(strong.columns[support])]
    models = Models(strong.columns[support], np.ascontiguousarray(batch[support]), shifted)
    derivative = None
    if task.by_columns:
        assert isinstance(strong.form, SparseForm | DenseForm)
        residuals = [strong.form.residual(batch[:, k]) for k in range(batch.shape[1])]
        derivative = np.ascontiguousarray(task.weight[:, None] * np.array(residuals).T)
    partial = task.exchange.ask(Gradient(), models, derivative)
    assert isinstance(partial, GradientPartial)
    return partial


def _rounding_bound(task: Task, strong: Strong, batch: Floats) -> float:
    """Bound, relative to D0, on the rounding error of a gap taken from Gram, g0 and yy.

    Every entry is a sum over n rows, so its error is at most n eps times the product of the norms of what is
    multiplied (Higham 2002, sec. 3.1); the gap sums entries with weights 1, |b_j| and |b_j b_k|.
    """
    space = task.space
    norms = np.sqrt(space.curvature + space.remainder**2)[strong.columns]
    reach = np.sqrt(space.yy + space.y_centre**2) + np.abs(batch).T @ norms
    return float(4.0 * task.y.size * _EPS * np.max(reach) ** 2 / space.d0)


def _accept(task: Task, solutions: Solutions, certified: _Certified, count: int) -> None:
    """Store the accepted prefix on the original scale and keep its last coefficients as the warm start."""
    space, columns = task.space, certified.strong.columns
    order = np.argsort(columns)
    for k in range(count):
        b = certified.batch[:, k]
        support = order[b[order] != 0]
        row = sp.csr_array((b[support], columns[support], [0, support.size]), shape=(1, space.g0.size))
        solutions.coef.append(row)
        shift = 0.0 if space.shift is None else float(space.shift[columns] @ b)
        solutions.intercept.append(float(certified.shifted[k]) - shift if space.intercept else 0.0)
        solutions.gap.append(float(certified.gaps[k]))
        solutions.rr.append(float(certified.rr[k]))
    if count:
        certified.strong.b = certified.batch[:, count - 1].copy()
