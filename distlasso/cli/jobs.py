"""``submit``, ``jobs``, ``watch``, ``cancel``, ``resume``, ``result``: jobs of a service, from the command line.

Read next: ``../service/client.py``.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distlasso.cli.place import check_output
from distlasso.cli.service import the_extra
from distlasso.cli.show import Json, show

if TYPE_CHECKING:
    from distlasso.service.client import Client
    from distlasso.service.schemas import JobView

Url = Annotated[str, typer.Option(help="Where the service answers.")]
Token = Annotated[str | None, typer.Option(help="What `distlasso token create` showed.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Of a job.")]

_LOCAL = "http://127.0.0.1:8000"
_FAILED = 1  # exit code where the job, not the command, has failed


def submit(
    job: Annotated[str, typer.Argument(metavar="JOB.toml", help="What to do: kind, dataset, output, options.")],
    watch_: Annotated[bool, typer.Option("--watch", help="Stay until it is over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would cost.")] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same again is the same job.")] = None,
    url: Url = _LOCAL,
    token: Token = None,
    json_: Json = False,
) -> None:
    """Queue a job."""
    with the_extra():
        from distlasso.service.spec import read_job
    spec = read_job(job)
    with _client(url, token) as client:
        if dry_run:
            show(client.plan(spec).model_dump(), json_)
            return
        queued = client.submit(spec, key=key)
        if watch_:
            _follow(client, queued.id, json_)
        else:
            _show(queued, json_)


def jobs(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=500)] = 20,
    url: Url = _LOCAL,
    token: Token = None,
    json_: Json = False,
) -> None:
    """List jobs, the latest first."""
    with _client(url, token) as client:
        found = client.jobs(state=state, limit=limit).jobs
    if json_:
        print(json.dumps([job.model_dump() for job in found]))
        return
    for job in found:
        print(_line(job))


def watch(job: JobId, url: Url = _LOCAL, token: Token = None, json_: Json = False) -> None:
    """Show a job as it goes on, until it is over; exit code 1 unless it succeeds."""
    with _client(url, token) as client:
        _follow(client, job, json_)


def cancel(job: JobId, url: Url = _LOCAL, token: Token = None, json_: Json = False) -> None:
    """Have a job stop; `resume` takes it up again."""
    with _client(url, token) as client:
        _show(client.cancel(job), json_)


def resume(job: JobId, url: Url = _LOCAL, token: Token = None, json_: Json = False) -> None:
    """Have a job that was cancelled or has failed go on from its checkpoint."""
    with _client(url, token) as client:
        _show(client.resume(job), json_)


def result(
    job: JobId,
    out: Annotated[str | None, typer.Option(help="Where the model goes, or the predictions.")] = None,
    url: Url = _LOCAL,
    token: Token = None,
    json_: Json = False,
) -> None:
    """Show what a job came to; with --out fetch its model or predictions."""
    if out is not None:
        check_output(out, overwrite=False)
    with _client(url, token) as client:
        found = client.result(job)
        if out is not None:
            client.download(job, out)
    show({"job": found.id, **found.result, **({} if out is None else {"out": out})}, json_)


def _follow(client: Client, job: str, as_json: bool) -> None:
    for record in client.watch(job):
        if as_json:
            print(json.dumps({"seq": record.seq, "kind": record.kind, **record.data}), flush=True)
        else:
            text = _said(record.kind, record.data)
            if text:
                print(text, file=sys.stderr, flush=True)
    last = client.job(job)
    if not as_json:
        print(_line(last))
    if last.state != "succeeded":
        raise SystemExit(_FAILED)


def _said(kind: str, data: Any) -> str:
    match kind:
        case "state":
            return ": ".join(part for part in (data["state"], data.get("error")) if part)
        case "fit_started":
            return f"{data['n_rows']:,} rows, {data['n_columns']:,} columns, {data['n_lambdas']:,} lambdas: {data['form']}"
        case "batch_verified":
            return (f"lambda {data['n_accepted']} of {data['n_lambdas']}, {data['n_active']:,} active of "
                    f"{data['n_strong']:,} strong, gap {data['gap'] or 0:.1e}")  # fmt: skip
        case "ingest_progress":
            return f"{data['rows']:,} rows written"
        case "warning":
            return f"warning: {data['message']}"
        case "fit_finished":
            return f"{data['n_lambdas']} lambdas, {data['passes']} passes, {data['seconds']:.1f} s: {data['reason']}"
    return ""


def _show(job: JobView, as_json: bool) -> None:
    print(json.dumps(job.model_dump()) if as_json else _line(job))


def _line(job: JobView) -> str:
    at, of = job.progress.get("n_accepted"), job.progress.get("n_lambdas")
    share = f"  {at} of {of} lambdas" if at is not None and job.state != "succeeded" else ""
    return f"{job.id}  {job.kind:<7}  {job.state:<9}  {job.output}{share}{f'  {job.error}' if job.error else ''}"


def _client(url: str, token: str | None) -> Client:
    with the_extra():
        from distlasso.service.client import Client
    return Client(url, token)
