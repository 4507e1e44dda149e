"""``nested_cross_validate``: what a model costs that was chosen by cross-validation, on rows that had no part in the choice.

The score that chose a lambda is the best of many, and so it flatters (Varma & Simon 2006; Cawley & Talbot 2010). Here every
outer fold is held out of everything: its training rows are those of positive weight of an ordinary cross-validation, all
others have weight 0. Read next: ``selection.py`` (the inner one), ``validation.py`` (the scores).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset
from distlasso.errors import InputError
from distlasso.path.choice import summarise
from distlasso.path.cross_validation import CrossValidation
from distlasso.path.folds import Folds, Given, Known, Partition, as_folds, repetitions
from distlasso.path.keywords import check_options
from distlasso.path.opened import as_dataset, known_rows, opened, outputs_of, row_spaces, row_weights
from distlasso.path.options import LARGEST_SEED, Options, parse, seed
from distlasso.path.selection import cross_validate
from distlasso.path.shown import brief, table, with_error
from distlasso.path.validation import Held, by_pass, no_score, variance
from distlasso.runtime.local import RowSpace
from distlasso.scores import Score, as_score

Floats = NDArray[np.float64]

_OF_CHOICE = ("l1_ratio", "schedule", "max_features", "average", "fixed")  # options of the inner ones, not of a path


@final
@dataclass(frozen=True, slots=True, eq=False)
class NestedCrossValidation:
    """The error of a procedure: choose by cross-validation, fit, predict.

    Attributes
    ----------
    scores : float64 [outer]
        Score of the chosen model on each outer fold.
    mean, se : float
        Over outer folds, weighted by held-out size or as ``average`` says; the standard error is NaN for one fold. Folds share
        training rows, so that the standard error is itself an approximation (Bengio & Grandvalet 2004).
    lambdas : float64 [outer]
        Chosen lambda of each.
    score : str
        Which.
    choices : tuple of CrossValidation
        The whole inner cross-validation of each, with ``l1_ratio``, ``schedule``, ``coef``, ``path`` and its cost.
    """

    scores: Floats
    mean: float
    se: float
    lambdas: Floats
    score: str
    choices: tuple[CrossValidation, ...]

    def __repr__(self) -> str:
        def row(fold: int) -> list[str]:
            one = self.choices[fold]
            return [str(fold), brief(self.scores[fold]), brief(one.lambda_), str(one.path.n_active[one.best])]

        first = f"NestedCrossValidation({self.scores.size} outer fold(s), {self.score} {with_error(self.mean, self.se)})"
        return "\n".join([first, *table(("fold", self.score, "lambda", "active"), self.scores.size, row)])

    def summary(self) -> dict[str, Any]:
        """Scores, choices and costs, as plain values."""
        return {
            "score": self.score, "mean": self.mean, "se": None if np.isnan(self.se) else self.se,
            "scores": self.scores.tolist(), "lambdas": self.lambdas.tolist(),
            "active": [int(one.path.n_active[one.best]) for one in self.choices],
            "l1_ratios": [one.l1_ratio for one in self.choices], "schedules": [one.schedule for one in self.choices],
            "passes": sum(one.path.passes for one in self.choices), "seconds": sum(one.path.seconds for one in self.choices),
        }  # fmt: skip


def nested_cross_validate(
    data: Any,
    y: Any = None,
    *,
    outer: Any = None,
    folds: Any = None,
    rule: str = "min",
    score: str | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    random_state: int = 0,
    checkpoint: Any = None,
    **options: Any,
) -> NestedCrossValidation:
    """Estimate the error of a model whose lambda (mixing, schedule) is chosen by cross-validation, honestly.

    Costs as much as ``outer`` cross-validations, one after the other, and a pass for the scores of each. The model to use
    is that of ``cross_validate`` on all rows; this only says how good it should be expected to be.

    Parameters
    ----------
    data, y, sample_weight, offset
        As in ``cross_validate``.
    outer : int, fold ids, plan, splitter or pairs, optional
        What is held out of everything, in any form that ``cross_validate`` takes as ``folds``. By default the ``fold`` that a
        Dataset stores, else 5.
    folds : int, fold ids, plan or splitter, optional
        Of the training rows of every outer fold. Of fold ids, those count that the outer fold leaves any row. By default the
        ``fold`` that a Dataset stores, else 10.
    rule, score
        As in ``cross_validate``; outer folds have the same score.
    random_state : int
        Seed of outer and inner folds.
    checkpoint : path, optional
        As in ``fit_path``; every outer fold has a folder in it. The passes that score the choices are done again.
    **options
        As in ``cross_validate``: ``l1_ratio``, ``schedule``, ``max_features``, ``average``, ``loss``, ``tol``, ...

    Returns
    -------
    NestedCrossValidation

    Raises
    ------
    InputError
        For data or options that cannot be used; what concerns one outer fold names it.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> found = dl.nested_cross_validate(X, X @ [3.0, 0, 0, -2.0, 0] + X[::-1, 1], outer=4, folds=5)
    >>> found.scores.shape, found.lambdas.shape
    ((4,), (4,))
    """
    check_options(options, nested_cross_validate, cross_validate, refused=("prior", "multi_task"))
    apart = {name: value for name, value in options.items() if name not in _OF_CHOICE}
    if "prior" in options:
        raise InputError("prior= implies its lambda, and leaves nothing to choose: use fit_path")
    plain = parse(time.perf_counter(), **apart)
    wanted = as_score(score, plain.loss)
    dataset = as_dataset(data, y, sample_weight, offset)
    if outputs_of(dataset) > 1:
        raise InputError(f"cross-validation is for one response, and y has {outputs_of(dataset)}: do them one by one")
    outer = (5 if dataset.fold is None else dataset.fold) if outer is None else outer
    folds = (10 if dataset.fold is None else dataset.fold) if folds is None else folds
    drawn = seed(random_state)
    partitions = _partitions(dataset, outer, plain, drawn)
    weight, _ = row_weights(dataset)
    pairs = [(np.isin(one.cell, train), np.isin(one.cell, test)) for one in partitions
             for train, test in zip(one.train, one.test, strict=True)]  # fmt: skip
    plan = as_folds(folds, dataset.shape, np.asarray(dataset.y, dtype=np.float64))
    known = known_rows(dataset, plain.loss, 0)
    if isinstance(plan, Given):  # what is wrong with them is said before anything is fitted
        plan.partitions(known)
    inner = [_within(plan, replace(known, weight=weight * train), fold) for fold, (train, _) in enumerate(pairs)]
    choices = []
    for fold, (train, _) in enumerate(pairs):
        own = dataset.with_target(sample_weight=weight * train)
        try:
            place = None if checkpoint is None else FilePath(checkpoint) / f"fold-{fold}"
            choices.append(cross_validate(own, folds=inner[fold], rule=rule, score=score, checkpoint=place,
                                          random_state=(drawn + 1) % (LARGEST_SEED + 1), **options))  # fmt: skip
        except InputError as error:
            raise InputError(f"outer fold {fold}: {error}") from error
    scores = _scores(dataset, plain, wanted, choices, [test for _, test in pairs])
    alike = options.get("average") == "folds"
    held = np.array([1.0 if alike else float(weight[test].sum()) for _, test in pairs])
    mean, se = summarise(scores[None, :], held, repetitions(partitions))
    chosen = np.array([one.lambda_ for one in choices])
    return NestedCrossValidation(scores, float(mean[0]), float(se[0]), chosen, wanted.name, tuple(choices))


def _partitions(dataset: Dataset, outer: Any, options: Options, seed: int) -> list[Partition]:
    y = np.asarray(dataset.y, dtype=np.float64)
    try:
        return as_folds(outer, dataset.shape, y).partitions(known_rows(dataset, options.loss, seed))
    except InputError as error:
        raise InputError(f"outer={outer!r} cannot be used: {error}" if np.isscalar(outer) else f"outer: {error}") from error


def _within(plan: Folds, rows: Known, fold: int) -> Folds:
    """The plan of folds within the training rows of an outer fold; of fold ids, those that have rows there."""
    if not isinstance(plan, Given):
        return plan
    left = plan.left(rows.weight)
    try:
        left.partitions(rows)
    except InputError as error:
        raise InputError(f"outer fold {fold} leaves too few folds within: {error}; use more, or another folds=") from error
    return left


def _scores(
    dataset: Dataset, options: Options, score: Score, choices: Sequence[CrossValidation], tests: Sequence[NDArray[np.bool_]]
) -> Floats:
    """Score of every chosen model on what it was kept from, one pass each."""

    def rows(dataset: Dataset) -> list[RowSpace]:
        (whole,) = row_spaces(dataset, options.loss, intercept=options.fit_intercept)
        return [whole, *(replace(whole, weight=whole.weight * test) for test in tests)]

    found = np.empty(len(tests))
    with opened(dataset, options, rows, fits=1) as data:
        for fold, one in enumerate(choices):
            data.exchange.imputation = one.path.imputation  # the means of the rows that it was trained on
            held = Held(one.sparse_coef, np.array([one.intercept]), (fold,))
            (value,) = by_pass([held], score, data.exchange, data.rows, 1, by_columns=data.by_columns)
            found[fold] = value[0]
            if score.name == "r2":
                found[fold] = 1.0 - value[0] / variance(np.asarray(dataset.y, dtype=np.float64), data.rows[1 + fold].weight)
            if not np.isfinite(found[fold]):
                raise InputError(f"outer fold {fold} has no {score.name}: {no_score(score.name)}")
    return found
