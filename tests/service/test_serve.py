"""``distlasso serve`` and its commands as users meet them: real processes, exit codes, one line for every error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from served import Here, Served, until

import distlasso as dl
from distlasso.cli import main
from distlasso.service.client import Client, ServiceError, Unreachable
from distlasso.service.context import Limits
from distlasso.service.jobs import Succeeded
from distlasso.service.routers import events
from distlasso.service.store import SQLiteStore

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command line in this process: the services that it asks are others."""

    def command(*arguments: Any) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["distlasso", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        found = capsys.readouterr()
        return Done(int(ended.value.code or 0), found.out, found.err)

    return command


def test_a_job_from_the_command_line_with_a_token(
    serve: Callable[..., Served], tmp_path: Path, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token, submit, watch, list, result; revoked, the same token is worth nothing."""

    def said(*arguments: Any) -> Any:
        done = run(*arguments, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    store = tmp_path / "jobs.sqlite"
    token = said("token", "create", "me", "--scope", "submit", "--days", "1", "--store", store)
    (tmp_path / "ingest.toml").write_text('kind = "ingest"\nsource = "table.csv"\noutput = "table"\noptions = {target = "y"}')
    (tmp_path / "fit.toml").write_text('kind = "fit"\ndataset = "table"\noutput = "m"\n[options]\nn_lambdas = 20')
    monkeypatch.setenv("DISTLASSO_URL", serve("--scheduler", "threads").url)
    monkeypatch.setenv("DISTLASSO_TOKEN", token["token"])
    done = run("submit", tmp_path / "ingest.toml", "--watch")
    assert (done.code, "succeeded" in done.out, "running" in done.err) == (0, True, True), done.err
    assert said("submit", tmp_path / "fit.toml", "--dry-run")["passes"] == [1, 3]
    job = said("submit", tmp_path / "fit.toml", "--key", "once")["id"]
    assert said("submit", tmp_path / "fit.toml", "--key", "once")["id"] == job
    assert json.loads(run("watch", job, "--json").out.splitlines()[-1])["state"] == "succeeded"
    assert said("jobs")[0]["id"] == job
    assert said("result", job, "--out", tmp_path / "model")["lambdas"] == 20
    assert isinstance(dl.load(tmp_path / "model"), dl.Path)
    for command, words in ((["cancel", job], "succeeded"), (["result", job, "--out", tmp_path / "model"], "exists already")):
        refused = run(*command)
        assert (refused.code, words in refused.err, refused.err.count("\n")) == (2, True, 1)
    listed = run("token", "list", "--store", store).out
    assert ("valid" in listed, token["token"] in listed) == (True, False)
    assert run("token", "revoke", token["id"], "--store", store).code == 0
    refused = run("jobs")
    assert (refused.code, "needs a valid token" in refused.err) == (2, True)


BAD: dict[str, tuple[list[str], str]] = {
    "a host that all can reach without tokens": (["serve", "--insecure-local", "--host", "0.0.0.0"], "127.0.0.1 only"),
    "a certificate without its key": (["serve", "--tls-cert", "x.pem"], "go together"),
    "a root that is no folder": (["serve", "--root", "nowhere", "--store", "STORE"], "is not a folder"),
    "a store in no folder": (["serve", "--store", "nowhere/jobs.sqlite"], "does not exist"),
    "a job that is no TOML": (["submit", "README"], "is not TOML"),
    "a job that is not there": (["submit", "nowhere.toml"], "cannot read"),
    "no service": (["jobs", "--url", "http://127.0.0.1:9"], "distlasso serve"),
    "an address that is none": (["jobs", "--url", "nonsense"], "nonsense"),
    "an unknown scope": (["token", "create", "--scope", "root", "--store", "STORE"], "scope"),
    "an unknown token": (["token", "revoke", "x", "--store", "STORE"], "no token"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    name: str, tmp_path: Path, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is, and without a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README").write_text("no = = toml")
    places = {"STORE": str(tmp_path / "jobs.sqlite"), "README": str(tmp_path / "README")}
    arguments, words = BAD[name]
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert words in done.err


def test_tls_is_spoken_and_nothing_else(serve: Callable[..., Served], tmp_path: Path) -> None:
    """A client that knows the authority gets through, one that does not is refused."""
    tls = pytest.importorskip("distlasso.tls")
    pytest.importorskip("cryptography", reason="certificates are made by cryptography: pip install distlasso[tls]")
    made = {one.role: one for one in tls.make_certificates(tmp_path / "tls", hosts=["127.0.0.1"])}
    mine = made["service"]
    _, secret = SQLiteStore(tmp_path / "jobs.sqlite").access.create_token("me", "read", None)
    url = serve("--scheduler", "threads", "--tls-cert", str(mine.certificate), "--tls-key", str(mine.key)).url
    assert url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(made["ca"].certificate))
    assert httpx.get(f"{url}/v1/jobs", verify=trusted, headers={"Authorization": f"Bearer {secret}"}).json()["jobs"] == []
    with Client(url, secret) as stranger, pytest.raises(Unreachable, match="certificate"):
        stranger.jobs()


def test_pages_of_other_sites_cannot_use_a_service_without_tokens(serve: Callable[..., Served]) -> None:
    """Neither across origins nor by a name that an attacker points at this machine."""
    url = serve().url
    assert httpx.get(f"{url}/v1/jobs").status_code == 200
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
        assert httpx.get(f"{url}/v1/jobs", headers=headers).status_code == 401, headers


def test_a_local_cluster_serves_two_jobs_at_once(serve: Callable[..., Served], root: Path) -> None:
    """Jobs share its workers; the bits are those of threads; cancelling one leaves the other."""
    service = serve("--insecure-local", "--workers", "2")
    with service.client() as client:
        assert client.get("/v1/cluster")["workers"] == 2
        jobs = [client.submit({"kind": "fit", "dataset": "./wide.zarr", "options": {"n_lambdas": 40}}).id for _ in range(2)]
        third = client.submit({"kind": "fit", "dataset": "./wide.zarr", "options": {"n_lambdas": 600}}).id
        assert [client.wait(job).state for job in jobs] == ["succeeded"] * 2, [client.job(job).error for job in jobs]
        client.cancel(third)
        assert client.wait(third).state == "cancelled"
        own = dl.fit_path(dl.open_dataset(root / "wide.zarr"), n_lambdas=40)
        for job in jobs:
            path = client.model(job)
            assert isinstance(path, dl.Path)
            assert path.coef.data.tobytes() == own.coef.data.tobytes()
    assert service.stop() == 0


@pytest.fixture
def listening(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Here, str, int]]:
    """A service in a thread of this process, whose patience with event streams is short."""
    monkeypatch.setattr(events, "_UNREAD_SECONDS", 1.0)
    here = Here(tmp_path, root, Limits(streams=3))
    here.service.supervisor._most = 0
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(here.app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    until(lambda: server.started)
    yield here, "127.0.0.1", bound.getsockname()[1]
    server.should_exit = True
    thread.join(30)


def test_a_watcher_that_never_reads_blocks_nobody_takes_no_memory_and_is_let_go(listening: tuple[Here, str, int]) -> None:
    """Its stream is closed after a while, and the number of streams is bounded."""
    here, host, port = listening
    job = here.store.jobs.submit({"kind": "fit", "dataset": "d"}, owner="me", output=None, key=None, most=9)[0].id
    here.store.jobs.claim(most=1)
    for _ in range(10):
        here.store.jobs.record(job, 1, [(0.0, "x", {"long": "y" * 10_000}) for _ in range(400)], {})  # 40 MB in all
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    request = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here.tokens['read']}\r\n\r\n"
    deaf = [socket.create_connection((host, port)) for _ in range(3)]
    for one in deaf:
        one.sendall(request.encode())
    until(lambda: here.service.counters.streams == 3)
    with Client(f"http://{host}:{port}", here.tokens["read"]) as client:
        with pytest.raises(ServiceError, match="event streams are open") as error:
            next(client.watch(job))
        assert error.value.status == 429
        assert client.job(job).state == "running"
        until(lambda: here.service.counters.streams == 0)
        here.store.jobs.apply(job, Succeeded(1, {}))
        assert len(list(client.watch(job))) > 4000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kilobytes
    for one in deaf:
        one.close()


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_five_commands_of_the_readme_lead_from_nothing_to_a_result_and_a_sixth_ends_it(tmp_path: Path) -> None:
    """Exactly as they stand there, but for the installation, which is this one, and the port, which must be free."""
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"## As a service.*?```sh\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    commands = block[1].strip().splitlines()
    assert len(commands) == 5
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, content in (("pip", "exit 0"), ("distlasso", f'exec "{sys.executable}" -m distlasso.cli "$@"')):
        file = tmp_path / ".venv" / "bin" / name
        file.write_text(f"#!/bin/sh\n{content}\n")
        file.chmod(0o755)
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = "\n".join(commands).replace(":8000", f":{port}")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DISTLASSO_PORT": str(port), "PYTHONPATH": str(ROOT)}
    shell = subprocess.Popen(["sh", "-ec", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, start_new_session=True)  # fmt: skip
    try:
        output, error = shell.communicate(timeout=180)
        assert shell.returncode == 0, error + (tmp_path / "service.log").read_text()
        assert error == ""
        stop = re.search(r"^`(kill .*?)` stops it", readme, re.MULTILINE)
        assert stop is not None
        subprocess.run(["sh", "-ec", stop[1]], cwd=tmp_path, check=True)
        until(lambda: not reachable(port))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)  # the service, if they have left it behind
    answers = [json.loads(text) for text in output.replace("}{", "}\n{").splitlines()]
    assert [answer.get("state") for answer in answers[-3:-1]] == ["succeeded", "succeeded"], output
    assert answers[-1]["summary"]["converged"] is True
