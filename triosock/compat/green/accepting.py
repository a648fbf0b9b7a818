"""Accepting where the requests run: in the trio thread, if nobody can tell.

A connection that the serving thread accepts is handed over to the trio thread, and each hand-over is a change
of threads, at both ends. Here the wait for a request, which is in the trio run already, accepts as well.

The invariants:

1. **Only what cannot be seen is left out.** That is so if every method between the accept and the request's
   task is the stock one, of the class and of the server; it is asked again for each batch, as they may be
   replaced at any time. Else the wait ends, and the serving thread does what it does.
2. **What is taken from the kernel's queue has a task**, with no await between.
3. An accept that would wait, because another process has taken the connection, waits for nobody: the listener
   does not block meanwhile. What would be seen of that is an error that servers do not mind.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypeGuard

from triosock.compat.stdlib.base import BaseServer
from triosock.compat.stdlib.mixins import ThreadingMixIn
from triosock.compat.stdlib.servers import TCPServer
from triosock.compat.waiting.poll import ASKED_AGAIN, note_accept_error

from .socket import GreenSocket
from .tasks import wait_readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from triosock.compat.requests.ports import GreenWait, Group, Server

#: How many are accepted before others have their turn: that of native servers.
BATCH = 100

_Socket = socket.socket
_STOCK: dict[str, object] = {
    "get_request": TCPServer.get_request,
    "fileno": TCPServer.fileno,
    "process_request": ThreadingMixIn.process_request,
    **{
        name: getattr(BaseServer, name)
        for name in ("_handle_request_noblock", "verify_request", "service_actions", "__getattribute__")
    },
}
_NAMES = frozenset(_STOCK)


def is_stock(server: Server) -> TypeGuard[ThreadingMixIn]:
    """Whether a request of this server comes to its task unseen."""
    kind = type(server)
    return (
        all(getattr(kind, name) is method for name, method in _STOCK.items())
        and _NAMES.isdisjoint(vars(server))
        and type(server.socket) is _Socket
        and socket.socket is _Socket
    )


async def accept(waiting: GreenWait, fd: int) -> bool:
    """Accept until there is something for the serving thread: return True then, or False to have it look.

    Waits for the listener's descriptor. Raises what that raises.
    """
    server = waiting.server
    while True:
        await wait_readable(fd)
        if waiting.is_woken:
            return False
        if not is_stock(server) or server.socket.fileno() != fd:
            return True
        try:
            daemon, counts = server.daemon_threads, server.block_on_close
        except Exception:  # properties of the user's: the serving thread meets the same, and handles it
            return True
        try:
            _accept_some(waiting.group, server, daemon, counts)
        except OSError as error:
            if error.errno in ASKED_AGAIN:
                return True  # it is still there, and the serving thread finds the same
            note_accept_error(server, error)


def _accept_some(group: Group, server: ThreadingMixIn, daemon: bool, counts: bool) -> None:
    listener: Any = server.socket  # for `_accept()`, which its type has not
    timeout = listener.gettimeout()
    family, kind, proto = _family_of(listener), _type_of(listener), listener.proto
    listener.setblocking(False)
    try:
        for _ in range(BATCH):
            try:
                descriptor, address = listener._accept()
            except BlockingIOError:
                return
            green = GreenSocket(family, kind, proto, descriptor)
            group.admit(server, green, address, daemon=daemon, counts=counts)
    finally:
        if listener.fileno() != -1:
            listener.settimeout(timeout)


_family_of: Callable[[socket.socket], int] = socket.SocketType.family.__get__
_type_of: Callable[[socket.socket], int] = socket.SocketType.type.__get__
