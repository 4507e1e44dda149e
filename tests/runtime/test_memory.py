"""Workers with little memory: caches give way, and data much larger than all of it pass through."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import zarr

import distlasso as dl
from distlasso import events
from distlasso.data.blocks import DenseBlock
from distlasso.runtime import worker as worker_module
from distlasso.runtime.cache import StrongColumns, TileCache
from tests.chaos.farm import Farm

pytestmark = pytest.mark.xdist_group("farm")

LIMIT = 200_000_000  # of the only worker, of which 120 MB are taken once everything is imported
ROWS, COLUMNS, CHUNK_ROWS = 160_000, 10_000, 400


def large_store(path: Path) -> str:
    """A store that others wrote, of 1.6 GB; every chunk is the same, so that it is there at once."""
    rng = np.random.default_rng(0)
    group = zarr.create_group(path)
    X = group.create_array("X", shape=(ROWS, COLUMNS), chunks=(CHUNK_ROWS, COLUMNS), dtype=np.int8)
    tile = (rng.random((CHUNK_ROWS, COLUMNS)) < 0.02).astype(np.int8)
    X[:CHUNK_ROWS] = tile
    first = path / "X" / "c" / "0" / "0"
    for k in range(1, ROWS // CHUNK_ROWS):
        folder = path / "X" / "c" / str(k)
        folder.mkdir()
        os.link(first, folder / "0")
    signal = np.tile(tile[:, :3].astype(float) @ [3.0, -2.0, 1.0], ROWS // CHUNK_ROWS)
    group.create_array("y", data=signal + rng.standard_normal(ROWS), chunks=(ROWS,))
    return str(path)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_data_eight_times_as_large_as_the_memory_of_all_workers(tmp_path: Path) -> None:
    ds = dl.open_dataset(large_store(tmp_path / "large.zarr"))
    assert ds.nbytes >= 8 * LIMIT
    heard: list[events.Event] = []
    with Farm(1, memory_limit=LIMIT) as farm, dl.Cluster(address=farm.address) as cluster:
        path = dl.fit_path(ds, runtime=cluster, n_lambdas=2, lambda_min_ratio=0.8, on_event=heard.append)
        peaks = cluster.client.run(peak)
    assert path.converged.all() and path.n_active[-1] >= 1
    assert len(peaks) == 1 and max(peaks.values()) < LIMIT
    assert not [event for event in heard if isinstance(event, events.WorkerLost)]


def test_caches_give_way_before_dask_would_pause_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = TileCache(10_000)
    state = worker_module._Worker(limit=100_000, tiles=tiles, address="")
    for k in range(10):
        tiles.get(k, lambda: DenseBlock(np.zeros((10, 10))))
    mine, other = state.fit("mine").strong, state.fit("other").strong
    for strong in (mine, other):
        with strong.at_work(0):
            strong.add((0, False), 0, np.arange(4), np.zeros((100, 4)), np.arange(4), 4)
    sizes = iter([60_000, 71_000, 65_000, 71_000, 71_000])
    monkeypatch.setattr(worker_module, "resident_bytes", lambda: next(sizes))
    state.relieve("mine")
    assert (tiles.held, mine.nbytes((0, False)), other.nbytes((0, False))) == (8000, 3200, 3200)
    state.relieve("mine")
    assert (tiles.held, mine.nbytes((0, False)), other.nbytes((0, False))) == (4000, 3200, 0)
    state.relieve("mine")
    assert (tiles.held, mine.nbytes((0, False)), other.nbytes((0, False))) == (0, 0, 0)


def test_strong_columns_of_bundles_at_work_stay() -> None:
    strong = StrongColumns()
    for bundle in range(4):
        with strong.at_work(bundle):
            strong.add((0, False), bundle, np.arange(2), np.zeros((50, 2)), np.arange(2), 2)
    with strong.at_work(1):
        strong.shrink(1700)
        assert [bundle for bundle in range(4) if strong.lacking((0, False), bundle, np.arange(2)) is None] == [1, 3]
        strong.shrink(0)
        assert strong.lacking((0, False), 1, np.arange(2)) is None
    strong.shrink(0)
    assert strong.nbytes((0, False)) == 0


def test_caches_of_fits_that_are_gone_do_not_pile_up() -> None:
    state = worker_module._Worker(limit=None, tiles=TileCache(1), address="")
    for k in range(20):
        state.fit(f"fit {k}")
    assert len(state.fits) < 10 and "fit 19" in state.fits


@pytest.mark.parametrize("most", [10, 40, 1000])
def test_columns_are_kept_in_the_order_of_their_admission_row_by_row(most: int) -> None:
    rng, strong, columns = np.random.default_rng(0), StrongColumns(), np.array([7, 2, 9, 4, 0])
    X = np.asfortranarray(rng.standard_normal((2500, 10)))
    for size in (2, 5):
        lacking = strong.lacking((0, False), 3, columns[:size])
        assert lacking is not None
        others = np.union1d(lacking, [5])  # what was gathered for somebody else too
        strong.add((0, False), 3, columns[:size], X[:, others], others, most)
    held = strong._held[(0, False), 3].matrix
    assert held.flags.c_contiguous and held.shape[1] == 8
    every = slice(None)
    np.testing.assert_array_equal(strong.block((0, False), 3, columns).widened(every, np.zeros(5)), X[:, columns])
    np.testing.assert_array_equal(strong.block((0, False), 3, columns[:3]).widened(every, np.zeros(3)), X[:, columns[:3]])


def test_more_columns_are_written_behind_those_that_are_held() -> None:
    """What is held is copied as often as it has grown by half, and takes no more room than that or all columns of the data."""
    strong, X = StrongColumns(), np.arange(300.0).reshape(3, 100)
    copies, room = [], dict[int, int]()
    for size in range(1, 101):
        strong.add((0, False), 0, np.arange(size), X[:, [size - 1]], np.array([size - 1]), 100)
        held = strong._held[(0, False), 0].matrix
        copies += [held] if not copies or copies[-1] is not held else []
        room[size] = held.shape[1]
        np.testing.assert_array_equal(held[:, :size], X[:, :size])
        assert held.shape[1] <= min(max(size * 1.5 + 8, 8), 100) and strong.nbytes((0, False)) == 3 * 8 * size
    assert len(copies) == 7
    strong.shrink(0)
    for size in (100, 41):  # as far apart as when they came one by one: bits may depend on it
        other = StrongColumns()
        other.add((0, False), 0, np.arange(size), X[:, :size], np.arange(size), 100)
        assert other._held[(0, False), 0].matrix.shape[1] == room[size]
        first = other.block((0, False), 0, np.arange(9))
        assert first.nbytes == 3 * 8 * room[9]
        np.testing.assert_array_equal(first.widened(slice(None), np.zeros(9)), X[:, :9])


