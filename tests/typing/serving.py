"""What type checkers say about serving: mypy --strict and pyright read this file, nobody runs it.

An unwanted error is a failure, and so is a missing one: an unused `type: ignore` is an error under --strict.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import assert_type

import trio

import triosock
from triosock import Connection, DrainReport, StreamServer


async def handler(conn: Connection) -> None: ...


async def handler_of_any_stream(stream: trio.abc.Stream) -> str:
    return "whatever it returns is thrown away"


async def handler_of_int(number: int) -> None: ...


def plain_function(conn: Connection) -> None: ...


class CallableObject:
    async def __call__(self, conn: Connection) -> None: ...

    async def method(self, conn: Connection) -> None: ...


class Shout(triosock.StreamHandler):
    async def handle(self) -> None:
        assert_type(self.conn, Connection)
        assert_type(self.peer, triosock.Address)
        assert_type(self.server, StreamServer | None)


async def on_error(error: Exception, conn: Connection) -> None: ...


async def serving_returns_a_report() -> None:
    assert_type(await triosock.serve_tcp(handler, 80), DrainReport)
    assert_type(await triosock.serve_unix(handler, "/run/app.sock", mode=0o600), DrainReport)
    listeners = await triosock.open_tcp_listeners(0, host="localhost")
    assert_type(listeners, list[triosock.SocketListener])
    listener = triosock.open_unix_listener(b"/run/app.sock")
    assert_type(listener, triosock.UnixListener)
    assert_type(await triosock.serve_listeners(handler, [*listeners, listener]), DrainReport)
    assert_type(triosock.inherited_listeners(["web"]), list[triosock.SocketListener])


async def stdio_and_health(nursery: trio.Nursery) -> None:
    assert_type(await triosock.serve_stdio(handler, name="one"), DrainReport)
    await triosock.serve_stdio(plain_function)  # type: ignore[arg-type]
    async with triosock.open_health("tcp://*:8081") as health:
        assert_type(health, StreamServer)
    async with triosock.open_health(8081):  # type: ignore[arg-type]
        pass
    await nursery.start(triosock.serve_health, "unix:///run/health")
    await triosock.serve_health("tcp://*:8081", mode=0o600)


async def what_may_be_a_handler() -> None:
    await triosock.serve_tcp(handler_of_any_stream, 80)
    await triosock.serve_tcp(CallableObject(), 80)
    await triosock.serve_tcp(CallableObject().method, 80)
    await triosock.serve_tcp(Shout.serve, 80)
    await triosock.serve_tcp(partial(on_error, ValueError()), 80)
    await triosock.serve_tcp(lambda conn: handler(conn), 80)


async def by_protocol(context: ssl.SSLContext) -> None:
    await triosock.serve_tcp({"h2": handler, "http/1.1": handler_of_any_stream}, 80, tls=context)
    await triosock.serve_tcp({"h2": handler, None: Shout.serve}, 80, tls=context)
    several = {"h2": handler}
    await triosock.serve_unix(several, "/run/app.sock", tls=context)
    await triosock.serve_tcp({"h2": plain_function}, 80, tls=context)  # type: ignore[arg-type]
    await triosock.serve_tcp({b"h2": handler}, 80, tls=context)  # type: ignore[arg-type]


async def what_may_not() -> None:
    await triosock.serve_tcp(plain_function, 80)  # type: ignore[arg-type]
    await triosock.serve_tcp(handler_of_int, 80)  # type: ignore[arg-type]
    await triosock.serve_tcp(on_error, 80)  # type: ignore[arg-type]
    await triosock.serve_tcp(Shout, 80)  # type: ignore[arg-type]
    await triosock.serve_unix(plain_function, "/run/app.sock")  # type: ignore[arg-type]
    await triosock.serve_listeners(plain_function, [])  # type: ignore[arg-type]


async def options(context: ssl.SSLContext) -> None:
    await triosock.serve_tcp(
        handler,
        0,
        host="::1",
        backlog=100,
        reuse_port=True,
        limits=triosock.Limits(max_connections=10, overflow=handler),
        timeouts=triosock.Timeouts(idle=5),
        tls=context,
        proxy=triosock.ProxyPolicy(),
        on_error=on_error,
        name="web",
    )
    await triosock.serve_tcp(handler, 0, on_error="raise")
    await triosock.serve_tcp(handler, 0, on_error="ignore")  # type: ignore[arg-type]
    await triosock.serve_tcp(handler, 0, on_error=handler)  # type: ignore[arg-type]
    await triosock.serve_tcp(handler, "80")  # type: ignore[arg-type]
    await triosock.serve_tcp(handler, 0, "localhost")  # type: ignore[call-arg]
    await triosock.serve_tcp(handler, 0, tls=True)  # type: ignore[arg-type]
    await triosock.serve_tcp(handler, 0, mode=0o600)  # type: ignore[call-arg]


def configure(context: ssl.SSLContext) -> None: ...


async def certificates(context: ssl.SSLContext, conn: Connection) -> None:
    files = triosock.CertificateFiles("chain.pem", "chain.key", password=lambda: b"", names=["a.example"])
    several = triosock.Certificates(files, "both.pem", configure=configure, check_every=60)
    await triosock.serve_tcp(handler, 0, tls=several)
    await triosock.serve_unix(handler, "/run/app.sock", tls=several)
    assert_type(await conn.start_tls(several), triosock.TlsInfo)
    assert_type(several.context, ssl.SSLContext)
    assert_type(several.reload(), None)
    for one in several.loaded:
        assert_type(one.not_after, float)
        assert_type(one.names, tuple[str, ...])
    assert_type(several.error, triosock.CertificateRefused | None)
    triosock.Certificates(context)  # type: ignore[arg-type]
    triosock.Certificates(files, check_every="60")  # type: ignore[arg-type]
    files.chain = "other.pem"  # type: ignore[misc]


async def in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        # What `start` gives is Any to trio's types, so the name must say what it is.
        server: StreamServer = await nursery.start(triosock.serve_tcp, handler, 0)
        nursery.start_soon(triosock.serve_tcp, handler, 80)
        nursery.start_soon(triosock.serve_tcp, handler)  # type: ignore[arg-type]
        assert_type(server.addresses, tuple[triosock.Address, ...])
        assert_type(server.statistics(), triosock.ServerStatistics)
        assert_type(server.statistics().active, int)
        assert_type(server.statistics().limit, float)
        assert_type((server.lag, server.shedding), tuple[float, bool])
        server.suspend()
        server.resume()
        server.drain(grace=10)
        server.drain(10)  # type: ignore[call-arg]
        assert_type(await server.wait_closed(), DrainReport)


def running() -> None:
    trio.run(triosock.serve_tcp, handler, 80)
    assert_type(triosock.run(triosock.serve_tcp, handler, 80), DrainReport | None)
    assert_type(triosock.run(triosock.serve_tcp, handler, 80, host="::1", grace=3.0), DrainReport | None)
    assert_type(triosock.run(in_a_nursery), None)
    triosock.run(in_a_nursery, 3)  # type: ignore[arg-type]
    triosock.run(triosock.serve_tcp, handler)  # type: ignore[arg-type]
    triosock.run(plain_function, 3)  # type: ignore[arg-type]


async def scopes() -> None:
    with triosock.DrainScope(grace=5) as scope:
        assert_type(scope, triosock.DrainScope)
        scope.drain(grace=2)
        assert_type(scope.draining, bool)
        assert_type(scope.deadline, float)
        assert_type(scope.reports, tuple[tuple[str, DrainReport], ...])
    assert_type(triosock.draining(), bool)
    await triosock.wait_draining()


class DerivedServer(StreamServer): ...  # type: ignore[misc]  # it is final


class DerivedScope(triosock.DrainScope): ...  # type: ignore[misc]
