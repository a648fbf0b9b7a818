"""Accepts in the trio thread, where the requests run, if the program cannot observe it.

A connection that the serving thread accepts is passed to the trio thread, which costs two thread switches.
Here the wait for a request, which is in the trio run already, accepts as well.

The invariants:

1. **The program cannot observe it.** It is used only if every method between the accept and the request's
   task is the stock one, in the class and in the server; that is checked for each batch, since they may be
   replaced at any time. Otherwise the wait ends, and the serving thread accepts. The exception is O_NONBLOCK
   of the listener: see 3.
2. **Each accepted connection gets its task** with no await in between.
3. **An accept never blocks**, even if another process has taken the connection, except in the instant in
   which the loop of another process that shares the listener ends. The descriptor of the listener is
   non-blocking from the first batch to the end of the loop, though `gettimeout()` says what the program has
   set. A thread that accepts from it gets a BlockingIOError, which the loop ignores. Rejected: to make it
   blocking again after each batch. Processes that were forked from one share this flag, and one of them would
   block in the batch of another.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypeGuard

from triosock.compat.stdlib.base import BaseServer
from triosock.compat.stdlib.mixins import ThreadingMixIn
from triosock.compat.stdlib.servers import TCPServer
from triosock.compat.waiting.poll import PERSISTENT_ERRORS, note_accept_error

from .socket import GreenSocket
from .tasks import wait_readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from triosock.compat.requests.ports import GreenWait, Group, Server

#: How many connections are accepted before a checkpoint, as in native servers.
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
    """Accept until the serving thread is needed; return True if it must accept, False after `wake()`.

    Raises: what the wait for the listener's descriptor raises.
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
        except Exception:
            # A property of the program raises. The serving thread gets the same exception, and handles it.
            return True
        try:
            _accept_some(waiting.group, server, daemon, counts)
        except OSError as error:
            if error.errno in PERSISTENT_ERRORS:
                return (
                    True  # the connection is still in the queue, and the serving thread gets the same error
                )
            note_accept_error(server, error)


def _accept_some(group: Group, server: ThreadingMixIn, daemon: bool, counts: bool) -> None:
    listener: Any = server.socket  # typeshed does not have its `_accept()`
    timeout = listener.gettimeout()
    family, kind, proto = _family_of(listener), _type_of(listener), listener.proto
    if timeout is None:
        group.make_nonblocking(listener)
    else:
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
        if timeout is not None and listener.fileno() != -1:
            listener.settimeout(timeout)


_family_of: Callable[[socket.socket], int] = socket.SocketType.family.__get__
_type_of: Callable[[socket.socket], int] = socket.SocketType.type.__get__
