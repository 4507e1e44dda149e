"""Rows whose tiles have no room beside each other: they are read as they are asked about, and every answer is the same."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import distlasso as dl
from distlasso import queries
from distlasso.data.blocks import DenseBlock
from distlasso.data.store import StoredDense
from distlasso.losses import as_loss
from distlasso.queries import Ask, Gradient, Models, Request, Square, Value
from distlasso.runtime import local
from distlasso.runtime.local import Local, RowSpace, serial
from distlasso.runtime.plan import plan_bundles

N, P, CHUNK = 90, 1200, 60
TILES = P // CHUNK


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genotypes in one range of rows and many of columns, some of them missing, with a class for every row."""
    folder = tmp_path_factory.mktemp("wide") / "X.zarr"
    rng = np.random.default_rng(3)
    X = rng.integers(0, 3, (N, P)).astype(np.int8)
    group = zarr.create_group(folder)
    group.create_array("X", shape=(N, P), chunks=(N, CHUNK), dtype="int8")[:] = X
    y = (X[:, ::300] @ np.array([1.0, -1.0, 1.0, -1.0]) + rng.standard_normal(N) > 0) * 1.0
    group.create_array("y", shape=(N,), chunks=(N,), dtype="float64")[:] = y
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Columns of tiles as they are read."""
    seen: list[int] = []
    read = StoredDense.read

    def counted(self: StoredDense, i: int, j: int) -> Any:
        seen.append(j)
        return read(self, i, j)

    monkeypatch.setattr(StoredDense, "read", counted)
    return seen


@pytest.mark.parametrize("runtime", ["serial", "threads"])
@pytest.mark.parametrize("options", [{"loss": "logistic"}, {"memory": "1.3MB"}, {"loss": "logistic", "memory": "1.3MB"}])
def test_a_path_has_the_bits_that_it_has_where_tiles_are_held(
    store: Path, options: dict[str, Any], runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rounds, by blocks that are kept and by blocks that are looked up."""
    held = dl.fit_path(dl.open_dataset(store), n_lambdas=8, lambda_min_ratio=0.3, runtime="serial", **options)
    monkeypatch.setattr(local, "HELD_AT_ONCE", 1)
    unread = dl.fit_path(dl.open_dataset(store), n_lambdas=8, lambda_min_ratio=0.3, runtime=runtime, **options)
    assert ("blocks" in held.solver) == ("memory" in options)
    assert held.n_active[-1] > 5 and unread.converged.all()
    np.testing.assert_array_equal(unread.coef.toarray(), held.coef.toarray())
    np.testing.assert_array_equal(unread.gap, held.gap)


def test_folds_have_the_bits_that_they_have_where_tiles_are_held(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a fold are taken from tiles that are not there yet."""
    options: dict[str, Any] = {"loss": "logistic", "n_lambdas": 6, "lambda_min_ratio": 0.4, "folds": np.arange(N) % 3}
    held = dl.cross_validate(dl.open_dataset(store), **options)
    monkeypatch.setattr(local, "HELD_AT_ONCE", 1)
    unread = dl.cross_validate(dl.open_dataset(store), **options)
    np.testing.assert_array_equal(unread.chosen.mean, held.chosen.mean)


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_tiles_than_threads_are_held(store: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is let go of before the next one is read."""
    monkeypatch.setattr(local, "HELD_AT_ONCE", 1)
    alive: list[weakref.ref[DenseBlock]] = []
    most = [0]
    read = StoredDense.read

    def watched(self: StoredDense, i: int, j: int) -> Any:
        most[0] = max(most[0], sum(tile() is not None for tile in alive))
        tile = read(self, i, j)
        alive.append(weakref.ref(tile))
        return tile

    monkeypatch.setattr(StoredDense, "read", watched)
    data, runtime = dl.open_dataset(store), Local(threads)
    runtime.open(data, plan_bundles(data.row_bounds, data.col_bounds, by_columns=False), [RowSpace(data.y, np.ones(N))])
    gc.collect()
    every = Models(np.arange(P), np.ones((P, 1)), np.zeros(1))
    runtime.run([Ask(Request((Gradient(),), every, as_loss("squared")))])
    assert len(alive) >= 2 * TILES
    assert most[0] <= threads


def test_a_gram_reads_every_tile_once_however_many_pieces_it_goes_through(
    store: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tiles meet in every piece of rows."""
    monkeypatch.setattr(local, "HELD_AT_ONCE", 1)
    monkeypatch.setattr(queries, "_PIECE", 10)
    data, runtime = dl.open_dataset(store), serial()
    runtime.open(data, plan_bundles(data.row_bounds, data.col_bounds, by_columns=False), [RowSpace(data.y, np.ones(N))])
    ((gram,),) = runtime.run([Ask(Request((Square(),)))])
    assert sorted(reads) == sorted([0, *range(TILES)])  # the first tells how large they are
    X = np.asarray(zarr.open_group(store)["X"][:], dtype=np.float64)
    np.testing.assert_array_equal(np.triu(gram), np.triu(X.T @ X))


def test_only_tiles_with_columns_that_are_asked_about_are_read(
    store: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round about columns of two tiles reads these two, and none once their columns are kept; beyond their room it does."""
    monkeypatch.setattr(local, "HELD_AT_ONCE", 1)
    data = dl.open_dataset(store)
    plan, rows = partial(plan_bundles, data.row_bounds, data.col_bounds, by_columns=False), [RowSpace(data.y, np.ones(N))]
    ask = Ask(Request((Value(),), Models(np.arange(2), np.ones((2, 1)), np.zeros(1)), as_loss("squared"),
                      columns=np.array([7 * CHUNK + 1, 3 * CHUNK])), sweep=False)  # fmt: skip
    # Two columns are kept with room for eight.
    for room, again in ((None, set()), (8 * N, set()), (8 * N - 1, {0, 3, 7})):
        runtime = serial()
        runtime.open(data, plan(room=room), rows)
        reads.clear()
        runtime.run([ask])
        assert set(reads) == {0, 3, 7}  # the first tells how large they are
        reads.clear()
        runtime.run([ask])
        assert set(reads) == again
