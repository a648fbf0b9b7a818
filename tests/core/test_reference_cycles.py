"""What has ended is freed by its last reference: no end leaves anything to the garbage collector."""

from __future__ import annotations

import collections
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

import triosock
from tests.handlers import ask_line, echo, in_a_nursery, own_bug, read_all, shout, too_large
from tests.servers import running
from tests.tls import client_context, server_context
from tests.waiting import until
from triosock import Connection, Limits, ProxyPolicy, Timeouts
from triosock.testing import MemoryListener

Connect = Callable[[], Awaitable[Any]]
TIMEOUTS = Timeouts(idle=5, request=5, handshake=5)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A log record that pytest keeps for its report would keep the error, too."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@contextlib.asynccontextmanager
async def in_memory(handler: Any, **options: Any) -> AsyncIterator[tuple[Any, Connect]]:
    listener = MemoryListener()

    async def connect() -> Connection:
        return Connection(await listener.connect())

    async with running(triosock.serve_listeners, handler, [listener], **options) as server:
        yield server, connect


@contextlib.asynccontextmanager
async def by_tcp(handler: Any, **options: Any) -> AsyncIterator[tuple[Any, Connect]]:
    async with running(triosock.serve_tcp, handler, 0, host="127.0.0.1", **options) as server:

        async def connect() -> Connection:
            sock = socket.create_connection(("127.0.0.1", server.addresses[0].port))
            sock.setblocking(False)
            return Connection(sock)

        yield server, connect


async def apologize(error: Exception, conn: Connection) -> None:
    await conn.send_all(b"sorry")


async def read_to_end(client: Connection) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await read_all(client)


async def say(client: Connection) -> None:
    assert await ask_line(client, b"hello\n") == b"HELLO\n"


async def half_close(client: Connection) -> None:
    await say(client)
    await client.send_eof()
    assert await client.receive_some() == b""


async def reset(client: Connection) -> None:
    await say(client)
    client.abort()


def sends(data: bytes) -> Callable[[Connection], Awaitable[None]]:
    """Return a client that sends this, and hears what comes of it."""

    async def client(conn: Connection) -> None:
        await conn.send_all(data)
        await read_to_end(conn)

    return client


say_too_much = sends(b"hello\n")
stop_in_the_middle = sends(b"hel")
say_nothing_of_tls = sends(b"GET / HTTP/1.1\r\n\r\n")


async def be_silent(client: Connection) -> None:
    await say(client)
    assert await client.receive_some() == b""


async def end_at_once(client: Connection) -> None:
    await client.send_eof()
    await read_to_end(client)


async def shake_hands(client: Connection) -> None:
    await client.start_tls(client_context(), server_side=False, server_hostname="localhost")
    await say(client)


async def garbage_of(server: Any, connect: Connect, client: Callable[[Any], Awaitable[None]]) -> Any:
    """What the garbage collector finds after ten clients, without what the first ones have set up."""

    async def serve(count: int) -> None:
        for _ in range(count):
            conn = await connect()
            await client(conn)
            if isinstance(conn, Connection):
                await conn.aclose()
        await until(lambda: not server.statistics().active)

    await serve(3)
    gc.collect()
    gc.disable()
    try:
        await serve(10)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return collections.Counter(type(one).__name__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


ENDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "close": (shout, say, {}),
    "half-close": (shout, half_close, {}),
    "reset": (shout, reset, {}),
    "failed": (own_bug, say_too_much, {}),
    "failed in a nursery": (in_a_nursery(own_bug), say_too_much, {}),
    "too large": (too_large, say_too_much, {}),
    "answered": (own_bug, say_too_much, {"on_error": apologize}),
}
#: By sockets alone: trio's SSLStream, which encrypts any other stream, is a reference cycle by itself.
TLS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "done": (shout, shake_hands, {"tls": server_context()}),
    "not TLS": (echo, say_nothing_of_tls, {"tls": server_context()}),
    "ended": (echo, end_at_once, {"tls": server_context()}),
}
LATE: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "idle": (shout, be_silent, {}),
    "request": (shout, stop_in_the_middle, {}),
    "age": (shout, be_silent, {"timeouts": Timeouts(idle=1000, max_age=3)}),
    "requests": (shout, be_silent, {"limits": Limits(max_requests_per_connection=1)}),
    "PROXY header": (echo, stop_in_the_middle, {"proxy": ProxyPolicy()}),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("serving", [in_memory, by_tcp])
async def test_no_end_leaves_a_reference_cycle(serving: Any, name: str) -> None:
    handler, client, options = ENDS[name]
    async with serving(handler, **options) as (server, connect):
        assert await garbage_of(server, connect, client) == {}


@pytest.mark.parametrize("name", TLS)
async def test_no_handshake_leaves_a_reference_cycle(name: str) -> None:
    handler, client, options = TLS[name]
    async with by_tcp(handler, **options) as (server, connect):
        assert await garbage_of(server, connect, client) == {}


@pytest.mark.parametrize("name", LATE)
async def test_no_timeout_leaves_a_reference_cycle(autojump_clock: Any, name: str) -> None:
    handler, client, options = LATE[name]
    async with in_memory(handler, **{"timeouts": TIMEOUTS, **options}) as (server, connect):
        assert await garbage_of(server, connect, client) == {}


async def reply(datagram: triosock.Datagram) -> None:
    await datagram.reply(datagram.data)


async def fails_after_its_reply(datagram: triosock.Datagram) -> None:
    await reply(datagram)
    raise ValueError("as it was written")


async def answer_once(session: triosock.Session) -> None:
    async for data in session:
        await session.send(data)
        return


@pytest.mark.parametrize(
    ("handler", "options"),
    [(reply, {}), (fails_after_its_reply, {}), (answer_once, {"sessions": triosock.Sessions()})],
)
async def test_no_datagram_leaves_a_reference_cycle(handler: Any, options: Any) -> None:
    async def connect() -> trio.socket.SocketType:
        sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        await sock.connect(("127.0.0.1", server.addresses[0].port))
        return sock

    async def ask(sock: trio.socket.SocketType) -> None:
        await sock.send(b"hello")
        assert await sock.recv(100) == b"hello"
        sock.close()

    async with running(triosock.serve_udp, handler, 0, host="127.0.0.1", **options) as server:
        assert await garbage_of(server, connect, ask) == {}
