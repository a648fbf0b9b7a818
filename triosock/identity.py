"""The identity of a TLS client, by the names in its certificate (RFC 9525). Needs the extra `identity`.

    context.verify_mode = ssl.CERT_REQUIRED               # the certificate is checked in the handshake,
    context.load_verify_locations("our-clients.pem")      # against these roots

    async def handler(conn):
        who = triosock.identity.check_client(conn, "billing.internal", "reports.internal")

The rule: **the handshake verifies a certificate, and this file reads its names.** Names that were not
verified prove nothing, so a peer that has sent no certificate, or one that was not verified, has no identity.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._core.model.errors import ClientNotRecognized
from ._core.stream.connection import Connection
from ._extras import missing

if TYPE_CHECKING:
    from service_identity.hazmat import CertificatePattern, ServiceID

__all__ = ["ClientNotRecognized", "check_client", "client_names"]


def client_names(conn: Connection) -> tuple[str, ...]:
    """Return the names in the peer's verified certificate: host names (possibly with a wildcard), IP
    addresses, URIs (``sip:example.org``) and services (``_xmpp.example.org``), in lower case.

    Raises: ClientNotRecognized if the peer has sent no certificate, or one with names that cannot be read;
    ImportError without service-identity. Synchronous.
    """
    return tuple(_text(pattern) for pattern in _patterns_of(conn))


def check_client(conn: Connection, *expected: str) -> str:
    """Return the first of the expected names that the peer's verified certificate has.

    Args:
      conn: a connection with TLS, of a context with ``verify_mode = ssl.CERT_REQUIRED``.
      expected: at least one name, each a host name, an IP address, a URI (``sip:example.org``, or
        ``sip://example.org``) or a service (``_xmpp.example.org``). The package
        service-identity compares them: a wildcard in the certificate stands for one label, and the common
        name is ignored.

    Raises: ClientNotRecognized if it has none of them; uncaught, that ends the connection as an error of the
    peer. ImportError without service-identity; TypeError, ValueError for malformed names. Synchronous.
    """
    if not expected:
        raise ValueError("check_client needs at least one name that the client may have")
    try:
        import service_identity  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing(error, "check_client()", "identity", "service_identity") from None
    wanted = [(name, _id_of(name)) for name in expected]
    patterns = _patterns_of(conn)
    for name, one in wanted:
        if any(isinstance(pattern, one.pattern_class) and one.verify(pattern) for pattern in patterns):
            return name
    has = ", ".join(_text(pattern) for pattern in patterns) or "no names"
    raise ClientNotRecognized(f"the client's certificate has {has}, and not {' or '.join(expected)}")._of(
        conn
    )


def _patterns_of(conn: Connection) -> Sequence[CertificatePattern]:
    from cryptography import x509
    from service_identity.cryptography import extract_patterns
    from service_identity.exceptions import CertificateError

    tls = conn.tls
    # The ssl module gives an empty dict for a certificate that was not verified.
    if tls is None or not tls.peer_certificate or tls.peer_certificate_der is None:
        raise ClientNotRecognized("the client has shown no certificate that was verified")._of(conn)
    try:
        return extract_patterns(x509.load_der_x509_certificate(tls.peer_certificate_der))
    except (CertificateError, ValueError, IndexError) as error:
        # What a URI or a service name of a certificate may hold is the peer's to choose, and the parsers of
        # service-identity raise all of these.
        raise ClientNotRecognized(f"the names in the client's certificate cannot be read: {error}")._of(
            conn
        ) from error


def _id_of(name: str) -> ServiceID | Any:
    from service_identity import hazmat

    if not isinstance(name, str):
        raise TypeError(f"the name of a client is a str, not {name!r}")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return hazmat.IPAddress_ID(name)
    if name.startswith("_"):
        return hazmat.SRV_ID(name)
    if ":" in name:
        return hazmat.URI_ID(name.replace("://", ":", 1))
    return hazmat.DNS_ID(name)


def _text(pattern: CertificatePattern) -> str:
    from service_identity import hazmat

    if isinstance(pattern, hazmat.IPAddressPattern):
        return str(pattern.pattern)
    if isinstance(pattern, hazmat.URIPattern):
        return f"{pattern.protocol_pattern.decode()}:{pattern.dns_pattern.pattern.decode()}"
    if isinstance(pattern, hazmat.SRVPattern):
        return f"_{pattern.name_pattern.decode()}.{pattern.dns_pattern.pattern.decode()}"
    return pattern.pattern.decode()
