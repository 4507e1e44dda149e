"""How an estimator chooses its penalty: scikit-learn's folds, and one cross-validation that shares its passes.

Two habits of scikit-learn differ from glmnet's, and are kept here: all folds count alike, however many rows they hold out,
and ``C`` stands beside the sum of the losses. Read next: ``linear_cv.py``; ``../path/selection.py``, which does the work.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from distlasso.data.dataset import Dataset
from distlasso.errors import CertificateWarning, InputError
from distlasso.estimators.base import Certified
from distlasso.path.cross_validation import Candidate, CrossValidation
from distlasso.path.selection import cross_validate


def choose(model: Certified, data: Dataset, y: Any, weight: Any, folds: Any, **options: Any) -> CrossValidation:
    """Cross-validate under the parameters that all such estimators have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CertificateWarning)  # what was chosen is warned about by ``Certified``
        return cross_validate(
            data, y, folds=folds, sample_weight=weight, average="folds", penalty_factors=model.penalty_factors,
            standardize=model.standardize, fit_intercept=model.fit_intercept, tol=model.tol, runtime=model.runtime,
            client=model.client, **options,
        )  # fmt: skip


def folds_of(cv: Any, data: Dataset, y: Any, groups: Any, *, classifier: bool) -> Any:
    """What ``cv`` means, for ``cross_validate``.

    Parameters
    ----------
    cv : int, splitter, iterable of pairs, plan of folds, int [n], or None
        None is what a Dataset stores, else 5 folds. Whole numbers are scikit-learn's: stretches of consecutive rows, with
        both classes in each for classifiers.
    data, y, groups
        What is split.
    classifier : bool
        See above.

    Raises
    ------
    InputError
        If it is none of these, or cannot split these rows.
    """
    if cv is None and groups is None and data.fold is not None:
        return data.fold
    if callable(getattr(cv, "partitions", None)) or (isinstance(cv, np.ndarray) and cv.ndim == 1 and cv.dtype != np.object_):
        return cv
    try:
        splitter = check_cv(cv, y, classifier=classifier)
        return list(splitter.split(np.zeros((data.shape[0], 1)), y, groups))
    except (TypeError, ValueError) as error:
        raise InputError(f"cv={cv!r} does not split these rows: {error}") from error


def alike(cv: CrossValidation) -> tuple[Candidate, ...]:
    """The candidates that differ from the chosen one in ``l1_ratio`` only, in the order given."""
    return tuple(one for one in cv.candidates if one.path.schedule == cv.schedule)
