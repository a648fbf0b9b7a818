"""Datagram servers for the length of a test: in memory under virtual time, or on loopback."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from tests.datagrams import serving
from tests.servers import running


@pytest.fixture
def in_memory() -> Any:
    """`async with in_memory(handler, **options) as (server, network):` a server in memory, then cancelled."""
    return serving.in_memory


@contextlib.asynccontextmanager
async def _on_loopback(handler: Any, **options: Any) -> AsyncIterator[triosock.DatagramServer]:
    options.setdefault("host", "127.0.0.1")
    async with running(triosock.serve_udp, handler, 0, **options) as server:
        yield server
        serving.check(server)
    serving.check(server)


@pytest.fixture
def on_loopback() -> Any:
    """`async with on_loopback(handler, **options) as server:` UDP on 127.0.0.1, cancelled at the end."""
    return _on_loopback


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A UDP socket of the kernel that has a port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@contextlib.contextmanager
def _udp_client(server: triosock.DatagramServer, host: str = "127.0.0.1", source: str | None = None) -> Any:
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        raw = socket.socket(fileno=socket.dup(sock.fileno()))
        with raw:
            raw.setblocking(False)
            if source is not None:
                raw.bind((source, 0))
            raw.connect((host, server.addresses[0].port))
        yield sock


@pytest.fixture
def udp_client() -> Any:
    """`with udp_client(server, host) as sock:` a trio UDP socket that is connected to the server."""
    return _udp_client


@pytest.fixture
def serving_dtls():
    from tests.datagrams.associations import server_context
    from triosock.dtls import serve_dtls

    def serve(handler, **options):
        return running(
            serve_dtls, handler, 0, **{"context": server_context(), "host": "127.0.0.1", **options}
        )

    return serve


@pytest.fixture
def dial_dtls():
    from tests.datagrams.associations import client_context

    @contextlib.contextmanager
    def connect(server: Any, host: str = "127.0.0.1"):
        sock = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        with trio.DTLSEndpoint(sock) as endpoint:
            # trio's client knows its server by the name that recvfrom gives: four parts, for IPv6.
            name = (host, server.addresses[0].port, 0, 0) if ":" in host else (host, server.addresses[0].port)
            with endpoint.connect(name, client_context()) as channel:
                yield channel

    return connect
