"""``Lasso`` and ``ElasticNet`` with scikit-learn's face: one certified solution at one ``alpha``.

Names and meanings follow ``sklearn.linear_model``, with one difference: ``tol`` is the duality gap relative to half the
null deviance, 1e-6 by default, where scikit-learn's is 1e-4 of the target's sum of squares. Read next: ``path/fit.py``.
"""

from __future__ import annotations

import copy
import numbers
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

_ONE_BYTE = (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.bool_))


class ElasticNet(RegressorMixin, BaseEstimator):  # type: ignore[misc]
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
        X : array or sparse matrix [n_samples, n_features], or Dataset
            float64, float32, int8, uint8 and bool are used as they are, without a wider copy.
        y : float [n_samples]
            Target; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used.
        """
        alpha = _positive(self.alpha)
        if not isinstance(X, Dataset):
            X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], dtype=_dtypes(X), y_numeric=True)
            X = Dataset.from_arrays(X, feature_names=getattr(self, "feature_names_in_", None))
        else:
            self._adopt_columns(X)
        path = self._fit_path(X, y, _weights(sample_weight, X.shape[0]), alpha)
        self.path_ = path
        self.sparse_coef_ = path.coef[[0]]
        self.coef_ = self.sparse_coef_.toarray()[0]
        self.intercept_ = float(path.intercept[0])
        self.n_iter_ = max(path.rounds, 1)
        self.dual_gap_ = float(path.gap[0]) * path.null_deviance
        if not path.converged[0]:
            reached = f"stopped at a relative duality gap of {path.gap[0]:.2e}, above tol={self.tol:g}"
            warnings.warn(f"{reached}: scale the features, or accept a larger tol", ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict rows, float64 [n_samples]."""
        check_is_fitted(self)
        if not isinstance(X, Dataset):
            X = validate_data(self, X, reset=False, accept_sparse=["csr", "csc"], dtype=_dtypes(X))
        return self.path_.predict(X, lam=float(self.path_.lambdas[0]))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        live = not isinstance(self.runtime, str)
        return {**state, "client": None, "runtime": None if live else self.runtime}

    def __sklearn_clone__(self) -> Self:
        bare = copy.copy(self)  # by __getstate__ without client and runtime object, which cannot be copied, only shared
        twin: Self = BaseEstimator.__sklearn_clone__(bare)
        twin.client, twin.runtime = self.client, self.runtime
        return twin

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _adopt_columns(self, dataset: Dataset) -> None:
        """Do for a Dataset what ``validate_data`` does for arrays."""
        self.n_features_in_ = dataset.shape[1]
        if dataset.feature_names is not None:
            self.feature_names_in_ = np.array(dataset.feature_names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit

    def _fit_path(self, dataset: Dataset, y: Any, weight: Any, alpha: float) -> Path:
        with warnings.catch_warnings():
            # Said as a ConvergenceWarning by ``fit``; a constant target is an ordinary case to scikit-learn.
            warnings.simplefilter("ignore", CertificateWarning)
            return fit_path(
                dataset, y, l1_ratio=self.l1_ratio, penalty_factors=self.penalty_factors, lambdas=[alpha],
                bounds=(0.0, np.inf) if self.positive else None, standardize=self.standardize,
                fit_intercept=self.fit_intercept, sample_weight=weight, tol=self.tol, runtime=self.runtime,
                client=self.client,
            )  # fmt: skip


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


def _positive(alpha: Any) -> float:
    if not isinstance(alpha, numbers.Real) or not float(alpha) > 0:
        raise InputError(f"alpha={alpha!r} is not a positive number; without a penalty use sklearn's LinearRegression")
    return float(alpha)


def _weights(sample_weight: ArrayLike | None, n: int) -> Any:
    """Rows' weights; scikit-learn allows one number for all."""
    if isinstance(sample_weight, numbers.Real):
        return np.full(n, float(sample_weight))
    return sample_weight


def _dtypes(X: Any) -> list[Any]:
    """Dtypes that validation leaves alone: values of one byte must not become eight times as large."""
    dtype = getattr(X, "dtype", None)
    return [dtype] if dtype in _ONE_BYTE and not sp.issparse(X) else [np.float64, np.float32]
