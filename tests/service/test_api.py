"""The interface: who may ask, what is refused and how, what a job looks like from outside."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from served import Here, until

import distlasso as dl
from distlasso.errors import InputError
from distlasso.service.client import Client, ServiceError
from distlasso.service.guard import Guarded, depth, needs, scope_of
from distlasso.service.in_process import InProcess
from distlasso.service.roots import Roots
from distlasso.service.tokens import SCOPES

# What anyone may read: that the service lives, what it understands, and a page without data.
OPEN = {"/healthz", "/readyz", "/openapi.json", "/", "/page/{name}"}


def raw(transport: InProcess, token: str | None = None) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url="http://localhost", transport=transport, headers=headers)


def routes(here: Here) -> list[tuple[str, str]]:
    """Every method and path that the application answers, from its own description."""
    return [(method.upper(), path) for path, methods in here.app.openapi()["paths"].items() for method in methods]


def filled(path: str) -> str:
    return path.replace("{job}", "job-000000000000").replace("{name}", "model")


def test_every_endpoint_asks_for_a_token_but_those_that_show_nothing(here: Here, transport: InProcess) -> None:
    """401 as problem+json without one, with a wrong one, and with one of another kind, before the body is looked at."""
    seen = set()
    for method, path in routes(here):
        if path in OPEN:
            continue
        seen.add(path)
        for header in (None, "Bearer dl_wrong", "Basic YTpi", "Bearer", f"Token {here.tokens['admin']}"):
            headers = {} if header is None else {"Authorization": header}
            answer = raw(transport).request(method, filled(path), headers=headers, content=b"{" * 1000)
            assert answer.status_code == 401, (method, path, header)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert len(seen) > 15
    assert {route.path for route in every_route(here)} - {"/", "/page/{name}"} == {path for _, path in routes(here)}


def every_route(here: Here) -> list[APIRoute]:
    found: list[Any] = []
    pending = list(here.app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            found.append(route)
        pending += getattr(getattr(route, "original_router", None), "routes", [])
    return found


def test_every_endpoint_refuses_a_token_of_too_small_a_scope(here: Here, transport: InProcess) -> None:
    """403 for each scope below the one that the route needs; what was refused is in the audit log."""
    refused = 0
    for route in every_route(here):
        if route.path in OPEN or not isinstance(route, Guarded):
            assert route.path in OPEN
            continue
        for small in SCOPES[: SCOPES.index(scope_of(route))]:
            for method in route.methods:
                answer = raw(transport, here.tokens[small]).request(method, filled(route.path), json={})
                assert answer.status_code == 403, (method, route.path, small)
                assert "ask for another" in answer.json()["detail"]
                refused += 1
    assert refused >= 5
    with here.client(transport) as client:
        assert sum(entry["status"] == 403 for entry in client.get("/v1/audit")) == refused


def test_a_route_that_does_not_say_its_scope_cannot_be_made() -> None:
    """Forgetting it is not possible."""
    with pytest.raises(InputError, match="does not say which scope"):
        Guarded("/x", lambda: None)
    assert scope_of(Guarded("/x", lambda: None, openapi_extra=needs("read"))) == "read"


def test_bodies_that_are_too_large_or_too_deep_are_refused_whoever_sends_them(here: Here, transport: InProcess) -> None:
    """413 and 422, and nothing is parsed."""
    client = raw(transport, here.tokens["admin"])
    large = client.post("/v1/jobs", content=b'{"kind": "' + b"a" * 200_000 + b'"}')
    assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
    for deep in (b"[" * 50_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b'{"x": "\\"[", "y": ' + b"[" * 30 + b"]" * 30 + b"}"):
        answer = client.post("/v1/jobs", content=deep)
        assert (answer.status_code, "nested" in answer.json()["detail"]) == (422, True)
    for broken in (b"", b"{", b"nonsense", b"\xff\xfe", b'{"kind": NaN}', b"1" * 5000, b'"' + b'\\"' * 20_000):
        assert client.post("/v1/jobs", content=broken).status_code in (400, 422), broken[:20]


@pytest.mark.parametrize(("text", "expected"), [
    (b"", 0), (b"[]", 1), (b'{"a": [1, {"b": 2}]}', 3), (b'"[[[["', 0), (b'["\\"[[["]', 1), (b'["\\\\", [', 2), (b"]]]][", 1),
])  # fmt: skip
def test_brackets_within_strings_do_not_nest(text: bytes, expected: int) -> None:
    """As deep as a parser would go, for what is JSON."""
    assert max(depth(text, 100), 0) in (expected, 0 if text.startswith(b"]") else expected)


def test_paths_outside_the_roots_read_as_if_they_were_not_there(
    here: Here, transport: InProcess, root: Path, tmp_path: Path
) -> None:
    """Neither dots nor links nor absolute paths lead out; what exists and what does not look the same."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a,y\n1,2\n")
    link, folder = root / "link.csv", root / "folder"
    link.symlink_to(secret)
    folder.symlink_to(tmp_path)
    client = raw(transport, here.tokens["submit"])
    try:
        outside = ["../secret.csv", str(secret), "link.csv", "folder/secret.csv", "/etc/passwd", "./../../etc/passwd",
                   "nothing.csv", "wide.zarr/../../x", "s3://bucket/x", "x\x00y", str(root), ".", "~/x",
                   "file:///etc/passwd"]  # fmt: skip
        details = set()
        for path in outside:
            dataset = path if "/" in path else f"./{path}"
            for body in ({"kind": "ingest", "source": path, "output": "o"}, {"kind": "fit", "dataset": dataset}):
                answer = client.post("/v1/jobs", json=body)
                assert answer.status_code == 404, (body, answer.text)
                details.add(answer.json()["detail"].split("'")[-1].split('"')[-1])
            assert client.post("/v1/datasets", json={"name": "n", "path": path}).status_code == 404
        assert len(details) == 1
        assert client.post("/v1/datasets", json={"name": "n", "path": "wide.zarr"}).status_code == 201
        assert client.post("/v1/datasets", json={"name": "m", "path": str(root / "wide.zarr")}).status_code == 201
    finally:
        link.unlink()
        folder.unlink()


def test_a_root_that_is_a_link_is_followed_once_when_the_service_starts(tmp_path: Path) -> None:
    """Later changes of the link change nothing."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    roots = Roots.of(tmp_path / "link")
    assert roots.resolve("file") == Path(os.path.realpath(tmp_path / "a" / "file"))
    with pytest.raises(InputError, match="is not a folder"):
        Roots.of(tmp_path / "none")


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "kind"),
    ({"kind": "fit"}, "dataset"),
    ({"kind": "fit", "dataset": "wide.zarr", "extra": 1}, "extra"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"tol": "1e-6"}}, "tol"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"tol": 2.0}}, "tol"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"runtime": "dask"}}, "runtime"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"n_lambdas": 10**9}}, "n_lambdas"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"bounds": [1.0, 2.0, 3.0]}}, "bounds"),
    ({"kind": "fit", "dataset": "./wide.zarr", "output": "../m"}, "output"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"prior": {"name": "laplace", "scale": 1.0}, "lambdas": [1.0]}}, "prior"),
    ({"kind": "fit", "dataset": "./wide.zarr", "options": {"schedule": {"name": "mcp", "parameters": {"phi": 1}}}}, "mcp"),
    ({"kind": "cv", "dataset": "./wide.zarr", "options": {"folds": 1}}, "folds"),
    ({"kind": "ingest", "source": "table.csv"}, "output"),
    ({"kind": "delete", "dataset": "x"}, "kind"),
]  # fmt: skip


@pytest.mark.parametrize(("job", "culprit"), BAD, ids=[culprit for _, culprit in BAD])
def test_a_job_that_cannot_be_done_is_refused_with_the_culprit_named(
    here: Here, transport: InProcess, job: dict[str, Any], culprit: str
) -> None:
    """422 before anything is queued; the same words in Python."""
    answer = raw(transport, here.tokens["submit"]).post("/v1/jobs", json=job)
    assert answer.status_code == 422
    assert culprit in answer.json()["detail"]
    assert here.store.jobs.counts() == {}


def test_from_a_table_to_predictions(here: Here, client: Client, tmp_path: Path) -> None:
    """Ingest, fit, choose and predict as jobs, and the model comes home whole."""
    job = client.submit({"kind": "ingest", "source": "table.csv", "output": "table", "options": {"target": "y"}})
    assert client.wait(job.id).state == "succeeded", client.job(job.id).error
    about = client.get("/v1/datasets/table")
    assert (about["rows"], about["columns"], about["feature_names"]) == (300, 6, list("abcdef"))
    plan = client.plan({"kind": "fit", "dataset": "table"})
    assert plan.passes is not None
    assert plan.coordinator_bytes
    fit = client.submit({"kind": "fit", "dataset": "table", "output": "m", "options": {"n_lambdas": 20}})
    kinds = [record.kind for record in client.watch(fit.id)]
    assert {"state", "fit_started", "pass_finished", "batch_verified", "path_grown", "fit_finished"} <= set(kinds)
    assert kinds[-1] == "state"
    result = client.result(fit.id).result
    assert (result["model"], result["lambdas"], result["converged"]) == ("m", 20, True)
    own = dl.fit_path(dl.open_dataset(about["path"]), n_lambdas=20)
    there = client.model(fit.id)
    assert isinstance(there, dl.Path)
    assert (there.coef != own.coef).nnz == 0
    path = client.get("/v1/models/m/path")
    assert path["lambdas"] == own.lambdas.tolist()
    assert path["coef"][0] == own.coef[:, [path["columns"][0]]].toarray()[:, 0].tolist()
    rows = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]
    lam = float(own.lambdas[10])
    assert client.post("/v1/models/m/predict", {"rows": rows, "lam": lam})["predictions"] == own.predict(rows, lam=lam).tolist()
    client.download(fit.id, tmp_path / "model")
    assert isinstance(dl.load(tmp_path / "model"), dl.Path)
    cv = client.submit({"kind": "cv", "dataset": "table", "options": {"folds": 3, "schedule": ["none", "relaxed"]}})
    assert client.wait(cv.id).state == "succeeded", client.job(cv.id).error
    assert client.result(cv.id).result["folds"] == 3
    predicted = client.submit({"kind": "predict", "model": "m", "dataset": "table", "options": {"lam": lam}})
    assert client.wait(predicted.id).state == "succeeded", client.job(predicted.id).error
    client.download(predicted.id, tmp_path / "p.npy")
    assert (tmp_path / "p.npy").stat().st_size > 300 * 8
    assert [model["name"] for model in client.get("/v1/models")][-1] == "m"
    assert not here.service.files.checkpoint(fit.id).exists()


def test_predictions_of_rows_that_do_not_fit_are_refused(here: Here, client: Client) -> None:
    """With the row named."""
    client.wait(client.submit({"kind": "ingest", "source": "table.csv", "output": "t", "options": {"target": "y"}}).id)
    client.wait(client.submit({"kind": "fit", "dataset": "t", "output": "m"}).id)
    bad = [([[1.0] * 6, [1.0]], "row 1 has 1 values"), ([[None] * 6], "missing"), ([], "rows"), ([["1"] * 6], "rows")]
    for rows, message in bad:
        with pytest.raises(ServiceError, match=message) as error:
            client.post("/v1/models/m/predict", {"rows": rows, "lam": 0.1})
        assert error.value.status == 422


def test_a_full_queue_says_when_to_come_back(here: Here, transport: InProcess, client: Client) -> None:
    """429 with Retry-After; a repeated key is answered even then."""
    here.service.supervisor._most = 0
    for k in range(5):
        client.submit({"kind": "fit", "dataset": "./wide.zarr"}, key=f"k{k}")
    answer = raw(transport, here.tokens["submit"]).post("/v1/jobs", json={"kind": "fit", "dataset": "./wide.zarr"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert client.submit({"kind": "fit", "dataset": "./wide.zarr"}, key="k0").number == 1


def test_jobs_are_listed_page_by_page_and_by_state(here: Here, client: Client) -> None:
    """The latest first, each once."""
    here.service.supervisor._most = 0
    jobs = [client.submit({"kind": "fit", "dataset": "./wide.zarr"}).id for _ in range(5)]
    seen, before = [], None
    while True:
        page = client.jobs(before=before, limit=2)
        seen += [job.id for job in page.jobs]
        before = page.next
        if before is None:
            break
    assert seen == jobs[::-1]
    assert client.cancel(jobs[0]).state == "cancelled"
    assert [job.id for job in client.jobs(state="cancelled").jobs] == jobs[:1]
    assert client.resume(jobs[0]).state == "queued"


def test_a_job_that_runs_is_cancelled_and_resumed_to_the_same_result(client: Client, root: Path) -> None:
    """The runner's process ends, and a later one goes on."""
    job = client.submit({"kind": "fit", "dataset": "./wide.zarr", "output": "w", "options": {"n_lambdas": 600}}).id
    until(lambda: client.job(job).progress.get("n_accepted", 0) > 0)
    client.cancel(job)
    until(lambda: client.job(job).state == "cancelled")
    assert client.get("/v1/cluster")["running"] == 0
    with pytest.raises(ServiceError, match="no result"):
        client.result(job)
    client.resume(job)
    assert client.wait(job).state == "succeeded"
    assert client.job(job).attempt == 2
    own = dl.fit_path(dl.open_dataset(root / "wide.zarr"), n_lambdas=600)
    path = client.model(job)
    assert isinstance(path, dl.Path)
    assert path.gap.tobytes() == own.gap.tobytes()
    assert path.coef.data.tobytes() == own.coef.data.tobytes()


def test_a_fit_that_fails_says_why(client: Client) -> None:
    """In the words of the library; the runner's log has no traceback for a user's mistake."""
    client.wait(client.submit({"kind": "ingest", "source": "table.csv", "output": "t", "options": {"target": "y"}}).id)
    job = client.submit({"kind": "fit", "dataset": "t", "options": {"loss": "logistic"}}).id
    last = client.wait(job)
    assert last.state == "failed"
    assert "logistic" in last.error


def test_events_go_on_where_a_client_left_off(client: Client, transport: InProcess, here: Here) -> None:
    """Each record once, whatever Last-Event-ID says; ``follow=false`` does not wait."""
    job = client.submit({"kind": "ingest", "source": "table.csv", "output": "t", "options": {"target": "y"}}).id
    client.wait(job)
    every = list(client.watch(job))
    assert [record.seq for record in every] == list(range(1, len(every) + 1))
    assert list(client.watch(job, after=2)) == every[2:]
    reader, place = raw(transport, here.tokens["read"]), f"/v1/jobs/{job}/events"
    answer = reader.get(place, headers={"Last-Event-ID": "2"}, params={"follow": False})
    assert answer.text.startswith("id: 3\n")
    assert reader.get(place, headers={"Last-Event-ID": "x"}).status_code == 422


def test_metrics_count_jobs_and_requests(client: Client, transport: InProcess, here: Here) -> None:
    """By route, not by what the client wrote."""
    client.jobs()
    text = raw(transport, here.tokens["read"]).get("/metrics").text
    assert 'distlasso_http_requests_total{method="GET",route="/v1/jobs",status="200"} 1' in text
    assert 'distlasso_jobs{state="queued"} 0' in text


def test_an_archive_with_anything_else_in_it_is_refused(tmp_path: Path) -> None:
    """A service that is not to be trusted writes no file of its choice."""
    from distlasso.errors import StoreError
    from distlasso.service.archive import unpack

    for name in ("../evil", "/evil", "evil.py"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, "x")
        (tmp_path / "a.zip").write_bytes(buffer.getvalue())
        with pytest.raises(StoreError, match="which no model has"):
            unpack(tmp_path / "a.zip", tmp_path)
    assert json.dumps(sorted(file.name for file in tmp_path.iterdir())) == '["a.zip"]'


def test_an_archive_that_comes_to_more_than_its_bytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    from distlasso.service.archive import unpack

    file, folder = tmp_path / "model.zip", tmp_path / "model"
    folder.mkdir()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("path.npz", bytes(64 << 20))
    with pytest.raises(dl.StoreError, match="more bytes than it has"):
        unpack(file, folder)
    assert not list(folder.iterdir())
