"""The parts of a runtime: merge tree, bundles, cache, and how passes are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distlasso as dl
from distlasso.data.blocks import DenseBlock
from distlasso.data.statistics import Statistics, merge
from distlasso.runtime.cache import TileCache
from distlasso.runtime.plan import MAX_BUNDLES, MergeTree, plan_bundles


@given(st.integers(1, 40), st.randoms(use_true_random=False), st.integers(1, 6))
def test_partials_merge_in_the_same_order_whoever_answers_what(size: int, random: Any, workers: int) -> None:
    def join(a: list[object], b: list[object]) -> list[object]:
        return [f"({a[0]}{b[0]})"]

    whole = MergeTree(size, join)
    for k in range(size):
        whole.add(0, k, [f"{k},"])
    cuts = sorted({0, size, *(random.randrange(size + 1) for _ in range(workers))})
    nodes = []
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        own = MergeTree(size, join)
        for k in range(first, last):
            own.add(0, k, [f"{k},"])
        nodes += own.nodes()
    random.shuffle(nodes)
    coordinator = MergeTree(size, join)
    for level, position, partial in nodes:
        coordinator.add(level, position, partial)
    assert coordinator.result() == whole.result()


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_bundles_cover_every_tile_once(rows: int, columns: int, by_columns: bool) -> None:
    plan = plan_bundles(np.arange(rows + 1), np.arange(columns + 1), by_columns=by_columns)
    assert len(plan.bundles) <= MAX_BUNDLES
    assert sum((b.r1 - b.r0) * (b.c1 - b.c0) for b in plan.bundles) == rows * columns


def moments(values: Any) -> Statistics:
    rows = np.asarray(values, dtype=float)
    return DenseBlock(rows).moments(np.ones(len(rows)), rows[:, 0] * 2)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.integers(1, 29))
def test_statistics_of_parts_merge_to_those_of_the_whole(values: list[float], cut: int) -> None:
    rows = np.array(values)[:, None] + 1e6
    cut = min(cut, len(values) - 1)
    whole, parts = moments(rows), merge(moments(rows[:cut]), moments(rows[cut:]))
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.m2, whole.m2, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(parts.cross_y, whole.cross_y, rtol=1e-6, atol=1e-6)


def test_a_cache_stays_within_its_budget_and_drops_the_oldest() -> None:
    cache = TileCache(1000)
    for k in range(5):
        cache.get(k, lambda: DenseBlock(np.zeros((5, 10))))
    assert cache.held <= 1000
    cache.get(4, lambda: pytest.fail("was held"))
    misses = cache.misses
    cache.get(0, lambda: DenseBlock(np.zeros((5, 10))))
    assert cache.misses == misses + 1
    cache.get("large", lambda: DenseBlock(np.zeros((50, 10))))
    assert cache.held <= 1000


class Counting:
    """A reader that counts how often each tile is read."""

    def __init__(self, reader: Any) -> None:
        self.reader, self.reads = reader, {}

    def read(self, i: int, j: int) -> Any:
        self.reads[i, j] = self.reads.get((i, j), 0) + 1
        return self.reader.read(i, j)


@pytest.mark.parametrize(("n", "p"), [(500, 40), (120, 400)])
def test_passes_and_rounds_are_counted_truthfully(n: int, p: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    y = X[:, :5].sum(axis=1) + rng.standard_normal(n)
    dataset = dl.Dataset.from_arrays(X, y, row_chunks=4)
    counting = Counting(dataset.reader)
    path = dl.fit_path(replace(dataset, reader=counting), runtime="serial", lambda_min_ratio=0.05)
    assert set(counting.reads.values()) == {path.rounds}
    assert path.passes <= path.rounds
