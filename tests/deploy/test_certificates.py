"""Certificates: keys that only their owner reads, narrow uses, honest expiry, and nothing that is there is ever replaced."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed.comm.core import connect, listen
from distributed.security import Security

import distlasso as dl
from distlasso.tls import ROLES, make_certificates

pytest.importorskip("cryptography", reason='certificates need the extra "tls"')
from cryptography import x509


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls") / "certs"
    make_certificates(place, hosts=["lasso.example.org", "10.0.0.7"], days=30)
    return place


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_keys_and_their_folder_are_for_their_owner_only(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for role in ("ca", *ROLES):
        assert stat.S_IMODE((folder / f"{role}.key").stat().st_mode) == 0o600
        assert certificate(folder / f"{role}.pem").public_key() is not None
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{r}.{end}" for r in ("ca", *ROLES) for end in ("key", "pem"))


def test_certificates_name_the_hosts_that_were_given_and_expire_when_they_say(folder: Path) -> None:
    for issued in make_certificates(folder, hosts=["lasso.example.org", "10.0.0.7"], days=30)[1:]:
        assert issued.kept
        names = certificate(issued.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", issued.role} <= set(names.get_values_for_type(x509.DNSName))
        assert ("10.0.0.7" in map(str, names.get_values_for_type(x509.IPAddress))) == (issued.role != "client")
        left = issued.expires - datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta(days=29) < left <= datetime.timedelta(days=30)
        assert issued.expires == certificate(issued.certificate).not_valid_after_utc


def test_a_second_call_replaces_nothing(folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    make_certificates(folder, hosts=["lasso.example.org"], days=400)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_removed_certificate_is_issued_anew_for_its_old_key(tmp_path: Path) -> None:
    make_certificates(tmp_path, days=1)
    key, old = (tmp_path / "service.key").read_bytes(), certificate(tmp_path / "service.pem")
    with pytest.raises(dl.InputError, match=r"service\.pem were there before and do not name all of new\.example\.org: remove"):
        make_certificates(tmp_path, hosts=["new.example.org"])
    for role in ROLES:
        (tmp_path / f"{role}.pem").unlink()
    issued = make_certificates(tmp_path, hosts=["new.example.org"], days=1)
    new = certificate(tmp_path / "service.pem")
    assert [one.kept for one in issued] == [True, False, False, False, False]
    assert "new.example.org" in issued[-1].names and new.serial_number != old.serial_number
    assert new.public_key() == old.public_key() and (tmp_path / "service.key").read_bytes() == key


def test_each_role_is_let_in_where_it_belongs_and_nobody_else(folder: Path, tmp_path: Path) -> None:
    """The service's certificate opens no connection to the cluster, nor does that of another authority, nor none."""
    make_certificates(tmp_path, days=1)

    def security(place: Path, caller: str) -> Security:
        pair = {"tls_client_cert": str(place / f"{caller}.pem"), "tls_client_key": str(place / f"{caller}.key")}
        return Security(
            tls_ca_file=str(folder / "ca.pem"), require_encryption=True, tls_scheduler_cert=str(folder / "scheduler.pem"),
            tls_scheduler_key=str(folder / "scheduler.key"), **pair)  # fmt: skip

    async def welcome(comm: Any) -> None:
        await comm.write("welcome")

    async def knock(address: str, place: Path, caller: str) -> str:
        comm = await connect(address, timeout=10, **security(place, caller).get_connection_args("client"))
        try:
            return str(await comm.read())
        finally:
            await comm.close()

    async def scenario() -> None:
        arguments = security(folder, "client").get_listen_args("scheduler")
        async with listen("tls://127.0.0.1:0", welcome, **arguments) as listener:
            address = listener.contact_address
            for caller in ("scheduler", "worker", "client"):
                assert await knock(address, folder, caller) == "welcome"
            refused = (folder, "service", "UNSUPPORTED_CERTIFICATE"), (tmp_path, "client", "verify failed|UNKNOWN_CA")
            for place, caller, why in refused:
                with pytest.raises(OSError, match=why):
                    await knock(address, place, caller)
            with pytest.raises(OSError, match="CERTIFICATE_REQUIRED"):
                await connect(address, timeout=10, ssl_context=ssl.create_default_context(cafile=str(folder / "ca.pem")))

    with ThreadPoolExecutor(1) as pool:  # a browser of other tests may have left a loop running on this thread
        pool.submit(asyncio.run, scenario()).result()


def test_a_browser_would_accept_the_service_under_its_names_only(folder: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "service.pem", folder / "service.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.pem"))

    def handshake(host: str) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = client.wrap_bio(to_client, to_server, server_hostname=host), server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(3):
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue

    for host in ("lasso.example.org", "10.0.0.7", "localhost", "::1"):
        handshake(host)
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        handshake("elsewhere.example.org")


def test_bad_requests_are_one_line_and_leave_no_folder(tmp_path: Path) -> None:
    place = tmp_path / "certs"
    for arguments, message in ((["--host", "two words"], "neither a name"), (["--days", "0"], "days=0")):
        found = subprocess.run(
            [sys.executable, "-m", "distlasso.cli", "tls", str(place), *arguments], capture_output=True, text=True, check=False
        )
        assert found.returncode == 2 and message in found.stderr and len(found.stderr.splitlines()) == 1
        assert not place.exists()
    place.write_text("not a folder")
    with pytest.raises(dl.StoreError, match="cannot write certificates"):
        make_certificates(place)


def test_a_key_that_cannot_be_read_is_named_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "worker.key").write_text("nonsense")
    with pytest.raises(dl.StoreError, match="cannot be read"):
        make_certificates(tmp_path)
    assert (tmp_path / "worker.key").read_text() == "nonsense"


def test_the_command_says_what_it_made_and_when_that_expires(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distlasso.cli", "tls", str(tmp_path / "certs"), "--host", "a.example.org", "--days", "9"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.count("expires") == 5 and "a.example.org" in shown.stdout and "keep it away" in shown.stderr
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert [one["role"] for one in found] == ["ca", *ROLES] and all(one["kept"] for one in found)
