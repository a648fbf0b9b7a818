"""What type checkers say about connections; see serving.py."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from typing import BinaryIO, assert_type

import trio

import triosock
from triosock import Address, Connection, identity


async def receiving(conn: Connection) -> None:
    assert_type(await conn.receive_some(), bytes)
    assert_type(await conn.receive_some(10), bytes)
    assert_type(await conn.receive_exactly(10), bytes)
    assert_type(await conn.receive_until(b"\n", max_bytes=10), bytes)
    assert_type(conn.lines(max_bytes=80), AsyncIterator[bytes])
    async for line in conn.lines():
        assert_type(line, bytes)
    async for frame in conn.frames(triosock.LengthPrefixed(4, byteorder="little")):
        assert_type(frame, bytes)
    conn.frames(triosock.LengthPrefixed)  # type: ignore[arg-type]
    conn.frames(b"\n")  # type: ignore[arg-type]
    for _ in conn.lines():  # type: ignore[attr-defined]
        pass


async def marking(conn: Connection) -> None:
    with conn.idle() as wait:
        await conn.receive_some()
    assert_type(wait.interrupted, bool)
    async with conn.request(timeout=3) as scope:
        assert_type(scope, trio.CancelScope)


async def sending(conn: Connection, file: BinaryIO, view: memoryview) -> None:
    await conn.send_all(b"")
    await conn.send_all(bytearray())
    await conn.send_all(view)
    await conn.send_all("text")  # type: ignore[arg-type]
    assert_type(await conn.send_file(file, offset=3, count=5), int)
    await conn.send_eof()
    assert_type(await conn.start_tls(ssl.create_default_context()), triosock.TlsInfo)


def identifying(conn: Connection) -> None:
    assert_type(identity.check_client(conn, "a.internal", "b.internal"), str)
    assert_type(identity.client_names(conn), tuple[str, ...])
    identity.check_client(conn, b"a.internal")  # type: ignore[arg-type]


async def ending(conn: Connection) -> None:
    conn.abort()
    await conn.aclose()


def knowing(conn: Connection) -> None:
    assert_type(conn.peer, Address)
    assert_type(conn.local, Address)
    assert_type(conn.id, int)
    assert_type(conn.tls, triosock.TlsInfo | None)
    assert_type(conn.draining, bool)
    conn.server.drain()  # type: ignore[union-attr]
    if conn.server is not None:
        conn.server.drain(grace=5)
        assert_type(conn.server.statistics(), triosock.ServerStatistics)
    assert_type(conn.credentials(), triosock.PeerCredentials)
    assert_type(conn.proxy_header, triosock.ProxyHeader | None)
    assert_type(conn.transport, socket.socket | trio.abc.Stream)
    conn.peer = triosock.TcpAddress("::1", 80)  # type: ignore[misc]


async def takes_a_trio_stream(stream: trio.abc.HalfCloseableStream) -> None: ...


async def takes_a_trio_listener(listener: trio.abc.Listener[trio.abc.Stream]) -> None: ...


async def fitting_in(conn: Connection, listener: triosock.Listener) -> None:
    await takes_a_trio_stream(conn)
    await takes_a_trio_listener(listener)
    ssl_stream = trio.SSLStream(conn, ssl.create_default_context())
    Connection(ssl_stream)


class MyFramer:
    def split(self, buffer: object, /) -> bytes | None:
        return None

    def join(self, payload: bytes, /) -> bytes:
        return payload


def framers(conn: Connection) -> None:
    conn.frames(MyFramer())
    conn.frames(triosock.Netstrings())
    conn.frames(triosock.Delimited(b"\0"))
    conn.frames(triosock.FixedSize(16))


class Derived(Connection): ...  # type: ignore[misc]  # it is final
