"""Options that are not on the command line come from variables, and over these from a TOML file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from distlasso.cli.app import app
from distlasso.cli.settings import defaults
from distlasso.errors import InputError

COMMAND = typer.main.get_command(app)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of(config: str | None = None, **environment: str) -> dict[str, Any]:
    return defaults(COMMAND, config, {f"DISTLASSO_{name}": value for name, value in environment.items()})


def test_a_variable_is_the_default_of_every_command_that_has_the_option() -> None:
    found = of(TOL="1e-8")
    assert found["fit"] == found["cv"] == {"tol": "1e-8"}
    assert found["inspect"] == {}


def test_a_variable_that_names_the_command_counts_more() -> None:
    found = of(L1_RATIO="0.5", FIT_L1_RATIO="0.7")
    assert (found["fit"]["l1_ratio"], found["cv"]["l1_ratio"]) == ("0.7", "0.5")


def test_the_file_counts_more_than_variables_and_a_section_more_than_its_top(folder: Path) -> None:
    (folder / "own.toml").write_text('tol = 1e-7\nn-lambdas = 7\n[fit]\nn_lambdas = 9\n')
    found = of("own.toml", FIT_TOL="1e-8", N_LAMBDAS="3", RULE="1se")
    assert found["fit"] == {"tol": 1e-7, "n_lambdas": 9}
    assert found["cv"] == {"tol": 1e-7, "n_lambdas": 7, "rule": "1se"}


def test_the_file_is_found_where_the_command_runs_or_by_its_variable(folder: Path) -> None:
    (folder / "distlasso.toml").write_text("tol = 1e-5\n")
    assert of()["fit"] == {"tol": 1e-5}
    (folder / "other.toml").write_text("tol = 1e-4\n")
    assert of(CONFIG="other.toml")["fit"] == {"tol": 1e-4}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tolerance = 1e-7", "called 'tolerance'"),
        ("[fit]\ntolerance = 1e-7", "`distlasso fit` has no option 'tolerance'"),
        ("[fits]\ntol = 1e-7", "called 'fits'"),
        ("tol = ", "not TOML"),
    ],
)
def test_a_line_that_nobody_reads_is_refused(folder: Path, text: str, says: str) -> None:
    (folder / "distlasso.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        of()


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot read settings from none\.toml"):
        of("none.toml")


def test_the_command_line_counts_most(folder: Path) -> None:
    (folder / "bad.toml").write_text("tol = 'small'\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "distlasso.cli", *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)

    done = run("--config", "bad.toml", "fit", "none.zarr", "--out", "m")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--tol" in done.stderr
    done = run("--config", "bad.toml", "fit", "none.zarr", "--out", "m", "--tol", "1e-3")
    assert "none.zarr" in done.stderr
