"""Certificates for a cluster and a service: a certificate authority (CA) of one's own, and a key for each role.

Dask lets in whoever shows a certificate of its CA, and whoever is let in can run code; so the CA signs nothing else, and what
each certificate may be used for (its extended key usage) is as narrow as its role allows: the service's, which faces users, opens
no connection to the cluster. ``cryptography`` does the cryptography. Read next: ``cli/security.py``.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distlasso.errors import InputError, StoreError

_AUTHORITY_DAYS = 3650
_BACKDATED = datetime.timedelta(minutes=5)  # clocks of a cluster differ
# Scheduler and workers call each other, a client only calls, the service is only called.
_CALLED = {"scheduler": True, "worker": True, "client": False, "service": True}
_CALLS = {"scheduler": True, "worker": True, "client": True, "service": False}
ROLES = tuple(_CALLED)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate in the folder."""

    role: str
    certificate: Path
    key: Path
    names: tuple[str, ...]  # hosts that it vouches for
    expires: datetime.datetime
    kept: bool  # it was there before


def make_certificates(folder: str | Path, *, hosts: Sequence[str] = (), days: int = 365) -> list[Issued]:
    """Make what is missing of a CA and a certificate for each role; what is there stays as it is.

    To renew a certificate, or to have it name other hosts, remove its ``.pem`` and call again: its key is kept.

    Parameters
    ----------
    folder : str or Path
        Gets ``ca.pem``, ``ca.key`` and, for scheduler, worker, client and service, ``ROLE.pem`` and ``ROLE.key``. Keys, and the
        folder if it is made, can be read by their owner only.
    hosts : sequence of str
        Names and addresses at which scheduler, workers and service are reached, beside this machine and the role's own name.
    days : int
        Until the certificates expire; the CA does after ten years.

    Returns
    -------
    list of Issued
        The CA and then each role.

    Raises
    ------
    InputError
        If ``cryptography`` is missing, ``days`` or a host makes no sense, or a certificate that is there lacks one of ``hosts``.
    StoreError
        If the folder cannot be written, or what it has cannot be read.
    """
    names = _names(hosts)
    if not 1 <= days <= _AUTHORITY_DAYS:
        raise InputError(f"days={days}: expected 1 to {_AUTHORITY_DAYS}")
    _cryptography()
    place = Path(folder)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _issue(place, "ca", [], _AUTHORITY_DAYS, None)
        roles = [_issue(place, role, _own(role, names), days, authority) for role in ROLES]
    except OSError as error:
        raise StoreError(f"cannot write certificates to {folder}: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(f"{folder} has a key or certificate that cannot be read: {error}") from error
    stale = [one.certificate for one in roles if _CALLED[one.role] and not set(names) <= set(one.names)]
    if stale:
        raise InputError(
            f"{' '.join(map(str, stale))} were there before and do not name all of {', '.join(names)}: remove them (not their "
            "keys) and repeat the command to have them issued anew"
        )
    return [authority, *roles]


def _issue(folder: Path, role: str, names: list[str], days: int, authority: Issued | None) -> Issued:
    """One key and its certificate, unless they are there; an authority signs itself."""
    x509 = _cryptography()
    from cryptography.hazmat.primitives import hashes

    key_file, file = folder / f"{role}.key", folder / f"{role}.pem"
    kept = file.exists()
    if not kept:
        key = _key(key_file)
        now = datetime.datetime.now(datetime.UTC)
        subject = _name("distlasso CA" if authority is None else f"distlasso {role}")
        issuer, signer = subject, key
        if authority is not None:
            issuer, signer = x509.load_pem_x509_certificate(authority.certificate.read_bytes()).subject, _key(authority.key)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - _BACKDATED)
            .not_valid_after(now + datetime.timedelta(days=days))
        )  # fmt: skip
        for extension, critical in _extensions(role, names, key, signer):
            builder = builder.add_extension(extension, critical=critical)
        _write(file, builder.sign(signer, hashes.SHA256()).public_bytes(_pem()), 0o644)
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return Issued(role, file, key_file, _named(certificate), certificate.not_valid_after_utc, kept)


def _extensions(role: str, names: list[str], key: Any, signer: Any) -> list[tuple[Any, bool]]:
    """What a certificate is for, whom it names and by which keys it is found; and whether a reader must heed it."""
    x509 = _cryptography()
    is_authority = role == "ca"
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    found = [
        (x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True),
        (x509.KeyUsage(digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **usage), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    if is_authority:
        return found
    uses = [
        oid
        for oid, wanted in (
            (x509.ExtendedKeyUsageOID.SERVER_AUTH, _CALLED[role]),
            (x509.ExtendedKeyUsageOID.CLIENT_AUTH, _CALLS[role]),
        )
        if wanted
    ]
    return [*found, (x509.ExtendedKeyUsage(uses), False), (x509.SubjectAlternativeName([_general(n) for n in names]), False)]


def _key(file: Path) -> Any:
    """The private key of a file, made first where there is none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(file, key.private_bytes(_pem(), serialization.PrivateFormat.PKCS8, serialization.NoEncryption()), 0o600)
    return serialization.load_pem_private_key(file.read_bytes(), password=None)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Write under another name and link into place: a file is whole, and one that is there is never replaced."""
    wip = file.with_name(f".{file.name}.{os.getpid()}.wip")
    try:
        handle = os.open(wip, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.link(wip, file)
    finally:
        wip.unlink(missing_ok=True)


def _names(hosts: Sequence[str]) -> list[str]:
    """Hosts as certificates have them, each once."""
    found = []
    for host in hosts:
        name = host.strip().rstrip(".").lower()
        legal = name.removeprefix("*.").replace("-", "").replace("_", "").replace(".", "").isalnum() and name.isascii()
        if not legal and not _is_address(name):
            raise InputError(f"host {host!r} is neither a name nor an address; expected one such as lasso.example.org or 10.0.0.7")
        found.append(str(ipaddress.ip_address(name)) if _is_address(name) else name)
    return list(dict.fromkeys(found))


def _own(role: str, names: list[str]) -> list[str]:
    return list(dict.fromkeys([role, "localhost", "127.0.0.1", "::1", *(names if _CALLED[role] else [])]))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _general(name: str) -> Any:
    x509 = _cryptography()
    return x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _named(certificate: Any) -> tuple[str, ...]:
    x509 = _cryptography()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _name(text: str) -> Any:
    x509 = _cryptography()
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _pem() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM


def _cryptography() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise InputError('certificates need the package cryptography: pip install "distlasso[tls]"') from error
    return x509
