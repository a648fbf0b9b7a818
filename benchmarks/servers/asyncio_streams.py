"""asyncio.start_server with StreamReader and StreamWriter. `uvloop_streams` runs the same on uvloop.

The argument "close" after KIND and PEM leaves out `wait_closed()`, as many programs do.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from time import perf_counter

from .common import BACKLOG, BLOB, CHUNK, HOST, MEBIBYTE, SHUTDOWNS, arguments, ready, report, server_context

Handler = Callable[[StreamReader, StreamWriter], Awaitable[None]]


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def lines(reader: StreamReader, writer: StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def download(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        for _ in data:
            writer.write(BLOB)
            await writer.drain()


async def upload(reader: StreamReader, writer: StreamWriter) -> None:
    received = 0
    while data := await reader.read(CHUNK):
        received += len(data)
        if received >= MEBIBYTE:
            received -= MEBIBYTE
            writer.write(b"k")
            await writer.drain()


HANDLERS: dict[str, Handler] = {
    "echo": echo,
    "lines": lines,
    "download": download,
    "upload": upload,
    "tls-echo": echo,
}


def closing(handler: Handler, waits: bool = True) -> Handler:
    """The handler's coroutine owns the writer; asyncio leaves it to the handler to close it."""

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await handler(reader, writer)
            writer.close()
            if waits:
                await writer.wait_closed()
        except ConnectionError:
            writer.close()

    return handle


async def serve_streams(kind: str, pem: str, waits: bool) -> None:
    context = server_context(pem) if kind == "tls-echo" else None
    server = await asyncio.start_server(closing(HANDLERS[kind], waits), HOST, 0, backlog=BACKLOG, ssl=context)
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def measure_shutdown() -> None:
    times = []
    for _ in range(SHUTDOWNS):
        server = await asyncio.start_server(closing(echo), HOST, 0)
        await asyncio.sleep(0.02)
        began = perf_counter()
        server.close()
        await server.wait_closed()
        times.append((perf_counter() - began) * 1e3)
    report(shutdown_ms=times)


def main(run: Callable[[Awaitable[None]], object]) -> None:
    kind, pem, more = arguments()
    run(measure_shutdown() if kind == "shutdown" else serve_streams(kind, pem, waits="close" not in more))


if __name__ == "__main__":
    main(asyncio.run)
