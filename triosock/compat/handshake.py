"""TLS handshakes outside the accept loop, for servers whose listener is an SSLSocket.

`SSLSocket.accept()` does the handshake before it returns: one client that connects and says nothing stops the
whole server. Here, when the request is going to have a thread or a process of its own and every method on the
way there is the stock one, `get_request()` only accepts; the handshake is the first thing that the thread or
the process does, and may take `TIMEOUT` seconds.

What can be observed stays: `verify_request()` and `process_request()` get an SSLSocket; the handler gets one
with its handshake done; a client with which it cannot be done is dropped without a word, as a failed
`accept()` is. A server that handles requests in the accepting thread does handshakes there too: its handlers
block it in the same way.

The module `ssl` is not imported for it: who has an SSLSocket has done that.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .servers import TCPServer

#: Seconds; go-proxyproto's bound for the same wait, and `triosock.Timeouts.handshake`.
TIMEOUT = 10.0

_DUE = "_triosock_handshake_due"


def is_tls(sock: Any) -> bool:
    """Whether this is an SSLSocket, and none of somebody's own."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and type(sock) is ssl.SSLSocket


def accept(server: TCPServer) -> tuple[Any, Any]:
    """Do `server.socket.accept()`, with the handshake left for later if the request's thread will do it."""
    listener: Any = server.socket
    if not getattr(listener, "do_handshake_on_connect", False) or not _is_stock(server):
        accepted: tuple[Any, Any] = listener.accept()
        return accepted
    plain, address = socket.socket.accept(listener)
    try:
        request = listener.context.wrap_socket(
            plain,
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=getattr(listener, "suppress_ragged_eofs", True),
        )
    except BaseException:
        plain.close()
        raise
    setattr(request, _DUE, True)
    return request, address


def complete(request: Any) -> bool:
    """Do the handshake that `accept()` left, if it did; return whether there is somebody to talk to now."""
    if not is_tls(request) or not vars(request).pop(_DUE, False):
        return True
    tls: Any = request
    timeout = request.gettimeout()
    try:
        request.settimeout(TIMEOUT)
        request.do_handshake()
        request.settimeout(timeout)
    except OSError:
        return False
    # What the listener's accept() would have given: a socket that has its handshake done by itself.
    tls.do_handshake_on_connect = True
    return True


def _is_stock(server: TCPServer) -> bool:
    """Whether a request of this server certainly passes through `complete()`, in a thread or process of its
    own.
    """
    from . import mixins

    kind: Any = type(server)
    if isinstance(server, mixins.ThreadingMixIn):
        return (
            kind.process_request is mixins.ThreadingMixIn.process_request
            and kind.process_request_thread is mixins.STOCK_THREAD
        )
    forking = getattr(mixins, "ForkingMixIn", None)
    return forking is not None and getattr(kind, "process_request", None) is forking.process_request
