"""The classes of the stdlib's socketserver, or of triosock.compat: only the module differs.

Arguments after KIND and PEM: the mixin, one of "sync", "threading", "forking", "green" (of triosock.compat);
and the module to take the classes from.
"""

from __future__ import annotations

import importlib
import threading
from time import perf_counter, sleep
from typing import Any

from .common import BACKLOG, BLOB, CHUNK, HOST, MEBIBYTE, SHUTDOWNS, arguments, ready, report

kind, _, (mixin, module) = arguments()
socketserver: Any = importlib.import_module(module)


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(CHUNK):
                self.request.sendall(data)
        except ConnectionError:
            pass


class Lines(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class Download(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(CHUNK):
            for _ in data:
                self.request.sendall(BLOB)


class Upload(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        received = 0
        while data := self.request.recv(CHUNK):
            received += len(data)
            if received >= MEBIBYTE:
                received -= MEBIBYTE
                self.request.sendall(b"k")


class EchoDatagrams(socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


HANDLERS = {"echo": Echo, "lines": Lines, "download": Download, "upload": Upload, "udp": EchoDatagrams}
PREFIXES = {"sync": "", "threading": "Threading", "forking": "Forking", "green": "Green"}


def server_class(transport: str) -> Any:
    base = getattr(socketserver, f"{PREFIXES[mixin]}{transport}Server")
    # The default queue of 5 would measure the kernel's retransmissions of the 32 connects in flight.
    return type("Server", (base,), {"request_queue_size": BACKLOG, "daemon_threads": True})


def measure_shutdown() -> None:
    times = []
    for turn in range(SHUTDOWNS):
        with server_class("TCP")((HOST, 0), Echo) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            sleep(0.05 + 0.05 * turn)  # spread over the poll interval of half a second
            began = perf_counter()
            server.shutdown()
            times.append((perf_counter() - began) * 1e3)
            thread.join()
    report(shutdown_ms=times)


def main() -> None:
    if kind == "shutdown":
        measure_shutdown()
        return
    with server_class("UDP" if kind == "udp" else "TCP")((HOST, 0), HANDLERS[kind]) as server:
        ready(server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
