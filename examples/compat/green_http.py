"""The standard library's `http.server`, unchanged, with thousands of keep-alive clients and no thread for
each.

`python examples/compat/green_http.py [PORT]` serves; `python examples/compat/green_http.py PORT CLIENTS`
runs the clients: each sends two requests on one connection.
"""

from __future__ import annotations

import contextlib
import sys
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import Any

from triosock import compat


class Hello(BaseHTTPRequestHandler):
    """A handler of the standard library."""

    protocol_version = "HTTP/1.1"  # connections stay open

    def do_GET(self) -> None:
        body = b"hello\n"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Log no requests."""


class Server(compat.GreenTCPServer):
    """As `http.server.ThreadingHTTPServer`, with tasks instead of threads."""

    allow_reuse_address = True
    request_queue_size = 1024
    daemon_threads = True


def allow_many() -> None:
    """Raise the limit of descriptors to the hard limit: many systems begin with 1,024."""
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def ask(port: int, clients: int) -> int:
    """Open so many connections, send two requests on each; return the number of answers."""
    connections = [HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(clients)]
    answers = 0
    for _ in range(2):
        for connection in connections:
            connection.request("GET", "/")
            answers += connection.getresponse().read() == b"hello\n"
    for connection in connections:
        connection.close()
    return answers


def main(*arguments: str) -> None:
    """Serve, or run the clients."""
    allow_many()
    port = int(arguments[0]) if arguments else 8011
    if len(arguments) > 1:
        print(ask(port, int(arguments[1])), "answers")
        return
    with Server(("127.0.0.1", port), Hello) as server:
        print("http on port", server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
