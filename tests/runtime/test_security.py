"""Encrypted clusters: one flag, no way back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest

import distlasso as dl
from distlasso.tls import make_certificates

PACKAGE = Path(dl.__file__).parent


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 5))
    return dl.ingest((X, X[:, 0] + rng.standard_normal(100)), tmp_path_factory.mktemp("data") / "d.zarr", chunks=(25, 5))


def test_an_embedded_cluster_is_encrypted_by_one_word(store: dl.Dataset) -> None:
    with dl.Cluster(n_workers=2, tls=True) as cluster:
        path = dl.fit_path(store, runtime=cluster, n_lambdas=5)
        address = cluster.client.scheduler.address
        assert address.startswith("tls://")
        assert all(worker.startswith("tls://") for worker in cluster.client.scheduler_info()["workers"])
        with pytest.raises(dl.SchedulerError, match="no Dask scheduler answered"):
            dl.Cluster(address=address.replace("tls://", "tcp://"))
    np.testing.assert_array_equal(path.coef.toarray(), dl.fit_path(store, runtime="serial", n_lambdas=5).coef.toarray())


def test_own_certificates_let_in_and_others_do_not(store: dl.Dataset, certificates: Path, tmp_path: Path) -> None:
    """On the command line as in Python."""
    files = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
    security = distributed.Security(
        require_encryption=True, tls_ca_file=str(certificates / "ca.pem"),
        **{f"tls_{role}_{what}": str(certificates / f"{role}.{end}") for role in ("scheduler", "worker", "client")
           for what, end in (("cert", "pem"), ("key", "key"))})  # fmt: skip
    make_certificates(tmp_path / "others")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, security=security, dashboard_address="127.0.0.1:0") as own:
        address = own.scheduler_address
        with dl.Cluster(address=address, tls=certificates) as cluster:
            assert dl.fit_path(store, runtime=cluster, n_lambdas=5).converged.all()
        with pytest.raises(dl.SchedulerError, match="no Dask scheduler answered"):
            dl.Cluster(address=address, tls=tmp_path / "others")
        with pytest.raises(dl.SchedulerError, match="no Dask scheduler answered"):
            dl.Cluster(address=address)
        options = [part for what, name in files.items() for part in (f"--tls-{what}", str(certificates / name))]
        done = subprocess.run(
            [sys.executable, "-m", "distlasso.cli", "fit", store.path, "--out", str(tmp_path / "model"), "--n-lambdas", "5",
             "--scheduler", address, *options, "--json"], capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_a_downgrade_is_refused(certificates: Path, client: Any, tmp_path: Path) -> None:
    address = client.scheduler.address
    for given in ({"address": address}, {"client": client}):
        with pytest.raises(dl.InputError, match="encryption is wanted, and tcp"):
            dl.Cluster(**given, tls=certificates)
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    with pytest.raises(dl.InputError, match="encryption is wanted, and tcp"):
        dl.Cluster(address=str(file), tls=certificates)


@pytest.mark.parametrize(("tls", "message"), [
    ("nowhere", "there is no file nowhere"), (("a.pem", "b.pem"), "expected a folder, or CA, certificate and key"),
    (True, "there are no certificates"),
])  # fmt: skip
def test_certificates_that_are_not_there_are_an_error(tls: Any, message: str) -> None:
    with pytest.raises(dl.InputError, match=message):
        dl.Cluster(address="tls://127.0.0.1:9", tls=tls)
