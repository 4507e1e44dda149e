"""The certificate under attack: its gap is never below the truth, and never above the tolerance on a fit that converged.

The truth is a slow solve in extended precision (``oracle.py``), good to 1e-13 of D0 where the test says so.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from oracle import LOGISTIC, POISSON, SQUARED, Truth, huber

import distlasso as dl
from distlasso.losses import null_intercept

Array = Any
TOL = 1e-8
N, P = 40, 5
FORMULAS = {"squared": SQUARED, "logistic": LOGISTIC, "poisson": POISSON, "huber": huber(1.35)}

rng = np.random.default_rng(11)
X = rng.standard_normal((N, P))
ETA = X[:, 0] - 0.5 * X[:, 1]
HALF = np.where(np.arange(N) < N // 2, 1.0, 0.0)
Y = {
    "squared": ETA + rng.standard_normal(N),
    "logistic": (ETA + rng.logistic(size=N) > 0).astype(float),
    "poisson": rng.poisson(np.exp(ETA)).astype(float),
    "huber": ETA + rng.standard_t(2, N),
}


def attack(loss: str, X: Array, y: Array, **options: Any) -> None:
    """Fit four lambdas and compare every gap with the truth."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = dl.fit_path(X, y, loss=loss, tol=TOL, n_lambdas=4, runtime="serial", **options)
    assert path.converged.all() and (path.gap <= TOL).all() and np.isfinite(path.gap).all()
    options = {"standardize": True} | {key: value for key, value in options.items() if key != "lambda_min_ratio"}
    for k, lam in enumerate(path.lambdas):
        truth = Truth(FORMULAS[loss], X, y, lam=float(lam), **options)
        b0, b = path.intercept[k], path.coef[[k]].toarray()[0]
        best = truth.best()
        noise = 1e-13 + 1e-18 * float(np.max(np.abs(truth.y)) ** 2 / truth.d0)
        missed = float((truth.objective(b0, b) - truth.objective(*best)) / truth.d0)
        assert missed <= path.gap[k] + noise


GLM = ["logistic", "poisson", "huber"]
ANY = ["squared", *GLM]


@pytest.mark.parametrize("loss", ANY)
@pytest.mark.parametrize("standardize", [False, True])
def test_columns_whose_mean_is_a_million_deviations_away(loss: str, standardize: bool) -> None:
    attack(loss, X + 1e6, Y[loss], standardize=standardize)


@pytest.mark.parametrize("loss", ANY)
def test_unpenalised_columns_far_from_zero(loss: str) -> None:
    attack(loss, X + 1e6, Y[loss], penalty_factors=[0, 1, 1, 1, 1])


@pytest.mark.parametrize("loss", ANY)
@pytest.mark.parametrize("free", [(), (0, 4)])
def test_columns_of_wild_scale(loss: str, free: tuple[int, ...]) -> None:
    factors = np.ones(P)
    factors[list(free)] = 0.0
    attack(loss, X * 10.0 ** np.array([-8, -3, 0, 4, 8]), Y[loss], penalty_factors=factors)


@pytest.mark.parametrize("loss", ANY)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_duplicate_and_opposite_columns(loss: str, l1_ratio: float) -> None:
    twice = X.copy()
    twice[:, 1], twice[:, 3] = twice[:, 0], -2 * twice[:, 2]
    attack(loss, twice, Y[loss], l1_ratio=l1_ratio)


@pytest.mark.parametrize("loss", ANY)
def test_duplicate_unpenalised_columns(loss: str) -> None:
    twice = X.copy()
    twice[:, 1] = twice[:, 0]
    attack(loss, twice, Y[loss], penalty_factors=[0, 0, 1, 1, 1])


@pytest.mark.parametrize("loss", ANY)
def test_more_unpenalised_columns_than_rows(loss: str) -> None:
    wide = np.random.default_rng(3).standard_normal((8, 20))
    y = np.array([3.0, 1, 2, 5, 1, 2, 2, 4])
    if loss == "logistic":
        y = y / 8
    attack(loss, wide, y, penalty_factors=np.where(np.arange(20) < 12, 0.0, 1.0))


@pytest.mark.parametrize("loss", ANY)
def test_rows_of_weight_zero_are_absent_whatever_they_hold(loss: str) -> None:
    wild = np.where(HALF[:, None] == 0, 1e9 * X, X)
    attack(loss, wild, Y[loss], sample_weight=HALF)
    attack(loss, X, Y[loss], sample_weight=HALF, offset=np.where(HALF == 0, 1e5, 0.1 * ETA))


@pytest.mark.parametrize("loss", ANY)
@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_large_offsets(loss: str, size: float) -> None:
    attack(loss, X, Y[loss], offset=size + rng.standard_normal(N))
    attack(loss, X, Y[loss], offset=-size + rng.standard_normal(N))
    attack(loss, X, Y[loss], offset=np.where(np.arange(N) % 7 == 0, size, 0.0), lambda_min_ratio=1e-2)


@pytest.mark.parametrize("loss", GLM)
def test_a_null_model_without_intercept_far_from_the_data(loss: str) -> None:
    attack(loss, X, Y[loss], offset=-20 + rng.standard_normal(N), fit_intercept=False, lambda_min_ratio=1e-2)


def test_huber_with_every_row_outside_delta() -> None:
    attack("huber", X, 1000 * Y["huber"], lambda_min_ratio=1e-2)


def test_a_null_intercept_may_be_where_residuals_sum_to_less_than_rounding() -> None:
    """Huber's sum is flat between two groups of rows; the search lands there, on the side of 0 that it came from."""
    y, weight = np.array([-1.0, -1.0, -1.0, 10.0, 10.0, 763.0]), np.full(6, 1 / 6)
    weight[:3] += 1e-12
    assert 0.0 <= null_intercept(dl.Huber(1.0), y, weight, None) <= 9.0


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.0}, {"penalty_factors": [1, 0, 0, 0, 0]}], ids=["lasso", "ridge", "free"])
def test_separable_classes(options: dict[str, Any]) -> None:
    attack("logistic", X, (X[:, 0] > 0).astype(float), **options)


@pytest.mark.parametrize("noise", [0.3, 0.1])
def test_saturated_logistic_with_an_unpenalised_column(noise: float) -> None:
    """Fitted probabilities reach 1 - 1e-9 and the residuals scaled as they are would leave their domain."""
    y = (X[:, 0] + noise * np.random.default_rng(1).standard_normal(N) > 0).astype(float)
    y[np.argmax(X[:, 0])] = 0.0  # or the classes are separable
    attack("logistic", 5 * X, y, penalty_factors=[0, 1, 1, 1, 1])


def test_saturated_poisson_with_an_unpenalised_column() -> None:
    y = np.random.default_rng(0).poisson(np.exp(6 * X[:, 0])).astype(float)
    attack("poisson", X, y, penalty_factors=[0, 1, 1, 1, 1], lambda_min_ratio=1e-2)


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e9])
def test_huge_counts(scale: float) -> None:
    y = np.random.default_rng(0).poisson(scale * np.exp(0.5 * ETA)).astype(float)
    attack("poisson", X, y, lambda_min_ratio=1e-2)


def test_huge_counts_that_hardly_differ() -> None:
    """D0 is below a millionth of what the loss sums: it is computed in digits of its own size."""
    attack("poisson", X, np.random.default_rng(0).poisson(1e5, N).astype(float), lambda_min_ratio=1e-2)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_an_event_in_ten_thousand(loss: str) -> None:
    """Three events in 30,000 rows, as weights."""
    rows = np.random.default_rng(5).standard_normal((33, P))
    y = np.zeros(33)
    y[:3] = 1.0
    attack(loss, rows, y, sample_weight=np.where(y == 1, 1.0, 1000.0))


@pytest.mark.parametrize(("loss", "level"), [("logistic", 0.3), ("poisson", 2.0), ("huber", 1.0), ("squared", 1.0)])
def test_targets_that_hardly_vary(loss: str, level: float) -> None:
    """D0 is 1e-9 of what a row could cost."""
    attack(loss, X, level + 1e-4 * np.random.default_rng(0).random(N))


@pytest.mark.parametrize(
    ("loss", "y", "offset"),
    [
        ("squared", np.full(N, 3.0), None), ("logistic", np.full(N, 0.3), None), ("poisson", np.full(N, 3.0), None),
        ("poisson", np.full(N, 1e9), None), ("huber", np.full(N, 3.0), None), ("huber", np.zeros(N), None),
        ("poisson", 2 * np.exp(ETA), ETA), ("huber", 1 + ETA, ETA),
    ],
)  # fmt: skip
def test_a_target_without_deviance_is_the_null_model_and_a_warning(loss: str, y: Array, offset: Array) -> None:
    with pytest.warns(dl.CertificateWarning, match="constant target"):
        path = dl.fit_path(X, y, loss=loss, offset=offset, lambdas=[1.0, 0.1])
    assert path.gap.tolist() == [0.0, 0.0]
    assert path.coef.nnz == 0
    with pytest.raises(dl.InputError, match="constant target"):
        dl.fit_path(X, y, loss=loss, offset=offset)


@pytest.mark.parametrize("loss", ["squared", "poisson", "huber"])
def test_one_row_is_a_target_without_deviance(loss: str) -> None:
    weight = (np.arange(N) == np.flatnonzero(Y["poisson"])[0]).astype(float)
    at = int(np.argmax(weight))
    for rows, options in ((slice(None), {"sample_weight": weight}), (slice(at, at + 1), {})):
        with pytest.warns(dl.CertificateWarning, match="constant target"):
            path = dl.fit_path(X[rows], Y["poisson"][rows], loss=loss, lambdas=[0.1], **options)
        assert path.gap[0] == 0.0 and path.coef.nnz == 0


CLEAR = [
    ("one class", "logistic", np.ones(N), {}, "both classes"),
    ("one class under the weights", "logistic", HALF, {"sample_weight": HALF}, "both classes"),
    ("three classes", "logistic", np.arange(N) % 3, {}, "classes 0 and 1"),
    ("negative proportions", "logistic", np.full(N, -0.5), {}, "classes 0 and 1"),
    ("no events", "poisson", np.zeros(N), {}, "at least one event"),
    ("no events under the weights", "poisson", 1 - HALF, {"sample_weight": HALF}, "at least one event"),
    ("negative counts", "poisson", np.where(np.arange(N) == 3, -1.0, 2.0), {}, "row 3"),
    ("separated without a penalty", "logistic", (X[:, 0] > 0).astype(float), {"penalty_factors": [0, 1, 1, 1, 1]},
     "no finite optimum"),
    ("a rate beyond numbers", "poisson", Y["poisson"], {"offset": np.full(N, 500.0), "fit_intercept": False},
     "offset is out of scale"),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "y", "options", "message"), [case[1:] for case in CLEAR], ids=[case[0] for case in CLEAR])
def test_what_has_no_solution_is_said_clearly(loss: str, y: Array, options: dict[str, Any], message: str) -> None:
    with pytest.raises(dl.InputError, match=message):
        dl.fit_path(X, y, loss=loss, **options)


def test_an_unpenalised_column_that_leaves_rows_without_an_event_is_refused() -> None:
    group = (np.arange(N) < 10).astype(float)
    with pytest.raises(dl.InputError, match="no finite optimum"):
        dl.fit_path(np.column_stack([group, X]), np.where(group == 1, 0.0, 3.0 + Y["poisson"]), loss="poisson",
                    penalty_factors=[0, 1, 1, 1, 1, 1])  # fmt: skip


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_targets_without_contrast_are_fitted_where_no_intercept_could_run_away(loss: str) -> None:
    y = np.ones(N) if loss == "logistic" else np.zeros(N)
    attack(loss, np.abs(X), y, fit_intercept=False, lambda_min_ratio=1e-2)


@pytest.mark.parametrize("share", [1.0, 0.98, 0.9])
def test_huber_reaches_a_tight_gap_where_one_column_has_just_come_in(share: float) -> None:
    for seed in (1, 3, 10, 29):
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((80, 12))
        y = Z[:, :3].sum(axis=1) + rng.standard_normal(80) + 10.0 * (rng.random(80) < 0.05)
        top = float(dl.fit_path(Z, y, loss="huber", n_lambdas=2).lambdas[0])
        assert dl.fit_path(Z, y, loss="huber", lambdas=[share * top], tol=1e-10).gap[0] <= 1e-10
