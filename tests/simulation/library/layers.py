"""TLS and PROXY headers, in memory: the peer, the data, and the end."""

from __future__ import annotations

import functools
import ssl

import trio

from tests.handlers import ask_line, shout
from tests.simulation.scenarios import ask_once
from triosock import Connection, ProxyPolicy, StreamHandler, TcpAddress, Timeouts
from triosock.testing.simulation import Faults, World

PROXIES = ProxyPolicy(trusted=("10.0.0.0/8",))


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and the client's. RSA, since signatures of other kinds are not always as long."""
    import trustme

    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.test", key_type=trustme.KeyType.RSA).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


async def tls(world: World) -> None:
    """Handshakes, lines and goodbyes, under a drain as well."""
    of_server, of_client = contexts()
    server = await world.serve(shout, tls=of_server, timeouts=Timeouts(handshake=100))

    async def talk(count: int) -> None:
        conn = await world.connect(server)
        await conn.start_tls(of_client, server_side=False, server_hostname="server.test")
        for number in range(count):
            assert await ask_line(conn, b"line %d\n" % number) == b"LINE %d\n" % number

    for _ in range(world.integer(1, 2)):
        world.client(talk, world.integer(1, 3))


async def proxied(world: World) -> None:
    """Whoever a proxy names is the peer, wherever the header is cut, and no byte of it is the handler's."""

    async def who(conn: Connection) -> None:
        async for line in conn.lines():
            await conn.send_all(f"{conn.peer} {line.decode()}".encode())

    server = await world.serve(who, proxy=PROXIES)

    async def talk(number: int) -> None:
        conn = await world.connect(server)
        host = f"192.0.2.{number}"
        if number % 2:
            header = f"PROXY TCP4 {host} 192.0.2.200 1000 80\r\n".encode()
        else:
            header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, number, 192, 0, 2, 200])
            header += (1000).to_bytes(2, "big") + (80).to_bytes(2, "big")
        await conn.send_all(header + b"first\nsecond\n")
        named = str(TcpAddress(host, 1000)).encode()
        assert await conn.receive_until(b"\n") == named + b" first\n"
        assert await conn.receive_until(b"\n") == named + b" second\n"

    for number in range(1, world.integer(1, 4) + 1):
        world.client(talk, number)


async def classes(world: World) -> None:
    """Handlers that are classes clean up after themselves, whatever comes over them."""
    open_now: set[int] = set()

    class Shout(StreamHandler):
        async def setup(self) -> None:
            await trio.lowlevel.checkpoint()
            open_now.add(self.conn.id)

        async def handle(self) -> None:
            async for line in self.conn.lines():
                await self.conn.send_all(line.upper())

        async def finish(self) -> None:
            open_now.discard(self.conn.id)

    server = await world.serve(Shout.serve)

    for _ in range(world.integer(1, 4)):
        world.client(ask_once, world, server)
    world.check(lambda: not open_now)


SCENARIOS = {
    "tls": (tls, Faults(latency=0.05, cuts=0.3, drains=0.3)),
    "proxied": (proxied, Faults(cuts=0.8, latency=0.02)),
    "classes": (classes, Faults(latency=0.02, drains=0.3, cancels=0.3, resets=0.1)),
}
