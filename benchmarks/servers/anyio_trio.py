"""anyio on its trio backend: listeners that serve, BufferedByteReceiveStream for lines, create_udp_socket."""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from .common import BACKLOG, BLOB, HOST, MEBIBYTE, arguments, ready, server_context


async def echo(stream: ByteStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send(data)


async def lines(stream: SocketStream) -> None:
    buffered = BufferedByteReceiveStream(stream)
    async with stream:
        while True:
            try:
                line = await buffered.receive_until(b"\n", 65_536)
            except (anyio.EndOfStream, anyio.IncompleteRead):
                return
            await stream.send(line + b"\n")


async def download(stream: SocketStream) -> None:
    async with stream:
        async for data in stream:
            for _ in data:
                await stream.send(BLOB)


async def upload(stream: SocketStream) -> None:
    received = 0
    async with stream:
        async for data in stream:
            received += len(data)
            if received >= MEBIBYTE:
                received -= MEBIBYTE
                await stream.send(b"k")


HANDLERS = {"echo": echo, "lines": lines, "download": download, "upload": upload}


async def serve_streams(kind: str, pem: str) -> None:
    listener = await anyio.create_tcp_listener(local_host=HOST, local_port=0, backlog=BACKLOG)
    ready(listener.extra(SocketAttribute.local_port))
    if kind == "tls-echo":
        secure = TLSListener(listener, server_context(pem), standard_compatible=False)
        await secure.serve(echo)
    else:
        await listener.serve(HANDLERS[kind])


async def serve_datagrams() -> None:
    async with await anyio.create_udp_socket(local_host=HOST) as udp:
        ready(udp.extra(SocketAttribute.local_port))
        async for data, (host, port) in udp:
            await udp.sendto(data, host, port)


if __name__ == "__main__":
    kind, pem, _ = arguments()
    if kind == "udp":
        anyio.run(serve_datagrams, backend="trio")
    else:
        anyio.run(serve_streams, kind, pem, backend="trio")
