"""Schedules: every fit is the solution of its own convex problem, and the history tells what happened to each feature."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge

import distlasso as dl
from distlasso.events import StageVerified

N, P = 300, 40


def correlated(n: int, p: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    return X, X[:, [0, 3, 4, 8, 12]] @ [2.0, -1.0, 0.5, 1.5, -0.3] + rng.standard_normal(n)


X, Y = correlated(N, P)  # Gram form
WIDE, Z = correlated(60, 400)  # residual form
LABEL = (np.random.default_rng(1).random(N) < 1 / (1 + np.exp(-Y))).astype(float)
LAMS = np.geomspace(0.8, 0.02, 12)
RAW: dict[str, Any] = {"standardize": False, "tol": 1e-10}
EVERY = [
    dl.MCP(), dl.SCAD(), dl.Adaptive(), dl.Adaptive(init="lasso"), dl.Relaxed(), dl.Relaxed(0.3), dl.Relaxed(phi=0.3),
    dl.Thresholded(0.3), dl.PruneRefine(), dl.PruneRefine(0.01, 3),
]  # fmt: skip


def standardised(X: Any) -> Any:
    return (X - X.mean(axis=0)) / X.std(axis=0)


def slope(X: Any, y: Any, b: Any) -> Any:
    """Gradient of the centred least-squares fit."""
    return X.T @ (y - y.mean() - X @ b) / y.size


@pytest.mark.parametrize("data", [(X, Y), (WIDE, Z)], ids=["gram", "residual"])
@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_every_schedule_ends_on_certified_solutions(data: Any, schedule: Any) -> None:
    path = dl.fit_path(*data, schedule=schedule, n_lambdas=15, lambda_min_ratio=0.05)
    assert path.converged.all() and path.complete
    assert path.schedule == repr(schedule)
    assert "last convex problem" in path.certificate


@pytest.mark.parametrize("data", [(X, Y), (WIDE, Z)], ids=["gram", "residual"])
@pytest.mark.parametrize(("schedule", "derivative"), [
    (dl.MCP(3.0), lambda t: np.maximum(1 - t / 3.0, 0)),
    (dl.SCAD(3.7), lambda t: np.clip((3.7 - t) / 2.7, 0, 1)),
], ids=["MCP", "SCAD"])  # fmt: skip
def test_concave_penalties_end_where_their_own_optimality_conditions_hold(data: Any, schedule: Any, derivative: Any) -> None:
    X, y = data
    path = dl.fit_path(X, y, schedule=schedule, n_lambdas=12, lambda_min_ratio=0.1, tol=1e-9)
    S = standardised(X)
    for lam, b in zip(path.lambdas, path.coef.toarray() * X.std(axis=0), strict=True):
        u, wanted = slope(S, y, b), lam * derivative(np.abs(b) / lam)
        active = b != 0
        np.testing.assert_allclose(u[active], wanted[active] * np.sign(b[active]), atol=2e-3 * lam)
        assert (np.abs(u[~active]) <= lam * (1 + 1e-3)).all()


def test_mcp_finds_what_coordinate_descent_on_the_penalty_itself_finds() -> None:
    skglm = pytest.importorskip("skglm")
    S = np.asfortranarray(standardised(X))
    path = dl.fit_path(S, Y, schedule=dl.MCP(3.0), lambdas=[0.5, 0.25, 0.12], **RAW)
    for lam, b in zip(path.lambdas, path.coef.toarray(), strict=True):
        theirs = skglm.MCPRegression(alpha=lam, gamma=3.0, tol=1e-10).fit(S, Y - Y.mean())
        np.testing.assert_allclose(b, theirs.coef_, atol=1e-4)


@pytest.mark.parametrize("init", ["ols", "ridge", "lasso"])
def test_the_adaptive_lasso_is_a_lasso_of_scaled_columns(init: str) -> None:
    strength = None if init == "ols" else 0.1
    path = dl.fit_path(X, Y, schedule=dl.Adaptive(1.5, init, strength), lambdas=LAMS, **RAW)
    first = {"ols": LinearRegression(), "ridge": Ridge(alpha=0.1 * N, tol=1e-12), "lasso": Lasso(alpha=0.1, tol=1e-12)}[init]
    size = np.abs(first.fit(X, Y).coef_) ** 1.5
    for lam, b in zip(path.lambdas, path.coef.toarray(), strict=True):
        theirs = Lasso(alpha=lam, tol=1e-12, max_iter=100_000).fit(X * size, Y)
        np.testing.assert_allclose(b, theirs.coef_ * size, atol=1e-5)


def test_the_grid_of_an_adaptive_path_begins_where_the_first_feature_comes_in() -> None:
    path = dl.fit_path(X, Y, schedule=dl.Adaptive(), n_lambdas=10)
    assert path.n_active[0] == 0 and path.n_active[1] > 0


def test_adaptive_weights_leave_the_ridge_part_of_an_elastic_net_alone() -> None:
    path = dl.fit_path(X, Y, schedule=dl.Adaptive(1.0, "lasso", 0.02), l1_ratio=0.5, lambdas=[0.2], **RAW)
    b = path.coef.toarray()[0]
    first = Lasso(alpha=0.02, tol=1e-12).fit(X, Y).coef_
    u, active = slope(X - X.mean(axis=0), Y, b), b != 0
    np.testing.assert_allclose(u[active], 0.1 * np.sign(b[active]) / np.abs(first[active]) + 0.1 * b[active], atol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
def test_relaxed_mixes_the_lasso_with_least_squares_on_its_support(gamma: float) -> None:
    path = dl.fit_path(X, Y, schedule=dl.Relaxed(gamma), lambdas=LAMS, **RAW)
    plain = dl.fit_path(X, Y, lambdas=LAMS, **RAW)
    for b, mixed, level, explained in zip(
        plain.coef.toarray(), path.coef.toarray(), path.intercept, path.deviance_ratio, strict=True
    ):
        wanted, support = gamma * b, np.flatnonzero(b)
        if support.size:
            wanted[support] += (1 - gamma) * LinearRegression().fit(X[:, support], Y).coef_
        np.testing.assert_allclose(mixed, wanted, atol=1e-5)
        residual = Y - X @ mixed - level
        assert abs(residual.mean()) < 1e-10
        assert explained == pytest.approx(1 - residual.var() / Y.var(), abs=1e-8)


def test_relaxed_by_phi_is_the_lasso_on_the_support_at_a_smaller_lambda() -> None:
    path = dl.fit_path(X, Y, schedule=dl.Relaxed(phi=0.3), lambdas=[0.4, 0.1], **RAW)
    for lam, b in zip(path.lambdas, path.coef.toarray(), strict=True):
        support = np.flatnonzero(Lasso(alpha=lam, tol=1e-12).fit(X, Y).coef_)
        np.testing.assert_allclose(b[support], Lasso(alpha=0.3 * lam, tol=1e-12).fit(X[:, support], Y).coef_, atol=1e-5)
        assert np.count_nonzero(b) <= support.size


def test_relaxed_logistic_regression_is_maximum_likelihood_on_the_support() -> None:
    path = dl.fit_path(X, LABEL, loss="logistic", schedule=dl.Relaxed(), lambdas=[0.1, 0.03], **RAW)
    for b, b0 in zip(path.coef.toarray(), path.intercept, strict=True):
        support = np.flatnonzero(b)
        theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(X[:, support], LABEL)
        np.testing.assert_allclose(b[support], theirs.coef_[0], atol=1e-3)
        assert b0 == pytest.approx(theirs.intercept_[0], abs=1e-3)


@pytest.mark.parametrize("loss", ["logistic", "huber"])
@pytest.mark.parametrize("schedule", [dl.MCP(), dl.Adaptive(), dl.PruneRefine()], ids=repr)
def test_schedules_serve_every_loss(loss: str, schedule: Any) -> None:
    path = dl.fit_path(X, LABEL if loss == "logistic" else Y, loss=loss, schedule=schedule, n_lambdas=8, lambda_min_ratio=0.1)
    assert path.converged.all()
    assert 0 < path.n_active[-1] < P


def test_thresholding_leaves_no_small_coefficient_and_refits_the_others() -> None:
    path = dl.fit_path(X, Y, schedule=dl.Thresholded(0.4), lambdas=LAMS, **RAW)
    for b in path.coef.toarray():
        support = np.flatnonzero(b)
        assert (np.abs(b[support]) >= 0.4).all()
        if support.size:
            np.testing.assert_allclose(b[support], LinearRegression().fit(X[:, support], Y).coef_, atol=1e-5)


@pytest.mark.parametrize("stages", [1, 3])
def test_pruning_freezes_the_support_and_refines_it(stages: int) -> None:
    path = dl.fit_path(X, Y, schedule=dl.PruneRefine(0.05, stages), lambdas=[0.3, 0.1], **RAW)
    for lam, b in zip(path.lambdas, path.coef.toarray(), strict=True):
        support = np.flatnonzero(Lasso(alpha=lam, tol=1e-12).fit(X, Y).coef_)
        for stage in range(1, stages + 1):
            theirs = Lasso(alpha=lam * 0.05 ** (stage / stages), tol=1e-12).fit(X[:, support], Y).coef_
            survivors = support[theirs != 0]
            if stage < stages:
                support = survivors
        np.testing.assert_allclose(b[support], theirs, atol=1e-5)
        assert set(np.flatnonzero(b)) <= set(support)


def test_a_function_of_the_last_solution_is_a_schedule() -> None:
    def reweighted(last: dl.Stage) -> Any:
        return None if last.number == 2 else last.then(1.0 / (1.0 + np.abs(last.b) / 0.1))

    b = dl.fit_path(X, Y, schedule=reweighted, lambdas=[0.1], **RAW).coef.toarray()[0]
    weights = np.ones(P)
    for _ in range(3):
        theirs = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(X / weights, Y).coef_ / weights
        weights = 1.0 / (1.0 + np.abs(theirs) / 0.1)
    np.testing.assert_allclose(b, theirs, atol=1e-5)


@pytest.mark.parametrize("module", ["schedules.schedule", "schedules.concave", "schedules.prune", "priors"])
def test_the_examples_in_the_docs_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"distlasso.{module}"))
    assert found.attempted > 2 and found.failed == 0


@pytest.mark.parametrize("schedule", [s for s in EVERY if s != dl.Adaptive(init="lasso")], ids=repr)
def test_in_gram_form_no_schedule_needs_a_further_pass(schedule: Any) -> None:
    plain = dl.fit_path(X, Y, n_lambdas=15, lambda_min_ratio=0.05)
    assert dl.fit_path(X, Y, n_lambdas=15, lambda_min_ratio=0.05, schedule=schedule).passes == plain.passes


@pytest.mark.parametrize("schedule", [dl.Relaxed(0.3), dl.Thresholded(0.3), dl.PruneRefine(0.01, 3)], ids=repr)
def test_where_only_survivors_matter_a_refit_needs_no_pass_at_all(schedule: Any) -> None:
    plain = dl.fit_path(WIDE, Z, n_lambdas=15, lambda_min_ratio=0.05)
    assert dl.fit_path(WIDE, Z, n_lambdas=15, lambda_min_ratio=0.05, schedule=schedule).passes == plain.passes


@pytest.mark.parametrize(("loss", "stages"), [("squared", 2), ("huber", 6)])  # a fit where slopes are followed, or each a fit
def test_concave_penalties_on_wide_data_pass_over_it_only_to_verify_where_they_settled(loss: str, stages: int) -> None:
    plain = dl.fit_path(WIDE, Z, loss=loss, n_lambdas=15, lambda_min_ratio=0.05)
    path = dl.fit_path(WIDE, Z, loss=loss, n_lambdas=15, lambda_min_ratio=0.05, schedule=dl.MCP())
    assert path.stages.max() >= stages
    assert path.passes <= plain.passes + 6


@pytest.mark.parametrize("data", [(X, Y), (WIDE, Z)], ids=["gram", "residual"])
@pytest.mark.parametrize("schedule", [dl.MCP(), dl.Thresholded(0.3), dl.PruneRefine(0.01, 3)], ids=repr)
def test_the_history_replays_the_support_of_every_lambda(data: Any, schedule: Any) -> None:
    path = dl.fit_path(*data, schedule=schedule, n_lambdas=15, lambda_min_ratio=0.05)
    first: set[int] = set()
    for k in range(path.lambdas.size):
        seen: set[int] = set()
        now = first
        for stage in range(int(path.stages[k]) + 1):
            own = path.history[(path.history["lambda"] == k) & (path.history["stage"] == stage)]
            before = now
            gone = {int(j) for j in own["feature"][own["event"] == "pruned"]}
            new = {int(j) for j in own["feature"][own["event"] == "entered"]}
            back = {int(j) for j in own["feature"][own["event"] == "returned"]}
            assert gone <= before and not (new | back) & before and back <= seen and not new & seen
            now = (before - gone) | new | back
            seen |= now
            first = now if stage == 0 else first
        assert now == set(path.coef[[k]].indices.tolist())


def test_the_history_says_why() -> None:
    path = dl.fit_path(X, Y, schedule=dl.Thresholded(0.4), lambdas=[0.1])
    refit = path.history[path.history["stage"] > 0]
    assert set(refit["event"]) == {"pruned"}
    assert set(refit["why"]) == {"excluded"}


def test_a_path_with_a_schedule_is_saved_and_loaded_with_its_history(tmp_path: Path) -> None:
    path = dl.fit_path(X, Y, schedule=dl.MCP(), n_lambdas=8)
    path.save(tmp_path / "model")
    loaded = dl.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.history, path.history)
    np.testing.assert_array_equal(loaded.stages, path.stages)
    assert loaded.schedule == "MCP(gamma=3.0)"


def test_unpenalised_columns_stay_and_excluded_ones_stay_out() -> None:
    factors = np.ones(P)
    factors[1], factors[0] = 0.0, np.inf
    for schedule in (dl.Thresholded(0.5), dl.MCP(), dl.Adaptive(), dl.Relaxed()):
        path = dl.fit_path(X, Y, schedule=schedule, penalty_factors=factors, lambdas=[0.5, 0.1])
        b = path.coef.toarray()
        assert path.converged.all()
        assert (b[:, 1] != 0).all() and (b[:, 0] == 0).all()


def test_bounds_hold_at_every_stage() -> None:
    for schedule in EVERY:
        b = dl.fit_path(X, Y, schedule=schedule, bounds=(0.0, 1.2), n_lambdas=8).coef.toarray()
        assert b.min() >= 0.0 and b.max() <= 1.2


def test_penalty_factors_scale_a_concave_penalty_as_a_whole() -> None:
    factors = np.linspace(0.5, 2.0, P)
    path = dl.fit_path(X, Y, schedule=dl.MCP(3.0), penalty_factors=factors, lambdas=[0.3], tol=1e-9)
    b = path.coef.toarray()[0] * X.std(axis=0)
    level, active = 0.3 * factors, b != 0
    u = slope(standardised(X), Y, b)
    wanted = np.maximum(level - np.abs(b) / 3.0, 0) * np.sign(b)
    np.testing.assert_allclose(u[active], wanted[active], atol=1e-3)


@pytest.mark.parametrize("runtime", ["serial", "threads"])
def test_layout_and_runtime_do_not_change_a_schedule(runtime: str) -> None:
    whole = dl.fit_path(X, Y, schedule=dl.MCP(), lambdas=LAMS, tol=1e-10)
    tiles = dl.Dataset.from_arrays(X, Y, row_chunks=90, col_chunks=17)
    parts = dl.fit_path(tiles, schedule=dl.MCP(), lambdas=LAMS, tol=1e-10, runtime=runtime)
    np.testing.assert_allclose(parts.coef.toarray(), whole.coef.toarray(), atol=1e-6)


def test_a_time_limit_returns_the_lambdas_whose_schedule_has_ended() -> None:
    many = np.geomspace(1.0, 0.01, 60)
    path = dl.fit_path(WIDE, Z, schedule=dl.MCP(), lambdas=many, time_limit=1e-9)
    assert 0 < path.lambdas.size < many.size and not path.complete
    whole = dl.fit_path(WIDE, Z, schedule=dl.MCP(), lambdas=path.lambdas)
    np.testing.assert_allclose(path.coef.toarray(), whole.coef.toarray(), atol=1e-2)


def test_max_active_cuts_the_path_and_the_schedule_serves_all_that_is_left() -> None:
    many = np.geomspace(1.0, 0.01, 200)
    path = dl.fit_path(WIDE, Z, schedule=dl.Relaxed(), lambdas=many, max_active=25)
    assert 32 < path.lambdas.size < many.size and not path.complete
    assert (path.stages == 1).all()


def test_ctrl_c_returns_the_lambdas_whose_schedule_has_ended() -> None:
    batches = []

    def interrupt(event: Any) -> None:
        if isinstance(event, StageVerified):
            batches.append(event)
            if len(batches) == 2:
                raise KeyboardInterrupt

    many = np.geomspace(1.0, 0.01, 60)
    path = dl.fit_path(WIDE, Z, schedule=dl.Relaxed(), lambdas=many, on_event=interrupt)
    assert path.lambdas.size == batches[0].n_lambdas and not path.complete
    assert path.converged.all() and (path.stages == 1).all()


def test_a_schedule_that_never_settles_is_stopped_and_said_so() -> None:
    def restless(last: dl.Stage) -> Any:
        return last.then(1.0 + last.number % 2)

    with pytest.warns(dl.CertificateWarning, match="before it settled"):
        path = dl.fit_path(X, Y, schedule=restless, lambdas=[0.3])
    assert path.stages[0] == 500 and (path.gap <= 1e-6).all()


def test_refits_without_a_finite_optimum_come_back_finite() -> None:
    separable = (X[:, 0] > 0).astype(float)
    path = dl.fit_path(X, separable, loss="logistic", schedule=dl.Relaxed(), lambdas=[0.1])
    assert np.isfinite(path.coef.data).all()


def test_least_squares_first_needs_more_rows_than_columns() -> None:
    with pytest.raises(dl.InputError, match="use init='ridge'"):
        dl.fit_path(WIDE, Z, schedule=dl.Adaptive(init="ols"))
    with pytest.raises(dl.InputError, match="use init='ridge'"):
        dl.fit_path(X, Y, sample_weight=(np.arange(N) < P).astype(float), schedule=dl.Adaptive(init="ols"))


@pytest.mark.parametrize("init", ["ridge", "lasso"])
def test_rows_without_a_weight_are_as_if_absent(init: str) -> None:
    there = np.arange(N) % 4 > 0
    a, b = (dl.fit_path(*data, schedule=dl.Adaptive(init=init), lambdas=[0.1], sample_weight=weight, tol=1e-10)
            for data, weight in (((X, Y), there.astype(float)), ((X[there], Y[there]), None)))  # fmt: skip
    np.testing.assert_allclose(a.coef.toarray(), b.coef.toarray(), atol=1e-6)
    few = np.arange(N) < 20
    wide, alone = dl.fit_path(X, Y, sample_weight=few.astype(float)), dl.fit_path(X[few], Y[few])
    np.testing.assert_allclose(wide.lambdas, alone.lambdas)


@pytest.mark.parametrize(("make", "word"), [
    (lambda: dl.MCP(1.0), "gamma"), (lambda: dl.SCAD(2.0), "a=2"), (lambda: dl.Adaptive(0.0), "gamma"),
    (lambda: dl.Adaptive(init="pls"), "pls"), (lambda: dl.Adaptive(strength=-1.0), "strength"),
    (lambda: dl.Adaptive(init="ols", strength=1.0), "ols"), (lambda: dl.Relaxed(0.5, 0.5), "not both"),
    (lambda: dl.Relaxed(1.5), "share"), (lambda: dl.Thresholded(0.0), "threshold"), (lambda: dl.PruneRefine(1.0), "refine"),
    (lambda: dl.PruneRefine(0.1, 0), "stages"), (lambda: dl.PruneRefine(0.0, 2), "refine=0"),
])  # fmt: skip
def test_parameters_that_make_no_sense_are_named(make: Any, word: str) -> None:
    with pytest.raises(dl.InputError, match=word):
        make()


@pytest.mark.parametrize(("schedule", "word"), [
    (dl.MCP, "call it"), ("mcp", "no schedule"), (lambda last: last.then(np.ones(3)), "shape"),
    (lambda last: last.then(-1.0), "negative"), (lambda last: last.then(lam=np.nan), "lam=nan"),
    (lambda last: last.then(lam="a"), "lam='a'"), (lambda last: last.then(l1_ratio=2.0), "l1_ratio=2.0"),
    (lambda last: last.then(l1_ratio=np.nan), "l1_ratio=nan"), (lambda last: last.mixed(np.nan), "share=nan"),
    (lambda last: last.mixed(-1.0), "share=-1.0"), (lambda last: last.mixed("a"), "share='a'"),
])  # fmt: skip
def test_schedules_that_cannot_be_used_are_named(schedule: Any, word: str) -> None:
    with pytest.raises(dl.InputError, match=word):
        dl.fit_path(X, Y, schedule=schedule, lambdas=[0.1])


def test_an_elastic_net_keeps_its_ridge_part_under_a_concave_penalty() -> None:
    path = dl.fit_path(X, Y, schedule=dl.MCP(), l1_ratio=0.5, lambdas=[0.02], **RAW)
    ridge = ElasticNet(alpha=0.02, l1_ratio=0.5, tol=1e-12).fit(X, Y)
    b, u = path.coef.toarray()[0], slope(X - X.mean(axis=0), Y, path.coef.toarray()[0])
    large = np.abs(b) > 3 * 0.01
    assert np.abs(b[large]).sum() > np.abs(ridge.coef_[large]).sum()
    np.testing.assert_allclose(u[large], 0.01 * b[large], atol=1e-5)
