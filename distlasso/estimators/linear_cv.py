"""``LassoCV`` and ``ElasticNetCV``: the penalty that predicts rows best that a fit has not seen.

Read next: ``choice.py``.
"""

from __future__ import annotations

import numbers
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin

from distlasso.errors import InputError
from distlasso.estimators.base import Certified, Floats, weights
from distlasso.estimators.choice import alike, choose, folds_of
from distlasso.path.cross_validation import CrossValidation


class ElasticNetCV(RegressorMixin, Certified):  # type: ignore[misc]
    """Elastic net whose penalty is chosen by cross-validation; folds share every pass over the data.

    The problem is that of ``ElasticNet``. Of scikit-learn's parameters, ``precompute``, ``copy_X``, ``random_state``,
    ``selection``, ``n_jobs`` and ``verbose`` mean nothing here and are absent.

    Parameters
    ----------
    l1_ratio : float or list of float
        Mixing in [0, 1]; of a list, the one that predicts best is chosen too.
    eps : float
        Smallest over largest alpha, where ``alphas`` is a number.
    alphas : int or float [n_alphas], optional
        How many, geometric from the largest useful one on, None being 100; or the alphas themselves.
    fit_intercept : bool
        Fit an intercept, which is never penalised.
    max_iter : int
        Accepted so that code written for scikit-learn runs; it limits nothing.
    tol : float
        Duality gap to reach, relative to half the null deviance.
    cv : int, splitter, iterable of pairs, or a plan such as ``dl.KFold``, optional
        As in scikit-learn: a number of folds of consecutive rows, by default 5; ``split`` or pairs of training and held-out
        row numbers. Also the fold of every row, int [n_samples], which a Dataset may bring.
    positive : bool
        Restrict coefficients to be nonnegative.
    rule : {"min", "1se"}
        The least mean squared error, as in scikit-learn, or the largest alpha within one standard error of it.
    schedule : schedule or list of schedules, optional
        As in ``cross_validate``; of several, one is chosen.
    standardize, penalty_factors, runtime, client
        As in ``ElasticNet``.

    Attributes
    ----------
    alpha_, l1_ratio_ : float
        What was chosen.
    alphas_ : float64 [n_alphas] or [n_l1_ratio, n_alphas]
        Descending, each once.
    mse_path_ : float64 [n_alphas, n_folds] or [n_l1_ratio, n_alphas, n_folds]
        Mean squared error of every model where it is held out; the mean over folds, which all count alike, decides.
    coef_, sparse_coef_, intercept_, dual_gap_, n_features_in_, feature_names_in_
        As in ``ElasticNet``, of the chosen model, fitted to all rows.
    n_iter_ : int
        Rounds of the whole cross-validation.
    cv_ : CrossValidation
        All scores and all that was chosen among.
    path_ : Path
        The path to which the chosen model belongs, on all rows.

    Examples
    --------
    >>> from distlasso import ElasticNetCV
    >>> X, y = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], [0.1, 0.9, 2.2, 2.8, 4.1, 5.0]
    >>> ElasticNetCV(l1_ratio=[0.5, 1.0], cv=3, alphas=10).fit(X, y).mse_path_.shape
    (2, 10, 3)
    """

    def __init__(
        self, *, l1_ratio: Any = 0.5, eps: float = 1e-3, alphas: Any = 100, fit_intercept: bool = True, max_iter: int = 1000,
        tol: float = 1e-6, cv: Any = None, positive: bool = False, rule: str = "min", schedule: Any = None,
        standardize: bool = False, penalty_factors: Any = None, runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.positive = positive
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
        y : float [n_samples]
            Target; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights, in training and in the held-out error of each fold.
        groups : [n_samples], optional
            Group of every row, for splitters that ask for it.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used.
        """
        data, y = self._admit(X, y, y_numeric=True)
        if y is None:
            raise InputError("y is missing: pass the target, or a Dataset that stores it")
        self.cv_ = choose(
            self, data, y, weights(sample_weight, data.shape[0]), folds_of(self.cv, data, y, groups, classifier=False),
            l1_ratio=self.l1_ratio, bounds=(0.0, np.inf) if self.positive else None, score="mse", rule=self.rule,
            schedule=self.schedule, **self._grid(),
        )  # fmt: skip
        self._keep(self.cv_.path, self.cv_.best)
        self.alpha_, self.l1_ratio_ = self.cv_.lambda_, self.cv_.l1_ratio
        self.alphas_, self.mse_path_ = _tables(self.cv_, one_grid="lambdas" in self._grid())
        self.coef_ = self.sparse_coef_.toarray()[0]
        self.intercept_ = self.cv_.intercept
        self.n_iter_ = max(self.path_.rounds, 1)
        return self

    def predict(self, X: Any) -> Floats:
        """Predict rows by the chosen model, float64 [n_samples]."""
        return self._predict(X, "link")

    def _grid(self) -> dict[str, Any]:
        if self.alphas is None or isinstance(self.alphas, numbers.Integral):
            return {"n_lambdas": 100 if self.alphas is None else self.alphas, "lambda_min_ratio": self.eps}
        return {"lambdas": self.alphas}


class LassoCV(ElasticNetCV):
    """Lasso whose penalty is chosen by cross-validation; folds share every pass over the data.

    Parameters and attributes as ``ElasticNetCV``, without ``l1_ratio``.

    Examples
    --------
    >>> from distlasso import LassoCV
    >>> X, y = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], [0.1, 0.9, 2.2, 2.8, 4.1, 5.0]
    >>> model = LassoCV(cv=3, alphas=10).fit(X, y)
    >>> model.alpha_ == model.alphas_[model.mse_path_.mean(axis=1).argmin()]
    np.True_
    """

    def __init__(
        self, *, eps: float = 1e-3, alphas: Any = 100, fit_intercept: bool = True, max_iter: int = 1000, tol: float = 1e-6,
        cv: Any = None, positive: bool = False, rule: str = "min", schedule: Any = None, standardize: bool = False,
        penalty_factors: Any = None, runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            l1_ratio=1.0, eps=eps, alphas=alphas, fit_intercept=fit_intercept, max_iter=max_iter, tol=tol, cv=cv,
            positive=positive, rule=rule, schedule=schedule, standardize=standardize, penalty_factors=penalty_factors,
            runtime=runtime, client=client,
        )  # fmt: skip


def _tables(cv: CrossValidation, *, one_grid: bool) -> tuple[Floats, Floats]:
    """Alphas and errors of every ``l1_ratio`` under the chosen schedule, cut where an interruption ended one of them."""
    found = alike(cv)
    length = min(one.path.lambdas.size for one in found)
    alphas, errors = np.stack([one.path.lambdas[:length] for one in found]), np.stack([one.scores[:length] for one in found])
    return alphas[0] if one_grid or len(found) == 1 else alphas, errors[0] if len(found) == 1 else errors
