"""Estimators with scikit-learn's face: one certified solution at one penalty strength, given or chosen.

Names and meanings follow ``sklearn.linear_model``, with one difference: ``tol`` is the duality gap relative to half the
null deviance, 1e-6 by default. Read next: ``base.py``, what they share, and ``linear.py``, the plainest of them.
"""

from __future__ import annotations

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the estimators need scikit-learn: pip install 'distlasso[sklearn]'", name=error.name) from error

from distlasso.estimators.classification import LogisticRegression
from distlasso.estimators.classification_cv import LogisticRegressionCV
from distlasso.estimators.counts import PoissonRegressor
from distlasso.estimators.linear import ElasticNet, HuberLasso, Lasso
from distlasso.estimators.linear_cv import ElasticNetCV, LassoCV
from distlasso.estimators.multi_task import MultiTaskElasticNet, MultiTaskLasso

__all__ = [
    "ElasticNet",
    "ElasticNetCV",
    "HuberLasso",
    "Lasso",
    "LassoCV",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MultiTaskElasticNet",
    "MultiTaskLasso",
    "PoissonRegressor",
]
