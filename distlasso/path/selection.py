"""``cross_validate``: a path on all rows and one on the training rows of every fold, side by side over the same passes.

Every fold is a row space with weights of its own, so that its statistics, scales and certificates are those of its training
rows alone, made of what is known of cells of rows. Read next: ``folds.py``, ``cells.py``, ``course.py``, ``validation.py``,
``choice.py``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.coordinator.build import descends, keeper
from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.lockstep import Lockstep
from distlasso.coordinator.problem import Task
from distlasso.coordinator.products import Member, Products
from distlasso.coordinator.shared import Share, Shared
from distlasso.coordinator.space import Space
from distlasso.errors import InputError
from distlasso.path.cells import measure, with_gram
from distlasso.path.choice import NO_ERROR, RULES, Curve, best, best_of, summarise
from distlasso.path.course import Course, Fitted, grids
from distlasso.path.cross_validation import Candidate, CrossValidation
from distlasso.path.fold_rows import FoldRows, fold_rows
from distlasso.path.grid import warn_constant
from distlasso.path.identity import of_folds, of_schedule
from distlasso.path.keywords import check_options
from distlasso.path.opened import Kept, Opened, as_dataset, opened, outputs_of, row_weights
from distlasso.path.options import Options, parse, seed, whole
from distlasso.path.outputs import gather_outputs
from distlasso.path.plan import at_once, turns
from distlasso.path.progress import Together
from distlasso.path.start import starts
from distlasso.path.validation import CellGram, Held, by_pass, from_sums, no_score, variance
from distlasso.runtime.local import RowSpace
from distlasso.schedules.schedule import Schedule, as_schedule
from distlasso.scores import Score, as_score
from distlasso.solvers.lanes import side_by_side

Floats = NDArray[np.float64]

_SPREAD = 2.0  # ratio of variances up to which fits share Hessians


def cross_validate(
    data: Any,
    y: Any = None,
    *,
    folds: Any = None,
    rule: str = "min",
    score: str | None = None,
    max_features: int | None = None,
    l1_ratio: Any = 1.0,
    schedule: Any = None,
    average: str = "rows",
    fixed: str = "lambda",
    sample_weight: Any = None,
    offset: Any = None,
    random_state: int = 0,
    checkpoint: Any = None,
    **options: Any,
) -> CrossValidation:
    """Fit a path on all rows and on the training rows of every fold, and choose the model that predicts best.

    All fits share every pass over the data, and the lambdas, which are those of the fit to all rows.

    Parameters
    ----------
    data, y, sample_weight, offset
        As in ``fit_path``; one response. Rows of weight 0 are in no fold.
    folds : int, int [n], KFold, GroupKFold, TimeSeries, HoldOut, splitter or pairs, optional
        Number of folds, balanced by class for logistic loss; the fold of every row (-1 trains always); a plan; an object
        with scikit-learn's ``split``; or pairs of training and held-out row numbers. By default the ``fold`` that a
        Dataset stores, else 10.
    rule : {"min", "1se"}
        The best mean score; or the largest lambda (among several candidates: the fewest features) within one standard error
        of it.
    score : str, optional
        "loss", "deviance" (twice the loss), "mse", "mae", "r2"; for logistic loss also "auc", "accuracy", "log_loss". By
        default "mse" for squared loss, else "loss".
    max_features : int, optional
        Only models with at most so many nonzero coefficients are chosen.
    l1_ratio : float or sequence of float
        Several are candidates, each with lambdas of its own.
    schedule : schedule or sequence of schedules, optional
        Several are candidates; ``PruneRefine()`` and ``Relaxed()`` without a number are several.
    average : {"rows", "folds"}
        How folds count in mean and standard error: by the weight that they hold out, as in glmnet, or all alike, as in
        scikit-learn.
    fixed : {"lambda", "C"}
        What a model is called by in every fold: lambda, the penalty beside the mean loss, or ``C = 1 / (lambda sum_i w_i)``,
        which stands beside the sum, as in scikit-learn's logistic regression; a fold's lambda is then larger.
    random_state : int
        Seed of the folds.
    checkpoint : path, optional
        As in ``fit_path``. What only chooses among the fits (``rule``, ``score``, ``max_features``, ``average``) may be
        another when the call is repeated.
    **options
        As in ``fit_path``: ``loss``, ``lambdas``, ``tol``, ``solver``, ``client``, ... all but ``prior``.

    Returns
    -------
    CrossValidation

    Raises
    ------
    InputError
        For data or options that cannot be used, or folds that leave nothing to train on or to score.
    TypeError
        For an option that does not exist.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> cv = dl.cross_validate(X, X @ [3.0, 0, 0, -2.0, 0] + X[::-1, 1], folds=5)
    >>> cv.scores.shape, bool(cv.lambda_1se >= cv.lambda_min)
    ((100, 5), True)
    """
    started = time.perf_counter()
    check_options(options, cross_validate, refused=("prior", "multi_task"))
    if "prior" in options:
        raise InputError("prior= implies its lambda, and leaves nothing to choose: use fit_path")
    if options.pop("multi_task", False):
        raise InputError("multi_task= is not for cross-validation: it knows one response")
    ratios = list(np.atleast_1d(np.asarray(l1_ratio, dtype=object)).ravel())
    chosen = [parse(started, l1_ratio=ratio, **options) for ratio in ratios]
    if not chosen:
        raise InputError("l1_ratio is empty: give at least one number")
    for name, value, known in (("rule", rule, RULES), ("average", average, ("rows", "folds")), ("fixed", fixed, ("lambda", "C"))):
        if value not in known:
            raise InputError(f"{name}={value!r} is not known: use one of {', '.join(known)}")
    cap = None if max_features is None else whole("max_features", max_features, "number of features")
    wanted = as_score(score, chosen[0].loss)
    schedules = _candidates(schedule)
    dataset = as_dataset(data, y, sample_weight, offset)
    if outputs_of(dataset) > 1:
        raise InputError(f"cross-validation is for one response, and y has {outputs_of(dataset)}: do them one by one")
    plan = replace(fold_rows(dataset, folds, chosen[0], seed(random_state)), alike=average == "folds", same_c=fixed == "C")
    if rule == "1se" and plan.size == 1:
        raise InputError(NO_ERROR)
    count = 1 + plan.size
    kept = None if checkpoint is None else Kept(checkpoint, _about(chosen, schedules, plan))
    with opened(dataset, chosen[0], plan.rows, fits=count * len(chosen), kept=kept) as data_open:
        return _Run(data_open, chosen, schedules, plan, wanted, started).choose(rule, cap)


def _about(options: Sequence[Options], schedules: Sequence[Schedule | None], plan: FoldRows) -> dict[str, Any]:
    """What a checkpoint has to know of a cross-validation beyond the options of a path."""
    return {"call": "cross_validate", "l1_ratio": [own.l1_ratio for own in options],
            "schedule": [of_schedule(schedule) for schedule in schedules], "folds": of_folds(plan.partitions),
            "fixed": "C" if plan.same_c else "lambda"}  # fmt: skip


def _candidates(schedule: Any) -> list[Schedule | None]:
    """Every schedule there is to choose from."""
    given = list(schedule) if isinstance(schedule, list | tuple) else [schedule]
    if not given:
        raise InputError("schedule is empty: leave it out, or give at least one")
    found: list[Schedule | None] = []
    for one in given:
        checked = as_schedule(one)
        choices: Callable[[], Sequence[Schedule]] | None = getattr(checked, "choices", None)
        found += [checked] if choices is None else list(choices())
    return found


@dataclass(frozen=True, slots=True)
class _Models:
    """What all fits under one schedule came to, at the lambdas that all of them reached."""

    whole: Fitted  # the fit to all rows
    gaps: Floats  # [k, folds]
    lambdas: Floats  # [k]
    held: list[Held]


class _Run:
    """One cross-validation on opened data."""

    def __init__(
        self, data: Opened, options: Sequence[Options], schedules: Sequence[Schedule | None], plan: FoldRows, score: Score,
        started: float,
    ) -> None:  # fmt: skip
        self._data, self._options, self._schedules = data, options, schedules
        self._plan, self._score, self._started = plan, score, started
        self._fits = 1 + plan.size
        self._cells: list[CellGram] = []
        self._gathered: Gathered | None = None  # sparse columns, which the coordinator holds for all fits

    def choose(self, rule: str, cap: int | None) -> CrossValidation:
        """Fit, score, and choose."""
        data, plan = self._data, self._plan
        fits = self._fits * len(self._options) * len(self._schedules)
        spaces, grams = self._prepare()
        data.announce(data.options.grid.size * fits)
        fitted, lambdas = self._fit(spaces, grams)
        pairs = list(itertools.product(range(len(self._options)), range(len(self._schedules))))
        found = [self._models(fitted[r], s, lambdas[r][s]) for r, s in pairs]
        scores = self._scores([one.held for one in found])
        weight = np.array([1.0 if plan.alike else sum(float(self._cell(c).weight.sum()) for c in test) for test in plan.test])
        candidates = []
        for (r, s), one, score in zip(pairs, found, scores, strict=True):
            mean, se = summarise(score, weight, plan.group)
            schedule = self._schedules[s]
            opened_as = replace(data, options=self._options[r])
            path = opened_as.path(gather_outputs(one.lambdas, [one.whole]), np.flatnonzero(spaces[0].constant), lambdas[r][s].size,
                                  self._started, schedule="" if schedule is None else repr(schedule))  # fmt: skip
            levels = np.array([held.intercept for held in one.held]).T
            candidates.append(Candidate(path, score, mean, se, one.gaps, tuple(held.coef for held in one.held), levels))
        self._warn(candidates)
        curves = [Curve(self._score.sign * one.mean, one.se, one.path.n_active) for one in candidates]
        winner, index = best_of(curves, rule, cap)
        one_se = index if np.isnan(curves[winner].se).all() else best(curves[winner], "1se", cap)
        return CrossValidation(
            candidates=tuple(candidates), winner=winner, best=index, best_min=best(curves[winner], "min", cap),
            best_1se=one_se, rule=rule, score=self._score.name, max_features=cap,
        )  # fmt: skip

    def _prepare(self) -> tuple[list[Space], list[Floats | None]]:
        """The space of every fit, and its Gram where that is the form."""
        data, plan = self._data, self._plan
        members = self._members()
        cells, spaces = measure(data, range(plan.first_cell, len(data.rows)), members)
        if not data.takes_gram:
            return spaces, [None] * len(spaces)
        grams = cells.grams()
        self._cells = [CellGram(s, gram, data.exchange.shift) for s, gram in zip(cells.statistics, grams, strict=True)]
        jobs = [partial(cells.gram, space, grams, own) for space, own in zip(spaces, members, strict=True)]
        return spaces, list(side_by_side(jobs, len(cells.rows) * grams[0].size))

    def _fit(self, spaces: Sequence[Space], grams: Sequence[Floats | None]) -> tuple[list[list[list[Fitted]]], list[list[Floats]]]:
        """Fit everything side by side: [ratio][fit][schedule], and the lambdas [ratio][schedule]."""
        data, count = self._data, len(self._options) * self._fits
        lockstep = Lockstep(data.exchange, count, at_once=at_once(data.dataset.shape), turns=turns(data.dataset.shape),
                            announce=Together(data.options.listener, count * len(self._schedules)).announce)  # fmt: skip
        tasks = []
        for k, (options, fit) in enumerate(itertools.product(self._options, range(self._fits))):
            exchange = lockstep.exchanges[k]
            exchange.rows, exchange.alike = fit, _alike(spaces[fit], spaces[0])
            tasks.append(replace(data, options=options).task(spaces[fit], data.rows[fit], exchange))
        tasks = self._share_columns(tasks, lockstep)
        courses = [self._course(task, k % self._fits, grams[k % self._fits]) for k, task in enumerate(tasks)]
        tops = lockstep.run([course.begin for course in courses])
        lambdas = [grids(options.grid, tops[r * self._fits], courses[0].task) for r, options in enumerate(self._options)]
        if tops[0][0] is None:
            warn_constant()
        works = [partial(course.run, self._own(lambdas[k // self._fits], k % self._fits), data.options.limits)
                 for k, course in enumerate(courses)]  # fmt: skip
        done = lockstep.run(works)
        return [done[r * self._fits : (r + 1) * self._fits] for r in range(len(self._options))], lambdas

    def _share_columns(self, tasks: list[Task], lockstep: Lockstep) -> list[Task]:
        """Strong columns that all fits keep together, where the same may enter them."""
        data, first = self._data, tasks[0]
        options = data.options
        alike = all(np.array_equal(task.free, first.free) for task in tasks)
        keeps = keeper(options.loss, data.form, options.solver)
        if not (alike and keeps and lockstep.together):
            return tasks
        tasks = [_closed(task) for task in tasks]
        shared = Shared(first.free)
        if keeps == "coordinator":
            shared.gathered, shared.apart = Gathered(data.exchange), not data.sparse
            self._gathered = shared.gathered if data.sparse else None
            if data.sparse and descends(options.loss, options.solver):
                members = [Member(task.space, own) for task, own in zip(tasks, self._members(), strict=False)]
                shared.products = Products([self._cell(c).weight for c in range(len(data.rows) - self._plan.first_cell)], members)
            shared.hold()
        for task in tasks:
            task.exchange.kept = 0
        return [replace(task, shared=Share(shared, partial(lockstep.meet, k), k % self._fits)) for k, task in enumerate(tasks)]

    def _members(self) -> list[tuple[int, ...]]:
        """The cells of every fit."""
        return [tuple(range(self._plan.partitions[0].n_cells)), *self._plan.train]

    def _own(self, lambdas: Sequence[Floats], fit: int) -> list[Floats]:
        """The lambdas of one fit."""
        return [own / self._share_of(fit) if self._plan.same_c else own for own in lambdas]

    def _share_of(self, fit: int) -> float:
        """Share of the weight of all rows that a fit trains on."""
        return 1.0 if fit == 0 else float(self._data.rows[0].weight[self._data.rows[fit].weight > 0].sum())

    def _course(self, task: Task, fit: int, gram: Floats | None) -> Course:
        data = self._data
        if gram is not None:
            task = with_gram(task, gram)
        total = row_weights(data.dataset)[1] * self._share_of(fit)
        (start,) = starts(data.options.init, data.dataset.shape[1], 1)
        return Course(task, data.make, self._schedules, weight=total, shared=data.shared, recorded=fit == 0, start=start)

    def _models(self, fits: Sequence[Sequence[Fitted]], s: int, lambdas: Floats) -> _Models:
        """All fits under one schedule, as far as all of them came."""
        results = [fit[s] for fit in fits]
        length = min(len(one.solutions.gap) for one in results)
        held = []
        for one, test in zip(results[1:], self._plan.test, strict=True):
            coef = sp.csr_array(sp.vstack(one.solutions.coef[:length], format="csr"))
            held.append(Held(coef, np.array(one.solutions.intercept[:length], dtype=np.float64), test))
        ended = next((one.solutions.ended for one in results if one.solutions.ended), "")
        whole_fit = replace(results[0].solutions.first(length), ended=ended)
        cut = replace(results[0], solutions=whole_fit, stages=results[0].stages[:length])
        return _Models(cut, np.array([one.solutions.gap[:length] for one in results[1:]]).T, lambdas[:length], held)

    def _scores(self, found: Sequence[Sequence[Held]]) -> list[Floats]:
        """Scores [k, folds] of every candidate."""
        data, flat = self._data, [held for candidate in found for held in candidate]
        values = None
        if self._cells and self._score.name in ("mse", "r2"):
            values = from_sums(flat, self._cells)
        if values is None:
            values = by_pass(flat, self._score, data.exchange, data.rows, self._plan.first_cell, by_columns=data.by_columns,
                             gathered=self._gathered)  # fmt: skip
        if self._score.name == "r2":
            spread = [self._variance(f) for f in range(self._plan.size)]
            values = [1.0 - own / spread[k % self._plan.size] for k, own in enumerate(values)]
        for k, own in enumerate(values):
            if not np.isfinite(own).all():
                raise InputError(f"fold {k % self._plan.size} has no {self._score.name}: {no_score(self._score.name)}")
        size = self._plan.size
        return [np.array(values[start : start + size]).T for start in range(0, len(values), size)]

    def _variance(self, fold: int) -> float:
        y, offset = np.asarray(self._data.dataset.y, dtype=np.float64), self._data.dataset.offset
        y = self._data.rows[0].y if offset is None or not self._data.options.loss.quadratic else y
        return variance(y, np.sum([self._cell(c).weight for c in self._plan.test[fold]], axis=0))

    def _cell(self, c: int) -> RowSpace:
        return self._data.rows[self._plan.first_cell + c]

    def _warn(self, candidates: Sequence[Candidate]) -> None:
        """Say which solutions are not proved to the tolerance."""
        gaps = np.concatenate([np.concatenate([one.path.gap, one.fold_gaps.ravel()]) for one in candidates])
        self._data.warn_above(gaps, " of all folds")


def _closed(task: Task) -> Task:
    """A task whose columns outside the problem are held at 0, since other fits may admit them."""
    outside = np.ones(task.space.sd.size, dtype=np.bool_)
    outside[task.keep] = False
    penalty = task.penalty
    low, high = np.where(outside, 0.0, penalty.low), np.where(outside, 0.0, penalty.high)
    return replace(task, penalty=replace(penalty, low=low, high=high))


def _alike(space: Space, whole: Space) -> bool:
    """Whether the columns of a fit vary about as much as over all rows: then its Hessians look like theirs, too."""
    own, all_rows = space.curvature[~whole.constant], whole.curvature[~whole.constant]
    return bool((own <= _SPREAD * all_rows).all() and (all_rows <= _SPREAD * own).all())
