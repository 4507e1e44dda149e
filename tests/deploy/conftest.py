"""What the tests of the deploy files share: data, keys, and kernels as the image has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from containers import ROOT, SERVICE, UID, read_container_file

import distlasso as dl
from distlasso.tls import make_certificates


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, state and keys of a user who is not root; ``kernels`` is what the image was built with."""
    place = tmp_path_factory.mktemp("deployed")
    for name in ("data", "state"):
        (place / name).mkdir()
    rng = np.random.default_rng(5)
    X = rng.standard_normal((400, 60)).astype(np.float32)
    dl.ingest((X, X[:, :5] @ rng.standard_normal(5) + rng.standard_normal(400)), place / "data" / "d.zarr", chunks=(100, 60))
    make_certificates(place / "certificates", hosts=[SERVICE])
    for folder in ("certificates", "state"):
        for path in (place / folder, *(place / folder).iterdir()):
            os.chown(path, UID, UID)
    environment = os.environ | read_container_file(ROOT / "deploy" / "Containerfile").environment | {
        "NUMBA_CACHE_DIR": str(place / "kernels"), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    fit = [sys.executable, "-m", "distlasso.cli", "fit", str(place / "data" / "d.zarr"), "--runtime", "serial", "--json"]
    subprocess.run([*fit, "--out", str(place / "expected")], env=environment, check=True, capture_output=True)
    for path in (place, *place.parents):
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o777 == 0o700:
            path.chmod(0o711)  # pytest's own folders are closed to other users
    return place
