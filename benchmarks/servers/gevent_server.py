"""gevent's StreamServer and DatagramServer: blocking style, one greenlet per connection."""

from __future__ import annotations

import socket

import gevent.socket
import gevent.ssl
from gevent.server import DatagramServer, StreamServer

from .common import BACKLOG, BLOB, CHUNK, HOST, MEBIBYTE, arguments, ready


def echo(sock: gevent.socket.socket, _: object) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := sock.recv(CHUNK):
            sock.sendall(data)
    except OSError:
        pass  # the peer went away; StreamServer closes the socket


def lines(sock: gevent.socket.socket, _: object) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock.makefile("rb") as file:
        for line in iter(file.readline, b""):
            sock.sendall(line)


def download(sock: gevent.socket.socket, _: object) -> None:
    while data := sock.recv(CHUNK):
        for _ in data:
            sock.sendall(BLOB)


def upload(sock: gevent.socket.socket, _: object) -> None:
    received = 0
    while data := sock.recv(CHUNK):
        received += len(data)
        if received >= MEBIBYTE:
            received -= MEBIBYTE
            sock.sendall(b"k")


HANDLERS = {"echo": echo, "lines": lines, "download": download, "upload": upload, "tls-echo": echo}


class EchoDatagrams(DatagramServer):
    def handle(self, data: bytes, address: tuple[str, int]) -> None:
        self.socket.sendto(data, address)


def cooperative_context(pem: str) -> gevent.ssl.SSLContext:
    """gevent's own class: with the stdlib's, a handshake blocks everybody else."""
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def main() -> None:
    kind, pem, _ = arguments()
    if kind == "udp":
        server = EchoDatagrams((HOST, 0))
    else:
        tls = {"ssl_context": cooperative_context(pem)} if kind == "tls-echo" else {}
        server = StreamServer((HOST, 0), HANDLERS[kind], backlog=BACKLOG, **tls)
    server.start()
    ready(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
