"""The judge: primal, dual and gap of any program's solutions in float64, from the data alone. Never imports distlasso.

Five lambdas of the path are looked at. The gap is (primal - dual) / D0 with D0 the null model's loss per row, above the
saturated one; `Accuracy.excess` compares primals with the best known. Next: `compare.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, xlog1py, xlogy

from benchmarks.workloads import Matrix, Problem, Vector, columns

FRACTIONS = (0.10, 0.30, 0.50, 0.75, 1.00)  # of the path
_SINGLE = 2
MATCHED = 2e-6  # relative objective excess below which two programs count as equally accurate


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Objective bounds of one path at the five lambdas."""

    primal: Vector  # [5], NaN where a program without paths has no solution
    dual: Vector  # [5]
    null: float
    """D0: loss per row of the intercept alone, above the saturated model's."""

    @property
    def gap(self) -> Vector:
        """Duality gap over D0, [5]."""
        return (self.primal - self.dual) / self.null

    def excess(self, best: Vector) -> float:
        """Return the worst relative excess of the objective over `best` [5]."""
        return float(np.nanmax((self.primal - best) / np.abs(best)))


def checked_lambdas(n_lambdas: int) -> list[int]:
    """Return the positions of the five lambdas that are checked in a path of `n_lambdas`."""
    return [max(0, round(f * n_lambdas) - 1) for f in FRACTIONS]


def single_lambda(n_lambdas: int) -> int:
    """Return the position of the lambda that programs without paths fit: the third of the five."""
    return checked_lambdas(n_lambdas)[_SINGLE]


def measure(problem: Problem, coef: sp.csr_array, intercept: Vector, *, single: bool = False) -> Accuracy:
    """Return primal and dual values of the path `coef` [k, p], `intercept` [k] at the five lambdas.

    A `single` solution [1, p] is one at the third of them.

    The dual points are made feasible: the residual is centred (squared) or its intercept re-fitted (logistic), then scaled
    until max_j |x_j' u| / n <= lambda.
    """
    chosen = checked_lambdas(len(problem.lambdas))
    known = [_SINGLE] if single else list(range(len(chosen)))
    lambdas, rows = problem.lambdas[[chosen[i] for i in known]], [0] if single else chosen
    B = np.asarray(coef[rows].todense(), dtype=np.float64).T  # [p, 5]
    eta = _linear_predictor(problem.X, B) + intercept[rows]  # [n, 5]
    sides = _squared if problem.loss == "squared" else _logistic
    parts = [sides(problem.y, eta[:, i]) for i in range(len(known))]
    residuals = np.stack([part[1] for part in parts], axis=1)
    bound = np.max(np.abs(_correlations(problem.X, residuals)), axis=0) / len(problem.y)
    reach = np.divide(lambdas, bound, out=np.full_like(bound, np.inf), where=bound > 0)
    primal = np.array([part[0] for part in parts]) + lambdas * np.abs(B).sum(axis=0)
    dual_value = _squared_dual if problem.loss == "squared" else _logistic_dual
    dual = np.array([dual_value(problem.y, residuals[:, i], reach[i]) for i in range(len(known))])
    values = np.full((2, len(chosen)), np.nan)
    values[:, known] = primal, dual
    return Accuracy(*values, _null_loss(problem))


def _linear_predictor(X: Matrix, B: Vector) -> Vector:
    """Return X B [n, 5], a stripe of columns at a time, only where B is not zero."""
    eta = np.zeros((X.shape[0], B.shape[1]))
    for s in columns(X):
        used = s.start + np.flatnonzero(B[s].any(axis=1))
        if len(used):
            eta += X[:, used].astype(np.float64) @ B[used]
    return eta


def _correlations(X: Matrix, R: Vector) -> Vector:
    """Return X' R [p, 5], a stripe of columns at a time."""
    return np.concatenate([X[:, s].astype(np.float64).T @ R for s in columns(X)])


# Squared loss: sup over sum u = 0, |x_j' u| / n <= lambda of (u' y - u' u / 2) / n, at u = t * centred residual with the best
# permitted t.


def _squared(y: Vector, eta: Vector) -> tuple[float, Vector]:
    """Return loss per row and the centred residual [n]."""
    resid = y - eta
    return float(resid @ resid) / (2 * len(y)), resid - resid.mean()


def _squared_dual(y: Vector, resid: Vector, reach: float) -> float:
    """Return the dual value of the residual scaled by at most `reach`."""
    norm, inner = float(resid @ resid), float(resid @ (y - y.mean()))
    t = np.clip(inner / norm, -reach, reach) if norm > 0 else 0.0
    return float(t * inner - 0.5 * t * t * norm) / len(y)


# Logistic loss: with v = y - u in [0, 1], minus the mean of v log v + (1 - v) log(1 - v), over the same constraints on u; a
# residual y - expit(eta) scaled by t <= 1 keeps v between y and expit(eta).


def _logistic(y: Vector, eta: Vector) -> tuple[float, Vector]:
    """Return loss per row and the residual [n] after re-fitting the intercept by Newton steps."""
    loss = float(np.mean(np.logaddexp(0.0, eta) - y * eta))
    for _ in range(20):
        mu = expit(eta)
        eta = eta + np.mean(y - mu) / np.mean(mu * (1.0 - mu))
    resid = y - expit(eta)
    return loss, resid


def _logistic_dual(y: Vector, resid: Vector, reach: float) -> float:
    """Return the dual value of the residual scaled by at most `reach`."""
    v = y - min(1.0, reach) * resid
    return -float(np.mean(xlogy(v, v) + xlog1py(1.0 - v, -v)))


def _null_loss(problem: Problem) -> float:
    """Return D0, the loss per row of the intercept alone above the saturated model's."""
    mean = float(problem.y.mean())
    if problem.loss == "squared":
        return float(np.mean((problem.y - mean) ** 2)) / 2
    return -float(xlogy(mean, mean) + xlog1py(1.0 - mean, -mean))
