"""trio's own servers: serve_tcp and serve_ssl_over_tcp; for datagrams, a loop over trio.socket.

trio has no line API: `lines` is the buffer that its users write.
"""

from __future__ import annotations

import signal
from time import perf_counter

import trio

from .common import (
    BACKLOG,
    BLOB,
    CHUNK,
    HOST,
    MEBIBYTE,
    SHUTDOWNS,
    WORK_SECONDS,
    arguments,
    ready,
    report,
    server_context,
)


async def echo(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def echo_quietly(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """A client that closes without TLS's goodbye ends the whole of serve_ssl_over_tcp, unless the handler
    catches it.
    """
    try:
        await echo(stream)
    except trio.BrokenResourceError:
        pass


async def lines(stream: trio.SocketStream) -> None:
    buffer = bytearray()
    async for data in stream:
        buffer += data
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[: end + 1])
            del buffer[: end + 1]
            await stream.send_all(line)


async def download(stream: trio.SocketStream) -> None:
    async for data in stream:
        for _ in data:
            await stream.send_all(BLOB)


async def upload(stream: trio.SocketStream) -> None:
    received = 0
    async for data in stream:
        received += len(data)
        if received >= MEBIBYTE:
            received -= MEBIBYTE
            await stream.send_all(b"k")


async def drain(stream: trio.SocketStream) -> None:
    async for data in stream:
        if data == b"work\n":
            await stream.send_all(b"begun\n")
            await trio.sleep(WORK_SECONDS)
            await stream.send_all(b"done\n")
        else:
            await stream.send_all(data)


HANDLERS = {"echo": echo, "lines": lines, "download": download, "upload": upload, "drain": drain}


async def serve_streams(kind: str, pem: str) -> None:
    async with trio.open_nursery() as nursery:
        if kind == "tls-echo":
            listeners = await nursery.start(
                lambda task_status: trio.serve_ssl_over_tcp(
                    echo_quietly, 0, server_context(pem), host=HOST, backlog=BACKLOG, task_status=task_status
                )
            )
            ready(listeners[0].transport_listener.socket.getsockname()[1])
            return
        listeners = await nursery.start(
            lambda task_status: trio.serve_tcp(
                HANDLERS[kind], 0, host=HOST, backlog=BACKLOG, task_status=task_status
            )
        )
        ready(listeners[0].socket.getsockname()[1])
        if kind == "drain":
            began = await until_sigterm()
            nursery.cancel_scope.cancel()  # there is no drain in trio: this is the time to cancel everything
    if kind == "drain":
        report(drain_ms=(perf_counter() - began) * 1e3)


async def until_sigterm() -> float:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            break
    return perf_counter()


async def serve_datagrams() -> None:
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await sock.bind((HOST, 0))
    ready(sock.getsockname()[1])
    while True:
        data, peer = await sock.recvfrom(CHUNK)
        await sock.sendto(data, peer)


async def measure_shutdown() -> None:
    times = []
    for _ in range(SHUTDOWNS):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: trio.serve_tcp(echo, 0, host=HOST, task_status=task_status)
            )
            await trio.sleep(0.02)
            began = perf_counter()
            nursery.cancel_scope.cancel()
        times.append((perf_counter() - began) * 1e3)
    report(shutdown_ms=times)


if __name__ == "__main__":
    kind, pem, _ = arguments()
    if kind == "udp":
        trio.run(serve_datagrams)
    elif kind == "shutdown":
        trio.run(measure_shutdown)
    else:
        trio.run(serve_streams, kind, pem)
