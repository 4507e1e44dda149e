"""Encryption between this process, scheduler and workers: TLS with certificates that are given or made, and nothing less.

Whoever reaches a scheduler can run code on it, so a certificate is also the key to it. Read next: ``connect.py``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import distributed

from distlasso.errors import InputError

Tls = bool | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def security_of(tls: Tls, *, embedded: bool) -> Any:
    """What Dask wants to know.

    Parameters
    ----------
    tls : bool, path or (path, path, path)
        True has certificates made for an embedded cluster, and takes those of Dask's configuration for another one. A
        folder has ``ca.pem``, ``client.pem`` and ``client.key``; three files are CA, certificate and key.
    embedded : bool
        Whether scheduler and workers are started here, and get the same certificate.

    Returns
    -------
    distributed.Security or None

    Raises
    ------
    InputError
        If a file is missing, or there are no certificates.
    """
    if tls is False:
        return None
    if tls is True and embedded:
        return _made()
    if tls is True:
        configured = distributed.Security(require_encryption=True)
        if configured.tls_ca_file is None or configured.tls_client_cert is None:
            raise InputError(
                "tls is wanted, and there are no certificates: name CA, certificate and key, or set distributed.comm.tls in "
                "Dask's configuration; `distlasso tls FOLDER` makes them"
            )
        return configured
    ca, certificate, key = _files(tls)
    roles = ("client", "scheduler", "worker") if embedded else ("client",)
    own = {f"tls_{role}_{what}": str(file) for role in roles for what, file in (("cert", certificate), ("key", key))}
    return distributed.Security(require_encryption=True, tls_ca_file=str(ca), **own)


def check_address(address: str, security: Any) -> None:
    """Refuse to talk in the clear where encryption is wanted."""
    if security is not None and security.require_encryption and not address.startswith("tls://"):
        raise InputError(f"encryption is wanted, and {address} is not encrypted: expected an address that begins with tls://")


def _made() -> Any:
    try:
        return distributed.Security.temporary()
    except ImportError as error:
        raise InputError("certificates cannot be made without cryptography: pip install 'distlasso[tls]'") from error


def _files(tls: Any) -> list[Path]:
    if isinstance(tls, str | os.PathLike):
        files = [Path(tls) / name for name in ("ca.pem", "client.pem", "client.key")]
    else:
        files = [Path(file) for file in tls]
    if len(files) != 3:
        raise InputError(f"tls={tls!r}: expected a folder, or CA, certificate and key")
    for file in files:
        if not file.is_file():
            raise InputError(f"tls: there is no file {file}")
    return files
