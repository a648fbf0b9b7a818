"""Floods of clients who begin a handshake and stop: however far they go, honest ones are served soon.

All in virtual time and in memory: a flood of 200 a second for seconds takes a moment.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.handlers import ask_line, shout
from tests.tls import client_context, client_hello, server_context
from triosock import Cause, Connection, Limits, events
from triosock.testing import open_server
from triosock.testing.open_server import OpenServer

ROUND_TRIP = 0.3
CONTEXT = client_context()


class Client:
    """A TLS client whose every step can be seen: bytes in, bytes out."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = CONTEXT.wrap_bio(self._in, self._out, server_hostname="localhost")

    def step(self) -> bytes:
        """Return what the client sends now."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._out.read()

    async def shake_hands_slowly(self) -> None:
        """Shake hands over a network with long round trips that cuts the hello in two."""
        hello = self.step()
        await self.connection.send_all(hello[:200])
        await trio.sleep(ROUND_TRIP)
        await self.connection.send_all(hello[200:])
        while not (answer := self.step()):
            await self.hear()
        await trio.sleep(ROUND_TRIP)
        await self.connection.send_all(answer)

    async def talk(self) -> bytes:
        """Have a line answered."""
        self._tls.write(b"hello\n")
        await self.connection.send_all(self._out.read())
        while True:
            try:
                return self._tls.read()
            except ssl.SSLWantReadError:
                await self.hear()

    async def hear(self) -> None:
        """Wait for what the server sends."""
        data = await self.connection.receive_some()
        assert data, "the server has ended the connection"
        self._in.write(data)


HELLO = client_hello()

#: What a client of each kind sends before it falls silent. The last one has the server answer.
KINDS = {"one byte": HELLO[:1], "half a hello": HELLO[:250], "a whole hello": HELLO}


@contextlib.asynccontextmanager
async def flood(served: OpenServer, sent: bytes, rate: float, drip: float = 0) -> AsyncIterator[None]:
    """So many a second, each of whom sends this, and (with `drip`) one byte more every so many seconds."""

    async def attack() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            client = await served.connect()
            await client.send_all(sent)
            for byte in HELLO[len(sent) :] if drip else b"":
                await trio.sleep(drip)
                await client.send_all(bytes([byte]))

    async def come() -> None:
        while True:
            nursery.start_soon(attack)
            await trio.sleep(1 / rate)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        yield
        nursery.cancel_scope.cancel()


async def quickly(served: OpenServer) -> float:
    """Shake hands without any delay and have a line answered; return how long that took."""
    began = trio.current_time()
    client = await served.connect()
    await client.start_tls(CONTEXT, server_side=False, server_hostname="localhost")
    assert await ask_line(client, b"hello\n") == b"HELLO\n"
    await client.aclose()
    return trio.current_time() - began


@pytest.mark.parametrize("kind", KINDS)
async def test_an_honest_one_is_served_at_once_in_a_flood(kind: str, autojump_clock: object) -> None:
    async with open_server(shout, tls=server_context()) as served:
        async with flood(served, KINDS[kind], 200):
            await trio.sleep(4)
            waits = []
            for _ in range(10):
                waits.append(await quickly(served))
                await trio.sleep(0.1)
        statistics = served.server.statistics()
    assert max(waits) < 0.05
    # 800 to 1,000 have come, 512 of them have places, and the others had to go.
    assert 200 < statistics.refused["handshakes"] < 600
    assert statistics.ended[Cause.HANDSHAKE] == statistics.refused["handshakes"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_honest_one_succeeds_in_a_flood(kind: str, autojump_clock: object) -> None:
    async with open_server(shout, tls=server_context()) as served, flood(served, KINDS[kind], 200):
        await trio.sleep(4)
        client = Client(await served.connect())
        began = trio.current_time()
        await client.shake_hands_slowly()
        assert await client.talk() == b"HELLO\n"
        assert trio.current_time() - began < 2 * ROUND_TRIP + 0.05


async def test_who_sends_a_byte_now_and_then_holds_a_place_no_longer(autojump_clock: object) -> None:
    async with open_server(shout, tls=server_context(), limits=Limits(max_handshakes=20)) as served:
        async with flood(served, HELLO[:1], 15, drip=0.2):
            await trio.sleep(4)
            assert await quickly(served) < 0.05
            client = Client(await served.connect())
            await client.shake_hands_slowly()
            assert await client.talk() == b"HELLO\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_in_a_flood_of_any_rate_the_wait_is_bounded(kind: str, autojump_clock: object) -> None:
    async with open_server(shout, tls=server_context(), limits=Limits(max_handshakes=20)) as served:
        async with flood(served, KINDS[kind], 200):  # ten times what the places would take at a second each
            await trio.sleep(3)
            for _ in range(3):
                assert await quickly(served) < 0.55


async def test_half_a_proxy_header_holds_a_place_no_longer(autojump_clock: object) -> None:
    header = b"PROXY UNKNOWN\r\n"
    async with open_server(shout, proxy=True, limits=Limits(max_handshakes=20)) as served:
        async with flood(served, header[:3], 15):
            await trio.sleep(4)
            began = trio.current_time()
            client = await served.connect()
            assert await ask_line(client, header + b"hello\n") == b"HELLO\n"
            assert trio.current_time() - began < 0.05


async def test_as_long_as_places_are_free_nobody_is_hurried(autojump_clock: object) -> None:
    async with open_server(shout, tls=server_context(), limits=Limits(max_handshakes=3)) as served:
        for _ in range(2):
            await (await served.connect()).send_all(HELLO)
        await trio.sleep(9)
        assert await quickly(served) < 0.05
        assert served.server.statistics().refused == {}


async def test_many_clients_that_come_at_once_are_served_in_turn(autojump_clock: object) -> None:
    """More than there are places, all at once: nobody is given up."""
    async with open_server(shout, tls=server_context(), limits=Limits(max_handshakes=40)) as served:

        async def come() -> None:
            client = Client(await served.connect())
            hello = client.step()
            await client.connection.send_all(hello)
            answer = b""
            while not answer:
                await client.hear()
                answer = client.step()
            await trio.sleep(0.1)
            await client.connection.send_all(answer)
            assert await client.talk() == b"HELLO\n"

        async with trio.open_nursery() as nursery:
            for _ in range(180):
                nursery.start_soon(come)
        assert served.server.statistics().refused == {}


async def test_who_is_given_up_is_told_of(autojump_clock: object) -> None:
    async with open_server(shout, tls=server_context(), limits=Limits(max_handshakes=1)) as served:
        client = await served.connect()
        await client.send_all(b"\x16")
        await trio.sleep(2)
        await quickly(served)
        assert served.server.statistics().refused == {"handshakes": 1}
        (refused,) = served.recorder.of(events.Refused)
        assert refused.reason == "handshakes"
        assert [event.error for event in served.recorder.of(events.HandshakeRefused)] == [None]
        closed = served.recorder.of(events.ConnectionClosed)[0]
        assert (closed.connection, closed.cause) == (1, Cause.HANDSHAKE)
