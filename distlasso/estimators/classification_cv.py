"""``LogisticRegressionCV``: the penalty that classifies rows best that a fit has not seen.

Read next: ``classification.py``, ``choice.py``.
"""

from __future__ import annotations

import numbers
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from distlasso.errors import InputError
from distlasso.estimators.base import Floats
from distlasso.estimators.choice import alike, choose, folds_of
from distlasso.estimators.classification import TwoClasses
from distlasso.path.cross_validation import CrossValidation

# scikit-learn's names; of those that begin with "neg", the negative is what becomes as large as possible.
SCORING = {"accuracy": "accuracy", "neg_log_loss": "log_loss", "roc_auc": "auc", "neg_brier_score": "mse"}


class LogisticRegressionCV(TwoClasses):
    """Logistic regression for two classes whose penalty is chosen by cross-validation; folds share every pass.

    The problem is that of ``LogisticRegression``. As in scikit-learn, ``C`` stands beside the sum of the losses, so that a
    model of a fold, which has fewer rows, is penalised a little more. Of scikit-learn's parameters, ``dual``,
    ``intercept_scaling``, ``n_jobs``, ``penalty``, ``random_state``, ``refit``, ``solver``, ``use_legacy_attributes`` and
    ``verbose`` mean nothing here and are absent.

    Parameters
    ----------
    Cs : int or float [n_cs]
        How many, geometric from 1e-4 to 1e4; or the inverses of the penalty strength themselves.
    l1_ratios : float [n_l1_ratios]
        Mixings in [0, 1]; 0 is ridge, 1 the lasso.
    fit_intercept : bool
        Fit an intercept, which is never penalised.
    cv : int, splitter, iterable of pairs, or a plan such as ``dl.KFold``, optional
        As in scikit-learn: a number of folds with both classes in equal shares, by default 5; ``split`` or pairs of training
        and held-out row numbers. Also the fold of every row, int [n_samples], which a Dataset may bring.
    scoring : {"accuracy", "neg_log_loss", "roc_auc", "neg_brier_score"}, optional
        What becomes as large as possible; None is the accuracy, as in scikit-learn up to 1.10. The logarithmic loss says
        more, because it has fewer ties.
    class_weight : dict or "balanced", optional
        As in ``LogisticRegression``. They weigh held-out rows too, which scikit-learn's do not.
    max_iter : int
        Accepted so that code written for scikit-learn runs; it limits nothing.
    tol : float
        Duality gap to reach, relative to half the null deviance.
    rule : {"min", "1se"}
        The best mean score, as in scikit-learn, or the smallest C within one standard error of it.
    schedule : schedule or list of schedules, optional
        As in ``cross_validate``; of several, one is chosen.
    standardize, penalty_factors, runtime, client
        As in ``ElasticNet``.

    Attributes
    ----------
    C_, l1_ratio_ : float64 [1]
        What was chosen.
    Cs_, l1_ratios_ : float64
        What was chosen among; ``Cs_`` ascending, each once.
    scores_ : dict
        Of the second class: float64 [n_folds, n_cs, n_l1_ratios].
    classes_, coef_, sparse_coef_, intercept_, dual_gap_, n_features_in_, feature_names_in_
        As in ``LogisticRegression``, of the chosen model, fitted to all rows.
    n_iter_ : int [1]
        Rounds of the whole cross-validation.
    cv_ : CrossValidation
        All scores and all that was chosen among.
    path_ : Path
        The path to which the chosen model belongs, on all rows.

    Examples
    --------
    >>> from distlasso import LogisticRegressionCV
    >>> X, y = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], ["no", "no", "yes", "no", "yes", "yes"]
    >>> model = LogisticRegressionCV(Cs=[0.1, 1.0], cv=3, scoring="neg_log_loss").fit(X, y)
    >>> model.C_.shape, model.scores_["yes"].shape
    ((1,), (3, 2, 1))
    """

    def __init__(
        self, *, Cs: Any = 10, l1_ratios: Any = (0.0,), fit_intercept: bool = True, cv: Any = None, scoring: str | None = None,
        class_weight: Any = None, max_iter: int = 100, tol: float = 1e-6, rule: str = "min", schedule: Any = None,
        standardize: bool = False, penalty_factors: Any = None, runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol
        self.rule = rule
        self.schedule = schedule
        self.standardize = standardize
        self.penalty_factors = penalty_factors
        self.runtime = runtime
        self.client = client

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None) -> Self:
        """Choose the penalty, and fit the model to all rows.

        Parameters
        ----------
        X : array, sparse matrix or dask array [n_samples, n_features], or Dataset
            float64, float32, int8, uint8 and bool are used as they are, without a wider copy; chunks stay where they are.
        y : [n_samples]
            Two classes, by any labels; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights, in training and in the scores of each fold.
        groups : [n_samples], optional
            Group of every row, for splitters that ask for it.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used, more than two classes among them.
        """
        self.Cs_ = _inverse_strengths(self.Cs)
        score = _score(self.scoring)
        data, second, weight = self._labelled(X, y, sample_weight)
        self.cv_ = choose(
            self, data, second, weight, folds_of(self.cv, data, second, groups, classifier=True), loss="logistic",
            lambdas=1.0 / (self.Cs_ * float(weight.sum())), fixed="C", l1_ratio=self.l1_ratios, score=score,
            rule=self.rule, schedule=self.schedule,
        )  # fmt: skip
        self._keep(self.cv_.path, self.cv_.best)
        self.C_, self.l1_ratio_ = self.Cs_[[self.cv_.best]], np.array([self.cv_.l1_ratio])
        self.l1_ratios_ = np.atleast_1d(np.asarray(self.l1_ratios, dtype=np.float64))
        self.scores_ = {self.classes_[1]: _scores(self.cv_, -1.0 if str(self.scoring).startswith("neg") else 1.0)}
        self._show()
        return self


def _inverse_strengths(Cs: Any) -> Floats:
    """The values of C, ascending, which is the order of a path."""
    if isinstance(Cs, numbers.Integral) and not isinstance(Cs, bool):
        if Cs < 1:
            raise InputError(f"Cs={Cs!r} is not a positive number of values of C")
        return np.logspace(-4.0, 4.0, int(Cs))
    try:
        values = np.unique(np.asarray(Cs, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"Cs={Cs!r} are not numbers: {error}") from error
    if np.ndim(Cs) != 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"Cs={Cs!r} is not a list of positive finite numbers, or how many of them")
    return values


def _score(scoring: Any) -> str:
    name = "accuracy" if scoring is None else scoring
    if not isinstance(name, str) or name not in SCORING:
        raise InputError(f"scoring={scoring!r} is not known: use one of {', '.join(SCORING)}")
    return SCORING[name]


def _scores(cv: CrossValidation, sign: float) -> Floats:
    """Scores [n_folds, n_cs, n_l1_ratios] under the chosen schedule, cut where an interruption ended a path."""
    found = alike(cv)
    length = min(one.scores.shape[0] for one in found)
    return np.stack([sign * one.scores[:length].T for one in found], axis=2)
