"""Where memory is too small for the Gram of the strong set, blocks of it give the same path; memory stays as planned."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.data.blocks import Block
from distlasso.data.chosen import ChosenColumns
from distlasso.data.dataset import as_block
from distlasso.path.plan import project
from distlasso.penalties import Bounds4
from distlasso.solvers.smooth import Curvature, Point
from distlasso.solvers.strong_blocks import StrongBlocks

rng = np.random.default_rng(0)
N, P = 400, 90
X = rng.standard_normal((N, P))
for j in range(1, P):
    X[:, j] += 0.8 * X[:, j - 1]
X = X * rng.uniform(0.2, 5.0, P) + rng.uniform(0.0, 3.0, P)
ETA = (X - X.mean(axis=0)) @ np.where(np.arange(P) < 10, rng.standard_normal(P) / X.std(axis=0), 0.0)
TARGETS = {
    "squared": ETA + rng.standard_normal(N),
    "logistic": (rng.random(N) < 1.0 / (1.0 + np.exp(-ETA))) * 1.0,
    "poisson": rng.poisson(np.exp(0.4 * ETA - 1.0)) * 1.0,
    "huber": ETA + rng.standard_t(3, N),
}
FACTORS = np.where(np.isin(np.arange(P), (3, 50)), 0.0, 1.0)
LOW, HIGH = np.where(np.arange(P) % 2, -0.05, -np.inf), np.where(np.arange(P) % 3, np.inf, 0.04)
GRID: dict[str, Any] = {"n_lambdas": 15, "lambda_min_ratio": 0.02}
TINY = "150kB"


def same_path(path: dl.Path, usual: dl.Path, *, within: float = 3e-4) -> None:
    assert path.converged.all() and usual.converged.all()
    assert abs(path.coef - usual.coef).multiply(X.std(axis=0)[None, :]).max() <= within
    np.testing.assert_allclose(path.deviance_ratio, usual.deviance_ratio, atol=within)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_tiny_budget_forces_blocks_that_find_the_same_path(loss: str) -> None:
    usual = dl.fit_path(X, TARGETS[loss], loss=loss, tol=1e-9, **GRID)
    path = dl.fit_path(X, TARGETS[loss], loss=loss, tol=1e-9, lambdas=usual.lambdas, memory=TINY)
    assert path.solver.startswith("bcd: blocks of ")
    assert "beyond memory" in path.solver
    assert "blocks" not in usual.solver
    same_path(path, usual)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize(
    "options",
    [{"l1_ratio": 0.5}, {"penalty_factors": FACTORS}, {"bounds": (LOW, HIGH)}, {"fit_intercept": False},
     {"sample_weight": rng.uniform(0.5, 2.0, N) * (np.arange(N) >= 10), "offset": np.sin(np.arange(N))}],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_blocks_take_every_penalty_and_weight(loss: str, options: dict[str, Any]) -> None:
    usual = dl.fit_path(X, TARGETS[loss], loss=loss, tol=1e-9, **GRID, **options)
    path = dl.fit_path(X, TARGETS[loss], loss=loss, tol=1e-9, lambdas=usual.lambdas, memory=TINY, **options)
    assert "blocks" in path.solver
    same_path(path, usual)


@pytest.mark.parametrize(
    ("kind", "rows", "columns"),
    [("float32", 5, 1), ("int8", 1, 1), ("csr", 4, 3), ("csr", 1, 1), ("missing", 1, 4), ("missing", 4, 3)],
)
def test_blocks_work_on_every_encoding_and_layout(kind: str, rows: int, columns: int) -> None:
    data: Any = np.round(X).clip(-100, 100)
    data = sp.csr_array(np.where(np.abs(data) > 5, data, 0.0)) if kind == "csr" else data.astype(kind.replace("missing", "int8"))
    missing = int(data[0, 0]) if kind == "missing" else None
    dataset = dl.Dataset.from_arrays(
        data, TARGETS["logistic"], row_chunks=rows, col_chunks=columns, missing_value=missing
    )  # fmt: skip
    usual = dl.fit_path(dataset, loss="logistic", tol=1e-8, n_lambdas=8, lambda_min_ratio=0.1)
    path = dl.fit_path(dataset, loss="logistic", tol=1e-8, lambdas=usual.lambdas, memory="250kB")
    assert "blocks" in path.solver
    same_path(path, usual, within=1e-3)


def test_more_memory_means_wider_blocks_and_fewer_rounds() -> None:
    found = [dl.fit_path(X, TARGETS["squared"], memory=memory, **GRID) for memory in ("150kB", "400kB", "1200kB")]
    widths = [int(path.solver.split()[3]) for path in found]
    assert widths[0] < widths[1] < widths[2] <= P
    assert found[0].rounds > found[1].rounds > found[2].rounds


def test_wide_data_whose_strong_columns_do_not_fit_works_on_blocks() -> None:
    few = slice(0, 60)
    usual = dl.fit_path(X[few], TARGETS["squared"][few], tol=1e-8, n_lambdas=10, lambda_min_ratio=0.1)
    path = dl.fit_path(X[few], TARGETS["squared"][few], tol=1e-8, lambdas=usual.lambdas, memory="100kB")
    assert "blocks" in path.solver
    assert "residual" in usual.solver
    same_path(path, usual, within=1e-3)


def test_fista_runs_within_a_tiny_budget_too() -> None:
    usual = dl.fit_path(X, TARGETS["logistic"], loss="logistic", tol=1e-8, **GRID)
    path = dl.fit_path(X, TARGETS["logistic"], loss="logistic", tol=1e-8, lambdas=usual.lambdas, solver="fista", memory=TINY)
    same_path(path, usual)


def test_several_responses_work_on_blocks() -> None:
    Y = np.stack([TARGETS["squared"], ETA], axis=1)
    usual = dl.fit_path(X, Y, tol=1e-8, n_lambdas=8, lambda_min_ratio=0.1)
    path = dl.fit_path(X, Y, tol=1e-8, n_lambdas=8, lambda_min_ratio=0.1, memory="300kB")
    assert "blocks" in str(path.solver)
    for own, other in zip(path.coef, usual.coef, strict=True):
        assert abs(own - other).multiply(X.std(axis=0)[None, :]).max() <= 1e-3


def test_auto_says_what_it_chose_and_why() -> None:
    path = dl.fit_path(X, TARGETS["squared"], n_lambdas=3)
    assert path.solver.startswith("bcd: full Gram of all 90 columns, once, because p <= 4096 and n >= p; chosen by auto")
    path = dl.fit_path(X, TARGETS["logistic"], loss="logistic", n_lambdas=3, solver="bcd")
    assert path.solver.startswith("bcd: proximal Newton")
    assert "because p <= 4096 and n >= p" in path.solver
    assert "auto" not in path.solver


class Known:
    """Least squares in plain numpy, which writes down the blocks whose Gram is asked for."""

    intercept = True
    kinked = False

    def __init__(self, X: Any, y: Any) -> None:
        self.X, self.y = X - X.mean(axis=0), y
        self.grams: list[Any] = []
        self.rounds = 0

    def at(self, b: Any, intercept: Any, curvature_of: Any = (), within: Any = None) -> tuple[Point, list[Curvature]]:
        self.rounds += 1
        n, r = self.y.size, self.y[:, None] - self.X @ b - intercept
        found = []
        for _ in curvature_of:
            self.grams.append(within)
            own = self.X[:, within]
            found.append(Curvature(own.T @ own / n, own.sum(axis=0) / n, 1.0))
        return Point(0.5 * np.mean(r * r, axis=0), self.X.T @ r / n, r.mean(axis=0)), found


def solve_in_blocks(*, width: int, held: int, lam: float = 0.05) -> tuple[Known, Any]:
    known = Known(X / X.std(axis=0), TARGETS["squared"])
    one = np.ones(P)
    solver = StrongBlocks(width=width, held=held, fixed=True)
    b, intercept = solver.solve(
        known, [Bounds4(lam * one, 0 * one, -np.inf * one, np.inf * one)], np.zeros((P, 1)), np.zeros(1),
        target=1e-10, columns=np.mean(known.X**2, axis=0), names=np.arange(P),
    )  # fmt: skip
    np.testing.assert_allclose(intercept, known.y.mean(), atol=1e-6)
    u = known.X.T @ (known.y - known.X @ b[:, 0] - intercept) / N
    assert np.abs(u).max() <= lam * (1 + 1e-6)
    np.testing.assert_allclose(u[b[:, 0] != 0], lam * np.sign(b[b != 0]), rtol=1e-5)
    return known, b[:, 0]


def test_the_gram_of_a_block_is_asked_for_once_where_all_may_be_kept() -> None:
    known, _ = solve_in_blocks(width=20, held=5)
    assert len(known.grams) <= 5
    assert all(block.size <= 20 for block in known.grams)


def test_a_gram_that_may_not_be_kept_is_asked_for_again_and_the_solution_is_the_same() -> None:
    many, expected = solve_in_blocks(width=20, held=5)
    one, b = solve_in_blocks(width=20, held=1)
    assert len(one.grams) > len(many.grams)
    np.testing.assert_allclose(b, expected, atol=1e-6)


def test_the_block_that_violates_most_comes_next() -> None:
    centred = rng.standard_normal((200, 40))
    orthogonal, _ = np.linalg.qr(centred - centred.mean(axis=0))
    known = Known(np.sqrt(200) * orthogonal, np.zeros(200))
    known.y = known.X[:, 31] + 0.1 * known.X[:, 11]
    one = np.ones(40)
    StrongBlocks(width=10, held=4, fixed=True).solve(
        known, [Bounds4(0.05 * one, 0 * one, -np.inf * one, np.inf * one)], np.zeros((40, 1)), np.zeros(1),
        target=1e-8, columns=np.mean(known.X**2, axis=0), names=np.arange(40),
    )  # fmt: skip
    assert 31 in known.grams[1]  # the first is asked for before anything is known
    assert 11 in known.grams[2]


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_columns_chosen_from_several_tiles_answer_like_a_copy_of_them(kind: str) -> None:
    data = np.where(rng.random((30, 300)) < 0.5, rng.standard_normal((30, 300)), 0.0)
    matrix: Any = data if kind == "dense" else sp.csr_array(data).asformat(kind)
    bounds = np.array([100, 180, 250, 400])
    tiles = [as_block(matrix[:, a - 100 : b - 100]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    columns = rng.permutation(300)[:140] + 100
    chosen: Block = ChosenColumns(tiles, bounds, columns)
    copy = data[:, columns - 100]
    shift = np.zeros(140) if kind != "dense" else rng.standard_normal(140)
    some, d, coef = rng.permutation(140)[:60], rng.standard_normal((30, 3)), rng.standard_normal((60, 2))
    np.testing.assert_allclose(chosen.eta(some, coef, shift[some]), (copy[:, some] - shift[some]) @ coef, atol=1e-12)
    np.testing.assert_allclose(chosen.gradient([d], shift)[0], (copy - shift).T @ d, atol=1e-12)
    np.testing.assert_allclose(chosen.widened(slice(3, 9), shift), copy[3:9] - shift)
    np.testing.assert_allclose(chosen.take(some).eta(np.arange(60), np.eye(60), np.zeros(60)), copy[:, some])
    assert chosen.shape == copy.shape


def test_the_plan_of_a_fit_within_a_budget_is_within_the_budget() -> None:
    dataset = dl.Dataset.from_arrays(rng.standard_normal((5000, 400)), rng.standard_normal(5000))
    usual = project(dataset).coordinator_bytes
    for memory in (usual // 2, usual // 4, usual // 10):
        projection = project(dataset, memory=memory)
        assert projection.form.kind == "blocks"
        assert projection.coordinator_bytes <= memory
    assert project(dataset, memory=usual).form.kind == "gram"


_FIT = """
import json, sys
import numpy as np
import distlasso as dl
from distlasso.events import FitStarted
from distlasso.runtime.memory import peak_bytes, resident_bytes

rng = np.random.default_rng(0)
X = rng.standard_normal((20_000, 300))
y = (rng.random(20_000) < 1 / (1 + np.exp(-X[:, :20].sum(axis=1)))) * 1.0
before = []

def hear(event):
    if isinstance(event, FitStarted):
        before.extend([event.planned_bytes - resident_bytes(), peak_bytes()])

path = dl.fit_path(X, y, loss="logistic", n_lambdas=30, lambda_min_ratio=1e-2, memory=sys.argv[1] or None, on_event=hear)
planned, peak = before
print(json.dumps([planned, path.peak_bytes - peak, bool(path.converged.all()), path.solver]))
"""


@pytest.mark.parametrize(("memory", "form"), [("", "proximal Newton"), ("25MB", "blocks of ")])
def test_a_fit_adds_no_more_memory_than_was_planned(memory: str, form: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FIT, memory], capture_output=True, text=True, check=True)
    planned, added, converged, solver = json.loads(done.stdout)
    assert converged
    assert form in solver
    assert added <= planned
