"""``Lasso`` and ``ElasticNet`` with scikit-learn's face: one certified solution at one ``alpha``.

Names and meanings follow ``sklearn.linear_model``; ``tol`` is the duality gap relative to half the null deviance, with
default 1e-6, where scikit-learn's is 1e-4 of the target's sum of squares. Read next: ``path/fit.py``.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from distlasso.data.dataset import Dataset
from distlasso.errors import CertificateWarning, InputError
from distlasso.path.fit import fit_path
from distlasso.path.result import Path

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("the estimators need scikit-learn: pip install 'distlasso[sklearn]'") from error

_STORED = (np.dtype(np.int8), np.dtype(np.uint8))


class ElasticNet(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Linear regression with combined L1 and L2 penalty, certified by its duality gap.

    Minimises ``1/(2 W) sum_i w_i (y_i - b0 - x_i b)^2 + alpha (l1_ratio ||b||_1 + (1 - l1_ratio)/2 ||b||_2^2)``.

    Parameters
    ----------
    alpha : float
        Penalty strength, positive.
    l1_ratio : float
        Mixing in [0, 1]; 1 is the lasso.
    fit_intercept : bool
        Fit an intercept, which is never penalised.
    max_iter : int
        Rounds (exchanges with the data) after which a fit that has not reached ``tol`` is worth a warning.
    tol : float
        Duality gap to reach, relative to half the null deviance.
    positive : bool
        Restrict coefficients to be nonnegative.
    standardize : bool
        Penalise coefficients of columns scaled to unit standard deviation; they are reported on the original scale.
    penalty_factors : float [n_features], optional
        Multiplies ``alpha`` per coefficient; 0 is unpenalised, inf excluded.
    runtime : {"serial", "threads", "dask"}, optional
        Where passes over the data run.
    client : distributed.Client, optional
        Cluster for the ``dask`` runtime; never part of a pickled estimator.

    Attributes
    ----------
    coef_ : float64 [n_features]
    sparse_coef_ : scipy.sparse.csr_array [1, n_features]
    intercept_ : float
    n_iter_ : int
        Rounds.
    dual_gap_ : float
        Duality gap of the objective above, absolute.
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
        X : array or sparse matrix [n_samples, n_features], or Dataset
            float64, float32, int8 and uint8 are used as they are.
        y : float [n_samples]
            Target; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used.
        """
        if not isinstance(X, Dataset):
            X, y = self._validated(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CertificateWarning)
            path = self._fit_path(X, y, sample_weight)
        self._adopt(path, X, y, sample_weight)
        if not path.converged[0]:
            warnings.warn(
                f"stopped at a relative duality gap of {path.gap[0]:.2e} above tol={self.tol:g}", ConvergenceWarning,
                stacklevel=2,
            )  # fmt: skip
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict rows, float64 [n_samples]."""
        check_is_fitted(self)
        if not isinstance(X, Dataset):
            X = validate_data(self, X, reset=False, accept_sparse=["csr", "csc"], dtype=_dtypes(X))
        return self.path_.predict(X, lam=float(self.path_.lambdas[0]))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {**state, "client": None}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _l1_ratio(self) -> float:
        return float(self.l1_ratio)

    def _validated(self, X: Any, y: Any) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], dtype=_dtypes(X), y_numeric=True, multi_output=False
        )
        return X, y

    def _fit_path(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> Path:
        if not np.isreal(self.alpha) or not self.alpha > 0:
            raise InputError(f"alpha={self.alpha} must be positive: at 0 nothing is penalised, use least squares instead")
        bounds = (0.0, np.inf) if self.positive else None
        weight = None if sample_weight is None else np.asarray(sample_weight)
        if weight is not None and weight.ndim == 0:
            weight = np.full(X.shape[0], float(weight))
        return fit_path(
            X, y, l1_ratio=self._l1_ratio(), penalty_factors=self.penalty_factors, bounds=bounds, lambdas=[self.alpha],
            standardize=self.standardize, fit_intercept=self.fit_intercept, sample_weight=weight, tol=self.tol,
            runtime=self.runtime, client=self.client,
        )  # fmt: skip

    def _adopt(self, path: Path, X: Any, y: Any, sample_weight: ArrayLike | None) -> None:
        self.path_ = path
        self.sparse_coef_ = path.coef[[0]]
        self.coef_ = self.sparse_coef_.toarray()[0]
        self.intercept_ = float(path.intercept[0])
        self.n_iter_ = max(path.rounds, 1)
        self.dual_gap_ = float(path.gap[0]) * path.null_deviance
        if isinstance(X, Dataset):
            self.n_features_in_ = X.shape[1]
            if X.feature_names is not None:
                self.feature_names_in_ = np.array(X.feature_names, dtype=object)


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
            alpha, fit_intercept=fit_intercept, max_iter=max_iter, tol=tol, positive=positive, standardize=standardize,
            penalty_factors=penalty_factors, runtime=runtime, client=client,
        )  # fmt: skip
        del self.l1_ratio  # not a parameter here

    def _l1_ratio(self) -> float:
        return 1.0


def _dtypes(X: Any) -> list[Any]:
    """Dtypes that validation leaves alone; codes of one byte stay as they are."""
    dtype = getattr(X, "dtype", None)
    return [dtype] if dtype in _STORED and not sp.issparse(X) else [np.float64, np.float32]
