"""``MultiTaskLasso`` and ``MultiTaskElasticNet``: one certified solution for several targets that share their features.

Read next: ``base.py``.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin

from distlasso.errors import InputError
from distlasso.estimators.base import Certified, Floats, positive, weights

_OTHERWISE = "sklearn.linear_model.LinearRegression"


class MultiTaskElasticNet(RegressorMixin, Certified):  # type: ignore[misc]
    """Linear regression of several targets under a penalty on rows of coefficients, certified by its duality gap.

    Minimises ``1/(2 W) sum_i w_i ||y_i - b0 - B'x_i||^2 + alpha sum_j (l1_ratio ||B_j|| + (1 - l1_ratio)/2 ||B_j||^2)``,
    W the sum of the weights and ``B_j`` the coefficients of feature j for all targets: a feature is used for all of them or
    for none. scikit-learn's ``copy_X``, ``warm_start``, ``random_state`` and ``selection`` mean nothing here and are absent.

    Parameters
    ----------
    alpha : float
        Penalty strength, positive.
    l1_ratio : float
        Mixing in [0, 1]; 1 is the multi-task lasso.
    fit_intercept : bool
        Fit intercepts, which are never penalised.
    max_iter : int
        Accepted so that code written for scikit-learn runs; it limits nothing. A fit that stops above ``tol`` says so
        in a ``ConvergenceWarning`` with its gap.
    tol : float
        Duality gap to reach, relative to half the null deviance of all targets together.
    standardize, penalty_factors, runtime, client
        As in ``ElasticNet``.

    Attributes
    ----------
    coef_ : float64 [n_targets, n_features]
    sparse_coef_ : scipy.sparse.csr_array [n_targets, n_features]
    intercept_ : float64 [n_targets]
    n_iter_, dual_gap_, path_, n_features_in_, feature_names_in_
        As in ``ElasticNet``.

    Examples
    --------
    >>> from distlasso import MultiTaskElasticNet
    >>> X, Y = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]
    >>> MultiTaskElasticNet(alpha=0.1).fit(X, Y).coef_.shape
    (2, 2)
    """

    def __init__(
        self, alpha: float = 1.0, *, l1_ratio: float = 0.5, fit_intercept: bool = True, max_iter: int = 1000,
        tol: float = 1e-6, standardize: bool = False, penalty_factors: Any = None, runtime: Any = None,
        client: Any = None,
    ) -> None:  # fmt: skip
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.standardize = standardize
        self.penalty_factors = penalty_factors
        self.runtime = runtime
        self.client = client

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array, sparse matrix or dask array [n_samples, n_features], or Dataset
            float64, float32, int8, uint8 and bool are used as they are, without a wider copy; chunks stay where they are.
        y : float [n_samples, n_targets]
            Targets; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used.
        """
        alpha = positive("alpha", self.alpha, _OTHERWISE)
        data, y = self._admit(X, y, y_numeric=True, multi_output=True)
        if y is not None and np.ndim(y) != 2:
            raise InputError(f"y has shape {np.shape(y)}, expected (n_samples, n_targets); for one target use ElasticNet")
        weight = weights(sample_weight, data.shape[0])
        self._solve(data, y, weight, lam=alpha, l1_ratio=self.l1_ratio, multi_task=True)
        self.coef_ = self.sparse_coef_.toarray()
        self.intercept_ = np.array(np.ravel(self.path_.intercept[0]))
        self.n_iter_ = max(self.path_.rounds, 1)
        return self

    def predict(self, X: Any) -> Floats:
        """Predict rows, float64 [n_samples, n_targets]."""
        fitted = self._predict(X, "link")
        return fitted.reshape(len(fitted), -1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags


class MultiTaskLasso(MultiTaskElasticNet):
    """Linear regression of several targets that share their features, certified by its duality gap.

    Minimises ``1/(2 W) sum_i w_i ||y_i - b0 - B'x_i||^2 + alpha sum_j ||B_j||``. Parameters and attributes as
    ``MultiTaskElasticNet``, without ``l1_ratio``.

    Examples
    --------
    >>> from distlasso import MultiTaskLasso
    >>> X, Y = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]
    >>> MultiTaskLasso(alpha=0.1).fit(X, Y).predict([[1.0, 1.0]]).shape
    (1, 2)
    """

    def __init__(
        self, alpha: float = 1.0, *, fit_intercept: bool = True, max_iter: int = 1000, tol: float = 1e-6,
        standardize: bool = False, penalty_factors: Any = None, runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            alpha, l1_ratio=1.0, fit_intercept=fit_intercept, max_iter=max_iter, tol=tol, standardize=standardize,
            penalty_factors=penalty_factors, runtime=runtime, client=client,
        )  # fmt: skip
