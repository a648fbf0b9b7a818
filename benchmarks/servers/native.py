"""triosock. The argument after KIND and PEM is the variant.

"default" has the default options; each other variant turns on one feature, named in `features.py`.
"""

from __future__ import annotations

import signal
from time import perf_counter
from typing import Any

import trio

import triosock

from . import features
from .common import (
    BACKLOG,
    BLOB,
    HOST,
    MEBIBYTE,
    SHUTDOWNS,
    WORK_SECONDS,
    arguments,
    ready,
    report,
    server_context,
)


async def echo(conn: triosock.Connection) -> None:
    async for data in conn:
        await conn.send_all(data)


async def lines(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line)


async def download(conn: triosock.Connection) -> None:
    async for data in conn:
        for _ in data:
            await conn.send_all(BLOB)


async def upload(conn: triosock.Connection) -> None:
    received = 0
    async for data in conn:
        received += len(data)
        if received >= MEBIBYTE:
            received -= MEBIBYTE
            await conn.send_all(b"k")


async def drain(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        if line == b"work\n":
            await conn.send_all(b"begun\n")
            await trio.sleep(WORK_SECONDS)
            await conn.send_all(b"done\n")
        else:
            await conn.send_all(line)


async def answer(datagram: triosock.Datagram) -> None:
    await datagram.reply(datagram.data)


HANDLERS = {
    "echo": echo,
    "lines": lines,
    "download": download,
    "upload": upload,
    "tls-echo": echo,
    "drain": drain,
}


async def answer_peer(session: triosock.Session) -> None:
    async for data in session:
        await session.send(data)


def options(kind: str, pem: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {"host": HOST}
    if kind != "udp":
        chosen["backlog"] = BACKLOG
    if kind == "tls-echo":
        chosen["tls"] = server_context(pem)
    return chosen


async def serve(kind: str, pem: str, variant: str) -> None:
    async with features.options(variant, kind) as added, trio.open_nursery() as nursery:
        chosen = options(kind, pem) | dict(added)
        if kind == "udp":
            handler: Any = answer_peer if variant == "sessions" else answer
            server = await nursery.start(
                lambda task_status: triosock.serve_udp(handler, 0, **chosen, task_status=task_status)
            )
        else:
            server = await nursery.start(
                lambda task_status: triosock.serve_tcp(HANDLERS[kind], 0, **chosen, task_status=task_status)
            )
        ready(server.addresses[0].port)
        if kind == "drain":
            await drain_on_sigterm(server)


async def drain_on_sigterm(server: triosock.StreamServer) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            break
    began = perf_counter()
    server.drain(grace=10)
    await server.wait_closed()
    report(drain_ms=(perf_counter() - began) * 1e3)


async def measure_shutdown() -> None:
    times = []
    for _ in range(SHUTDOWNS):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                lambda task_status: triosock.serve_tcp(echo, 0, host=HOST, task_status=task_status)
            )
            await trio.sleep(0.02)
            began = perf_counter()
            server.drain()
            await server.wait_closed()
            times.append((perf_counter() - began) * 1e3)
    report(shutdown_ms=times)


if __name__ == "__main__":
    kind, pem, (variant,) = arguments()
    if kind == "shutdown":
        trio.run(measure_shutdown)
    else:
        trio.run(serve, kind, pem, variant)
