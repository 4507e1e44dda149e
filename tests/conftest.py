"""What several tests need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import settings

import distlasso as dl

HERE = Path(__file__).parent

# The same examples in every run; HYPOTHESIS_PROFILE=default draws new ones, "thorough" ten times as many.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# What is too costly to be made by every process of pytest-xdist: the tests that use it stay together.
COSTLY = ["cluster", "client", "demo"]


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in COSTLY:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def cluster() -> Iterator[dl.Cluster]:
    """Two workers of one thread, as the package starts them."""
    with dl.Cluster(n_workers=2) as running:
        yield running


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Two workers of two threads, as users of Dask start them; it is where dask arrays of this process live."""
    with distributed.Client(n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, as Debian has it; one for all tests of a process, since Playwright takes no second."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no page is looked at: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no page is looked at, for want of a browser: apt-get install chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """Path of a reference file: from this folder, else from DISTLASSO_REFERENCE_DATA, else the test is skipped."""

    def find(name: str) -> Path:
        own = HERE / "reference" / "data" / Path(name).name
        if own.exists():
            return own
        folder = os.environ.get("DISTLASSO_REFERENCE_DATA")
        if folder is None:
            pytest.skip(f"{name} may not be copied (GPL); DISTLASSO_REFERENCE_DATA names no folder that has it")
        return Path(folder) / name

    return find


class Problem:
    """A squared-loss problem in plain numpy, for checks that share no code with the package."""

    def __init__(self, X: Any, y: Any, *, standardize: bool, l1_ratio: float = 1.0, weight: Any = None) -> None:
        self.X = X if sp.issparse(X) else np.asarray(X, dtype=np.float64)
        self.y = np.asarray(y, dtype=np.float64)
        w = np.ones(self.y.size) if weight is None else np.asarray(weight, dtype=np.float64)
        self.w = w / w.sum()
        self.mean = np.asarray(self.X.T @ self.w).ravel()
        square = self.X.multiply(self.X) if sp.issparse(self.X) else (self.X - self.mean) ** 2
        second = np.asarray(square.T @ self.w).ravel()
        variance = second - self.mean**2 if sp.issparse(self.X) else second
        self.scale = np.sqrt(np.maximum(variance, 0)) if standardize else np.ones(self.mean.size)
        self.l1_ratio = l1_ratio
        self.d0 = 0.5 * float(self.w @ (self.y - self.w @ self.y) ** 2)

    def residual(self, b: Any) -> Any:
        r = self.y - (self.X @ b - self.mean @ b)
        return r - self.w @ r

    def objective(self, b: Any, lam: float) -> float:
        r, t = self.residual(b), self.scale * b
        return float(0.5 * (self.w @ r**2) + lam * (self.l1_ratio * np.abs(t).sum() + (1 - self.l1_ratio) / 2 * (t @ t)))

    def kkt(self, b: Any, lam: float) -> float:
        """Largest violation of the optimality conditions, relative to lambda."""
        r = self.w * self.residual(b)
        u = np.asarray(self.X.T @ r).ravel() - self.mean * r.sum() - lam * (1 - self.l1_ratio) * self.scale**2 * b
        kept = self.scale > 1e-12
        u, b, s = u[kept] / self.scale[kept], b[kept], lam * self.l1_ratio
        outside = np.maximum(np.abs(u) - s, 0)
        inside = np.where(b != 0, np.abs(u - s * np.sign(b)), 0)
        return float(max(outside.max(initial=0), inside.max(initial=0)) / lam)


@pytest.fixture(scope="session")
def problem_of() -> type[Problem]:
    return Problem
