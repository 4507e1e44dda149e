"""A fit from a Python process that stays, on workers that are SLURM jobs of their own, by dask-jobqueue.

    pip install "distlasso[tls]" dask-jobqueue
    distlasso tls certificates
    python jobqueue.py STORE MODEL

Started again after its death, it goes on from the checkpoint beside the model.
"""

import sys
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue import SLURMCluster
from distributed import Client, Security

import distlasso as dl


def workers(certificates: Path, **options: Any) -> SLURMCluster:
    """A cluster of jobs of four processors each; ``options`` are dask-jobqueue's, such as ``queue``, ``account``, ``interface``."""
    pairs = {
        f"tls_{role}_{part}": str(certificates / f"{role}.{end}")
        for role in ("scheduler", "worker", "client") for part, end in (("cert", "pem"), ("key", "key"))
    }  # fmt: skip
    security = Security(tls_ca_file=str(certificates / "ca.pem"), require_encryption=True, **pairs)
    return SLURMCluster(**{
        "cores": 4, "processes": 1, "memory": "16GiB", "walltime": "02:00:00", "death_timeout": 120, "local_directory": "/tmp",
        "protocol": "tls://", "security": security,
        "scheduler_options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        # Workers leave before SLURM ends them, not all at once.
        "worker_extra_args": ["--lifetime", "110m", "--lifetime-stagger", "5m", "--no-dashboard",
                              "--dashboard-address", "127.0.0.1:0"],
        "job_script_prologue": ["export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1"],
        **options,
    })  # fmt: skip


def main(store: str, model: str, jobs: int = 4, **options: Any) -> None:
    """Fit a store on some jobs, and save the path."""
    settings = {
        "distlasso.workers": "12h",  # jobs may wait in the queue
        "distributed.comm.retry.count": 0, "distributed.comm.timeouts.connect": "5s",
        "distributed.scheduler.allowed-failures": 10, "distributed.scheduler.worker-ttl": "60s",
    }  # fmt: skip
    with dask.config.set(settings), workers(Path("certificates").absolute(), **options) as cluster, Client(cluster) as client:
        cluster.scale(jobs=jobs)
        dl.fit_path(dl.open_dataset(store), client=client, checkpoint=f"{model}.checkpoint").save(model)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
