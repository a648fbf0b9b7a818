"""TLS handshakes outside the accept loop, for servers whose listener is an SSLSocket.

`SSLSocket.accept()` does the handshake before it returns: one client that connects and sends nothing blocks
the whole server. Here, if the request gets a thread or a process of its own, and no method between the accept
and that thread is overridden, `get_request()` only accepts. The thread or process does the handshake first,
for at most `TIMEOUT` seconds.

The observable behaviour is the standard library's. If a program overrides `get_request()`, `verify_request()`
or another method in between, `accept()` does the handshake. The handler gets an SSLSocket whose handshake is
done; a client whose handshake fails is dropped without a hook, as after a failed `accept()`. A server that
handles requests in the accepting thread does handshakes there too, since its handlers block it in the same
way.

A cut of the server (`requests/handshakes.py`) ends all of them, those in the accepting thread too.

If no thread or process can be started, the accepting thread does the handshake before it calls the hooks for
that error.

A forked child does handshakes only if its parent has no other thread. A lock of OpenSSL that another thread
held at the fork is never released in the child, and a handshake acquires many: it would wait for ever. The
standard library's child gets an SSLSocket whose handshake is done.

The module `ssl` is not imported here: a program with an SSLSocket has imported it.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ..requests.table import SLOT, request_table_of

if TYPE_CHECKING:
    from ..requests.ports import Server
    from ..requests.signatures import ClientAddress, Request
    from ..requests.table import RequestTable

#: Seconds; go-proxyproto's bound for the same wait, and `triosock.Timeouts.handshake`.
TIMEOUT = 10.0

_DUE = "_triosock_handshake_due"
_active_count = threading.active_count


def is_tls(sock: object) -> bool:
    """Whether this is an SSLSocket, and no instance of a subclass."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and type(sock) is ssl.SSLSocket


def accept(server: Server) -> tuple[socket.socket, ClientAddress]:
    """Do `server.socket.accept()`, without the handshake if the request's thread will do it."""
    listener: Any = server.socket
    # With a default timeout of 0, a handshake is an error.
    if not getattr(listener, "do_handshake_on_connect", False) or socket.getdefaulttimeout() == 0:
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
    if _is_stock(server):
        setattr(request, _DUE, True)
    else:
        _do_handshake_here(server, request)
    return request, address


def _do_handshake_here(server: Server, request: Request) -> None:
    """Do what `accept()` does: a handshake without a bound of its own. A cut of the server ends it."""
    try:
        with request_table_of(server).handshakes.during(request):
            request.do_handshake()
    except BaseException:
        request.close()
        raise
    request.do_handshake_on_connect = True


def complete(server: Server, request: Request) -> bool:
    """Do the handshake if `accept()` has not; return whether the request can be handled."""
    # Instances of a subclass too: a green server has changed the class.
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(request, ssl.SSLSocket) or not request.__dict__.pop(_DUE, False):
        return True
    timeout = request.gettimeout()
    try:
        request.settimeout(TIMEOUT)
        # In the child of a fork, the parent's: a new one would copy pages.
        request_table: RequestTable | None = vars(server).get(SLOT)
        with nullcontext() if request_table is None else request_table.handshakes.during(request):
            request.do_handshake()
        request.settimeout(timeout)
    except (OSError, ValueError):
        # ValueError: the peer has disconnected before the handshake. No hook is called, as after a failed
        # accept().
        request.close()
        return False
    # The value that it has after `SSLSocket.accept()`.
    request.do_handshake_on_connect = True
    return True


#: For each mixin that calls `complete()`: the stock methods between the accept and that call, by name.
_stock: dict[type, dict[str, object]] = {}
#: The mixins of `_stock` whose requests have processes.
_forking: set[type] = set()


def completes(mixin: type, server: type, *names: str, forks: bool = False) -> None:
    """Register a mixin that calls `complete()` for each request, if the server's methods of these names are
    those that `mixin` and `server` have now. `forks` says whether it does so in a child process.
    """
    if forks:
        _forking.add(mixin)
    _stock[mixin] = {name: getattr(mixin, name, None) or getattr(server, name) for name in names}


def _is_stock(server: Server) -> bool:
    """Whether `complete()` is certainly called for a request of this server, in a thread or process of its
    own, before code of the program gets the request.
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
