"""asyncio's callbacks: Protocol and DatagramProtocol, no streams and no tasks.

There is no line API at this level. `download` writes without looking at flow control, which is what a
protocol without pause_writing does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .common import BACKLOG, BLOB, HOST, MEBIBYTE, arguments, ready, server_context


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport
        self.received = 0

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Download(Echo):
    def data_received(self, data: bytes) -> None:
        for _ in data:
            self.transport.write(BLOB)


class Upload(Echo):
    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received >= MEBIBYTE:
            self.received -= MEBIBYTE
            self.transport.write(b"k")


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


PROTOCOLS = {"echo": Echo, "download": Download, "upload": Upload, "tls-echo": Echo}


async def serve(kind: str, pem: str) -> None:
    loop = asyncio.get_running_loop()
    if kind == "udp":
        transport, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, 0))
        ready(transport.get_extra_info("sockname")[1])
        await loop.create_future()  # for ever
    context = server_context(pem) if kind == "tls-echo" else None
    server = await loop.create_server(PROTOCOLS[kind], HOST, 0, backlog=BACKLOG, ssl=context)
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main(run: Callable[[Awaitable[None]], object]) -> None:
    kind, pem, _ = arguments()
    run(serve(kind, pem))


if __name__ == "__main__":
    main(asyncio.run)
