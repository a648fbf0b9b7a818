"""TLS for tests: one authority, contexts of both sides, and a client."""

from __future__ import annotations

import contextlib
import socket
import ssl

import trio
import trustme

import triosock

CA = trustme.CA()
SERVER_CERT = CA.issue_cert("localhost", "127.0.0.1")
CLIENT_CERT = CA.issue_cert("client@example.org")


def server_context(*, ask_client: bool = False, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    SERVER_CERT.configure_cert(context)
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        CA.configure_trust(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client that trusts whom this authority has certified."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def client_context(*, cert: bool = False, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = trusting(CA)
    if cert:
        CLIENT_CERT.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def client_hello() -> bytes:
    """Return the first bytes of a TLS client, of a handshake that nobody goes on with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def hears(stream: trio.abc.Stream, context: ssl.SSLContext, name: str | None = "localhost") -> bytes:
    """Return what a client hears first, who is closed then without a word."""
    client = trio.SSLStream(stream, context, server_hostname=name)
    try:
        return bytes(await client.receive_some())
    finally:
        await trio.aclose_forcefully(client)


def resume(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[bytes, bool | None, ssl.SSLSession | None]:
    """Ask one.example for something, in this session; return the answer, whether the session was resumed, and
    the next one.
    """
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain, server_hostname="one.example", session=session) as client:
        client.sendall(b"x")
        return client.recv(100), client.session_reused, client.session


async def dial_tls(
    server: triosock.StreamServer, context: ssl.SSLContext | None = None
) -> trio.SSLStream[trio.SocketStream]:
    """Return a client whose handshake is yet to come."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
    return trio.SSLStream(stream, context or client_context(), server_hostname="localhost")
