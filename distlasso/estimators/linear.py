"""``Lasso``, ``ElasticNet`` and ``HuberLasso``: one certified solution for a continuous target.

Read next: ``base.py``.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin

from distlasso.estimators.base import Certified, Floats, positive, weights
from distlasso.losses import Huber, Loss

_OTHERWISE = "sklearn.linear_model.LinearRegression"


class ElasticNet(RegressorMixin, Certified):  # type: ignore[misc]
    """Linear regression with combined L1 and L2 penalty, certified by its duality gap.

    Minimises ``1/(2 W) sum_i w_i (y_i - b0 - x_i b)^2 + alpha (l1_ratio ||b||_1 + (1 - l1_ratio)/2 ||b||_2^2)``,
    W the sum of the weights.

    Of scikit-learn's parameters, ``precompute``, ``copy_X``, ``warm_start``, ``random_state`` and ``selection`` mean
    nothing here and are absent: the form of the problem is chosen from its size, X is never written to, every fit
    starts at the null model, and the order of descent is not random.

    Parameters
    ----------
    alpha : float
        Penalty strength, positive; without a penalty use ``sklearn.linear_model.LinearRegression``.
    l1_ratio : float
        Mixing in [0, 1]; 1 is the lasso.
    fit_intercept : bool
        Fit an intercept, which is never penalised.
    max_iter : int
        Accepted so that code written for scikit-learn runs; it limits nothing. A fit that stops above ``tol`` says so
        in a ``ConvergenceWarning`` with its gap.
    tol : float
        Duality gap to reach, relative to half the null deviance.
    positive : bool
        Restrict coefficients to be nonnegative.
    standardize : bool
        Penalise coefficients of columns scaled to unit standard deviation; they are reported on the original scale.
    penalty_factors : float [n_features], optional
        Multiplies ``alpha`` per coefficient; 0 is unpenalised, inf excluded.
    runtime : {"serial", "threads", "dask"}, optional
        Where passes over the data run; a runtime object also serves.
    client : distributed.Client, optional
        Cluster for the ``dask`` runtime. Clones share it and a runtime object; pickles carry neither.

    Attributes
    ----------
    coef_ : float64 [n_features]
    sparse_coef_ : scipy.sparse.csr_array [1, n_features]
    intercept_ : float
    n_iter_ : int
        Rounds, that is exchanges with the runtime.
    dual_gap_ : float
        Duality gap in units of the objective above, as in scikit-learn: ``path_.gap[0]`` times half the null deviance.
    path_ : Path
        The fit, with its certificate and costs.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from distlasso import ElasticNet
    >>> model = ElasticNet(alpha=0.1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 1.0, 2.0])
    >>> bool(model.dual_gap_ < 1e-6)
    True
    """

    def __init__(
        self, alpha: float = 1.0, *, l1_ratio: float = 0.5, fit_intercept: bool = True, max_iter: int = 1000,
        tol: float = 1e-6, positive: bool = False, standardize: bool = False, penalty_factors: Any = None,
        runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.positive = positive
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
        y : float [n_samples]
            Target; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used.
        """
        alpha = positive("alpha", self.alpha, _OTHERWISE)
        data, y = self._admit(X, y, y_numeric=True)
        bounds = (0.0, np.inf) if self.positive else None
        weight = weights(sample_weight, data.shape[0])
        self._solve(data, y, weight, lam=alpha, l1_ratio=self.l1_ratio, loss=self._loss(), bounds=bounds)
        self.coef_ = self.sparse_coef_.toarray()[0]
        self.intercept_ = float(self.path_.intercept[0])
        self.n_iter_ = max(self.path_.rounds, 1)
        return self

    def predict(self, X: Any) -> Floats:
        """Predict rows, float64 [n_samples]."""
        return self._predict(X, "link")

    def _loss(self) -> str | Loss:
        return "squared"


class Lasso(ElasticNet):
    """Linear regression with an L1 penalty, certified by its duality gap.

    Minimises ``1/(2 W) sum_i w_i (y_i - b0 - x_i b)^2 + alpha ||b||_1``. Parameters and attributes as ``ElasticNet``,
    without ``l1_ratio``.

    Examples
    --------
    >>> from distlasso import Lasso
    >>> Lasso(alpha=0.1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 1.0, 2.0]).coef_.shape
    (2,)
    """

    def __init__(
        self, alpha: float = 1.0, *, fit_intercept: bool = True, max_iter: int = 1000, tol: float = 1e-6,
        positive: bool = False, standardize: bool = False, penalty_factors: Any = None, runtime: Any = None,
        client: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            alpha, l1_ratio=1.0, fit_intercept=fit_intercept, max_iter=max_iter, tol=tol, positive=positive,
            standardize=standardize, penalty_factors=penalty_factors, runtime=runtime, client=client,
        )  # fmt: skip


class HuberLasso(Lasso):
    """Linear regression that outliers cannot pull far, with an L1 penalty, certified by its duality gap.

    Minimises ``(1/W) sum_i w_i huber(y_i - b0 - x_i b) + alpha ||b||_1``, where ``huber(r)`` is ``r^2 / 2`` up to
    ``|r| = delta`` and ``delta |r| - delta^2 / 2`` beyond (Huber 1964). Parameters and attributes as ``Lasso``, and:

    Parameters
    ----------
    delta : float
        Residual, in units of y, from which on the loss grows linearly. (The ``epsilon`` of scikit-learn's
        ``HuberRegressor`` is in units of a scale that is fitted along, under an L2 penalty: another problem.)

    Examples
    --------
    >>> from distlasso import HuberLasso
    >>> HuberLasso(alpha=0.1, delta=1.0).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 90.0]).coef_[0] < 3
    np.True_
    """

    def __init__(
        self, alpha: float = 1.0, *, delta: float = 1.35, fit_intercept: bool = True, max_iter: int = 1000,
        tol: float = 1e-6, positive: bool = False, standardize: bool = False, penalty_factors: Any = None,
        runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            alpha, fit_intercept=fit_intercept, max_iter=max_iter, tol=tol, positive=positive,
            standardize=standardize, penalty_factors=penalty_factors, runtime=runtime, client=client,
        )  # fmt: skip
        self.delta = delta

    def _loss(self) -> Loss:
        return Huber(self.delta)
