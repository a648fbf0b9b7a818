"""TLS handshakes outside the accept loop, for servers whose listener is an SSLSocket.

`SSLSocket.accept()` does the handshake before it returns: one client that connects and says nothing stops the
whole server. Here, when the request is going to have a thread or a process of its own and every method on the
way is the stock one, `get_request()` only accepts; the handshake is the first thing that the thread or
process does.

What is observable stays: `verify_request()` and `process_request()` get an SSLSocket; the handler gets one
with its handshake done; a client with which it cannot be done is dropped without a word, as a failed
`accept()` is.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    from .servers import TCPServer

_MARK = "_triosock_handshake_due"


class HandshakeFailed(Exception):
    """Leaves the request's thread without a word."""


def accept(server: TCPServer) -> tuple[Any, Any]:
    """Do `server.socket.accept()`, with the handshake left for later if the request's thread will do it."""
    listener = server.socket
    return listener.accept()  # type: ignore[no-any-return]


def complete(request: Any) -> None:
    """Do the handshake that `accept()` left. Nothing happens with any other request."""
