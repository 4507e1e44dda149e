"""Names of stores, models and checkpoints are looked up from where one stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import distlasso as dl
from distlasso.cli.app import app


def test_every_file_may_be_named_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    np.savez("data.npz", X=X, y=X[:, 0] + rng.standard_normal(60))
    few = ["--runtime", "threads", "--n-lambdas", "5"]
    for line in (
        ["ingest", "data.npz", "d.zarr"],
        ["inspect", "d.zarr"],
        ["fit", "d.zarr", "--out", "model", "--checkpoint", "ckpt", *few],
        ["fit", "d.zarr", "--out", "again", "--checkpoint", "ckpt", "--resume", *few],
        ["cv", "d.zarr", "--out", "chosen", "--folds", "3", *few],
        ["predict", "model", "d.zarr", "--out", "eta.npy", "--lambda", "0.1"],
        ["report", "chosen", "--out", "report.html"],
    ):
        told = CliRunner().invoke(app, line)
        assert told.exit_code == 0, (line, told.output, told.exception)
    np.testing.assert_array_equal(dl.load("again").coef.toarray(), dl.load(tmp_path / "model").coef.toarray())
    assert np.load("eta.npy").shape == (60,)
