"""TLS handshakes outside the accept loop, for servers whose listener is an SSLSocket.

`SSLSocket.accept()` does the handshake before it returns: one client that connects and says nothing stops the
whole server. Here, when the request is going to have a thread or a process of its own and every method on the
way there is the stock one, `get_request()` only accepts; the handshake is the first thing that the thread or
the process does, and may take `TIMEOUT` seconds.

What can be observed stays. A program that has a `get_request()`, `verify_request()` or any other method on
the way of its own gets an SSLSocket with its handshake done, as from the standard library: there the
handshake stays in the accept. The handler gets one with its handshake done; a client with which it cannot be
done is dropped without a word and without a hook, as a failed `accept()` is. A server that handles requests
in the accepting thread does handshakes there too: its handlers block it in the same way.

If there can be no thread or process, the accepting thread does the handshake before a hook is told of that.

A forked child does handshakes only if its parent has no other thread. What another one held of OpenSSL's
locks at the fork nobody releases in the child, and a handshake takes many of them: it would wait for ever,
where the standard library's child finds the handshake done.

The module `ssl` is not imported for it: who has an SSLSocket has done that.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..requests.ports import Server
    from ..requests.signatures import ClientAddress, Request

#: Seconds; go-proxyproto's bound for the same wait, and `triosock.Timeouts.handshake`.
TIMEOUT = 10.0

_DUE = "_triosock_handshake_due"
_active_count = threading.active_count


def is_tls(sock: object) -> bool:
    """Whether this is an SSLSocket, and none of somebody's own."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and type(sock) is ssl.SSLSocket


def accept(server: Server) -> tuple[socket.socket, ClientAddress]:
    """Do `server.socket.accept()`, with the handshake left for later if the request's thread will do it."""
    listener: Any = server.socket
    if not getattr(listener, "do_handshake_on_connect", False) or not _is_stock(server):
        accepted: tuple[socket.socket, ClientAddress] = listener.accept()
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


def complete(request: Request) -> bool:
    """Do the handshake that `accept()` left, if it did; return whether there is somebody to talk to now."""
    # An instance of a subclass is one that a green server made of it.
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(request, ssl.SSLSocket) or not request.__dict__.pop(_DUE, False):
        return True
    timeout = request.gettimeout()
    try:
        request.settimeout(TIMEOUT)
        request.do_handshake()
        request.settimeout(timeout)
    except (OSError, ValueError):
        # ValueError: the peer has hung up before it began. As after a failed accept(), nobody hears of it.
        request.close()
        return False
    # What the listener's accept() would have given: a socket that has its handshake done by itself.
    request.do_handshake_on_connect = True
    return True


#: For each mixin whose requests pass through `complete()`: the methods between the accept and there, as they
#: are in this package.
_stock: dict[type, dict[str, object]] = {}
#: Those of them whose requests have processes.
_forking: set[type] = set()


def completes(mixin: type, server: type, *names: str, forks: bool = False) -> None:
    """Note that requests of servers with this mixin pass through `complete()`, if these methods of theirs are
    those that `mixin` and `server` have now; in a child process, if it `forks`.
    """
    if forks:
        _forking.add(mixin)
    _stock[mixin] = {name: getattr(mixin, name, None) or getattr(server, name) for name in names}


def _is_stock(server: Server) -> bool:
    """Whether a request of this server certainly passes through `complete()`, in a thread or process of its
    own, and nothing of the program sees it before.
    """
    kind = type(server)
    for mixin, methods in _stock.items():
        if isinstance(server, mixin):
            if mixin in _forking and _active_count() > 1:
                return False
            return all(getattr(kind, name, None) is method for name, method in methods.items()) and not (
                methods.keys() & vars(server).keys()
            )
    return False
