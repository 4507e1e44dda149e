"""X @ coef for whatever rows a model is asked to predict: arrays, sparse matrices and datasets, missing values filled.

Read next: ``result.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset, is_dask, real_numbers
from distlasso.data.missing import Imputation
from distlasso.errors import InputError

Floats = NDArray[np.float64]


def linear(X: Any, coef: Floats, imputation: Imputation | None) -> Floats:
    """X @ coef for arrays, sparse matrices and datasets."""
    p = coef.shape[0]
    if isinstance(X, Dataset):
        if X.shape[1] != p:
            raise InputError(f"the data has {X.shape[1]} columns, the model {p}")
        return _finite(_linear_dataset(X, coef, imputation))
    data = X if sp.issparse(X) or is_dask(X) else real_numbers("X", X)
    if data.ndim != 2 or data.shape[1] != p:
        raise InputError(f"X has shape {data.shape}, the model expects (n, {p})")
    if not np.issubdtype(data.dtype, np.number) and data.dtype != np.bool_:
        raise InputError(f"X has dtype {data.dtype}, expected numbers")
    support = np.flatnonzero((coef != 0).any(axis=1))
    used = data[:, support]
    if imputation is not None and not sp.issparse(used):
        used = imputation.take(support).apply(used)
    return _finite(np.asarray(used @ coef[support], dtype=np.float64))


def _finite(eta: Floats) -> Floats:
    if not np.isfinite(eta).all():
        raise InputError(
            "X has missing, NaN or infinite values in columns the model uses: clean or impute them first; only a model "
            "of data with missing values has means for them"
        )
    return eta


def _linear_dataset(dataset: Dataset, coef: Floats, imputation: Imputation | None) -> Floats:
    eta = np.zeros((dataset.shape[0], coef.shape[1]))
    rows, cols = dataset.row_bounds, dataset.col_bounds
    for j in range(cols.size - 1):
        own = coef[cols[j] : cols[j + 1]]
        support = np.flatnonzero((own != 0).any(axis=1))
        if support.size == 0:
            continue
        for i in range(rows.size - 1):
            part, tile = np.ascontiguousarray(own[support]), dataset.tile(i, j)
            if imputation is not None and dataset.missing_value is not None:
                tile = tile.imputed(Imputation(dataset.missing_value, imputation.fill[cols[j] : cols[j + 1]]))
            eta[rows[i] : rows[i + 1]] += tile.eta(support, part, np.zeros(support.size))
    return eta
