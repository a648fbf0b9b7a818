"""The standard library's `http.server`, unchanged, with thousands of clients kept alive: no thread for any.

`python examples/compat/green_http.py [PORT]`, then `python examples/compat/green_http.py PORT CLIENTS` is the
clients: each asks twice on one connection.
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
        """Nothing for each request."""


class Server(compat.GreenTCPServer):
    """What `http.server.ThreadingHTTPServer` is, with tasks in the place of threads."""

    allow_reuse_address = True
    request_queue_size = 1024
    daemon_threads = True


def allow_many() -> None:
    """Allow as many descriptors as this process may have: 1,024 is what many systems begin with."""
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def ask(port: int, clients: int) -> int:
    """Open so many connections, ask on each, and again; return how many answers there were."""
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
    """Serve, or ask."""
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
