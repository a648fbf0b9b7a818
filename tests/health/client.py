"""A probe: one GET, without a library in between."""

from __future__ import annotations

import socket


def get(port: int, path: str = "/ready") -> tuple[int, str]:
    """Return status and text of what a health port on loopback answers."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(4096):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode().strip()
