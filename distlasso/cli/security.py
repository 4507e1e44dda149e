"""``tls``: the certificates of a cluster and a service.

Read next: ``../tls.py``.
"""

from __future__ import annotations

import datetime
import json
import sys
from typing import Annotated

import typer

from distlasso.cli.show import Json
from distlasso.tls import make_certificates


def tls(
    folder: Annotated[str, typer.Argument(help="Where keys and certificates go; what is there is kept.")],
    host: Annotated[list[str] | None, typer.Option(help="Name or address of scheduler or service; repeat it.")] = None,
    days: Annotated[int, typer.Option(help="Until the certificates expire.")] = 365,
    json_: Json = False,
) -> None:
    """Make a certificate authority, and keys for scheduler, workers, clients and the service."""
    found = make_certificates(folder, hosts=host or [], days=days)
    if json_:
        print(json.dumps([
            {"role": one.role, "certificate": str(one.certificate), "key": str(one.key), "names": one.names,
             "expires": one.expires.isoformat(), "kept": one.kept} for one in found
        ]))  # fmt: skip
        return
    now = datetime.datetime.now(datetime.UTC)
    for one in found:
        expiry = f"{'EXPIRED' if one.expires < now else 'expires'} {one.expires:%Y-%m-%d}"
        names = f", names {', '.join(one.names)}" if one.names else ""
        print(f"{'kept' if one.kept else 'made'} {one.certificate}, {expiry}{names}")
    print(
        f"Whoever holds {found[0].key} can let anyone into the cluster: keep it away from the machines. They need ca.pem and "
        "the two files of their role.",
        file=sys.stderr,
    )
