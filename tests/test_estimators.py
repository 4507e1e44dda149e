"""The estimators are scikit-learn estimators, and agree with scikit-learn's own."""

from __future__ import annotations

import inspect
import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

sklearn = pytest.importorskip("sklearn", reason="scikit-learn, the extra distlasso[sklearn], is not installed")
from sklearn import linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import distlasso as dl  # noqa: E402
from distlasso.runtime.local import serial  # noqa: E402

# At alpha=1 the checks see null models only. Weights and repeated rows agree to 1e-9 only where the gap is small.
CHECKED = [
    dl.Lasso(), dl.ElasticNet(), dl.Lasso(alpha=0.01), dl.ElasticNet(alpha=0.01, tol=1e-13),
    dl.LogisticRegression(tol=1e-13), dl.LogisticRegression(C=10.0, l1_ratio=1.0, tol=1e-13),
    dl.PoissonRegressor(tol=1e-13), dl.PoissonRegressor(alpha=0.01, l1_ratio=1.0, tol=1e-13),
    dl.HuberLasso(alpha=0.01, tol=1e-13), dl.MultiTaskLasso(alpha=0.01, tol=1e-13),
]  # fmt: skip


@parametrize_with_checks(CHECKED)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    """Every one of them, without exception."""
    check(estimator)


def problem(seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 30)) * rng.integers(0, 2, (120, 30))
    y = 2 + X[:, :4] @ [3.0, -2.0, 1.0, 0.5] + rng.standard_normal(120)
    return X, y, rng.uniform(0.2, 2, 120)


FORMS: dict[str, Any] = {
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
}
OPTIONS = [{}, {"positive": True}, {"fit_intercept": False}]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_lasso_agrees_with_scikit_learn(form: str, options: dict[str, Any], weighted: bool) -> None:
    """Coefficients, intercept and prediction, to 1e-6."""
    X, y, w = problem()
    weight = w if weighted else None
    ours = dl.Lasso(alpha=0.1, tol=1e-13, **options).fit(FORMS[form](X), y, sample_weight=weight)
    theirs = linear_model.Lasso(alpha=0.1, tol=1e-14, max_iter=100_000, **options).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict(FORMS[form](X)), theirs.predict(X), atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("l1_ratio", [0.1, 0.5, 0.9])
def test_elastic_net_agrees_with_scikit_learn(l1_ratio: float, options: dict[str, Any]) -> None:
    """With weights, to 1e-6."""
    X, y, w = problem(1)
    ours = dl.ElasticNet(alpha=0.2, l1_ratio=l1_ratio, tol=1e-13, **options).fit(X, y, sample_weight=w)
    theirs = linear_model.ElasticNet(alpha=0.2, l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000, **options)
    np.testing.assert_allclose(ours.coef_, theirs.fit(X, y, sample_weight=w).coef_, atol=1e-6)


@pytest.mark.parametrize("ours", [dl.Lasso, dl.ElasticNet])
def test_shared_parameters_have_scikit_learns_defaults(ours: Any) -> None:
    """Only tol differs, as documented."""
    mine = inspect.signature(ours).parameters
    theirs = inspect.signature(getattr(linear_model, ours.__name__)).parameters
    assert {name for name in mine.keys() & theirs.keys() if mine[name].default != theirs[name].default} == {"tol"}
    assert set(theirs) - set(mine) == {"precompute", "copy_X", "warm_start", "random_state", "selection"}


def test_one_number_is_a_weight_for_every_row() -> None:
    """As in scikit-learn, where it changes nothing."""
    X, y, _ = problem()
    np.testing.assert_allclose(dl.Lasso(alpha=0.1).fit(X, y, 3.0).coef_, dl.Lasso(alpha=0.1).fit(X, y).coef_, atol=1e-9)


def test_the_dual_gap_is_that_of_the_objective() -> None:
    """It bounds what is left to gain, in the objective's own units."""
    X, y, w = problem(2)
    model = dl.Lasso(alpha=0.1, tol=1e-3).fit(X, y, w)
    exact = dl.Lasso(alpha=0.1, tol=1e-13).fit(X, y, w)

    def objective(m: Any) -> float:
        return float(0.5 * np.average((y - m.predict(X)) ** 2, weights=w) + 0.1 * np.abs(m.coef_).sum())

    assert -1e-12 <= objective(model) - objective(exact) <= model.dual_gap_ + 1e-12
    null = 0.5 * np.average((y - np.average(y, weights=w)) ** 2, weights=w)
    assert model.dual_gap_ == pytest.approx(model.path_.gap[0] * null)


def test_sparse_coef_holds_the_same_coefficients() -> None:
    """One row, compressed."""
    X, y, _ = problem()
    model = dl.Lasso(alpha=0.5).fit(X, y)
    assert sp.issparse(model.sparse_coef_) and model.sparse_coef_.format == "csr"
    np.testing.assert_array_equal(model.sparse_coef_.toarray(), model.coef_[None, :])
    assert model.sparse_coef_.nnz == np.count_nonzero(model.coef_)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_])
def test_values_of_one_byte_are_not_widened(dtype: Any) -> None:
    """The fit reads one byte a value."""
    rng = np.random.default_rng(3)
    X = rng.integers(0, 2, (80, 10)).astype(dtype)
    y = X @ np.arange(10.0) + rng.standard_normal(80)
    model = dl.Lasso(alpha=0.05, tol=1e-12).fit(X, y)
    wide = dl.Lasso(alpha=0.05, tol=1e-12).fit(X.astype(float), y)
    np.testing.assert_allclose(model.coef_, wide.coef_, atol=1e-6)
    np.testing.assert_allclose(model.predict(X), wide.predict(X), atol=1e-5)
    assert model.path_.bytes_read == model.path_.passes * X.nbytes < wide.path_.bytes_read


def test_standardize_is_scaling_the_columns() -> None:
    """Coefficients come back on the original scale."""
    X, y, _ = problem()
    sd = X.std(axis=0)
    scaled = dl.Lasso(alpha=0.1, tol=1e-13).fit(X / sd, y)
    model = dl.Lasso(alpha=0.1, tol=1e-13, standardize=True).fit(X, y)
    np.testing.assert_allclose(model.coef_, scaled.coef_ / sd, atol=1e-6)


def test_penalty_factors_free_and_exclude() -> None:
    """At an alpha that silences all others, the free column stays."""
    X, y, _ = problem()
    factors = np.ones(30)
    factors[3], factors[0] = 0.0, np.inf
    assert np.flatnonzero(dl.Lasso(alpha=100.0, penalty_factors=factors).fit(X, y).coef_).tolist() == [3]


def test_a_dataset_brings_its_own_target_and_names() -> None:
    """X alone is enough, for fit and for predict."""
    X, y, w = problem()
    names = [f"x{j}" for j in range(30)]
    data = dl.Dataset.from_arrays(X, y, sample_weight=w, feature_names=names)
    model = dl.Lasso(alpha=0.1).fit(data)
    assert model.feature_names_in_.tolist() == names
    assert model.n_features_in_ == 30
    expected = dl.Lasso(alpha=0.1).fit(X, y, w)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-9)
    np.testing.assert_allclose(model.predict(data), expected.predict(X), atol=1e-8)


def test_names_of_an_earlier_fit_do_not_stay() -> None:
    """A nameless Dataset after a named one."""
    X, y, _ = problem()
    model = dl.Lasso(alpha=0.1).fit(dl.Dataset.from_arrays(X, y, feature_names=[f"x{j}" for j in range(30)]))
    assert not hasattr(model.fit(dl.Dataset.from_arrays(X, y)), "feature_names_in_")


def test_names_of_a_frame_reach_the_path() -> None:
    """So that its picture has them."""
    pandas = pytest.importorskip("pandas", reason="pandas, of the extra distlasso[demo], is not installed")
    X, y, _ = problem()
    model = dl.Lasso(alpha=0.1).fit(pandas.DataFrame(X, columns=[f"x{j}" for j in range(30)]), y)
    assert model.path_.feature_names == [f"x{j}" for j in range(30)]


def test_a_constant_target_is_its_mean_without_a_warning() -> None:
    """An ordinary case to scikit-learn."""
    X, _, _ = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = dl.Lasso(alpha=0.1).fit(X, np.full(120, 7.0))
    assert model.coef_.any() == np.False_
    np.testing.assert_allclose(model.predict(X), 7.0)


def test_a_gap_above_tol_is_a_convergence_warning_that_states_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only warning: the one of fit_path would say the same twice."""
    X, y, _ = problem()
    path = dl.fit_path(X, y, lambdas=[0.1])

    def stop_early(*arguments: Any, **options: Any) -> dl.Path:
        warnings.warn("stopped above tol", dl.CertificateWarning, stacklevel=2)
        return replace(path, gap=np.array([3.21e-4]), converged=np.array([False]))

    monkeypatch.setattr("distlasso.estimators.base.fit_path", stop_early)
    with pytest.warns(ConvergenceWarning, match=r"duality gap of 3\.21e-04, above tol=1e-06") as seen:
        model = dl.Lasso(alpha=0.1).fit(X, y)
    assert len(seen) == 1
    assert model.dual_gap_ == pytest.approx(3.21e-4 * path.null_deviance)


@pytest.mark.parametrize("alpha", [0, -1.0, np.nan, np.inf, "1", None])
def test_an_alpha_that_is_not_a_positive_number_is_refused(alpha: Any) -> None:
    """Least squares included, with the place to find it."""
    X, y, _ = problem()
    with pytest.raises(dl.InputError, match="positive"):
        dl.Lasso(alpha=alpha).fit(X, y)


def test_a_model_that_is_not_fitted_says_so() -> None:
    """For a Dataset too, which scikit-learn never sees."""
    X, y, _ = problem()
    with pytest.raises(NotFittedError):
        dl.Lasso().predict(dl.Dataset.from_arrays(X, y))


class Uncopyable:
    """What a client is to pickle and copy."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("cannot be copied")


@pytest.mark.parametrize("name", ["client", "runtime"])
def test_a_live_connection_never_travels_with_a_pickled_model(name: str) -> None:
    """A runtime object may hold a client."""
    X, y, _ = problem()
    model = dl.Lasso(alpha=0.1).fit(X, y)
    setattr(model, name, Uncopyable())
    back = pickle.loads(pickle.dumps(model))
    assert getattr(back, name) is None
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


def test_the_name_of_a_runtime_does_travel() -> None:
    """It is a parameter like any other."""
    assert pickle.loads(pickle.dumps(dl.Lasso(runtime="serial"))).runtime == "serial"


@pytest.mark.parametrize("name", ["client", "runtime"])
def test_clones_share_a_live_connection(name: str) -> None:
    """Cross-validation on a cluster is one connection."""
    live = Uncopyable()
    twin = clone(dl.ElasticNet(alpha=0.3, l1_ratio=0.2, **{name: live}))
    assert getattr(twin, name) is live
    assert (twin.alpha, twin.l1_ratio) == (0.3, 0.2)


def test_a_grid_search_finds_the_alpha_that_scikit_learn_finds() -> None:
    """With a runtime object, which every fold shares."""
    X, y, _ = problem()
    grid = {"alpha": [0.01, 0.1, 1.0]}
    ours = GridSearchCV(dl.Lasso(runtime=serial(), tol=1e-10), grid, cv=3).fit(X, y)
    theirs = GridSearchCV(linear_model.Lasso(tol=1e-10, max_iter=100_000), grid, cv=3).fit(X, y)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], atol=1e-6)
