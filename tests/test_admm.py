"""Consensus ADMM: its algebra piece by piece, and the same path as coordinate descent however the rows are cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st

import distlasso as dl
from distlasso import losses
from distlasso.data.blocks import CSCBlock, CSRBlock, DenseBlock
from distlasso.events import ConsensusRound
from distlasso.kernels import prox as scalar
from distlasso.penalties import Bounds4
from distlasso.queries import Own, Request, Rows, RowStep, Tiles
from distlasso.runtime.cache import StrongColumns
from distlasso.runtime.local import Local
from distlasso.solvers.consensus_admm import Mixing, Track, balanced, prox, scaled, start
from distlasso.solvers.local_step import Cholesky, Frame, LocalStep, Woodbury

N, P = 512, 40
LOSSES = ["squared", "logistic", "poisson", "huber"]
OPTIONS: dict[str, Any] = {"n_lambdas": 25, "lambda_min_ratio": 5e-3, "standardize": False}

finite = st.floats(-5, 5)
nonnegative = st.floats(0, 3)


def data(loss: str = "squared") -> tuple[Any, Any]:
    """Small whole numbers, so that every encoding can hold them; columns of unlike size, neighbours correlated."""
    rng = np.random.default_rng(8)
    X = rng.integers(0, 4, (N, P)) * rng.integers(0, 2, (N, P))
    X[:, 1::2] = np.where(rng.random((N, P // 2)) < 0.5, X[:, ::2], X[:, 1::2])
    X[:, 3::5] *= 9
    eta = 0.5 * (X[:, :6] @ [1.0, -1.5, 1.0, 0.1, 0.5, 0.25] - 1.0)
    y = eta + rng.standard_normal(N)
    if loss == "logistic":
        y = (rng.random(N) < 1 / (1 + np.exp(-eta))).astype(float)
    if loss == "poisson":
        y = rng.poisson(np.exp(0.5 * eta)).astype(float)
    return X, y


@pytest.fixture(scope="module")
def descent() -> Callable[[str], dl.Path]:
    """The path of coordinate descent on the whole matrix, closer to the optimum than any test looks."""
    known: dict[str, dl.Path] = {}

    def path(loss: str) -> dl.Path:
        if loss not in known:
            X, y = data(loss)
            known[loss] = dl.fit_path(X.astype(float), y, loss=loss, solver="bcd", tol=1e-7, runtime="serial", **OPTIONS)
        return known[loss]

    return path


def objective(path: dl.Path, k: int, loss: str, lam: float) -> float:
    X, y = data(loss)
    value = losses.as_loss(loss).value(y, X @ path.coef[[k]].toarray()[0] + path.intercept[k])
    return float(value.mean() + lam * np.abs(path.coef[[k]].data).sum())


def same(path: dl.Path, exact: dl.Path, loss: str) -> None:
    """Every objective is within the tolerance of the best one, and never below it."""
    assert path.converged.all()
    np.testing.assert_allclose(path.lambdas, exact.lambdas, rtol=1e-9)
    for k, lam in enumerate(exact.lambdas):
        ours, best = objective(path, k, loss, float(lam)), objective(exact, k, loss, float(lam))
        assert -1e-7 * exact.null_deviance <= ours - best <= 1e-6 * exact.null_deviance


def same_bits(a: dl.Path, b: dl.Path) -> None:
    assert (a.coef != b.coef).nnz == 0
    np.testing.assert_array_equal(a.intercept, b.intercept)
    np.testing.assert_array_equal(a.gap, b.gap)


# One path, however the rows are cut, encoded and reached


@pytest.mark.parametrize("chunks", [1, 2, 4, 8, 64])
@pytest.mark.parametrize("loss", LOSSES)
def test_any_number_of_chunks_gives_the_same_path(
    loss: str, chunks: int, descent: Callable[[str], dl.Path], tmp_path: Path
) -> None:
    X, y = data(loss)
    ds = dl.ingest((X.astype(float), y), tmp_path / "d.zarr", chunks=(N // chunks, P))
    assert ds.row_bounds.size - 1 == chunks
    same(dl.fit_path(ds, loss=loss, solver="admm", **OPTIONS), descent(loss), loss)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("encoding", ["csr", "csc", "int8", "float32"])
def test_any_encoding_and_grid_gives_the_same_path(
    encoding: str, loss: str, descent: Callable[[str], dl.Path], tmp_path: Path
) -> None:
    X, y = data(loss)
    kind, dtype = (encoding, np.float64) if encoding in ("csr", "csc") else ("dense", np.dtype(encoding))
    ds = dl.ingest((X.astype(dtype), y), tmp_path / "d.zarr", encoding=kind, chunks=(N // 16, P // 2))
    same(dl.fit_path(ds, loss=loss, solver="admm", **OPTIONS), descent(loss), loss)


@pytest.mark.parametrize("loss", ["squared", "poisson"])
def test_threads_give_the_bits_of_serial_and_count_the_same_bytes(loss: str, tmp_path: Path) -> None:
    X, y = data(loss)
    ds = dl.ingest((X.astype(np.int8), y), tmp_path / "d.zarr", chunks=(N // 16, P))
    serial, threads = (dl.fit_path(ds, loss=loss, solver="admm", runtime=name, **OPTIONS) for name in ("serial", "threads"))
    same_bits(serial, threads)
    assert serial.bytes_moved == threads.bytes_moved > 0


def test_dask_workers_give_the_bits_of_serial_and_count_the_same_bytes(cluster: dl.Cluster, tmp_path: Path) -> None:
    X, y = data("logistic")
    ds = dl.ingest((X.astype(float), y), tmp_path / "d.zarr", chunks=(N // 8, P))
    options: dict[str, Any] = {"loss": "logistic", "solver": "admm", "n_lambdas": 6, "lambda_min_ratio": 0.05}
    serial = dl.fit_path(ds, runtime="serial", **options)
    path = dl.fit_path(ds, runtime=cluster, **options)
    same_bits(path, serial)
    assert (path.rounds, path.bytes_moved) == (serial.rounds, serial.bytes_moved)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_worker_that_forgets_everything_in_every_round_changes_no_bit(loss: str, tmp_path: Path) -> None:
    class Forgetful(Local):  # type: ignore[misc]
        def run(self, *request: Any) -> list[object]:
            self._kept.shrink(0)
            return super().run(*request)

    X, y = data(loss)
    ds = dl.ingest((X.astype(float), y), tmp_path / "d.zarr", chunks=(N // 4, P))
    forgetful, serial = (dl.fit_path(ds, loss=loss, solver="admm", runtime=runtime, **OPTIONS)
                         for runtime in (Forgetful(), "serial"))  # fmt: skip
    same_bits(forgetful, serial)


# What the problem may ask for


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_unpenalised_columns_and_bounds_and_weights_are_respected(loss: str, intercept: bool) -> None:
    X, y = data(loss)
    factors = np.ones(P)
    factors[[0, 7]], factors[3] = 0.0, np.inf
    low = np.where(factors == 0, -np.inf, -0.3)
    options: dict[str, Any] = {
        "loss": loss, "penalty_factors": factors, "bounds": (low, np.inf), "l1_ratio": 0.7, "standardize": True,
        "fit_intercept": intercept, "sample_weight": np.random.default_rng(0).integers(0, 3, N), "n_lambdas": 12,
        "lambda_min_ratio": 0.02,
    }  # fmt: skip
    admm, bcd = (dl.fit_path(X.astype(float), y, solver=name, tol=1e-9, **options) for name in ("admm", "bcd"))
    assert admm.converged.all()
    coef = admm.coef.toarray()
    assert (coef[:, [0, 7]] != 0).all() and (coef[:, 3] == 0).all()
    assert (coef >= low).all()
    np.testing.assert_allclose(coef, bcd.coef.toarray(), atol=2e-3)
    np.testing.assert_allclose(admm.intercept, bcd.intercept, atol=5e-3)


def test_coefficients_are_exactly_zero_off_the_support() -> None:
    X, y = data()
    admm, bcd = (dl.fit_path(X.astype(float), y, solver=name, tol=1e-9, **OPTIONS) for name in ("admm", "bcd"))
    assert (admm.n_active < P).any()
    assert np.abs(admm.n_active - bcd.n_active).max() <= 1


def test_more_columns_than_rows_are_solved_on_bundles_of_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((96, 400))
    y = X[:, :5] @ [3.0, -2.0, 2.0, 1.0, 1.0] + 0.5 * rng.standard_normal(96)
    ds = dl.ingest((X, y), tmp_path / "d.zarr", chunks=(12, 400))
    path = dl.fit_path(ds, solver="admm", n_lambdas=30, lambda_min_ratio=0.02)
    assert path.converged.all()
    assert path.solver.startswith("admm: ")


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (5, 1), (3, 8)])
def test_tiny_shapes_are_solved(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal(shape), rng.standard_normal(shape[0])
    path = dl.fit_path(X, y, solver="admm", lambdas=[0.1, 0.01], fit_intercept=shape[0] > 1)
    assert path.converged.all()


# What a round costs


def test_rounds_grow_slowly_with_bundles_and_bytes_with_the_strong_set_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n, p = 6400, 64
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    y = X[:, ::8] @ rng.choice([-1.0, 1.0], 8) + rng.standard_normal(n)
    few, many = (dl.fit_path(dl.ingest((X, y), tmp_path / f"{count}.zarr", chunks=(n // count, p)), solver="admm",
                             n_lambdas=50, lambda_min_ratio=1e-3, standardize=False) for count in (8, 64))  # fmt: skip
    assert few.converged.all() and many.converged.all()
    assert few.rounds <= 400
    assert many.rounds < 3 * few.rounds
    for path, bundles in ((few, 8), (many, 64)):
        assert path.bytes_moved <= bundles * path.rounds * 8 * (4 * 20 + 10) * p


# The algebra


@st.composite
def penalties(draw: Any, size: int) -> Bounds4:
    l1, l2 = (np.array(draw(st.lists(nonnegative, min_size=size, max_size=size))) for _ in range(2))
    low, high = (np.array(draw(st.lists(st.one_of(st.just(np.inf), nonnegative), min_size=size, max_size=size)))
                 for _ in range(2))  # fmt: skip
    return Bounds4(l1, l2, -low, high)


@given(st.data(), st.lists(finite, min_size=4, max_size=4), st.floats(0.01, 10))
def test_the_consensus_is_the_prox_of_the_scalar_kernel(draw: Any, v: list[float], curvature: float) -> None:
    penalty = draw.draw(penalties(4))
    found = prox(np.array(v), curvature, penalty)
    for k in range(4):
        own = (float(values[k]) for values in penalty)
        assert found[k] == pytest.approx(scalar.prox(curvature * v[k], curvature, *own), abs=1e-12)


@given(st.data(), st.lists(st.floats(0.1, 10), min_size=5, max_size=5), st.lists(finite, min_size=5, max_size=5))
def test_a_scaled_penalty_is_the_same_of_scaled_coefficients_and_leaves_the_intercept_free(
    draw: Any, scale: list[float], z: list[float]
) -> None:
    penalty, s = draw.draw(penalties(4)), np.array(scale)
    inner = np.clip(np.array(z)[:4], penalty.low, penalty.high)
    found = scaled(penalty, s)
    assert found.value(np.clip(np.append(inner, z[4]) * s, found.low, found.high)) == pytest.approx(penalty.value(inner))
    assert found.is_free()[4]
    assert prox(np.array(z), 2.0, found)[4] == pytest.approx(z[4])


@given(st.integers(1, 6), st.integers(1, 6), st.floats(1e-3, 10), st.integers(0, 1000))
def test_both_factorisations_solve_the_same_system(rows: int, columns: int, rho: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, right = rng.standard_normal((rows, columns)), rng.standard_normal((columns, 3))
    exact = np.linalg.solve(A.T @ A + rho * np.eye(columns), right)
    np.testing.assert_allclose(Cholesky(A.T @ A, rho).solve(right), exact, atol=1e-7 / rho)
    np.testing.assert_allclose(Woodbury(A, rho).solve(right), exact, atol=1e-7 / rho)


BLOCKS: dict[str, Callable[[Any], Any]] = {
    "dense": DenseBlock,
    "int8": lambda X: DenseBlock(X.astype(np.int8)),
    "csr": lambda X: CSRBlock(*_parts(sp.csr_array(X)), X.shape),
    "csc": lambda X: CSCBlock(*_parts(sp.csc_array(X)), X.shape),
}


def _parts(matrix: Any) -> tuple[Any, Any, Any]:
    return matrix.data, matrix.indices.astype(np.int32), matrix.indptr


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("encoding", list(BLOCKS))
def test_the_frame_is_centred_scaled_columns_and_ones(encoding: str, intercept: bool) -> None:
    rng = np.random.default_rng(3)
    X = rng.integers(0, 5, (30, 6)).astype(float)
    shift = np.round(X.mean(axis=0)) if encoding in ("dense", "int8") else np.zeros(6)
    mean, scale, h = X.mean(axis=0) + 0.25, X.std(axis=0), rng.uniform(0.1, 1, 30)
    Z = (X - mean) / scale
    Z = np.column_stack([Z, np.ones(30)]) if intercept else Z
    tile, frame = BLOCKS[encoding](X), Frame(mean - shift, scale, intercept)
    x, d = rng.standard_normal((Z.shape[1], 2)), rng.standard_normal((30, 2))
    np.testing.assert_allclose(frame.rows(tile, shift), Z, atol=1e-12)
    np.testing.assert_allclose(frame.eta(tile, shift, x), Z @ x, atol=1e-12)
    np.testing.assert_allclose(frame.slope(tile, shift, d), Z.T @ d, atol=1e-12)
    np.testing.assert_allclose(frame.hessian(tile, shift, h), Z.T @ (Z * h[:, None]), atol=1e-11)


@given(st.sampled_from(LOSSES), st.integers(2, 12), st.integers(1, 5), st.floats(0.05, 2), st.integers(0, 1000))
@example("huber", 2, 5, 0.5, 0)  # the second model's Hessian is not that of the first: one step leaves it most of its slope
@example("huber", 12, 5, 0.7312994998005865, 995)  # half the true Hessian, so a full step only changes sides
def test_local_steps_go_down_to_where_their_objective_is_flat(
    loss: str, rows: int, columns: int, rho: float, seed: int
) -> None:
    """A step falls by a fair share of what its slope promises, squared loss to its minimum at once and others step by step."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, columns))
    y = rng.integers(0, 2, rows).astype(float)[:, None]
    weight, z, dual = np.full(rows, 1 / rows), 0.3 * rng.standard_normal((columns, 2)), 0.3 * rng.standard_normal((columns, 2))
    chosen, frame = losses.as_loss(loss), Frame(np.zeros(columns), np.ones(columns), False)

    def height(x: Any, dual: Any) -> Any:
        return weight @ chosen.value(y, X @ x) + 0.5 * rho * np.sum(dual**2, axis=0)

    def slope(x: Any, dual: Any) -> Any:
        return X.T @ (weight[:, None] * chosen.residual(y, X @ x)) - rho * dual

    def found(x: Any, dual: Any) -> Any:
        tiles = Tiles([DenseBlock(X)], [np.zeros(columns)], np.array([0, columns]), Own(dual))
        step = RowStep(Rows(y[:, 0], weight), X @ x, weight[:, None] * chosen.residual(y, X @ x))
        local = LocalStep(frame, rho, x[:, 0]).ask(tiles, step, chosen)
        np.testing.assert_allclose(local.slope[0], X.T @ step.derivative, atol=1e-12)
        return local.step[0]

    steep = np.linalg.norm(slope(z, dual), axis=0)
    for _ in range(1 if loss == "squared" else 10):  # z + d under the dual u + d has the same objective
        step, before = found(z, dual), height(z, dual)
        promised = np.sum(slope(z, dual) * step, axis=0)
        z, dual = z + step, dual + step
        assert (height(z, dual) <= before * (1 + 1e-11) - 0.25 * promised).all()
    left = np.linalg.norm(slope(z, dual), axis=0)
    if loss == "squared":
        assert (left <= 1e-9 * steep + 1e-12).all()
    assert left[0] <= 1e-3 * steep[0] + 1e-12  # of the first model, whose Hessian it is


@given(st.integers(1, 5), st.integers(0, 100))
def test_mixing_solves_a_linear_iteration_in_as_many_rounds_as_it_has_directions(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    A, fixed = (Q * rng.uniform(-0.9, 0.95, size)) @ Q.T, rng.standard_normal(size)
    w, mixing = np.zeros(size), Mixing()
    for _ in range(size + 2):
        w = mixing.next(w, (A - np.eye(size)) @ (w - fixed))
    np.testing.assert_allclose(w, fixed, atol=1e-4)


def test_mixing_that_leads_astray_is_undone() -> None:
    mixing = Mixing()
    w = np.zeros(2)
    mixed = mixing.next(w, np.array([1.0, 0.0]))
    there = mixing.next(mixed, np.array([0.5, 0.0]))
    back = mixing.next(there, np.array([50.0, 0.0]))
    np.testing.assert_array_equal(back, mixed + np.array([0.5, 0.0]))


def test_a_track_at_the_optimum_stays_there() -> None:
    rng = np.random.default_rng(0)
    slope = rng.standard_normal((3, 2))
    free = Bounds4(np.zeros(2), np.zeros(2), np.full(2, -np.inf), np.full(2, np.inf))
    track = start(free, 0.5, np.array([1.0, -2.0]), slope - slope.mean(axis=0))
    np.testing.assert_allclose(track.z, [1.0, -2.0])
    track.advance(np.zeros((3, 2)))
    np.testing.assert_allclose(track.z, [1.0, -2.0])


def test_another_rho_keeps_consensus_and_unscaled_duals_and_is_only_taken_where_it_pays() -> None:
    free = Bounds4(np.zeros(1), np.zeros(1), np.full(1, -np.inf), np.full(1, np.inf))
    track = Track(free, 1.0, np.array([[1.0], [3.0]]))
    z, dual = track.z.copy(), track.rho * track.dual
    track.retune(4.0)
    np.testing.assert_allclose(track.z, z)
    np.testing.assert_allclose(track.rho * track.dual, dual)
    track.apart, track.adrift = 1.0, 1.0
    assert balanced(4.0, [track]) == 4.0
    track.apart = 10.0
    assert balanced(4.0, [track]) > 8.0
    track.apart, track.adrift = 1.0, 10.0
    assert balanced(4.0, [track]) < 2.0


def test_a_cache_answers_only_for_the_key_and_the_columns_it_was_asked_about() -> None:
    kept, worked = StrongColumns(), []
    for columns, key in (([1, 2], "a"), ([1, 2], "a"), ([1, 2], "b"), ([1, 3], "b"), ([1, 3], "b")):
        lacking = kept.lacking((0, False), 5, np.array(columns))
        if lacking is not None:
            kept.add((0, False), 5, np.array(columns), np.zeros((3, lacking.size)), lacking, 4)
        kept.recall(0, 5, np.array(columns))(key, lambda: worked.append(0))
    assert len(worked) == 3


def test_a_request_is_cut_to_the_bundles_that_are_asked() -> None:
    request = Request((), told=np.arange(12.0).reshape(4, 3))
    part = request.cut(1, 3).cut(2, 3)
    np.testing.assert_array_equal(part.told, [[6.0, 7.0, 8.0]])
    assert part.first == 2


def test_every_round_is_told_with_rho_and_both_residuals() -> None:
    """Numbered from one in every batch, down to where nobody moves."""
    X, y = data()
    rounds: list[Any] = []
    dl.fit_path(X.astype(float), y, solver="admm", on_event=rounds.append, **OPTIONS)
    rounds = [event for event in rounds if isinstance(event, ConsensusRound)]
    assert rounds[0].number == 1 and rounds[-1].n_moving == 0
    starts = [k for k, event in enumerate(rounds) if event.number == 1]
    assert all(rounds[k - 1].n_moving == 0 or rounds[k - 1].number == 1000 for k in starts[1:])
    assert all(event.rho > 0 and np.isfinite([event.apart, event.adrift]).all() for event in rounds)
    assert any(event.apart > 0 and event.adrift > 0 for event in rounds)
