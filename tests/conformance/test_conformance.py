"""Every solver, loss, penalty, encoding and runtime ends on a certificate that is true, or in an error that names the culprit.

Problems are drawn at random (one row, one column, n < p, duplicate and constant columns, all weights on one row), and the
gap of each solution is computed again in extended precision by ``oracle.py``, which shares nothing with the package. A new
solver, loss, penalty, encoding or runtime joins by one line in its list below.

``DISTLASSO_CONFORMANCE=N`` draws N problems for every combination of solver, loss and penalty, instead of a few, and draws
them anew each time.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle import LOGISTIC, POISSON, SQUARED, Formulas, Truth, huber

import distlasso as dl

Array = Any
Draw = Callable[[np.random.Generator, Array], Array]
Options = dict[str, Any]

TOL = 1e-7
EXAMPLES = int(os.environ.get("DISTLASSO_CONFORMANCE", "0"))


@dataclass(frozen=True)
class Case:
    """A loss: as the package takes it, as the oracle knows it, and a target drawn for a linear predictor."""

    loss: Any
    formulas: Formulas
    target: Draw


SOLVERS = ["bcd", "fista", "admm"]
LOSSES = {
    "squared": Case("squared", SQUARED, lambda rng, eta: eta + rng.standard_normal(eta.size)),
    "logistic": Case("logistic", LOGISTIC, lambda rng, eta: (eta + rng.logistic(size=eta.size) > 0).astype(float)),
    "proportions": Case("logistic", LOGISTIC, lambda rng, eta: rng.binomial(3, 1 / (1 + np.exp(-eta))) / 3),
    "poisson": Case("poisson", POISSON, lambda rng, eta: rng.poisson(np.exp(np.clip(eta, -9, 3))).astype(float)),
    "huber": Case(dl.Huber(0.7), huber(0.7), lambda rng, eta: eta + rng.standard_t(2, eta.size)),
}
PENALTIES: dict[str, Callable[[np.random.Generator, int], Options]] = {
    "lasso": lambda rng, p: {},
    "elastic net": lambda rng, p: {"l1_ratio": 0.5},
    "ridge": lambda rng, p: {"l1_ratio": 0.0},
    "factors": lambda rng, p: {"penalty_factors": rng.choice([0.0, 0.3, 1.0, 3.0, np.inf], p, p=[0.1, 0.2, 0.4, 0.2, 0.1])},
    "positive": lambda rng, p: {"bounds": (0.0, np.inf)},
    "bounds": lambda rng, p: {"bounds": (-rng.choice([0.0, 0.1, np.inf], p), rng.choice([0.0, 0.2, np.inf], p)), "l1_ratio": 0.9},
    "unpenalised within bounds": lambda rng, p: {
        "bounds": (0.0, 0.5), "penalty_factors": rng.choice([0.0, 1.0], p, p=[0.2, 0.8]), "l1_ratio": 0.7,
    },
}  # fmt: skip
ENCODINGS: dict[str, Callable[[Array], Any]] = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "int8": lambda X: X.astype(np.int8),
    "csr": sp.csr_array,
    "csc": sp.csc_array,
}
RUNTIMES = ["serial", "threads"]


@dataclass(frozen=True)
class Drawn:
    """What hypothesis chose."""

    seed: int
    shape: tuple[int, int]
    trait: str
    rows: str
    standardize: bool
    fit_intercept: bool
    encoding: str


def drawn() -> st.SearchStrategy[Drawn]:
    return st.builds(
        Drawn,
        seed=st.integers(0, 2**20),
        shape=st.sampled_from([(40, 6), (25, 1), (8, 14), (60, 9), (5, 3), (2, 2), (1, 3)]),
        trait=st.sampled_from(["plain", "duplicate", "constant", "far", "wild"]),
        rows=st.sampled_from(["equal", "weights", "some zero", "one row", "offset"]),
        standardize=st.booleans(),
        fit_intercept=st.booleans(),
        encoding=st.sampled_from(sorted(ENCODINGS)),
    )


def matrix(rng: np.random.Generator, chosen: Drawn) -> Array:
    """Whole numbers, so that every encoding holds the same matrix, except where the trait needs others."""
    n, p = chosen.shape
    X = rng.integers(-2, 3, (n, p)).astype(float)
    if chosen.trait == "duplicate":
        X[:, p // 2] = X[:, 0]
    elif chosen.trait == "constant":
        X[:, p // 2] = 2.0
    elif chosen.trait == "far" and chosen.encoding in ("C", "F"):
        X[:, p // 2] += 1e6
    elif chosen.trait == "wild" and chosen.encoding in ("C", "F"):
        X *= 10.0 ** rng.integers(-6, 7, p)
    return X


def row_options(rng: np.random.Generator, rows: str, n: int) -> Options:
    weight = rng.random(n) + 0.1
    if rows == "offset":
        return {"offset": rng.standard_normal(n)}
    if rows == "equal":
        return {}
    kept = {"weights": np.ones(n), "some zero": rng.integers(0, 2, n), "one row": np.arange(n) == rng.integers(n)}[rows]
    return {"sample_weight": weight * kept} if kept.any() else {}


def problem(chosen: Drawn, case: Case, penalty: str) -> tuple[Array, Array, Options]:
    rng = np.random.default_rng(chosen.seed)
    X = matrix(rng, chosen)
    signal = np.zeros(X.shape[0]) if chosen.trait in ("far", "wild") else X[:, 0] - 0.5 * X[:, -1]
    y = case.target(rng, 0.5 * signal)
    options = {"standardize": chosen.standardize, "fit_intercept": chosen.fit_intercept}
    return X, y, options | row_options(rng, chosen.rows, len(y)) | PENALTIES[penalty](rng, X.shape[1])


def is_hard(X: Array, case: Case, options: Options) -> bool:
    """A column far from zero without an intercept: curvature 1e12 times that of its neighbours, where rounding decides.

    Such a fit may stop above the tolerance, but it must say so.
    """
    return case.loss != "squared" and not options.get("fit_intercept", True) and bool(np.abs(X).max() > 1e5)


def check(path: dl.Path, X: Array, y: Array, case: Case, options: Options) -> None:
    """The gap that the oracle finds, a bound as the printed one is, is below the tolerance.

    The printed one may be smaller, at a better dual point; ``test_certificate_attacked.py`` holds it against the optimum.
    """
    assert np.isfinite(path.coef.data).all() and np.isfinite(path.intercept).all()
    assert path.converged.all() or is_hard(X, case, options), path.gap
    for k, lam in enumerate(path.lambdas):
        if not path.converged[k]:
            continue
        truth = Truth(case.formulas, X, y, lam=float(lam), **options)
        gap = truth.gap(path.intercept[k], path.coef[[k]].toarray()[0])
        assert gap <= TOL * (1 + 1e-3) * float(truth.d0) + 1e-15 * float(truth.d0)


def fit_and_check(X: Array, y: Array, case: Case, options: Options, encoding: str, **more: Any) -> None:
    """Fit and check; an error of the package is an answer too, if it names what is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if is_hard(X, case, options):
            warnings.simplefilter("ignore", dl.CertificateWarning)
        try:
            path = dl.fit_path(ENCODINGS[encoding](X), y, loss=case.loss, tol=TOL, n_lambdas=4, lambda_min_ratio=0.01,
                               **options, **more)  # fmt: skip
        except dl.DistlassoError as error:
            path, refusal = None, str(error)
    if path is not None:
        check(path, X, y, case, options)
        return
    names = ("target", "y is", "y has", "column", "lambdas", "unpenalised", "offset")
    assert any(name in refusal for name in names), refusal


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=EXAMPLES or 2, deadline=None, derandomize=not EXAMPLES, database=None, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(chosen=drawn())
def test_every_fit_is_truly_optimal_or_refused_by_name(solver: str, loss: str, penalty: str, chosen: Drawn) -> None:
    case = LOSSES[loss]
    X, y, options = problem(chosen, case, penalty)
    fit_and_check(X, y, case, options, chosen.encoding, solver=solver, runtime="serial")


def plain(case: Case) -> tuple[Array, Array]:
    rng = np.random.default_rng(7)
    X = rng.integers(-2, 3, (90, 12)).astype(float)
    return X, case.target(rng, 0.6 * X[:, 0] - 0.4 * X[:, 5])


@pytest.mark.parametrize(("encoding", "runtime"), [*zip(ENCODINGS, cycle(RUNTIMES), strict=False)])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_encoding_and_runtime_ends_on_a_true_certificate(
    solver: str, loss: str, encoding: str, runtime: str
) -> None:
    case = LOSSES[loss]
    for rows in (90, 9):
        X, y = (part[:rows] for part in plain(case))
        fit_and_check(X, y, case, {"l1_ratio": 0.8, "standardize": True}, encoding, solver=solver, runtime=runtime)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_dask_ends_on_a_true_certificate(solver: str, loss: str, cluster: Any, tmp_path: Any) -> None:
    case = LOSSES[loss]
    X, y = plain(case)
    dataset = dl.ingest((X, y), tmp_path / "d.zarr", chunks=(30, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("error", dl.CertificateWarning)
        path = dl.fit_path(dataset, loss=case.loss, tol=TOL, n_lambdas=4, solver=solver, runtime=cluster)
    check(path, X, y, case, {"standardize": True})
