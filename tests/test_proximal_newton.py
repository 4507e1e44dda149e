"""Hessians that are bent to what a step has shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distlasso as dl
from distlasso.coordinator.rounds import Rounds
from distlasso.solvers.smooth import Curvature, Secant


def bordered(curvature: Curvature) -> Any:
    return np.block([[curvature.gram, curvature.cross[:, None]], [curvature.cross[None, :], np.array([[curvature.total]])]])


def random_hessian(seed: int) -> Any:
    Z = np.random.default_rng(seed).standard_normal((40, 6))
    return Z.T @ Z


def test_a_bent_hessian_says_of_a_step_what_the_slopes_did_and_stays_convex() -> None:
    held, true, step = random_hessian(0), random_hessian(1), np.random.default_rng(2).standard_normal(6)
    fall = true @ step
    bent = bordered(Curvature(held[:-1, :-1], held[:-1, -1], held[-1, -1]).bent(Secant(step[:-1], step[-1], fall[:-1], fall[-1])))
    np.testing.assert_allclose(bent @ step, fall)
    np.testing.assert_allclose(bent, bent.T)
    assert np.linalg.eigvalsh(bent).min() > 0
    across = np.linalg.qr(np.column_stack([held @ step, fall, np.eye(6)[:, :4]]))[0][:, 2:]
    np.testing.assert_allclose(across.T @ bent @ across, across.T @ held @ across)


@pytest.mark.parametrize("sign", [0.0, -1.0, np.nan])
def test_a_step_without_curvature_bends_nothing(sign: float) -> None:
    held, step = random_hessian(0), np.ones(6)
    curvature = Curvature(held[:-1, :-1], held[:-1, -1], held[-1, -1])
    assert curvature.bent(Secant(step[:-1], 1.0, sign * step[:-1], sign)) is curvature


@pytest.mark.parametrize("loss", ["logistic", "poisson", "huber"])
def test_bent_hessians_spare_rounds(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((5000, 40))
    eta = X[:, :8] @ rng.uniform(-1.0, 1.0, 8)
    y = {"logistic": rng.random(5000) < 1 / (1 + np.exp(-eta)), "poisson": rng.poisson(np.exp(0.5 * eta)),
         "huber": eta + rng.standard_t(2, 5000)}[loss]  # fmt: skip
    rounds, at = [0], Rounds.at

    def counted(self: Rounds, *args: Any, **named: Any) -> Any:
        rounds[0] += 1
        return at(self, *args, **named)

    def path() -> tuple[dl.Path, int]:
        rounds[0] = 0
        found = dl.fit_path(X, y.astype(float), loss=loss, n_lambdas=30, lambda_min_ratio=1e-3, tol=1e-8, runtime="serial")
        assert found.converged.all()
        return found, rounds[0]

    monkeypatch.setattr(Rounds, "at", counted)
    bent, few = path()
    monkeypatch.setattr(Curvature, "bent", lambda self, secant: self)
    held, many = path()
    assert few < many
    np.testing.assert_allclose(bent.coef.toarray(), held.coef.toarray(), atol=1e-3)
