"""dask-glm at one lambda: it has no paths. Proximal gradient on Dask's threads; its penalty counts rows and takes in the intercept.

Of its solvers for the L1 penalty the faster one: ADMM takes twenty times as long. One tolerance: with its penalised intercept
none matches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import Program, Solution, Solve, half_way
from benchmarks.workloads import Problem


def dask_glm_fit(estimators: Any, problem: Problem) -> Solve:
    """Rows in memory, eight chunks a thread."""
    import dask
    import dask.array as da

    rows = -(-len(problem.y) // (8 * problem.threads))
    X, y = da.from_array(problem.X, chunks=(rows, -1)), da.from_array(problem.y, chunks=rows)
    kind = estimators.LinearRegression if problem.loss == "squared" else estimators.LogisticRegression
    lamduh = float(problem.lambdas[half_way(problem)]) * len(problem.y)

    def solve(tol: float) -> Solution:
        with dask.config.set(scheduler="threads", num_workers=problem.threads):
            model = kind(regularizer="l1", lamduh=lamduh, solver="proximal_grad", max_iter=10_000, tol=tol).fit(X, y)
        return Solution(sp.csr_array(np.asarray(model.coef_).reshape(1, -1)), np.atleast_1d(model.intercept_))

    return solve


PROGRAMS = [
    Program(
        "dask-glm, one lambda", "dask-glm", "dask-glm", "dask_glm.estimators:LinearRegression", {"W1": "C", "W4": "C"},
        (1e-8,), dask_glm_fit, single=True,
    )
]  # fmt: skip
CANNOT = dict.fromkeys(("W2", "W3", "W5", "W6", "F", "F-long", "B1", "B2", "B3", "B4"), "is compared where rows are many")
