"""The programs that are compared: one module each, how it is called, with the reason for every setting.

All fit an intercept, none standardises, all get the same lambdas. `CANNOT` says why a program is not run on a workload.
"""

from benchmarks.peers import adelie, dask_glm, glmnet, h2o, own, sklearn, spark, working_sets
from benchmarks.peers.program import Program, Solution, UnavailableError

PROGRAMS = [
    *own.PROGRAMS, *sklearn.PROGRAMS, *adelie.PROGRAMS, *working_sets.PROGRAMS, *glmnet.PROGRAMS,
    *h2o.PROGRAMS, *spark.PROGRAMS, *dask_glm.PROGRAMS,
]  # fmt: skip
CANNOT = {
    "sklearn": sklearn.CANNOT,
    "adelie": adelie.CANNOT,
    "celer": working_sets.CELER_CANNOT,
    "skglm": working_sets.SKGLM_CANNOT,
    "glmnet": glmnet.CANNOT,
    "h2o": h2o.CANNOT,
    "spark": spark.CANNOT,
    "dask-glm": dask_glm.CANNOT,
}

__all__ = ["CANNOT", "PROGRAMS", "Program", "Solution", "UnavailableError"]
