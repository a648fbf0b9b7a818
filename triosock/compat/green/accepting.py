"""Accepts in the trio thread, where the requests run, if that is not observable.

A connection that the serving thread accepts is handed over to the trio thread, and each hand-over costs two
thread switches. Here the wait for a request, which is in the trio run already, accepts as well.

The invariants:

1. **The change cannot be observed.** It is used only if every method between the accept and the request's
   task is the stock one, of the class and of the server; that is checked for each batch, since they may be
   replaced at any time. Otherwise the wait ends, and the serving thread accepts.
2. **What is taken from the kernel's queue has a task**, with no await between.
3. An accept never blocks, also if another process has taken the connection: the listener is non-blocking
   meanwhile. A thread that accepts from it then gets a BlockingIOError, which the loop ignores.
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

#: How many are accepted before a checkpoint, as in native servers.
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
    """Whether only stock methods see a request of this server before its task."""
    kind = type(server)
    return (
        all(getattr(kind, name) is method for name, method in _STOCK.items())
        and _NAMES.isdisjoint(vars(server))
        and type(server.socket) is _Socket
        and socket.socket is _Socket
    )


async def accept(waiting: GreenWait, fd: int) -> bool:
    """Accept until the serving thread is needed: return True if it is to accept, False after `wake()`.

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
        except (
            Exception
        ):  # a property of the program raises: it raises in the serving thread too, which handles it
            return True
        try:
            _accept_some(waiting.group, server, daemon, counts)
        except OSError as error:
            if error.errno in ASKED_AGAIN:
                return True  # the connection is still there, and the serving thread gets the same error
            note_accept_error(server, error)


def _accept_some(group: Group, server: ThreadingMixIn, daemon: bool, counts: bool) -> None:
    listener: Any = server.socket  # for `_accept()`, which is not in its type
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
