"""Handlers of the standard library's kind. Imports nothing of pytest, as `scenarios.py`."""

from __future__ import annotations

import http.server
import socketserver
from typing import Any

from tests.simulation.scenarios import ask_some
from triosock import compat
from triosock.testing.simulation import World


class Shout(socketserver.StreamRequestHandler):
    """Answers lines in capitals."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class Careless(socketserver.BaseRequestHandler):
    """Takes what comes in one piece for one line."""

    def handle(self) -> None:
        while line := self.request.recv(100):
            assert line.endswith(b"\n"), f"{line!r} is no line"
            self.request.sendall(line.upper())


class Hello(http.server.BaseHTTPRequestHandler):
    """The standard library's own HTTP, unchanged."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


async def shouting(world: World) -> None:
    ask_some(world, await world.serve(compat.green_handler(Shout)))


async def carelessness(world: World) -> None:
    ask_some(world, await world.serve(compat.green_handler(Careless)))


async def http_requests(world: World) -> None:
    server = await world.serve(compat.green_handler(Hello))

    async def get(times: int) -> None:
        conn = await world.connect(server)
        for number in range(times):
            await conn.send_all(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            head = await conn.receive_until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert await conn.receive_exactly(len(b"/%d" % number)) == b"/%d" % number

    for _ in range(world.integer(1, 3)):
        world.client(get, world.integer(1, 3))
