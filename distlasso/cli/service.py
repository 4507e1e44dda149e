"""``serve`` and ``token``: running a service. Its parts are imported when they are asked for: they are an extra.

Read next: ``jobs.py`` (its clients), ``../service/serve.py``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from distlasso.cli.show import Json, show
from distlasso.errors import InputError

if TYPE_CHECKING:
    from distlasso.service.store.records import Access

Store = Annotated[str, typer.Option(help="The service's SQLite file.")]

tokens = typer.Typer(help="Make, list and revoke the tokens of a service.", no_args_is_help=True)

_DAY = 86400.0


@contextmanager
def the_extra() -> Iterator[None]:
    """Say which extra is missing, if one is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("distlasso"):
            raise
        raise InputError(f'the service needs {error.name}: pip install "distlasso[service]"') from error


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 is any that is free.", min=0, max=65535)] = 8000,
    store: Store = "jobs.sqlite",
    root: Annotated[list[str] | None, typer.Option(help="Folder whose data jobs may read; repeat it.")] = None,
    scheduler: Annotated[
        str, typer.Option(help="local (a cluster of its own), threads, an address or a file.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(help="Workers of the local cluster; one a processor by default.")] = None,
    jobs: Annotated[int, typer.Option(help="Jobs that run at once.", min=1)] = 2,
    queue: Annotated[int, typer.Option(help="Jobs that may wait.", min=1)] = 100,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.", min=1000)] = 8 << 20,
    insecure_local: Annotated[bool, typer.Option("--insecure-local", help="No tokens; on a loopback address only.")] = False,
    tls_cert: Annotated[str | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="Its private key, PEM.")] = None,
    json_: Json = False,
) -> None:
    """Serve fits as jobs: REST under /v1, a page at /, both behind tokens."""
    with the_extra():
        from distlasso.service.context import Limits
        from distlasso.service.serve import Settings
        from distlasso.service.serve import serve as run

    def announce(url: str) -> None:
        print(json.dumps({"url": url}) if json_ else f"service: {url}", file=sys.stdout if json_ else sys.stderr, flush=True)

    run(Settings(store=store, host=host, port=port, roots=tuple(root or ()), scheduler=scheduler, workers=workers,
                 most_jobs=jobs, insecure=insecure_local, tls_cert=tls_cert, tls_key=tls_key,
                 limits=Limits(body=max_body, queue=queue)), announce)  # fmt: skip


@tokens.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for the list and the audit log.")] = "token",
    scope: Annotated[str, typer.Option(help="read, submit (and read), or admin (all).")] = "submit",
    days: Annotated[float | None, typer.Option(help="Days until it expires; never by default.", min=0.0)] = None,
    store: Store = "jobs.sqlite",
    json_: Json = False,
) -> None:
    """Make a token; it is shown this once."""
    from distlasso.service.tokens import SCOPES, Scope

    if scope not in SCOPES:
        raise InputError(f"--scope {scope!r} is not known: use {', '.join(SCOPES)}")
    known: Scope = get_args(Scope)[SCOPES.index(scope)]
    token, secret = _access(store).create_token(name, known, None if days is None else time.time() + days * _DAY)
    if json_:
        print(json.dumps({"id": token.id, "name": name, "scope": scope, "expires": token.expires, "token": secret}))
    else:
        print(secret)


@tokens.command("list")
def list_(store: Store = "jobs.sqlite", json_: Json = False) -> None:
    """List tokens: whose, for what, until when."""
    now = time.time()
    found: list[dict[str, Any]] = []
    for token in _access(store).tokens():
        state = "revoked" if token.revoked else "expired" if token.expires is not None and token.expires <= now else "valid"
        found.append({"id": token.id, "name": token.name, "scope": token.scope, "state": state, "expires": token.expires})
    if json_:
        print(json.dumps(found))
        return
    for about in found:
        print(f"{about['id']}  {about['scope']:<6}  {about['state']:<7}  {about['name']}{_until(about['expires'])}")


@tokens.command("revoke")
def revoke(token: Annotated[str, typer.Argument(help="Its id.")], store: Store = "jobs.sqlite", json_: Json = False) -> None:
    """Make a token worthless from now on."""
    if not _access(store).revoke(token):
        raise InputError(f"there is no token {token!r}: list them with `distlasso token list`")
    show({"revoked": token}, json_)


def _until(expires: float | None) -> str:
    return "" if expires is None else time.strftime(", until %Y-%m-%d %H:%M", time.localtime(expires))


def _access(store: str) -> Access:
    from distlasso.service.store import SQLiteStore

    if not Path(store).absolute().parent.is_dir():
        raise InputError(f"--store {store}: its folder does not exist")
    return SQLiteStore(store).access
