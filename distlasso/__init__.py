"""distlasso: certified L1-regularised paths on data that is too big for one machine's memory.

Start with ``fit_path`` (what is solved, and what comes back) or ``ingest`` (how data gets in). The way to the hot
loop: ``Lasso.fit`` -> ``path.fit`` -> ``coordinator.drive`` -> ``solvers.block_coordinate`` -> ``kernels.descent``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distlasso.dashboard import install_dashboard
    from distlasso.data.dataset import Dataset
    from distlasso.data.ingest import ingest
    from distlasso.data.store import open_dataset
    from distlasso.errors import (
        CertificateWarning,
        CheckpointWarning,
        ClusterWarning,
        DistlassoError,
        InputError,
        InterpolationNote,
        ResourceError,
        ResumableError,
        SchedulerError,
        StoreError,
    )  # fmt: skip
    from distlasso.estimators import (
        ElasticNet,
        ElasticNetCV,
        HuberLasso,
        Lasso,
        LassoCV,
        LogisticRegression,
        LogisticRegressionCV,
        MultiTaskElasticNet,
        MultiTaskLasso,
        PoissonRegressor,
    )  # fmt: skip
    from distlasso.inference.debias import debiased
    from distlasso.inference.intervals import Intervals
    from distlasso.inference.stability import stability_selection
    from distlasso.inference.stable import StabilitySelection
    from distlasso.inference.wald import refit
    from distlasso.losses import Huber
    from distlasso.path.cross_validation import CrossValidation
    from distlasso.path.fit import fit_path
    from distlasso.path.folds import GroupKFold, HoldOut, KFold, TimeSeries
    from distlasso.path.load import load
    from distlasso.path.nested import nested_cross_validate
    from distlasso.path.result import Path
    from distlasso.path.selection import cross_validate
    from distlasso.priors import Gaussian, Laplace
    from distlasso.runtime.cluster import Cluster
    from distlasso.schedules.adaptive import Adaptive
    from distlasso.schedules.concave import MCP, SCAD
    from distlasso.schedules.prune import PruneRefine, Thresholded
    from distlasso.schedules.relaxed import Relaxed
    from distlasso.schedules.schedule import Stage

__version__ = "0.1.0"

# Loaded when first used: reading an error class or the version must not cost the import of numba or Dask.
_HOMES = {
    "Adaptive": "schedules.adaptive",
    "CertificateWarning": "errors",
    "ClusterWarning": "errors",
    "InterpolationNote": "errors",
    "CheckpointWarning": "errors",
    "Cluster": "runtime.cluster",
    "CrossValidation": "path.cross_validation",
    "Dataset": "data.dataset",
    "DistlassoError": "errors",
    "ElasticNet": "estimators",
    "ElasticNetCV": "estimators",
    "Gaussian": "priors",
    "GroupKFold": "path.folds",
    "HoldOut": "path.folds",
    "Huber": "losses",
    "HuberLasso": "estimators",
    "InputError": "errors",
    "Intervals": "inference.intervals",
    "KFold": "path.folds",
    "Laplace": "priors",
    "Lasso": "estimators",
    "LassoCV": "estimators",
    "LogisticRegression": "estimators",
    "LogisticRegressionCV": "estimators",
    "MCP": "schedules.concave",
    "MultiTaskElasticNet": "estimators",
    "MultiTaskLasso": "estimators",
    "Path": "path.result",
    "PoissonRegressor": "estimators",
    "PruneRefine": "schedules.prune",
    "Relaxed": "schedules.relaxed",
    "ResourceError": "errors",
    "ResumableError": "errors",
    "SCAD": "schedules.concave",
    "SchedulerError": "errors",
    "StabilitySelection": "inference.stable",
    "Stage": "schedules.schedule",
    "StoreError": "errors",
    "Thresholded": "schedules.prune",
    "TimeSeries": "path.folds",
    "cross_validate": "path.selection",
    "debiased": "inference.debias",
    "fit_path": "path.fit",
    "ingest": "data.ingest",
    "install_dashboard": "dashboard",
    "load": "path.load",
    "nested_cross_validate": "path.nested",
    "open_dataset": "data.store",
    "refit": "inference.wald",
    "stability_selection": "inference.stability",
}

__all__ = [
    "Adaptive",
    "CertificateWarning",
    "InterpolationNote",
    "CheckpointWarning",
    "Cluster",
    "ClusterWarning",
    "CrossValidation",
    "Dataset",
    "DistlassoError",
    "ElasticNet",
    "ElasticNetCV",
    "Gaussian",
    "GroupKFold",
    "HoldOut",
    "Huber",
    "HuberLasso",
    "InputError",
    "Intervals",
    "KFold",
    "Laplace",
    "Lasso",
    "LassoCV",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MCP",
    "MultiTaskElasticNet",
    "MultiTaskLasso",
    "Path",
    "PoissonRegressor",
    "PruneRefine",
    "Relaxed",
    "ResourceError",
    "ResumableError",
    "SCAD",
    "SchedulerError",
    "StabilitySelection",
    "Stage",
    "StoreError",
    "Thresholded",
    "TimeSeries",
    "cross_validate",
    "debiased",
    "fit_path",
    "ingest",
    "install_dashboard",
    "load",
    "nested_cross_validate",
    "open_dataset",
    "refit",
    "stability_selection",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'distlasso' has no attribute {name!r}")
    return getattr(importlib.import_module(f"distlasso.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
