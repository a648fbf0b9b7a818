"""DTLS associations for tests: contexts, handlers, and waiting for what must happen."""

from __future__ import annotations

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
