"""Certificates in files, for the tests of what loads them."""

from __future__ import annotations

import datetime
import os
import ssl
from pathlib import Path
from typing import Any

import trio
import trustme

import triosock
from tests.programs import dial
from triosock import CertificateFiles

NOW = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
DAY = datetime.timedelta(days=1)
EXPIRED = {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}
NOT_YET = {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY}


def write(
    folder: Path, issuer: trustme.CA, *names: str, stem: str | None = None, **dates: Any
) -> CertificateFiles:
    """Issue a certificate for these names and write it to two files; return where they are."""
    leaf = issuer.issue_cert(*names, **dates)
    stem = stem or names[0].replace("*", "any")
    chain, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    replace(chain, b"".join(one.bytes() for one in leaf.cert_chain_pems))
    replace(key, leaf.private_key_pem.bytes())
    return CertificateFiles(chain, key)


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of one, as who renews a certificate does."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def lenient() -> ssl.SSLContext:
    """A client that asks for any name, and takes whatever it is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def shown(server: triosock.StreamServer, name: str | None) -> bytes:
    """Shake hands, asking for this name; return the certificate that was shown (DER)."""
    address = server.addresses[0]
    assert isinstance(address, triosock.TcpAddress)
    stream = await trio.open_tcp_stream(address.host, address.port)
    client = trio.SSLStream(stream, lenient(), server_hostname=name)
    try:
        await client.do_handshake()
        der: bytes = client.getpeercert(binary_form=True)
        return der
    finally:
        await trio.aclose_forcefully(client)


def shown_at(port: int, name: str, context: ssl.SSLContext | None = None) -> bytes | None:
    """As `shown`, of a program that listens on this port; with another context of the client, if given."""
    with dial(port) as client:
        with (context or lenient()).wrap_socket(client.sock, server_hostname=name) as sock:
            return sock.getpeercert(binary_form=True)


def der_of(files: CertificateFiles) -> bytes:
    """Return the first certificate in the file."""
    text = Path(os.fsdecode(files.chain)).read_text()
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)] + "\n")
