"""A client of the service: typed, synchronous, over HTTP or in this process.

>>> from distlasso.service.client import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     job = client.submit({"kind": "fit", "dataset": "flights", "output": "model"})
...     for event in client.watch(job.id):
...         print(event.kind, event.data)
...     path = client.model(job.output)

Read next: ``routers/jobs.py``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

try:
    import httpx
    from pydantic import BaseModel
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"the service needs {error.name}: pip install 'distlasso[service]'", name=error.name) from error

import distlasso as dl
from distlasso.errors import InputError, SchedulerError
from distlasso.service.archive import unpack
from distlasso.service.schemas import JobList, JobResult, JobView, PlanView
from distlasso.service.spec import Spec
from distlasso.service.tokens import new_id

_SECONDS = 30.0
_ATTEMPTS, _WAIT_SECONDS = 5, 0.5  # of what may be repeated, since repeating it changes nothing


class ServiceError(InputError):
    """The service refused a request; the message is its own."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Unreachable(SchedulerError):
    """Nothing answers at the service's address."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a job's stream."""

    seq: int
    kind: str
    data: Mapping[str, Any]


@final
class Client:
    """A service at an address.

    Parameters
    ----------
    url : str
        Where it answers.
    token : str, optional
        What ``distlasso token create`` showed.
    transport : httpx.BaseTransport, optional
        Another way there, such as one within this process.
    verify : bool or str
        Whether certificates are checked, and by which file.
    """

    def __init__(
        self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None, verify: bool | str = True
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            self._http = httpx.Client(base_url=url, headers=headers, transport=transport, timeout=_SECONDS, verify=verify)
        except (httpx.InvalidURL, OSError, ValueError) as error:
            raise InputError(f"{url!r} is not the address of a service: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def submit(self, job: Spec | Mapping[str, Any], *, key: str | None = None) -> JobView:
        """Queue a job; a request that is lost on the way is repeated and still is one job.

        Raises
        ------
        ServiceError
            If the service refuses it.
        """
        headers = {"Idempotency-Key": key or new_id("key")}
        return JobView.model_validate(self._ask("POST", "/v1/jobs", json=_plain(job), headers=headers))

    def plan(self, job: Spec | Mapping[str, Any]) -> PlanView:
        """What a job would cost."""
        return PlanView.model_validate(self._ask("POST", "/v1/plans", json=_plain(job)))

    def jobs(self, *, state: str | None = None, before: int | None = None, limit: int = 50) -> JobList:
        """A page of jobs, the latest first."""
        asked = {"state": state, "before": before, "limit": limit}
        given = {name: value for name, value in asked.items() if value is not None}
        return JobList.model_validate(self._ask("GET", "/v1/jobs", params=given))

    def job(self, job: str) -> JobView:
        """One job."""
        return JobView.model_validate(self._ask("GET", f"/v1/jobs/{job}"))

    def cancel(self, job: str) -> JobView:
        """Have a job stop."""
        return JobView.model_validate(self._ask("POST", f"/v1/jobs/{job}/cancel"))

    def resume(self, job: str) -> JobView:
        """Have a job go on from its checkpoint."""
        return JobView.model_validate(self._ask("POST", f"/v1/jobs/{job}/resume"))

    def result(self, job: str) -> JobResult:
        """What a job came to."""
        return JobResult.model_validate(self._ask("GET", f"/v1/jobs/{job}/result"))

    def watch(self, job: str, *, after: int = 0) -> Iterator[Record]:
        """Records of a job until it is over; a connection that is lost is made again, and nothing is missed.

        Raises
        ------
        Unreachable
            If the service stays away.
        """
        failures = 0
        while True:
            try:
                for record in self._stream(job, after):
                    failures = 0
                    if record.kind == "end":
                        return
                    after = record.seq
                    yield record
            except httpx.TransportError as error:
                failures += 1
                if failures >= 2 * _ATTEMPTS:
                    raise self._unreachable(error) from error
            time.sleep(_WAIT_SECONDS)

    def wait(self, job: str) -> JobView:
        """Wait until a job is over."""
        for _ in self.watch(job):
            pass
        return self.job(job)

    def download(self, job: str, out: str | Path) -> None:
        """Write the output of a job: a model's folder, or a file of predictions; it has its name only when it is whole."""
        place = Path(out)
        with tempfile.TemporaryDirectory(dir=place.absolute().parent, prefix=".distlasso-") as folder:
            raw = Path(folder) / "raw"
            raw.write_bytes(self._send("GET", f"/v1/jobs/{job}/output").content)
            if self.job(job).kind == "predict":
                raw.replace(place)
                return
            whole = Path(folder) / "model"
            whole.mkdir()
            unpack(raw, whole)
            dl.load(whole)
            whole.rename(place)

    def model(self, job: str) -> dl.Path | dl.CrossValidation:
        """The model of a job, loaded."""
        with tempfile.TemporaryDirectory(prefix="distlasso-") as folder:
            self.download(job, Path(folder) / "model")
            return dl.load(Path(folder) / "model")

    def get(self, path: str) -> Any:
        """Whatever else the service answers with JSON."""
        return self._ask("GET", path)

    def post(self, path: str, body: Any) -> Any:
        """Whatever else the service takes as JSON."""
        return self._ask("POST", path, json=body)

    def _stream(self, job: str, after: int) -> Iterator[Record]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self._http.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as response:
            if response.status_code >= 400:
                response.read()
                raise _refusal(response)
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if line and name:
                    fields[name] = value
                elif "data" in fields:
                    yield Record(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                    fields = {}

    def _ask(self, method: str, path: str, **rest: Any) -> Any:
        return self._send(method, path, **rest).json()

    def _send(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """Send a request, again if nothing answers: all of them may be repeated, submitting because of its key."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._http.request(method, path, **rest)
                break
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS:
                    raise self._unreachable(error) from error
                time.sleep(_WAIT_SECONDS)
        if response.status_code >= 400:
            raise _refusal(response)
        return response

    def _unreachable(self, error: Exception) -> Unreachable:
        where = str(self._http.base_url).rstrip("/")
        return Unreachable(f"no service answers at {where}: start one with `distlasso serve`, or set DISTLASSO_URL ({error})")


def _plain(job: Spec | Mapping[str, Any]) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude_unset=True) if isinstance(job, BaseModel) else dict(job)


def _refusal(response: httpx.Response) -> ServiceError:
    try:
        return ServiceError(response.status_code, str(response.json()["detail"]))
    except (ValueError, KeyError, TypeError):
        return ServiceError(response.status_code, f"the service answered {response.status_code} {response.reason_phrase}")
