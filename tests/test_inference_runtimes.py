"""Inference wherever passes run: the bits of serial on a Dask cluster, and dask arrays that stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

import distlasso as dl

RNG = np.random.default_rng(6)
X = RNG.standard_normal((200, 12))
ETA = X[:, :3] @ [1.5, -1.0, 0.5]
TARGETS = {"squared": ETA + RNG.standard_normal(200), "logistic": (ETA + RNG.logistic(size=200) > 0) * 1.0}
FEW: dict[str, Any] = {"n_lambdas": 8}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with dl.Cluster(n_workers=2) as running:
        yield running


@pytest.mark.parametrize("loss", sorted(TARGETS))
def test_dask_workers_give_the_bits_of_serial(loss: str, cluster: Any, tmp_path: Path) -> None:
    ds = dl.ingest((X, TARGETS[loss]), tmp_path / "d.zarr", chunks=(50, 12))
    path = dl.fit_path(ds, loss=loss, runtime="serial", **FEW)
    both: list[list[Any]] = []
    for runtime in ("serial", cluster):
        where: dict[str, Any] = {"loss": loss, "runtime": runtime, **FEW}
        stable = dl.stability_selection(ds, n_halves=6, **where)
        intervals = dl.debiased(ds, columns=[0, 5], folds=3, **where)
        refitted = dl.refit(path, ds, lam=float(path.lambdas[4]), runtime=runtime)
        nested = dl.nested_cross_validate(ds, outer=2, folds=3, **where)
        both.append([stable.probabilities.toarray(), intervals.estimate, intervals.se, refitted.se, nested.scores])
    for serial, spread in zip(*both, strict=True):
        np.testing.assert_array_equal(serial, spread)


def test_dask_arrays_give_what_arrays_do(cluster: Any) -> None:
    lazy, y = da.from_array(X, chunks=(50, 12)), TARGETS["squared"]
    path = dl.fit_path(X, y, **FEW)
    both = []
    for data, where in ((X, {}), (lazy, {"runtime": cluster})):
        options: dict[str, Any] = {**FEW, **where, "tol": 1e-9}
        stable = dl.stability_selection(data, y, n_halves=4, **options).probabilities.toarray()
        intervals = dl.debiased(data, y, columns=[0, 5], folds=3, **options)
        refitted = dl.refit(path, data, y, lam=float(path.lambdas[4]), **where)
        nested = dl.nested_cross_validate(data, y, outer=2, folds=3, **options)
        both.append([stable, intervals.estimate, intervals.se, refitted.se, nested.scores])
    for plain, chunked in zip(*both, strict=True):
        np.testing.assert_allclose(chunked, plain, rtol=1e-6)
