"""`green_handler`: makes a handler class of `socketserver`, unchanged, the handler of a native server.

    await triosock.serve_tcp(compat.green_handler(Handler), 9000)
    await world.serve(compat.green_handler(Handler))      # in a simulated world

The native server accepts, and enforces limits, timeouts and drains. From `verify_request` on, the hooks are
those of a threading server, in the same order, in a greenlet in the connection's task.

The invariant: **nothing here needs a descriptor or a thread**, so that it works over any stream and any
clock.
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
    """Return an async handler, for a native server, that handles a connection with `handler_class`.

    Args:
      handler_class: a `RequestHandlerClass`, or any callable: it is called with (request, client_address,
        server) for each connection, in a greenlet of its own. The request behaves as a blocking socket,
        without flags and without a descriptor; a wait in it is a wait of the connection's task.
      server: the server that the handler gets, and whose hooks are called: `verify_request`,
        `finish_request`, `shutdown_request`, `close_request`, `handle_error`. It may be any threading server
        that was made with ``bind_and_activate=False``; None for a placeholder that has only the hooks.

    Errors: an exception of the handler is passed to `handle_error`, if `server` overrides that, and then to
    the native server, which counts and reports it. A reset by the peer is not counted as a failure.

    End of the stream: `recv()` returns b"". Reset: `recv()` raises ConnectionResetError, `sendall()`
    BrokenPipeError. Drain: a wait for the peer, before its first byte or if the handler sent last, returns
    the end of the stream. Cancellation: trio.Cancelled is raised where the handler waits.

    Raises: TypeError if `handler_class` is not callable. Without the extra `green`, importing this name
    raises ImportError.
    """
    if not callable(handler_class):
        raise TypeError(f"handler_class must be a class of request handlers, not {handler_class!r}")
    hooks = _PlaceholderServer(handler_class) if server is None else server

    async def handle(conn: Connection) -> None:
        task = GreenTask(daemon=True)
        try:
            with task.scope:  # cancelled when the interpreter ends
                await task.run(_process, hooks, handler_class, conn)
        except ConnectionError as error:
            if isinstance(error.__cause__, trio.BrokenResourceError):
                raise error.__cause__ from None  # the native server counts it as caused by the peer
            raise

    return handle


@final
class _PlaceholderServer(ThreadingMixIn, TCPServer):
    """The server that handlers get if the caller has given none: hooks without a socket."""

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
            # Not the stock `finish_request()`, which uses a request table: the native server has a registry.
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
