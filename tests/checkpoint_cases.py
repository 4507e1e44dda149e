"""Fits for the tests of checkpoints, and a process that has them killed: ``python checkpoint_cases.py`` reads lines from
standard input, each the name of a fit, the round after which it kills itself, and the folder of its checkpoint.

Every fit runs in a fork of its own, of a process that has no threads and has compiled everything.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

import distlasso as dl
from distlasso.coordinator import recorded
from distlasso.events import CheckpointWritten


def data(rows: int, *, classes: bool = False, responses: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.standard_normal((500, 80))
    X[:, 1:] += 0.5 * X[:, :-1]
    # No product of matrices: its bits depend on threads, and another process has to make the same data.
    y = np.sum(X[:, :8, None] * rng.standard_normal((8, responses)), axis=1) + 4.0 * rng.standard_normal((500, responses))
    y = y[:, 0] if responses == 1 else y
    return X[:rows], np.asarray(y > 0, dtype=np.float64)[:rows] if classes else y[:rows]


FEW: dict[str, Any] = {"n_lambdas": 12, "lambda_min_ratio": 0.01, "runtime": "serial"}
CASES: dict[str, tuple[Any, tuple[Any, Any], dict[str, Any]]] = {
    "gram": (dl.fit_path, data(500), FEW),
    "residual": (dl.fit_path, data(60), {**FEW, "n_lambdas": 30}),
    "blocks": (dl.fit_path, data(500), {**FEW, "memory": 170_000}),
    "rounds": (dl.fit_path, data(500, classes=True), {**FEW, "loss": "logistic"}),
    "held": (dl.fit_path, data(60, classes=True), {**FEW, "loss": "logistic"}),
    "admm": (dl.fit_path, data(500), {**FEW, "solver": "admm"}),
    "fista": (dl.fit_path, data(500), {**FEW, "solver": "fista", "lambda_min_ratio": 0.1}),
    "schedule": (dl.fit_path, data(500), {**FEW, "schedule": dl.PruneRefine(0.1), "solver": "admm"}),
    "responses": (dl.fit_path, data(60, responses=3), FEW),
    "multi-task": (dl.fit_path, data(60, responses=3), {**FEW, "multi_task": True}),
    "prior": (dl.fit_path, data(500), {"prior": dl.Laplace(0.5), "runtime": "serial"}),
    "folds": (dl.cross_validate, data(60), {**FEW, "folds": 3}),
    "folds by rounds": (dl.cross_validate, data(500, classes=True), {**FEW, "folds": 3, "loss": "logistic", "n_lambdas": 6}),
    "folds of a schedule": (dl.cross_validate, data(60), {**FEW, "folds": 3, "schedule": dl.PruneRefine()}),
}


def fit(name: str, **more: Any) -> Any:
    """Run one of the fits."""
    call, (X, y), options = CASES[name]
    return call(X, y, **(options | more))


def paths(result: Any) -> list[dl.Path]:
    """The path of a result, or those of all its candidates."""
    return [one.path for one in result.candidates] if isinstance(result, dl.CrossValidation) else [result]


def same_bits(a: Any, b: Any) -> None:
    if isinstance(a, dl.CrossValidation):
        for one, other in zip(a.candidates, b.candidates, strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(one.fold_gaps, other.fold_gaps)
        assert (a.winner, a.best) == (b.winner, b.best)
    for one, other in zip(paths(a), paths(b), strict=True):
        for field in ("lambdas", "intercept", "gap", "deviance_ratio", "stages"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        for coef, there in zip(one.outputs, other.outputs, strict=True):
            np.testing.assert_array_equal(coef.toarray(), there.toarray())
        assert one.certificate == other.certificate


def killed(name: str, last: int, folder: str) -> None:
    """Run a fit that kills itself when so many rounds are in its checkpoint."""

    def kill(event: Any) -> None:
        if isinstance(event, CheckpointWritten) and event.round >= last:
            os.kill(os.getpid(), signal.SIGKILL)

    recorded._BYTES_A_SECOND = np.inf  # nothing is too quick to be kept
    fit(name, checkpoint=folder, on_event=kill)


def main() -> None:
    for line in sys.stdin:
        name, last, folder = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            killed(name, int(last), folder)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    fit("rounds")  # what children have to have compiled
    main()
