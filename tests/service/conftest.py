"""Data that services may read, and services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from served import Here, Served

import distlasso as dl
from distlasso.service.client import Client
from distlasso.service.context import Limits
from distlasso.service.in_process import InProcess


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and a store of more columns than rows, whose fit takes several passes."""
    folder = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    y = X @ [2.0, 0, 0, -1.0, 0.5, 0] + rng.standard_normal(300)
    lines = ["a,b,c,d,e,f,y", *(",".join(f"{value:.6f}" for value in (*row, target)) for row, target in zip(X, y, strict=True))]
    (folder / "table.csv").write_text("\n".join(lines))
    wide = rng.standard_normal((400, 6000))
    y = wide[:, :40] @ rng.standard_normal(40) + 3 * rng.standard_normal(400)
    dl.ingest((wide, y), folder / "wide.zarr", chunks=(100, 1000))
    return folder


@pytest.fixture
def here(tmp_path: Path, root: Path) -> Here:
    return Here(tmp_path, root, Limits(queue=5, body=100_000))


@pytest.fixture
def transport(here: Here) -> Iterator[InProcess]:
    with InProcess(here.app) as running:
        yield running


@pytest.fixture
def client(here: Here, transport: InProcess) -> Iterator[Client]:
    with here.client(transport) as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path, root: Path) -> Iterator[Callable[..., Served]]:
    """Starts services, and ends them."""
    running: list[Served] = []

    def start(*options: str) -> Served:
        running.append(Served(tmp_path, root, *options))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()
