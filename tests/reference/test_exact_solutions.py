"""Real data against exact solutions and published numbers that nobody here computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl

TOL = 1e-10


def csr(parts: Any) -> Any:
    shape = tuple(int(size) for size in parts["shape"])
    return sp.csr_array((parts["data"].astype(float), parts["indices"], parts["indptr"]), shape=shape)


def colon(find: Any) -> tuple[Any, Any]:
    parts = np.load(find("colon_alon.npz"))
    return parts["X"], np.where(parts["y"] == "t", 1.0, -1.0)


def leukemia(find: Any, train: bool) -> tuple[Any, Any]:
    parts = np.load(find("leukemia_golub.npz"))
    rows = parts["train"] if train else np.ones(72, dtype=bool)
    return parts["X"][rows].astype(float), np.where(parts["y"][rows] == "AML", 1.0, -1.0)


def a9a(find: Any) -> tuple[Any, Any]:
    parts = np.load(find("a9a.npz"))
    return csr(parts), parts["y"].astype(float)


def diabetes() -> tuple[Any, Any]:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn, which has the data, is not installed")
    return datasets.load_diabetes(return_X_y=True)


def diabetes64() -> tuple[Any, Any]:
    """The ten features, their squares (but sex) and products, centred and of unit length (Efron et al. 2004)."""
    X, y = diabetes()
    columns = [*X.T, *(X[:, i] ** 2 for i in range(10) if i != 1)]
    columns += [X[:, i] * X[:, j] for i in range(10) for j in range(i + 1, 10)]
    Z = np.array(columns).T
    Z = Z - Z.mean(axis=0)
    return Z / np.sqrt((Z**2).sum(axis=0)), y


def wheat(find: Any) -> tuple[Any, Any]:
    parts = np.load(find("wheat_bglr.npz"))
    return parts["X"], parts["Y"][:, 0]


def we8there(find: Any) -> tuple[Any, Any]:
    parts = np.load(find("we8there.npz"))
    return csr(parts), parts["ratings"][:, list(parts["rating_names"]).index("Overall")]


SETS = {
    "colon_std1": colon,
    "leukemia72_std1": lambda find: leukemia(find, False),
    "leukemia38train_std1": lambda find: leukemia(find, True),
    "a9a_std0": a9a,
    "diabetes10_std0": lambda find: diabetes(),
    "diabetes64_std0": lambda find: diabetes64(),
    "wheat_y1_std1": wheat,
    "we8there_overall_std0": we8there,
    "we8there_overall_std1": we8there,
}


@pytest.mark.parametrize("name", SETS)
def test_objective_and_optimality_match_the_exact_solution(name: str, reference: Any, problem_of: Any) -> None:
    exact = np.load(reference(f"refs/{name}.npz"))
    X, y = SETS[name](reference)
    standardize = bool(exact["standardize"])
    path = dl.fit_path(X, y, lambdas=exact["lam"], standardize=standardize, l1_ratio=float(exact["l1_ratio"]), tol=TOL)
    problem = problem_of(X, y, standardize=standardize, l1_ratio=float(exact["l1_ratio"]))
    order = np.argsort(-exact["lam"], kind="stable")
    for k, at in enumerate(order):
        b = path.coef[[k]].toarray()[0]
        lam, best = float(exact["lam"][at]), float(exact["objective"][at])
        assert problem.objective(b, lam) - best <= 1e-6 * best
        assert problem.kkt(b, lam) <= 1e-3
    assert path.converged.all()


@pytest.mark.parametrize("name", ["leukemia72_std1", "diabetes10_std0", "diabetes64_std0"])
def test_coefficients_match_where_they_are_unique(name: str, reference: Any) -> None:
    exact = np.load(reference(f"refs/{name}.npz"))
    X, y = SETS[name](reference)
    path = dl.fit_path(X, y, lambdas=exact["lam"], standardize=bool(exact["standardize"]), tol=1e-12)
    parts = (exact["coef_data"], exact["coef_indices"], exact["coef_indptr"])
    coef = sp.csr_array(parts, shape=tuple(exact["coef_shape"]))[np.argsort(-exact["lam"], kind="stable")].toarray()
    scale = np.asarray(X).std(axis=0)
    np.testing.assert_allclose(path.coef.toarray() * scale, coef * scale, atol=2e-4 * np.abs(coef * scale).max())


def test_every_knot_of_efrons_diabetes_path_has_the_published_l1_norm() -> None:
    X, y = diabetes()
    knots = np.array([889.314, 452.896, 316.073, 130.13, 88.784, 68.965, 19.981, 5.478, 5.088, 2.182, 1.31])
    norms = [60.12, 663.68, 888.91, 1250.7, 1440.78, 1537.06, 1914.56, 2115.73, 2195.75, 2802.36, 2862.99]
    path = dl.fit_path(X, y, lambdas=knots / 442, standardize=False, tol=1e-13)
    np.testing.assert_allclose(np.abs(path.coef.toarray()).sum(axis=1), norms, rtol=1e-3)


def test_the_order_of_entry_of_efrons_diabetes_path() -> None:
    X, y = diabetes()
    knots = np.array([949.435, 889.314, 452.896, 316.073, 130.13, 88.784, 68.965, 19.981, 5.478, 5.088, 2.182, 1.31])
    between = np.sqrt(knots[:-1] * knots[1:]) / 442
    path = dl.fit_path(X, y, lambdas=between, standardize=False, tol=1e-12)
    counts = path.n_active.tolist()
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9]


def test_glmnets_quick_start(reference: Any) -> None:
    parts = np.load(reference("glmnet_QuickStartExample.npz"))
    exact = {1: 1.32058695967, 3: 0.675096708639, 5: -0.817381717411, 6: 0.521438263933, 7: 0.00483959165849,
             8: 0.319412022373, 11: 0.142499784674, 14: -1.0599836654, 20: -1.02187131056}  # fmt: skip
    path = dl.fit_path(parts["x"], parts["y"], lambdas=[0.1], tol=1e-14)
    expected = np.zeros(20)
    expected[[k - 1 for k in exact]] = list(exact.values())
    np.testing.assert_allclose(path.coef.toarray()[0], expected, atol=1e-6)
    assert path.intercept[0] == pytest.approx(0.150931886013, abs=1e-6)
    full = dl.fit_path(parts["x"], parts["y"], tol=1e-10)
    assert full.lambdas[0] == pytest.approx(1.63076208204)
    assert full.n_active[:10].tolist() == [0, 2, 2, 2, 2, 2, 4, 5, 5, 6]


def read_csv(file: Path) -> dict[str, list[str]]:
    with file.open() as lines:
        rows = [line.rstrip("\n").replace('"', "").split(",") for line in lines]
    return {name: [row[k] for row in rows[1:]] for k, name in enumerate(rows[0])}


def test_the_prostate_table_of_the_elements_of_statistical_learning(reference: Any) -> None:
    table = read_csv(reference("prostate_esl.csv"))
    names = ["lcavol", "lweight", "age", "lbph", "svi", "lcp", "gleason", "pgg45"]
    X = np.array([[float(v) for v in table[name]] for name in names]).T
    y, train = np.array([float(v) for v in table["lpsa"]]), np.array([v.startswith("T") for v in table["train"]])
    path = dl.fit_path(X[train], y[train], lambdas=[0.2092], tol=1e-12)
    scaled = path.coef.toarray()[0] * X.std(axis=0, ddof=1)
    np.testing.assert_allclose(scaled, [0.533, 0.169, 0, 0.002, 0.094, 0, 0, 0], atol=1e-3)
    error = (y[~train] - path.predict(X[~train], lam=0.2092)) ** 2
    assert error.mean() == pytest.approx(0.479, abs=5e-4)


def test_the_exact_hitters_solution_not_the_printed_one(reference: Any) -> None:
    table = read_csv(reference("hitters_islr.csv"))
    kept = [i for i, salary in enumerate(table["Salary"]) if salary not in ("", "NA")]
    dummies = {"League": "N", "Division": "W", "NewLeague": "N"}
    names = [name for name in table if name not in ("", "Salary")]
    columns = [[float(table[n][i] == dummies[n]) if n in dummies else float(table[n][i]) for i in kept] for n in names]
    y = np.array([float(table["Salary"][i]) for i in kept])
    path = dl.fit_path(np.array(columns).T, y, lambdas=[9.286955], tol=1e-13)
    found = {n: v for n, v in zip(names, path.coef.toarray()[0], strict=True) if v != 0}
    exact = {"Hits": 2.02839174, "Walks": 2.25873976, "CHmRun": 0.03522774, "CRuns": 0.2164487, "CRBI": 0.41062622,
             "League": 20.6916826, "Division": -116.4913024, "PutOuts": 0.23736858, "Errors": -0.94142322}  # fmt: skip
    # The source prints lambda to seven digits only.
    assert found == pytest.approx(exact, rel=3e-4)
    assert path.intercept[0] == pytest.approx(-3.28126784, rel=1e-3)


def test_stacked_rows_leave_the_solution_unchanged() -> None:
    X, y = diabetes()
    once = dl.fit_path(X, y, lambdas=[0.5, 0.1], tol=1e-12)
    often = dl.fit_path(np.tile(X, (7, 1)), np.tile(y, 7), lambdas=[0.5, 0.1], tol=1e-12)
    np.testing.assert_allclose(often.coef.toarray(), once.coef.toarray(), rtol=1e-6, atol=1e-6)
