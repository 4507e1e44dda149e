"""The fits that are disturbed: every solver, form and way to ask, small enough for seconds, and what each is without faults."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import distlasso as dl

# Of an ingest: many shards, and long enough for something to happen to each.
_LITTLE, _SHARD_SECONDS = 16_000, 0.03
PATH = {"n_lambdas": 12, "lambda_min_ratio": 0.03}


@dataclass(frozen=True)
class Job:
    """A fit of a store, or of a file that is ingested first."""

    name: str
    source: str
    options: dict[str, Any] = field(default_factory=dict)
    folds: int = 0
    ingests: bool = False

    def prepare(self, source: str, store: str) -> str:
        """The store to fit, written now if it is not there yet."""
        if not self.ingests:
            return source
        if not Path(store).exists():
            dl.ingest(source, store, chunks=(40, 16), memory=_LITTLE, on_event=lambda _: time.sleep(_SHARD_SECONDS))
        return store

    def run(self, store: str, **place: Any) -> str:
        """Fit, and return a digest of all its numbers."""
        dataset = dl.open_dataset(store)
        if not self.folds:
            return digest_of_path(dl.fit_path(dataset, **self.options, **place))
        cv = dl.cross_validate(dataset, folds=self.folds, **self.options, **place)
        return hashlib.blake2b((digest_of_path(cv.path) + cv.scores.tobytes().hex()).encode()).hexdigest()


def digest_of_path(path: dl.Path) -> str:
    told = hashlib.blake2b()
    for coef in path.coef if isinstance(path.coef, tuple) else (path.coef,):
        for part in (coef.data, coef.indices, coef.indptr):
            told.update(np.ascontiguousarray(part).tobytes())
    for part in (path.lambdas, path.intercept, path.gap):
        told.update(np.ascontiguousarray(part).tobytes())
    return told.hexdigest()


JOBS = (
    Job("squared loss, full Gram", "tall", PATH),
    Job("squared loss, residual form", "wide", PATH),
    Job("squared loss, blocks", "wide sparse", {"memory": 2_500_000, "n_lambdas": 4, "lambda_min_ratio": 0.2}),
    Job("squared loss, ADMM", "tall", PATH | {"solver": "admm", "tol": 1e-5}),
    Job("squared loss, FISTA", "tall", PATH | {"solver": "fista", "tol": 1e-4}),
    Job("logistic loss", "classes", PATH | {"loss": "logistic"}),
    Job("logistic loss, ADMM", "classes", PATH | {"loss": "logistic", "solver": "admm", "tol": 1e-4, "n_lambdas": 8}),
    Job("Huber loss", "tall", PATH | {"loss": "huber"}),
    Job("Poisson loss, FISTA", "counts", PATH | {"loss": "poisson", "solver": "fista", "tol": 1e-3, "n_lambdas": 8}),
    Job("MCP", "tall", PATH | {"schedule": dl.MCP(), "loss": "huber", "n_lambdas": 4}),
    Job("cross-validation", "classes", PATH | {"loss": "logistic", "n_lambdas": 8}, folds=3),
    Job("cross-validation, full Gram", "tall", PATH, folds=3),
    Job("ingest, squared loss", "tall file", PATH, ingests=True),
)  # fmt: skip


def make_stores(folder: Path) -> dict[str, str]:
    """Write every store and file that jobs name."""
    rng = np.random.default_rng(7)
    tall, wide = rng.standard_normal((480, 16)), rng.integers(0, 3, (60, 240)).astype(np.int8)
    sparse = sp.csr_array(wide * (rng.random(wide.shape) < 0.3))
    b = np.where(np.arange(16) < 6, rng.standard_normal(16), 0.0)
    eta = tall @ b
    noise = rng.standard_normal(480)
    signal = wide[:, :5] @ rng.standard_normal(5) + 0.3 * rng.standard_normal(60)
    matrices: dict[str, tuple[Any, Any, tuple[int, int]]] = {
        "tall": (tall, eta + noise, (40, 16)),
        "classes": (tall, (eta + noise > 0) * 1.0, (40, 16)),
        "counts": (tall, rng.poisson(np.exp(np.clip(eta / 3, -2, 2))) * 1.0, (40, 16)),
        "wide": (wide, signal, (60, 20)),
        "wide sparse": (sparse, signal, (5, 240)),
    }
    stores = {}
    for name, (matrix, y, chunks) in matrices.items():
        stores[name] = str(folder / f"{name.replace(' ', '-')}.zarr")
        weight = rng.uniform(0.5, 2.0, y.size) if name in ("classes", "counts") else None
        dl.ingest((matrix, y), stores[name], chunks=chunks, weight=weight)
    stores["tall file"] = str(folder / "tall.npz")
    np.savez(stores["tall file"], X=tall, y=matrices["tall"][1])
    return stores
