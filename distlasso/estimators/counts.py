"""``PoissonRegressor``: one certified solution for counts.

Read next: ``base.py``.
"""

from __future__ import annotations

from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_tweedie_score

from distlasso.estimators.base import Certified, Floats, positive, weights

_OTHERWISE = "sklearn.linear_model.PoissonRegressor(alpha=0)"


class PoissonRegressor(RegressorMixin, Certified):  # type: ignore[misc]
    """Poisson regression with log link and an elastic net penalty, certified by its duality gap.

    Minimises ``1/(2 W) sum_i w_i deviance_i + alpha (l1_ratio ||b||_1 + (1 - l1_ratio)/2 ||b||_2^2)``, W the sum of
    the weights and ``deviance_i / 2 = y_i log(y_i / mu_i) - y_i + mu_i`` at ``mu_i = exp(b0 + x_i b)``. With
    ``l1_ratio=0``, the default, it is scikit-learn's ``PoissonRegressor``; its ``solver``, ``warm_start`` and
    ``verbose`` mean nothing here and are absent.

    Parameters
    ----------
    alpha : float
        Penalty strength, positive.
    l1_ratio : float
        Mixing in [0, 1]; 0 is ridge, 1 the lasso.
    fit_intercept : bool
        Fit an intercept, which is never penalised.
    max_iter : int
        Accepted so that code written for scikit-learn runs; it limits nothing. A fit that stops above ``tol`` says so
        in a ``ConvergenceWarning`` with its gap.
    tol : float
        Duality gap to reach, relative to half the null deviance.
    standardize, penalty_factors, runtime, client
        As in ``ElasticNet``.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, n_iter_, dual_gap_, path_, n_features_in_, feature_names_in_
        As in ``ElasticNet``.

    Examples
    --------
    >>> from distlasso import PoissonRegressor
    >>> model = PoissonRegressor(alpha=0.01, l1_ratio=1.0).fit([[1.0, 2], [2, 3], [3, 4], [4, 3]], [12, 17, 22, 21])
    >>> model.predict([[1.0, 2]]).shape
    (1,)
    """

    def __init__(
        self, *, alpha: float = 1.0, l1_ratio: float = 0.0, fit_intercept: bool = True, max_iter: int = 100,
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
        y : float [n_samples]
            Counts or rates, none below 0; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights; for rates, the exposure.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used.
        """
        alpha = positive("alpha", self.alpha, _OTHERWISE)
        data, y = self._admit(X, y, y_numeric=True)
        weight = weights(sample_weight, data.shape[0])
        self._solve(data, y, weight, lam=alpha, l1_ratio=self.l1_ratio, loss="poisson")
        self.coef_ = self.sparse_coef_.toarray()[0]
        self.intercept_ = float(self.path_.intercept[0])
        self.n_iter_ = max(self.path_.rounds, 1)
        return self

    def predict(self, X: Any) -> Floats:
        """Predict expected counts, float64 [n_samples]."""
        return self._predict(X, "response")

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Fraction of the Poisson deviance explained, D^2, as scikit-learn's."""
        return float(d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags
