"""Spark ML at one lambda: it has no paths. OWL-QN on a cached data frame, all on this machine.

Its `tol` is the relative change at which OWL-QN ends.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import Program, Solution, Solve, half_way
from benchmarks.workloads import Problem

MEMORY = "10g"


@cache
def _session(sql: Any, threads: int) -> Any:
    """Return the session of the warm-up, the same for the timed fit."""
    settings = {
        "spark.driver.memory": MEMORY, "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR",
    }  # fmt: skip
    builder = sql.SparkSession.builder.master(f"local[{threads}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    atexit.register(session.stop)
    return session


def spark_fit(sql: Any, problem: Problem) -> Solve:
    """Rows as vectors, in memory, a partition a thread."""
    from pyarrow import ListArray, array, parquet, table
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.functions import array_to_vector
    from pyspark.ml.regression import LinearRegression

    session = _session(sql, problem.threads)
    n, p = problem.X.shape
    rows = ListArray.from_arrays(array(np.arange(0, n * p + 1, p, dtype=np.int32)), array(problem.X.ravel()))
    file = problem.scratch / "spark.parquet"
    parquet.write_table(table([rows, problem.y], names=["X", "y"]), file, row_group_size=max(1, n // 16))
    frame = session.read.parquet(str(file)).select(array_to_vector("X").alias("features"), "y")
    frame = frame.repartition(problem.threads).cache()
    frame.count()
    file.unlink()
    kind = LinearRegression if problem.loss == "squared" else LogisticRegression
    lam = float(problem.lambdas[half_way(problem)])

    def solve(tol: float) -> Solution:
        model = kind(
            labelCol="y", regParam=lam, elasticNetParam=1.0, standardization=False, tol=tol, maxIter=10_000
        ).fit(frame)  # fmt: skip
        return Solution(sp.csr_array(model.coefficients.toArray()[None]), np.array([model.intercept]))

    return solve


PROGRAMS = [
    Program(
        "Spark, one lambda", "spark", "pyspark", "pyspark.sql:SparkSession", {"W1": "C", "W4": "C"}, (1e-6, 1e-8, 1e-10, 1e-12),
        spark_fit, single=True,
    )
]  # fmt: skip
CANNOT = dict.fromkeys(("W2", "W3", "W5", "W6", "F", "F-long", "B1", "B2", "B3", "B4"), "is compared where rows are many")
