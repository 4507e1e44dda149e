"""H2O's GLM at all lambdas of the path, in a Java process on loopback that has the data before the clock starts.

`COORDINATE_DESCENT` works on the Gram, as distlasso does here; its own default takes the lasso's ADMM on it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.program import Program, Solution, Solve, UnavailableError
from benchmarks.workloads import Problem

MEMORY = "-Xmx8g"
_START_SECONDS = 90


@cache
def _connected(module: Any, threads: int) -> None:
    """Start Java in this process group, so that nothing is left of it where a fit is ended, and connect to it."""
    java = shutil.which("java")
    if java is None:
        raise UnavailableError("there is no java here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    jar = Path(module.__file__).parent / "backend" / "bin" / "h2o.jar"
    where = ["-ip", "127.0.0.1", "-web_ip", "127.0.0.1", "-port", str(port), "-name", f"benchmark-{os.getpid()}"]
    command = [java, MEMORY, "-jar", str(jar), *where, "-nthreads", str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    until = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until:
            raise UnavailableError("H2O's server did not start")
        time.sleep(0.2)
    module.connect(ip="127.0.0.1", port=port, verbose=False, https=False, strict_version_check=False)
    module.no_progress()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/3/Cloud", timeout=5):
        return True
    return False


def h2o_path(module: Any, problem: Problem) -> Solve:
    """Hand the columns over as a file; lambdas are given, so that its search for them and its early end are off."""
    from h2o.estimators import H2OGeneralizedLinearEstimator as Estimator
    from pyarrow import parquet, table

    _connected(module, problem.threads)
    p, squared = problem.X.shape[1], problem.loss == "squared"
    names = [f"x{j}" for j in range(p)]
    file = problem.scratch / "h2o.parquet"
    parquet.write_table(table([*problem.X.T, problem.y], names=[*names, "y"]), file)
    frame = module.import_file(str(file))
    file.unlink()
    if not squared:
        frame["y"] = frame["y"].asfactor()

    def solve(tol: float) -> Solution:
        model = Estimator(
            family="gaussian" if squared else "binomial", alpha=1.0, lambda_=list(problem.lambdas), lambda_search=True,
            standardize=False, solver="COORDINATE_DESCENT", objective_epsilon=tol, beta_epsilon=tol, gradient_epsilon=tol,
            max_iterations=100_000,
        )  # fmt: skip
        model.train(x=names, y="y", training_frame=frame)
        path = Estimator.getGLMRegularizationPath(model)
        if len(path["lambdas"]) != len(problem.lambdas):
            raise RuntimeError(f"H2O returned {len(path['lambdas'])} of {len(problem.lambdas)} lambdas")
        coef = np.array([[row[name] for name in names] for row in path["coefficients"]])
        return Solution(sp.csr_array(coef), np.array([row["Intercept"] for row in path["coefficients"]]))

    return solve


PROGRAMS = [Program("H2O", "h2o", "h2o", "h2o:connect", {"W1": "F", "W4": "F"}, (1e-4, 1e-6, 1e-8, 1e-10), h2o_path)]
CANNOT = dict.fromkeys(("W2", "W3", "W5", "W6", "F", "F-long", "B1", "B2", "B3", "B4"), "is compared where rows are many")
