"""Cross-validation of real data against R's ``cv.glmnet``: the same scores, standard errors, lambdas and features.

R's glmnet runs at ``thresh=1e-14`` where it is installed, on our folds and our lambdas; elsewhere the numbers of an earlier
run serve (``data/cv_glmnet_runs.npz``; ``python tests/reference/test_cv_references.py`` makes them anew).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from test_glm_references import FAMILIES, Problem, binomial, csr, has_glmnet, poisson

import distlasso as dl

Array = Any
STORED = Path(__file__).parent / "data" / "cv_glmnet_runs.npz"

# glmnet's penalty factors sum to p whatever they are, so that none are passed; its lambdas are ours, and so are its folds.
GLMNET = """
suppressMessages(library(glmnet))
glmnet.control(fdev = 0, devmax = 1)
arg <- commandArgs(TRUE)
x <- Matrix::readMM("x.mtx"); y <- scan("y.txt", quiet = TRUE)
lambda <- scan("lambda.txt", quiet = TRUE); fold <- scan("fold.txt", quiet = TRUE)
x <- if (length(x@x) < 0.3 * length(x)) as(x, "CsparseMatrix") else as.matrix(x)
for (measure in strsplit(arg[5], ",")[[1]]) {
  cv <- cv.glmnet(x, y, family = arg[1], alpha = as.numeric(arg[2]), standardize = arg[3] == "True", grouped = arg[4] == "True",
                  lambda = lambda, foldid = fold, type.measure = measure, thresh = 1e-14, maxit = 1e8)
  stopifnot(length(cv$lambda) == length(lambda))
  at <- as.vector(cv$index)  # of lambda.min and lambda.1se
  write.table(format(cbind(cv$cvm, cv$cvsd), digits = 17), paste0(measure, ".txt"), quote = FALSE, row.names = FALSE,
              col.names = FALSE)
  write(at - 1, paste0(measure, ".at.txt"))
  write.table(as.matrix(coef(cv$glmnet.fit)[-1, at] != 0) + 0, paste0(measure, ".in.txt"), row.names = FALSE, col.names = FALSE)
}
"""


def quick_start(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("glmnet_QuickStartExample.npz"))
    return parts["x"], parts["y"].ravel()


def sparse_example(find: Any) -> tuple[Array, Array]:
    parts = np.load(find("glmnet_SparseExample.npz"))
    return (csr(parts) if "indptr" in parts else sp.csr_array(parts["x"])), parts["y"].astype(float).ravel()


def prostate(find: Any) -> tuple[Array, Array]:
    table = np.genfromtxt(find("prostate_esl.csv"), delimiter=",", names=True, dtype=None, encoding="utf-8")
    columns = ("lcavol", "lweight", "age", "lbph", "svi", "lcp", "gleason", "pgg45")
    return np.column_stack([table[name].astype(float) for name in columns]), table["lpsa"].astype(float)


def diabetes(find: Any) -> tuple[Array, Array]:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn, whose diabetes data this is, is not installed")
    found = datasets.load_diabetes()
    return found.data, found.target


@dataclass(frozen=True)
class Run:
    """A cross-validation that glmnet is asked for; ``measures`` are its names for scores."""

    data: Callable[[Any], tuple[Array, Array]]
    loss: str
    measures: tuple[str, ...]
    l1_ratio: float = 1.0
    standardize: bool = True
    k: int = 5  # folds; 0 is one a row
    smallest: float = 0.01  # lambda, relative to the largest
    grouped: bool = True

    def problem(self, find: Any) -> Problem:
        return Problem(self.loss, *self.data(find), self.l1_ratio)

    def folds(self, n: int) -> Array:
        return np.arange(n) % (self.k or n)


# No elastic net with squared loss: glmnet divides the target by its deviation in every fold, and so the ridge part of the
# penalty, which is then another in each of them.
RUNS = {
    "QuickStart": Run(quick_start, "squared", ("mse", "mae")),
    "QuickStart, as they are": Run(quick_start, "squared", ("mse",), standardize=False, k=10),
    "Sparse": Run(sparse_example, "squared", ("mse",), smallest=0.1),
    "prostate": Run(prostate, "squared", ("mse", "mae"), k=10, smallest=1e-3),
    "prostate, as they are": Run(prostate, "squared", ("mse",), standardize=False, k=7, smallest=1e-3),
    "prostate, one row a fold": Run(prostate, "squared", ("mse",), k=0, smallest=1e-3, grouped=False),
    "diabetes": Run(diabetes, "squared", ("mse", "mae"), k=10, smallest=1e-3),
    "diabetes, as they are": Run(diabetes, "squared", ("mse",), standardize=False, k=8, smallest=1e-3),
    "Binomial": Run(binomial, "logistic", ("deviance", "auc", "class", "mse"), smallest=0.03),
    "Binomial, elastic net": Run(binomial, "logistic", ("deviance",), 0.4, False, 4, 0.05),
    "Poisson": Run(poisson, "poisson", ("deviance", "mse", "mae"), k=10),
    "Poisson, elastic net": Run(poisson, "poisson", ("deviance",), 0.5, False, 4),
}
# glmnet's measure for our score, with the factor between them: its squared error of a probability counts both classes.
SCORES = {"auc": ("auc", 1.0, 0.0), "class": ("accuracy", -1.0, 1.0), "deviance": ("deviance", 1.0, 0.0),
          "mae": ("mae", 1.0, 0.0), "mse": ("mse", 1.0, 0.0)}  # fmt: skip


def grid(run: Run, problem: Problem) -> Array:
    """Thirty lambdas from below the largest useful one, by its formula."""
    slope = np.asarray(problem.X.T @ (problem.y - problem.y.mean())).ravel() / problem.y.size
    largest = np.max(np.abs(slope) / (problem.scale if run.standardize else 1.0)) / run.l1_ratio
    return largest * np.geomspace(0.8, run.smallest, 30)


def run_glmnet(run: Run, problem: Problem, lambdas: Array, folder: Path) -> dict[str, Array]:
    """By R, for each measure: mean and standard error [k, 2], places of both choices [2], features in them [p, 2]."""
    scipy.io.mmwrite(folder / "x.mtx", sp.coo_matrix(problem.X), precision=17)
    for name, values in (("y", problem.y), ("lambda", lambdas), ("fold", run.folds(problem.y.size) + 1)):
        np.savetxt(folder / f"{name}.txt", values, fmt="%.17g")
    (folder / "fit.R").write_text(GLMNET)
    family = FAMILIES.get(run.loss, "gaussian")
    command = ["Rscript", "fit.R", family, str(run.l1_ratio), str(run.standardize), str(run.grouped), ",".join(run.measures)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    found = {"lambda": lambdas}
    for measure in run.measures:
        found[measure] = np.loadtxt(folder / f"{measure}.txt")
        found[f"{measure}/at"] = np.loadtxt(folder / f"{measure}.at.txt").astype(np.int64)
        found[f"{measure}/in"] = np.loadtxt(folder / f"{measure}.in.txt") != 0
    return found


def stored(name: str) -> dict[str, Array]:
    with np.load(STORED) as parts:
        return {key.removeprefix(f"{name}//"): parts[key] for key in parts.files if key.startswith(f"{name}//")}


@pytest.fixture(scope="module")
def glmnet() -> bool:
    """Whether R's glmnet can run; its absence is printed."""
    present = has_glmnet()
    if not present:
        print("R's glmnet is not installed: the numbers of an earlier run (tests/reference/data/cv_glmnet_runs.npz) serve")
    return present


@pytest.mark.parametrize("name", RUNS)
def test_scores_and_choices_are_those_of_cv_glmnet(name: str, glmnet: bool, reference: Any, tmp_path: Path) -> None:
    """For every measure that both have, on the same folds."""
    run = RUNS[name]
    problem = run.problem(reference)
    theirs = stored(name)
    if glmnet:
        theirs = run_glmnet(run, problem, theirs["lambda"], tmp_path)
    for measure in run.measures:
        score, factor, constant = SCORES[measure]
        if measure == "mse" and run.loss == "logistic":
            factor = 2.0
        cv = cross_validated(run, problem, theirs["lambda"], score=score)
        mean, error = theirs[measure].T
        # Where a fold has no feature all rows are equal, and glmnet orders them at random.
        sure = np.all([np.diff(coef.indptr) > 0 for coef in cv.chosen.fold_coef], axis=0) if measure == "auc" else ...
        np.testing.assert_allclose((factor * cv.mean + constant)[sure], mean[sure], rtol=1e-5)
        np.testing.assert_allclose((abs(factor) * cv.se)[sure], error[sure], rtol=1e-5, atol=1e-12)
        assert [cv.best_min, cv.best_1se] == theirs[f"{measure}/at"].tolist()
        for k, features in zip((cv.best_min, cv.best_1se), theirs[f"{measure}/in"].T, strict=True):
            np.testing.assert_array_equal(np.sort(cv.path.coef[[k]].indices), np.flatnonzero(features))


def test_without_grouping_glmnet_has_the_same_mean_and_another_error(glmnet: bool, reference: Any, tmp_path: Path) -> None:
    """Its error is then that of single rows, as if each were a fold."""
    if not glmnet:
        pytest.skip("R's glmnet is not installed")
    run = Run(prostate, "squared", ("mse",), k=10, smallest=1e-3, grouped=False)
    problem = run.problem(reference)
    lambdas = grid(run, problem)
    mean, error = run_glmnet(run, problem, lambdas, tmp_path)["mse"].T
    cv = cross_validated(run, problem, lambdas)
    np.testing.assert_allclose(cv.mean, mean, rtol=1e-5)
    folds = run.folds(problem.y.size)
    eta = np.stack([cv.chosen.fold_intercept[:, f] + cv.chosen.fold_coef[f] @ x for f, x in zip(folds, problem.X, strict=True)])
    np.testing.assert_allclose(np.std((problem.y[:, None] - eta) ** 2, axis=0) / np.sqrt(folds.size - 1), error, rtol=1e-5)


def cross_validated(run: Run, problem: Problem, lambdas: Array, **options: Any) -> dl.CrossValidation:
    return dl.cross_validate(
        problem.X, problem.y, loss=run.loss, folds=run.folds(problem.y.size), lambdas=lambdas, l1_ratio=run.l1_ratio,
        standardize=run.standardize, tol=1e-12, **options,
    )  # fmt: skip


def store(folder: Path) -> None:
    """Run glmnet on everything and keep what it says."""
    parts: dict[str, Array] = {}
    for name, run in RUNS.items():
        problem = run.problem(lambda file: folder / file)
        with tempfile.TemporaryDirectory() as scratch:
            found = run_glmnet(run, problem, grid(run, problem), Path(scratch))
        parts |= {f"{name}//{key}": values for key, values in found.items()}
    np.savez_compressed(STORED, **parts)


if __name__ == "__main__":
    store(Path(sys.argv[1]))
