"""The container file and the scripts, held against linters and against the package that they install."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from containers import ROOT, read_container_file

FILE = ROOT / "deploy" / "Containerfile"


def linter(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/bin")
    if found is None:
        pytest.skip(f"{name} is not installed (PyPI: {name}-bin or {name}-py)")
    return found


def test_the_container_file_has_no_faults_that_hadolint_knows() -> None:
    found = subprocess.run([linter("hadolint"), str(FILE)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_scripts_have_no_faults_that_shellcheck_knows() -> None:
    scripts = [ROOT / "deploy" / "slurm" / "fit.sbatch", ROOT / "deploy" / "image" / "entrypoint", ROOT / ".ci" / "run"]
    found = subprocess.run([linter("shellcheck"), *map(str, scripts)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_image_is_nobody_and_has_what_it_copies() -> None:
    image = read_container_file(FILE)
    assert image.user == "10001:10001" and image.entrypoint[0] in image.copied
    assert all(source.is_file() for source in image.copied.values())
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in (ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE", "distlasso")):
        assert source.name in let_in
    for source in image.copied.values():
        assert {str(source.relative_to(ROOT)), str(source.parent.relative_to(ROOT))} & let_in


def test_the_extras_that_the_image_installs_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = [line.split('".[')[1].split("]")[0].split(",") for line in FILE.read_text().splitlines() if '".[' in line]
    assert set(wanted) <= set(extras)
