"""Shared by all server processes: arguments, sizes, and the line that reports readiness."""

from __future__ import annotations

import json
import ssl
import sys

HOST = "127.0.0.1"
#: Enough for the 32 connects in flight of the hardest work; the kernel's own cap (somaxconn) is 4096.
BACKLOG = 1024
#: What a framework is asked to receive at most, where it wants to be told: trio's and anyio's own default.
CHUNK = 65_536
MEBIBYTE = 1 << 20
BLOB = b"x" * MEBIBYTE
WORK_SECONDS = 0.1
SHUTDOWNS = 7


def arguments() -> tuple[str, str, list[str]]:
    """The kind of work, the path of the certificate ("" if there is none) and what follows them."""
    kind, pem, *rest = [*sys.argv[1:], ""] if len(sys.argv) == 2 else sys.argv[1:]
    return kind, pem, rest


def server_context(pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


def ready(port: int) -> None:
    print(f"ready {port}", flush=True)


def report(**figures: object) -> None:
    """A line of figures for the runner, from a server that measures itself."""
    print(json.dumps(figures), flush=True)
