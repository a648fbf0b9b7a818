"""EasyNetwork on its trio backend: AsyncTCPNetworkServer and AsyncUDPNetworkServer with request handlers.

A request there is always a packet of a serializer; the one for raw bytes takes whatever has arrived.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator

import trio
from easynetwork.protocol import BufferedStreamProtocol, DatagramProtocol, StreamProtocol
from easynetwork.serializers import StringLineSerializer
from easynetwork.serializers.abc import AbstractIncrementalPacketSerializer
from easynetwork.servers import AsyncTCPNetworkServer, AsyncUDPNetworkServer
from easynetwork.servers.handlers import (
    AsyncDatagramClient,
    AsyncDatagramRequestHandler,
    AsyncStreamClient,
    AsyncStreamRequestHandler,
)

from .common import BACKLOG, BLOB, HOST, MEBIBYTE, arguments, ready, server_context


class RawSerializer(AbstractIncrementalPacketSerializer[bytes, bytes]):
    def serialize(self, packet: bytes) -> bytes:
        return packet

    def deserialize(self, data: bytes) -> bytes:
        return data

    def incremental_serialize(self, packet: bytes) -> Generator[bytes, None, None]:
        yield packet

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[bytes, bytes]]:
        data = yield
        return bytes(data), b""


class Echo(AsyncStreamRequestHandler):
    async def handle(self, client: AsyncStreamClient) -> AsyncGenerator[None, object]:
        request = yield
        await client.send_packet(request)


class Download(AsyncStreamRequestHandler):
    async def handle(self, client: AsyncStreamClient) -> AsyncGenerator[None, bytes]:
        data = yield
        for _ in data:
            await client.send_packet(BLOB)


class Upload(AsyncStreamRequestHandler):
    async def handle(self, client: AsyncStreamClient) -> AsyncGenerator[None, bytes]:
        received = 0
        while received < MEBIBYTE:
            received += len((yield))
        await client.send_packet(b"k")


class EchoDatagrams(AsyncDatagramRequestHandler):
    async def handle(self, client: AsyncDatagramClient) -> AsyncGenerator[None, bytes]:
        request = yield
        await client.send_packet(request)


HANDLERS = {"echo": Echo, "lines": Echo, "download": Download, "upload": Upload, "tls-echo": Echo}


def make_server(kind: str, pem: str) -> AsyncTCPNetworkServer | AsyncUDPNetworkServer:
    if kind == "udp":
        return AsyncUDPNetworkServer(HOST, 0, DatagramProtocol(RawSerializer()), EchoDatagrams(), "trio")
    raw = kind != "lines"
    protocol = StreamProtocol(RawSerializer()) if raw else BufferedStreamProtocol(StringLineSerializer())
    tls = {"ssl": server_context(pem), "ssl_standard_compatible": False} if kind == "tls-echo" else {}
    return AsyncTCPNetworkServer(HOST, 0, protocol, HANDLERS[kind](), "trio", backlog=BACKLOG, **tls)


async def main() -> None:
    kind, pem, _ = arguments()
    logging.disable(logging.WARNING)  # it logs every client that comes and goes when somebody listens
    async with make_server(kind, pem) as server:
        is_up = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: server.serve_forever(is_up_event=is_up))
            await is_up.wait()
            ready(server.get_addresses()[0].port)


if __name__ == "__main__":
    trio.run(main)
