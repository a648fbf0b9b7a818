"""`green_handler`: a handler class of `socketserver`, unchanged, as the handler of a native server.

    await triosock.serve_tcp(compat.green_handler(Handler), 9000)
    await world.serve(compat.green_handler(Handler))      # in a simulated world

Accepting, limits, timeouts and drains are the native server's; from `verify_request` on it is what a
threading server does with a request, in its order, in a greenlet in the connection's task.

The invariant: **nothing here needs a descriptor or a thread**, so that any stream and any clock will do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import final

import trio

from triosock import Connection
from triosock.compat.requests.signatures import HandlerFactory
from triosock.compat.stdlib.base import BaseServer
from triosock.compat.stdlib.mixins import ThreadingMixIn
from triosock.compat.stdlib.servers import TCPServer

from .connection_socket import ConnectionSocket, sockaddr_of
from .tasks import GreenTask


def green_handler(
    handler_class: HandlerFactory, server: BaseServer | None = None
) -> Callable[[Connection], Awaitable[None]]:
    """Return an async function that has a connection handled by `handler_class`, for a native server.

    Args:
      handler_class: what a server's `RequestHandlerClass` is: called with (request, client_address, server)
        for each connection, in a greenlet of its own. The request does what a blocking socket does, without
        flags and without a descriptor; a wait in it is a wait of the connection's task.
      server: what the handler is given as its server, and whose hooks are called: `verify_request`,
        `finish_request`, `shutdown_request`, `close_request`, `handle_error`; any threading server that was
        made with ``bind_and_activate=False``. None for a stand-in that has nothing but the hooks.

    Errors: what the handler raises is given to `handle_error`, if `server` has one of its own, and then to
    the native server, which counts and tells it. A peer that has reset the connection is no failure.

    Drain: a wait for the peer, before its first byte and after the last word was the handler's, looks like
    the end of the stream. Cancellation: trio.Cancelled is raised where the handler waits.

    Raises: TypeError for what cannot be called; from `triosock.compat` the import raises ImportError without
    the extra `green`.
    """
    if not callable(handler_class):
        raise TypeError(f"handler_class must be a class of request handlers, not {handler_class!r}")
    hooks = _PlaceholderServer(handler_class) if server is None else server

    async def handle(conn: Connection) -> None:
        task = GreenTask(daemon=True)
        try:
            with task.scope:  # which is cancelled when the interpreter ends
                await task.run(_process, hooks, handler_class, conn)
        except ConnectionError as error:
            if isinstance(error.__cause__, trio.BrokenResourceError):
                raise error.__cause__ from None  # the peer's doing, and told as such
            raise

    return handle


@final
class _PlaceholderServer(ThreadingMixIn, TCPServer):
    """The server of handlers that have no other: hooks, and no socket."""

    def __init__(self, handler_class: HandlerFactory) -> None:
        BaseServer.__init__(self, ("", 0), handler_class)
        vars(self)["socket"] = None


def _process(server: BaseServer, handler_class: HandlerFactory, conn: Connection) -> None:
    request, client_address = ConnectionSocket(conn), sockaddr_of(conn.peer)
    if not server.verify_request(request, client_address):
        server.shutdown_request(request)
        return
    try:
        if _is_stock(server, "finish_request"):
            # Past the request table of a compat server: here the native server has it.
            handler_class(request, client_address, server)
        else:
            server.finish_request(request, client_address)
    except Exception:
        if not _is_stock(server, "handle_error"):
            server.handle_error(request, client_address)
        raise
    finally:
        server.shutdown_request(request)


def _is_stock(server: object, name: str) -> bool:
    return name not in vars(server) and getattr(type(server), name).__module__.startswith(
        ("socketserver", "triosock.compat")
    )
