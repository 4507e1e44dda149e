"""Imported once by the server that processes are forked from: everything a worker needs, compiled kernels included."""

from __future__ import annotations

import warnings

import distributed
import numpy as np
import scipy.sparse as sp

import distlasso as dl
import distlasso.runtime.cluster

# Named, so that they are imported here and not in every process.
LOADED = [distributed.Scheduler, distributed.Worker, distlasso.runtime.cluster.Cluster]


def warm() -> None:
    """Have the kernels compiled, or read from numba's cache, before processes are forked."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 12))
    codes = rng.integers(0, 3, (40, 90)).astype(np.int8)
    y = X @ rng.standard_normal(12)
    few: dict[str, object] = {"n_lambdas": 3, "runtime": "serial", "lambda_min_ratio": 0.3, "tol": 1e-3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for matrix in (X, sp.csr_array(X * (X > 0))):
            dl.fit_path(matrix, y, **few)
            for solver in ("bcd", "admm", "fista"):
                dl.fit_path(matrix, y > 0, loss="logistic", solver=solver, **few)
        dl.fit_path(codes, codes @ rng.standard_normal(90), **few)
        dl.fit_path(X, y, solver="admm", **few)


warm()
