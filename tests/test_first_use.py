"""What the first use costs: few imports, kernels from a cache, and installations that nobody may write to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import distlasso
import distlasso.warmup
from distlasso.cli.app import app

PACKAGE = Path(distlasso.__file__).parent
HEAVY = (
    "dask", "distributed", "matplotlib", "pandas", "pyarrow", "rich", "scipy.optimize", "scipy.stats", "sklearn", "typer", "zarr",
)  # fmt: skip
FIT = """
import json, numpy as np
from distlasso import fit_path
X = np.random.default_rng(0).standard_normal((200, 8))
path = fit_path(X, X[:, 0] - X[:, 1], n_lambdas=5, lambda_min_ratio=0.1)
"""
INGEST = """
import distlasso, tempfile
np.save(folder := tempfile.mkdtemp() + "/X.npy", X)
distlasso.ingest(folder, folder + ".zarr", target=X[:, 0])
"""
REPORT = """
from distlasso.kernels import KERNELS
used = [kernel for kernel in KERNELS if kernel.signatures]
missed = sum(sum(kernel.stats.cache_misses.values()) for kernel in used)
print(json.dumps({"converged": bool(path.converged.all()), "missed": missed, "paths": [k.stats.cache_path for k in used]}))
"""
# Reads the warm-up's cases off the first one, since compiling all of them would take half a minute.
WARM = """
from distlasso import warmup
cases = list(warmup._cases())
warmup._cases = lambda: iter(cases[:1])
print(warmup.warm_up().compiled)
"""


def python(code: str, *, site: Path = PACKAGE.parent, prefix: tuple[str, ...] = (), **variables: str) -> str:
    """What a fresh process prints, with distlasso from ``site``."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"PYTHONPATH": str(site)} | variables
    command = [*prefix, sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fit_of_arrays_imports_nothing_that_it_does_not_need() -> None:
    found = json.loads(python(f"{FIT}\nimport sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"))
    assert found == []


@pytest.mark.parametrize(
    ("missing", "use", "extra"),
    [("sklearn", "distlasso.Lasso", "sklearn"), ("sklearn", "from distlasso.estimators.linear import Lasso", "sklearn"),
     ("httpx", "import distlasso.service.client", "service"), ("pydantic", "import distlasso.service.client", "service")],
)  # fmt: skip
def test_without_an_optional_package_the_extra_is_named(missing: str, use: str, extra: str) -> None:
    """The last line of the error is what to install."""
    code = f"import sys; sys.modules[{missing!r}] = None\nimport distlasso\ntry: {use}\nexcept ImportError as error: print(error)"
    assert python(code).endswith(f"pip install 'distlasso[{extra}]'\n")


def test_after_a_warm_up_a_fresh_process_compiles_nothing(tmp_path: Path) -> None:
    assert int(python(WARM, NUMBA_CACHE_DIR=str(tmp_path))) > 0
    found = json.loads(python(FIT + INGEST + REPORT, NUMBA_CACHE_DIR=str(tmp_path)))
    assert found["missed"] == 0 and all(path.startswith(str(tmp_path)) for path in found["paths"])


def test_after_an_upgrade_a_kernel_is_compiled_with_what_it_has_in_it_now(tmp_path: Path) -> None:
    """Numba looks at the kernel's own file only, which an upgrade may leave as it was."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "distlasso", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import numpy as np
from distlasso.kernels.descent import descend_gram
one, b = np.ones(1), np.zeros(1)
descend_gram(np.ones((1, 1)), 3.0 * one, one, 0.0 * one, -9.0 * one, 9.0 * one, b, 1)
print(b[0])
"""
    cache = str(tmp_path / "cache")
    assert float(python(code, site=site, NUMBA_CACHE_DIR=cache)) == 2.0
    with (site / "distlasso" / "kernels" / "prox.py").open("a") as file:
        file.write("\n\n@kernel\ndef prox(a, h, l1, l2, low, high):\n    return 7.0\n")
    assert float(python(code, site=site, NUMBA_CACHE_DIR=cache)) == 7.0


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A copy of the package that may not be written to, and the prefix of a command that may not override that."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "distlasso", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (site, *(path for path in site.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    if os.geteuid() != 0:
        return site, ()
    program = shutil.which("setpriv")
    if program is None:
        pytest.skip("root may write anywhere, and there is no setpriv here to take that right away")
    return site, (program, "--bounding-set=-dac_override", "--inh-caps=-dac_override")


def test_a_read_only_installation_fits_without_any_cache(installed: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    found = json.loads(python(FIT + REPORT, site=installed[0], prefix=installed[1], HOME=str(home), XDG_CACHE_HOME=str(home)))
    assert found["converged"] and not list(home.iterdir()) and not list(installed[0].rglob("*.nbc"))


def test_a_read_only_installation_caches_where_it_is_told_to(installed: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = json.loads(python(FIT + REPORT, site=installed[0], prefix=installed[1], NUMBA_CACHE_DIR=str(cache)))
    assert found["converged"] and list(cache.rglob("*.nbc"))


def test_the_command_says_what_was_compiled_and_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = list(distlasso.warmup._cases())
    monkeypatch.setattr("distlasso.warmup._cases", lambda: iter(cases[:1]))
    app(["warmup"], standalone_mode=False)
    assert "signatures of" in (said := capsys.readouterr().out) and "kept in" in said
    app(["warmup", "--json"], standalone_mode=False)
    (one,) = json.loads(capsys.readouterr().out).values()
    assert one["signatures"] > 0 and Path(one["folder"]).is_dir()
