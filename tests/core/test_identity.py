"""Who a client is, by the names in its certificate."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from typing import Any

import pytest
import trio
import trustme

pytest.importorskip("service_identity")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import DAY, NOW, lenient
from tests.tls import CA, server_context
from triosock import Cause, ClientNotRecognized, Connection, events
from triosock.identity import check_client, client_names

pytestmark = pytest.mark.usefixtures("no_leaks")


def client_with(*names: x509.GeneralName) -> ssl.SSLContext:
    """A client with a certificate for these names, of the authority that the server trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key = serialization.load_pem_private_key(CA.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
    common = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "common.internal")])
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        # From 3.13 on the ssl module wants it: VERIFY_X509_STRICT.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False)
        .subject_name(common)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())  # type: ignore[arg-type]
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    context = lenient()
    with trustme.Blob(content).tempfile() as path:
        context.load_cert_chain(path)
    return context


async def ask(serving: Any, dial: Any, context: ssl.SSLContext, look: Any, **options: Any) -> Any:
    """Return what `look` returns, or raises as the peer's doing, for the connection of this client."""
    found: list[Any] = []

    async def handler(conn: Connection) -> None:
        try:
            found.append(look(conn))
        except ClientNotRecognized as error:
            found.append(error)
            raise

    options.setdefault("tls", server_context(ask_client=True))
    async with serving(handler, **options) as server:
        client = trio.SSLStream(await dial(server), context, server_hostname="localhost")
        with contextlib.suppress(trio.BrokenResourceError):
            await client.receive_some()
        await trio.aclose_forcefully(client)
    return found[0]


DNS, WILD = x509.DNSName("billing.internal"), x509.DNSName("*.shop.internal")
IP4, IP6 = (x509.IPAddress(ipaddress.ip_address(one)) for one in ("192.0.2.1", "2001:db8::1"))
URI = x509.UniformResourceIdentifier("sip:example.org")
SRV = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), bytes([0x16, 17]) + b"_mail.example.org")
ALL = (DNS, WILD, IP4, IP6, URI, SRV)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (["billing.internal"], "billing.internal"),
        (["BILLING.internal"], "BILLING.internal"),
        (["other.internal", "billing.internal"], "billing.internal"),
        (["a.shop.internal"], "a.shop.internal"),
        (["192.0.2.1"], "192.0.2.1"),
        (["2001:db8:0::1"], "2001:db8:0::1"),
        (["sip:example.org"], "sip:example.org"),
        (["_mail.example.org"], "_mail.example.org"),
        (["sip://example.org"], "sip://example.org"),
    ],
)
async def test_the_name_that_fits_is_returned(expected: Any, found: str, serving: Any, dial: Any) -> None:
    assert await ask(serving, dial, client_with(*ALL), lambda conn: check_client(conn, *expected)) == found


@pytest.mark.parametrize(
    "expected",
    [
        "other.internal",
        "a.b.shop.internal",
        "192.0.2.2",
        "xmpp:example.org",
        "_xmpp.example.org",
        "common.internal",
    ],
)
async def test_none_that_fits_ends_the_connection_as_the_peers_doing(
    expected: str, serving: Any, dial: Any, recorder: Any
) -> None:
    error = await ask(
        serving, dial, client_with(*ALL), lambda conn: check_client(conn, expected), observers=[recorder]
    )
    assert isinstance(error, ClientNotRecognized)
    assert str(error) == (
        "the client's certificate has billing.internal, *.shop.internal, sip:example.org, 192.0.2.1, "
        f"2001:db8::1, _mail.example.org, and not {expected}"
    )
    (closed,) = recorder.of(events.ConnectionClosed)
    assert closed.cause is Cause.PEER
    assert recorder.of(events.HandlerFailed) == []


async def test_all_names_can_be_told(serving: Any, dial: Any) -> None:
    names = await ask(serving, dial, client_with(*ALL), client_names)
    assert set(names) == {
        "billing.internal",
        "*.shop.internal",
        "sip:example.org",
        "_mail.example.org",
        "192.0.2.1",
        "2001:db8::1",
    }


async def test_a_client_without_a_certificate_is_not_recognized(serving: Any, dial: Any) -> None:
    found = await ask(serving, dial, lenient(), client_names, tls=server_context())
    assert "has shown no certificate" in str(found)


def test_without_tls_no_client_is_recognized() -> None:
    class Plain:
        tls = None

    with pytest.raises(ClientNotRecognized, match="has shown no certificate"):
        client_names(Plain())  # type: ignore[arg-type]


def test_a_certificate_that_was_not_verified_is_not_used() -> None:
    class Unverified:
        class tls:
            peer_certificate: dict[str, Any] = {}  # what the ssl module says of one  # noqa: RUF012
            peer_certificate_der = b"whatever"

    with pytest.raises(ClientNotRecognized, match="no certificate that was verified"):
        client_names(Unverified())  # type: ignore[arg-type]


async def test_a_certificate_without_names_fits_no_name(serving: Any, dial: Any) -> None:
    assert await ask(serving, dial, client_with(), client_names) == ()
    error = await ask(serving, dial, client_with(), lambda conn: check_client(conn, "common.internal"))
    assert "the client's certificate has no names, and not common.internal" in str(error)


@pytest.mark.parametrize("uri", ["a:b:c", "*:x", "spiffe://example.org/a:b"])
async def test_names_that_cannot_be_read_are_the_peers_fault(uri: str, serving: Any, dial: Any) -> None:
    context = client_with(x509.UniformResourceIdentifier(uri))
    error = await ask(serving, dial, context, client_names)
    assert isinstance(error, ClientNotRecognized)
    assert "cannot be read" in str(error)


def test_wrong_arguments() -> None:
    conn: Any = object()
    with pytest.raises(ValueError, match="at least one name"):
        check_client(conn)
    with pytest.raises(TypeError, match="the name of a client is a str"):
        check_client(conn, b"billing.internal")  # type: ignore[arg-type]
