"""Several responses of squared loss under one penalty on rows of coefficients: the first user of groups as the unit.

    minimise   (1/2W) sum_i w_i ||y_i - b0 - B'x_i||^2  +  lam sum_j v_j ( a s_j ||B_j|| + (1-a)/2 s_j^2 ||B_j||^2 )

(multi-task lasso: Obozinski, Taskar & Jordan 2010.) Responses share data, weights and the Gram, and one sweep answers for
all of them. The form is that of ``squared.py``: the Gram of all columns where one pass can give it, else that of the
strong columns, which the coordinator holds. Read next: ``../solvers/multi_task.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.certificate import project
from distlasso.coordinator.active_set import MAX_BATCH
from distlasso.coordinator.problem import STATISTICS, SWEPT, Certified, Task
from distlasso.coordinator.squared import fetch_free, fetch_gram, rounding_bound
from distlasso.errors import ResourceError
from distlasso.penalties import AtLambda, spelled
from distlasso.queries import Gather, Gradient, GradientPartial, Models
from distlasso.solvers.multi_task import RowsForm, gap_of_rows, row_norms, solve_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MODELS = 128  # lambdas times responses of a batch
_LARGEST_GRAM = 16384  # strong columns: 2 GB
_WIDTH = 256  # columns widened at a time


@dataclass(slots=True)
class _Strong:
    """The strong set: admitted columns in order, their values if the Gram is not of all columns, and coefficients."""

    columns: Ints
    X: Any  # as stored, [n, |S|]
    form: RowsForm
    b: Floats  # [|S|, q], at the last accepted lambda
    proposals: dict[AtLambda, Floats] = field(default_factory=dict)


@final
class MultiTask:
    """The least-squares problem of q responses."""

    def __init__(self, tasks: Sequence[Task], form: str) -> None:
        """``tasks`` are those of the responses; the exchange of the first asks for all. ``form`` as for ``Squared``."""
        self._tasks, self._form = tasks, form
        self._task = tasks[0]  # for what responses share
        self._free = fetch_free(self._task) if self._task.free.size else None
        self._strong: _Strong | None = None
        self._batch = np.empty((0, 0, len(tasks)))
        self.certificate = ""
        self.lavish = False
        self.most = int(np.clip(_MODELS // len(tasks), 1, MAX_BATCH))

    @property
    def d0(self) -> float:
        """Half the null deviance per weight, of the responses that are not constant."""
        spaces = [task.space for task in self._tasks]
        return 0.5 * sum(space.yy for space in spaces if space.yy > 1e-28 * space.y_centre**2)

    @property
    def null_intercept(self) -> Any:
        """Weighted means of the responses, [q]."""
        return np.array([task.space.y_centre for task in self._tasks])

    @property
    def columns(self) -> Ints:
        """The strong set; asking for it the first time gathers what it starts with."""
        return self._held().columns

    def null_gradient(self) -> Floats:
        """Norm of every row of the gradient at the null model."""
        u = np.zeros((self._task.space.sd.size, len(self._tasks)))
        keep = self._task.keep
        for k, task in enumerate(self._tasks):
            u[keep, k] = task.space.g0[keep]
            if self._free is not None:
                u[:, k], _, _ = project(u[:, k], task.space.yy, self._free)
        return row_norms(u)

    def admit(self, columns: Ints) -> None:
        """Fetch new columns, and their products with all that are held."""
        strong, task = self._held(), self._task
        size = strong.columns.size + columns.size
        if size > _LARGEST_GRAM:
            raise ResourceError(
                f"a multi-task fit holds the Gram of its strong columns, which would be {size} here, beyond {_LARGEST_GRAM}: "
                "end the path earlier, with max_active or a larger lambda_min_ratio"
            )
        new = task.exchange.ask(Gather(columns), sweep=False).joined()
        X = sp.hstack([strong.X, new], format="csc") if sp.issparse(new) else np.concatenate([strong.X, new], axis=1)
        both = np.concatenate([strong.columns, columns])
        form = RowsForm(self._extend(strong, X, both), self._g0(both), self._yy())
        rows = np.zeros((columns.size, len(self._tasks)))
        proposals = {at: np.concatenate([b, rows]) for at, b in strong.proposals.items()}
        self._strong = _Strong(both, X, form, np.concatenate([strong.b, rows]), proposals)

    def begin(self, at: AtLambda, b: Floats, intercept: float) -> None:
        """Where to start one problem of a later batch: b [|S|, q] on the strong set."""
        self._held().proposals[at] = b

    def solve(self, batch: Sequence[AtLambda], sharpness: int) -> None:
        """Solve all lambdas of a batch on the strong set, each from the last."""
        strong = self._held()
        target = self._task.tol * self.d0 * 0.5 * 0.1**sharpness
        starts = [strong.proposals.get(at) for at in batch]
        given = ["rows", strong.columns, spelled(batch, strong.columns), strong.b, starts, target]
        shape = (strong.columns.size, len(batch), len(self._tasks))
        (self._batch,) = self._task.exchange.recall(given, [shape], lambda: [self._descend(batch, starts, target)])
        strong.proposals = {at: self._batch[:, k] for k, at in enumerate(batch)}

    def _descend(self, batch: Sequence[AtLambda], starts: Sequence[Floats | None], target: float) -> Floats:
        """Solutions [S, L, q] of a batch."""
        strong = self._held()
        b, solutions = strong.b, np.empty((strong.columns.size, len(batch), len(self._tasks)))
        for k, at in enumerate(batch):
            start = starts[k]
            b = solutions[:, k] = solve_rows(strong.form, at.take(strong.columns), b if start is None else start, target=target)
        return solutions

    def certify(self, batch: Sequence[AtLambda]) -> Certified:
        """Gaps of the batch: from complete statistics where their rounding bound allows, else from a fresh pass."""
        task, strong, b = self._task, self._held(), self._batch
        u = np.zeros((task.space.sd.size, *b.shape[1:]))
        rr, mean = np.empty(b.shape[1:]), np.zeros(b.shape[1:])
        if self._form == "gram" and self._rounding_bound() <= 0.1 * task.tol * self.d0:
            self.certificate = self.certificate or STATISTICS
            for k in range(len(batch)):
                strong.form.move(b[:, k])
                u[strong.columns, k] = strong.form.u
                fitted = self._g0(strong.columns) + strong.form.u
                rr[k] = np.maximum(self._squares() - np.sum(b[:, k] * fitted, axis=0), 0.0)
        else:
            self.certificate = SWEPT
            for j, found in enumerate(self._sweep()):
                mean[:, j] = found.total if task.space.intercept else 0.0
                swept = found.gradient - np.outer(task.space.remainder, mean[:, j])
                u[task.keep, :, j] = swept[task.keep]
                rr[:, j] = found.square - mean[:, j] ** 2
        gaps, strength = np.empty(len(batch)), np.empty(u.shape[:2])
        for k, at in enumerate(batch):
            gaps[k], strength[:, k] = self._certify_one(at, b[:, k], u[:, k], rr[k])
        return Certified(strong.columns, b, self.null_intercept + mean, gaps, 0.5 * rr.sum(axis=1), strength)

    def value(self, b: Floats, intercept: float) -> float:
        """Mean loss at b [|S|, q]; the intercepts are those that are best there."""
        form = self._held().form
        form.move(b)
        return 0.5 * form.rr(b)

    def sums(self, columns: Ints) -> None:
        """Refits are for one response."""
        return None

    def accept(self, certified: Certified, count: int) -> None:
        """Keep the last accepted coefficients as the next warm start."""
        if count:
            self._held().b = certified.b[:, count - 1].copy()

    def _certify_one(self, at: AtLambda, b: Floats, u: Floats, rr: Floats) -> tuple[float, Floats]:
        """Gap relative to D0, and the strength of every column; refits unpenalised rows of b, and u and rr, in place."""
        task, columns = self._task, self._held().columns
        if self._free is not None:
            inside = np.isin(columns, self._free.columns)
            for j in range(len(self._tasks)):
                u[:, j], rr[j], step = project(u[:, j], float(rr[j]), self._free)
                b[inside, j] += step
        full = np.zeros_like(u)
        full[columns] = b
        gap = gap_of_rows(float(rr.sum()), u[task.keep], full[task.keep], at.take(task.keep))
        return gap / self.d0, at.penalty.strength(row_norms(u))

    def _sweep(self) -> list[GradientPartial]:
        """One pass over everything at the solutions of the batch, for all responses."""
        strong, batch, space = self._held(), self._batch, self._task.space
        support = np.flatnonzero((batch != 0).any(axis=(1, 2)))
        support = support[np.argsort(strong.columns[support])]
        own, asks = strong.columns[support], []
        fitted = self._fitted(support) if self._task.by_columns else None
        for j, task in enumerate(self._tasks):
            coef = np.ascontiguousarray(batch[support, :, j])
            models = Models(own, coef, task.space.y_centre - space.remainder[own] @ coef)
            derivative = None
            if fitted is not None:
                resid = (task.y - task.space.y_centre)[:, None] - fitted[:, :, j]
                derivative = np.ascontiguousarray(task.weight[:, None] * resid)
            asks.append(task.exchange.compose([Gradient()], models, derivative=derivative))
        return [found for (found,) in self._task.exchange.send(asks)]

    def _fitted(self, support: Ints) -> Floats:
        """X b of the batch, X centred, [n, L, q]."""
        strong, coef = self._held(), self._batch[support].reshape(support.size, -1)
        total = np.zeros((self._task.y.size, coef.shape[1]))
        for first in range(0, support.size, _WIDTH):
            part = support[first : first + _WIDTH]
            total += self._task.space.centred(strong.columns[part], strong.X[:, part]) @ coef[first : first + _WIDTH]
        return total.reshape(-1, *self._batch.shape[1:])

    def _held(self) -> _Strong:
        if self._strong is None:
            self._strong = self._full_gram() if self._form == "gram" else self._start()
        return self._strong

    def _full_gram(self) -> _Strong:
        """One pass: the Gram of all columns."""
        keep = self._task.keep
        form = RowsForm(fetch_gram(self._task.exchange, self._task.space, keep), self._g0(keep), self._yy())
        return _Strong(keep, None, form, np.zeros((keep.size, len(self._tasks))))

    def _start(self) -> _Strong:
        """Start with the unpenalised columns only."""
        columns, q = self._task.free, len(self._tasks)
        X = self._task.exchange.ask(Gather(columns), sweep=False).joined()
        empty = np.empty(0, dtype=np.int64)
        nothing = _Strong(empty, X[:, :0], RowsForm(np.empty((0, 0)), np.empty((0, q)), self._yy()), np.empty((0, q)))
        form = RowsForm(self._extend(nothing, X, columns), self._g0(columns), self._yy())
        return _Strong(columns, X, form, np.zeros((columns.size, q)))

    def _extend(self, strong: _Strong, X: Any, columns: Ints) -> Floats:
        """Gram of all columns, from that of the old ones and the products of the new ones."""
        old, size, space = strong.columns.size, columns.size, self._task.space
        gram = np.empty((size, size))
        gram[:old, :old] = strong.form.gram
        weight = self._task.weight[:, None]
        for first in range(old, size, _WIDTH):
            new = slice(first, min(first + _WIDTH, size))
            weighted = weight * space.centred(columns[new], X[:, new])
            for start in range(0, new.stop, _WIDTH):
                part = slice(start, min(start + _WIDTH, new.stop))
                gram[part, new] = space.centred(columns[part], X[:, part]).T @ weighted
                gram[new, part] = gram[part, new].T
        return gram

    def _g0(self, columns: Ints) -> Floats:
        """(1/W) X' W Y of some columns, [S, q]."""
        return np.stack([task.space.g0[columns] for task in self._tasks], axis=1)

    def _squares(self) -> Floats:
        """(1/W) y' W y of every response, [q]."""
        return np.array([task.space.yy for task in self._tasks])

    def _yy(self) -> float:
        return float(self._squares().sum())

    def _rounding_bound(self) -> float:
        """Bound on the rounding error of a gap taken from Gram, g0 and yy."""
        columns = self._held().columns
        # One scale shortens all responses: each is charged as if it had the length of the whole row of coefficients.
        rows, l1 = np.linalg.norm(self._batch, axis=2), self._task.penalty.at(1.0).l1[columns]
        return float(sum(rounding_bound(task.space, columns, rows, l1, task.chain).max() for task in self._tasks))
