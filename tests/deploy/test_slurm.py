"""One sbatch on a real SLURM: a fit on several nodes, and after walltime, preemption or lost workers the bits of one left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from slurm import Slurm, missing

import distlasso as dl
from distlasso.tls import make_certificates

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm" / "fit.sbatch"
# Some hundred rounds on the workers, so that there is something to interrupt.
OPTIONS: dict[str, Any] = {"loss": "logistic", "solver": "fista", "n_lambdas": 15, "lambda_min_ratio": 1e-2, "tol": 1e-7}

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM here: {', '.join(missing())} not found (Debian: slurm-wlm, munge)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd starts jobs as their users, which takes root"),
    pytest.mark.xdist_group("slurm"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    running = Slurm(tmp_path_factory.mktemp("slurm"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((1200, 400)).astype(np.float32)
    y = X[:, :30] @ rng.standard_normal(30) + rng.standard_normal(1200)
    place = tmp_path_factory.mktemp("data") / "d.zarr"
    dl.ingest((X, (y > 0).astype(float)), place, chunks=(100, 400))
    return place


@pytest.fixture(scope="module")
def undisturbed(store: Path) -> dl.Path:
    return dl.fit_path(dl.open_dataset(store), **OPTIONS)


class Job:
    """A fit that was submitted as the README says, on two nodes."""

    def __init__(self, slurm: Slurm, folder: Path, store: Path, *options: str, command: tuple[str, ...] = ("fit",)) -> None:
        self.slurm, self.model, self.run, self.log = slurm, folder / "model", folder / "run", folder / "job.out"
        self.journal = self.run / "checkpoint" / "answers.journal"
        resources = ["--ntasks-per-node=1", "--cpus-per-task=1", "--mem=2000", f"--output={self.log}"]
        fit = [word for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self.number = slurm(
            "sbatch", "--parsable", *resources, *options, str(SCRIPT), str(store), "--out", str(self.model), *fit, *command[1:],
            FIT_COMMAND=command[0], FIT_RUN=str(self.run), FIT_INTERFACE="lo",
            PATH=f"{Path(sys.executable).parent}:{slurm.environment['PATH']}",
        ).strip()  # fmt: skip

    def wait_for_progress(self) -> None:
        """Until it runs and has something in its checkpoint to go on from."""
        self.slurm.wait_until(
            lambda: self.state == "RUNNING" and self.journal.exists() and self.journal.stat().st_size > 0, "a checkpoint", 180
        )

    def end(self, seconds: float = 180) -> dict[str, str]:
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
        self.slurm.wait_until(lambda: self.state in over, f"the end of the job; its log:\n{self.text}", seconds)
        return self.slurm.job(self.number)

    @property
    def state(self) -> str:
        return self.slurm.job(self.number)["JobState"]

    @property
    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def answers_in_the_clear(self) -> list[str]:
        """Listening sockets of the job's processes that answer to HTTP without TLS."""
        def names(process: psutil.Process) -> set[str]:
            return {Path(word).name for word in process.info["cmdline"] or () if str(self.run) in word or word.endswith("/dask")}

        own = [p for p in psutil.process_iter(["cmdline"]) if {"dask", "scheduler.json"} <= names(p)]
        sockets = {link.laddr for one in [*own, *self.workers()] for link in one.net_connections("tcp") if link.status == "LISTEN"}
        assert len(sockets) > 3 and {address.ip for address in sockets} == {"127.0.0.1"}
        found = []
        for address in sockets:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{address.port}/health", timeout=3)
            except urllib.error.HTTPError as error:
                found.append(f"{address}: {error}")
            except OSError:
                continue
            else:
                found.append(str(address))
        return found

    def workers(self) -> list[psutil.Process]:
        """The processes that do the work; each is the child of a nanny, which would start it again."""
        words = {"worker", str(self.run / "scheduler.json")}
        nannies = [p for p in psutil.process_iter(["cmdline"]) if words <= set(p.info["cmdline"] or ())]
        return [child for nanny in nannies for child in nanny.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


def same_bits(model: Path, expected: dl.Path) -> None:
    found = dl.load(model)
    assert isinstance(found, dl.Path)
    np.testing.assert_array_equal(found.lambdas, expected.lambdas)
    assert (found.coef != expected.coef).nnz == 0
    np.testing.assert_array_equal(found.intercept, expected.intercept)
    np.testing.assert_array_equal(found.gap, expected.gap)


def test_one_sbatch_fits_on_two_nodes_and_a_killed_worker_changes_nothing(
    slurm: Slurm, tmp_path: Path, store: Path, undisturbed: dl.Path
) -> None:  # fmt: skip
    job = Job(slurm, tmp_path, store)
    job.wait_for_progress()
    keys = [job.run / "tls" / f"{role}.key" for role in ("scheduler", "worker", "client")]
    assert job.run.stat().st_mode & 0o777 == 0o700 and all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
    assert not (job.run / "tls" / "ca.key").exists()
    assert len(job.workers()) == 2
    assert job.answers_in_the_clear() == []
    job.workers()[0].kill()
    assert job.end()["JobState"] == "COMPLETED", job.text
    same_bits(job.model, undisturbed)
    assert not (job.run / "tls").exists() and not (job.run / "scheduler.json").exists()
    assert all("tls://127.0.0.1" in (job.run / f"worker-{k}.log").read_text() for k in range(2))


def test_the_same_sbatch_cross_validates(slurm: Slurm, tmp_path: Path, store: Path) -> None:
    job = Job(slurm, tmp_path, store, command=("cv", "--folds", "3"))
    assert job.end()["JobState"] == "COMPLETED", job.text
    expected = dl.cross_validate(dl.open_dataset(store), folds=3, **OPTIONS)
    np.testing.assert_array_equal(dl.load(job.model).scores, expected.scores)


@pytest.mark.skipif("DISTLASSO_WALLTIME" not in os.environ, reason="SLURM takes a minute to it: set DISTLASSO_WALLTIME=1")
def test_walltime_becomes_a_checkpoint_and_the_job_queues_again_by_itself(
    slurm: Slurm, tmp_path: Path, store: Path, undisturbed: dl.Path
) -> None:  # fmt: skip
    """Frozen workers keep the fit from ending before SLURM's warning, as a hung file system would."""
    job = Job(slurm, tmp_path, store, "--time=1", "--signal=B:USR1@55")
    job.wait_for_progress()
    for worker in job.workers():
        worker.suspend()
    slurm.wait_until(lambda: "queueing again" in job.text, "the signal before the walltime", 150)
    slurm("scontrol", "update", f"JobId={job.number}", "TimeLimit=10")  # once is enough, also on a busy machine
    ended = job.end(300)
    assert ended["JobState"] == "COMPLETED" and int(ended["Restarts"]) > 0, job.text
    assert "walltime ends" in job.text and "stopped by SIGUSR1" in job.text
    same_bits(job.model, undisturbed)


def test_a_preempted_job_queues_again_and_goes_on_after_the_urgent_one(
    slurm: Slurm, tmp_path: Path, store: Path, undisturbed: dl.Path
) -> None:  # fmt: skip
    job = Job(slurm, tmp_path, store)
    job.wait_for_progress()
    urgent = slurm("sbatch", "--parsable", "--partition=urgent", "--exclusive", "--nodes=2", "--output=/dev/null", "--wrap=sleep 1")
    ended = job.end(300)
    assert ended["JobState"] == "COMPLETED" and ended["Restarts"] == "1", job.text
    assert slurm.job(urgent.strip())["JobState"] == "COMPLETED"
    same_bits(job.model, undisturbed)


def test_a_cancelled_job_does_not_come_back(slurm: Slurm, tmp_path: Path, store: Path) -> None:
    job = Job(slurm, tmp_path, store)
    job.wait_for_progress()
    workers = job.workers()
    slurm("scancel", job.number)
    assert job.end()["JobState"] == "CANCELLED" and not job.model.exists()
    slurm.wait_until(lambda: not any(worker.is_running() for worker in workers), "the end of its processes", 30)
    assert "while the job is COMPLETING" in job.text and job.journal.stat().st_size > 0


def test_a_mistake_in_the_command_fails_at_once_and_is_not_repeated(slurm: Slurm, tmp_path: Path) -> None:
    job = Job(slurm, tmp_path, tmp_path / "none.zarr")
    ended = job.end()
    assert ended["JobState"] == "FAILED" and ended["ExitCode"] == "2:0" and ended["Restarts"] == "0"
    assert "none.zarr" in job.text


def test_the_alternative_by_dask_jobqueue_fits_on_jobs_of_its_own(slurm: Slurm, tmp_path: Path, store: Path) -> None:
    """The job script that it renders, and the same script on a real queue."""
    pytest.importorskip("dask_jobqueue", reason="the alternative to the sbatch script: PyPI dask-jobqueue")
    make_certificates(tmp_path / "certificates")
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import jobqueue\n"
        "small = dict(cores=1, memory='1GiB', interface='lo', python=sys.executable, log_directory='.')\n"
        "with jobqueue.workers(Path('certificates').absolute(), **small) as cluster: print(cluster.job_script())\n"
        "jobqueue.main(sys.argv[2], 'model', jobs=2, **small)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(SCRIPT.parent), str(store)], cwd=tmp_path, env=slurm.environment, capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in ("#SBATCH --cpus-per-task=1", "#SBATCH --mem=1G", "#SBATCH -t 02:00:00"):
        assert line in done.stdout.splitlines()
    (command,) = [line for line in done.stdout.splitlines() if "distributed.cli.dask_worker" in line]
    for words in ("tls://127.0.0.1", f"--tls-key {tmp_path}/certificates/worker.key", "--lifetime 110m"):
        assert words in command
    same_bits(tmp_path / "model", dl.fit_path(dl.open_dataset(store)))
