"""What all estimators share: how data comes in, one fit at one lambda, what it leaves behind, and how they are copied.

Read next: ``linear.py``; ``../path/fit.py``, which does the work; ``choice.py``, where the lambda is chosen.
"""

from __future__ import annotations

import copy
import numbers
import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from distlasso.data.dataset import Dataset, is_dask
from distlasso.errors import CertificateWarning, InputError
from distlasso.losses import Loss
from distlasso.path.again import Again
from distlasso.path.fit import fit_path
from distlasso.path.result import Path
from distlasso.runtime.chunks import from_chunks

Floats = NDArray[np.float64]

_ONE_BYTE = (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.bool_))


class Certified(BaseEstimator):  # type: ignore[misc]
    """A linear model at one penalty strength; a subclass says which loss, and which face its coefficients have."""

    fit_intercept: bool
    tol: float
    standardize: bool
    penalty_factors: Any
    runtime: Any
    client: Any

    def _admit(self, X: Any, y: Any, **checks: Any) -> tuple[Dataset, Any]:
        """Take what scikit-learn's validation lets pass, or a Dataset, which may bring its own target, or a dask array."""
        if is_dask(X):
            X, y = from_chunks(X), None if y is None else np.asarray(y)
        if isinstance(X, Dataset):
            self._adopt_columns(X)
            y = X.y if y is None else y
            if np.ndim(y) > 1 and not checks.get("multi_output"):
                raise InputError(f"y has shape {np.shape(y)}: {type(self).__name__} fits one target, MultiTaskLasso several")
            return X, y
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], dtype=_dtypes(X), **checks)
        return Dataset.from_arrays(X, feature_names=getattr(self, "feature_names_in_", None)), y

    def _solve(
        self, data: Dataset, y: Any, weight: Any, *, lam: float, l1_ratio: float, loss: str | Loss = "squared",
        bounds: tuple[float, float] | None = None, multi_task: bool = False,
    ) -> None:  # fmt: skip
        """Fit at one lambda, and keep the solution."""
        with warnings.catch_warnings():
            # Said below as a ConvergenceWarning; a constant target is an ordinary case to scikit-learn.
            warnings.simplefilter("ignore", CertificateWarning)
            path = fit_path(
                data, y, loss=loss, l1_ratio=l1_ratio, penalty_factors=self.penalty_factors, multi_task=multi_task,
                lambdas=[lam], bounds=bounds, standardize=self.standardize, fit_intercept=self.fit_intercept, sample_weight=weight,
                tol=self.tol, runtime=self.runtime, client=self.client,
            )  # fmt: skip
        self._keep(replace(path, again=Again()), 0)  # a fitted estimator holds no data

    def _keep(self, path: Path, index: int) -> None:
        """Set every attribute whose shape does not depend on the model, from one solution of a path."""
        self.path_, self._index = path, index
        self.sparse_coef_ = sp.csr_array(sp.vstack([coef[[index]] for coef in path.outputs], format="csr"))
        self.dual_gap_ = float(path.gap[index]) * path.null_deviance
        if not path.converged[index]:
            reached = f"stopped at a relative duality gap of {path.gap[index]:.2e}, above tol={self.tol:g}"
            warnings.warn(f"{reached}: scale the features, or accept a larger tol", ConvergenceWarning, stacklevel=4)

    def _predict(self, X: Any, scale: str) -> Floats:
        """Predict rows on the scale of the linear predictor ("link") or of the target ("response")."""
        check_is_fitted(self)
        if not isinstance(X, Dataset) and not is_dask(X):
            X = validate_data(self, X, reset=False, accept_sparse=["csr", "csc"], dtype=_dtypes(X))
        return self.path_.predict(X, lam=float(self.path_.lambdas[self._index]), type=scale)

    def _adopt_columns(self, dataset: Dataset) -> None:
        """Do for a Dataset what ``validate_data`` does for arrays."""
        self.n_features_in_ = dataset.shape[1]
        if dataset.feature_names is not None:
            self.feature_names_in_ = np.array(dataset.feature_names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit

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


def positive(name: str, value: Any, otherwise: str) -> float:
    """Check that a parameter is a positive finite number; ``otherwise`` says what to use for a model without a penalty."""
    if not isinstance(value, numbers.Real) or not 0.0 < float(value) < np.inf:
        raise InputError(f"{name}={value!r} is not a positive finite number; without a penalty use {otherwise}")
    return float(value)


def weights(sample_weight: ArrayLike | None, n: int) -> Any:
    """Rows' weights; scikit-learn allows one number for all."""
    if isinstance(sample_weight, numbers.Real):
        return np.full(n, float(sample_weight))
    return sample_weight


def _dtypes(X: Any) -> list[Any]:
    """Dtypes that validation leaves alone: values of one byte must not become eight times as large."""
    dtype = getattr(X, "dtype", None)
    return [dtype] if dtype in _ONE_BYTE and not sp.issparse(X) else [np.float64, np.float32]
