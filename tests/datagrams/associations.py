"""DTLS associations for tests: contexts, handlers, and waiting for what must happen."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing
import trustme

SSL = pytest.importorskip("OpenSSL.SSL", reason="the extra dtls (pyOpenSSL) is not installed")

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")


def server_context():
    """One for each server, and for each association of a client: none can be changed once it is used."""
    context = SSL.Context(SSL.DTLS_METHOD)
    CERTIFICATE.configure_cert(context)
    return context


def client_context():
    context = SSL.Context(SSL.DTLS_METHOD)
    AUTHORITY.configure_trust(context)
    context.set_verify(SSL.VERIFY_PEER)
    return context


async def echo(session):
    async for data in session:
        await session.send(data.upper())


async def exchange(channel, data):
    with trio.fail_after(10):
        await channel.send(data)
        return await channel.receive()


async def answer_the_cookie(sock, server):
    """Be a client that proves its address, and then says nothing. `sock`: a datagram socket of trio's."""
    await sock.connect(("127.0.0.1", server.addresses[0].port))
    hello = SSL.Connection(client_context())
    hello.set_ciphertext_mtu(1400)
    hello.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        hello.do_handshake()
    await sock.send(hello.bio_read(65_536))
    hello.bio_write(await sock.recv(65_536))
    with pytest.raises(SSL.WantReadError):
        hello.do_handshake()
    await sock.send(hello.bio_read(65_536))


def datagram_socket():
    return trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
