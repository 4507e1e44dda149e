"""``LogisticRegression``: one certified solution for two classes.

Read next: ``base.py``; ``classification_cv.py``, which chooses the penalty.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from distlasso.data.dataset import Dataset, check_weights
from distlasso.errors import InputError
from distlasso.estimators.base import Certified, Floats, positive, weights


class TwoClasses(ClassifierMixin, Certified):  # type: ignore[misc]
    """A classifier of two classes: how labels become a target, and how predictions become labels."""

    class_weight: Any

    def _labelled(self, X: Any, y: Any, sample_weight: Any) -> tuple[Dataset, Floats, Floats]:
        """Data, 1 for every row of the second class, and the weights of the rows."""
        data, y = self._admit(X, y)
        if y is None:
            raise InputError("y is missing: pass the classes, or a Dataset that stores them")
        y = np.asarray(y)
        self.classes_ = _two_classes(y)
        second = np.asarray(y == self.classes_[1], dtype=np.float64)
        if sample_weight is None:
            sample_weight = data.sample_weight
        n = data.shape[0]
        weight = np.ones(n) if sample_weight is None else check_weights(weights(sample_weight, n), n)
        return data, second, weight * _class_weights(self.class_weight, self.classes_, second, weight)

    def _show(self) -> None:
        """Set the attributes of the solution that was kept, in the shapes of a classifier."""
        self.coef_ = self.sparse_coef_.toarray()
        self.intercept_ = self.path_.intercept[[self._index]]
        self.n_iter_ = np.array([max(self.path_.rounds, 1)], dtype=np.int32)

    def decision_function(self, X: Any) -> Floats:
        """Log odds of the second class, float64 [n_samples]."""
        return self._predict(X, "link")

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict classes, [n_samples]."""
        second = self.decision_function(X) > 0
        return np.asarray(self.classes_[second.astype(np.int64)])

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities of both classes, float64 [n_samples, 2]."""
        return np.asarray(np.exp(self.predict_log_proba(X)))

    def predict_log_proba(self, X: Any) -> Floats:
        """Logarithms of the probabilities, exact where those round to 0 or 1, float64 [n_samples, 2]."""
        eta = self.decision_function(X)
        return np.asarray(-np.logaddexp(0.0, np.stack([eta, -eta], axis=1)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class LogisticRegression(TwoClasses):
    """Logistic regression for two classes with an elastic net penalty, certified by its duality gap.

    Minimises ``C sum_i w_i log(1 + exp(-y_i (b0 + x_i b))) + l1_ratio ||b||_1 + (1 - l1_ratio)/2 ||b||_2^2``, y_i -1 or
    1: the problem of ``sklearn.linear_model.LogisticRegression``, whose ``dual``, ``intercept_scaling``, ``penalty``,
    ``random_state``, ``solver``, ``verbose``, ``warm_start`` and ``n_jobs`` mean nothing here and are absent. In terms of
    ``fit_path`` it is ``lam = 1 / (C sum_i w_i)``.

    Parameters
    ----------
    C : float
        Inverse of the penalty strength, positive.
    l1_ratio : float
        Mixing in [0, 1]; 0 is ridge, 1 the lasso.
    fit_intercept : bool
        Fit an intercept, which is never penalised.
    class_weight : dict or "balanced", optional
        Multiplies the weights of the rows by class; "balanced" gives both classes half of the total weight.
    max_iter : int
        Accepted so that code written for scikit-learn runs; it limits nothing. A fit that stops above ``tol`` says so
        in a ``ConvergenceWarning`` with its gap.
    tol : float
        Duality gap to reach, relative to half the null deviance.
    standardize, penalty_factors, runtime, client
        As in ``ElasticNet``.

    Attributes
    ----------
    classes_ : [2]
        The two classes; coefficients and probabilities of a row are about the second.
    coef_ : float64 [1, n_features]
    sparse_coef_ : scipy.sparse.csr_array [1, n_features]
    intercept_ : float64 [1]
    n_iter_ : int [1]
        Rounds, that is exchanges with the runtime.
    dual_gap_ : float
        Duality gap of the objective above divided by ``C sum_i w_i``.
    path_, n_features_in_, feature_names_in_
        As in ``ElasticNet``.

    Examples
    --------
    >>> from distlasso import LogisticRegression
    >>> model = LogisticRegression(l1_ratio=1.0).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> model.predict([[9.0]]).tolist()
    ['yes']
    """

    def __init__(
        self, *, C: float = 1.0, l1_ratio: float = 0.0, fit_intercept: bool = True, class_weight: Any = None,
        max_iter: int = 100, tol: float = 1e-6, standardize: bool = False, penalty_factors: Any = None,
        runtime: Any = None, client: Any = None,
    ) -> None:  # fmt: skip
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
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
        y : [n_samples]
            Two classes, by any labels; a Dataset may bring its own.
        sample_weight : float [n_samples], optional
            Nonnegative weights.

        Raises
        ------
        InputError (a ValueError)
            For data or options that cannot be used, more than two classes among them.
        """
        C = positive("C", self.C, "sklearn.linear_model.LogisticRegression(C=inf)")
        data, second, weight = self._labelled(X, y, sample_weight)
        lam = 1.0 / (C * float(weight.sum()))
        self._solve(data, second, weight, lam=lam, l1_ratio=self.l1_ratio, loss="logistic")
        self._show()
        return self


def _two_classes(y: NDArray[Any]) -> NDArray[Any]:
    """The labels of a target with exactly two."""
    check_classification_targets(y)
    classes = np.unique(y)
    if classes.size == 1:
        raise InputError(f"y has one class only, {classes[0]!r}: two classes are needed")
    if classes.size > 2 or y.ndim > 1:
        raise InputError(
            f"Only binary classification is supported. The type of the target is {type_of_target(y)}. "
            "Wrap the model in sklearn.multiclass.OneVsRestClassifier"
        )
    return classes


def _class_weights(chosen: Any, classes: NDArray[Any], second: Floats, weight: Floats) -> Floats:
    """Factor of the weight of every row."""
    if chosen is None:
        return np.ones(second.size)
    if isinstance(chosen, str) and chosen == "balanced":
        share = float(weight @ second) / float(weight.sum())
        pair = [0.5 / (1.0 - share) if share < 1 else 1.0, 0.5 / share if share > 0 else 1.0]
    elif isinstance(chosen, dict):
        unknown = set(chosen) - set(classes.tolist())
        if unknown:
            raise InputError(f"class_weight names {sorted(unknown, key=str)}, but the classes are {classes.tolist()}")
        pair = [float(chosen.get(label, 1.0)) for label in classes.tolist()]
    else:
        raise InputError(f"class_weight={chosen!r} is not None, 'balanced' or a dict from classes to weights")
    return np.where(second > 0, pair[1], pair[0])
