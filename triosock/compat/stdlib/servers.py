"""The four server classes with a socket: TCP, UDP, and the same over Unix sockets.

Rules of this file:

1. Attributes are read from the instance when they are needed, since programs set them on the class, on a base
   class, and on the instance, before and after the constructor.
2. Only the socket methods that the standard library calls are called, since tests and programs replace the
   socket by objects of their own.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Final, TypeAlias

from ..requests import table
from ..requests.signatures import ClientAddress, HandlerFactory, Request
from . import deferred_tls
from .base import BaseServer

_BACKLOG: Final[int] = getattr(socket, "SOMAXCONN", 5) if sys.version_info >= (3, 15) else 5
# SO_REUSEPORT on a Unix socket is an error since Linux 6.12.9, so the interpreters from these versions on
# leave it out there.
_REUSEPORT_IS_FOR_IP_ONLY = sys.version_info >= (3, 13, 2) or (3, 12, 9) <= sys.version_info < (3, 13)

_Socket: TypeAlias = socket.socket
#: The standard library's own `accept`; None if it was replaced before this import.
_ACCEPT = socket.socket.accept if getattr(socket.socket.accept, "__globals__", None) is vars(socket) else None
_family_of: Callable[[socket.socket], int] = socket.SocketType.family.__get__
_type_of: Callable[[socket.socket], int] = socket.SocketType.type.__get__


def _accept(listener: _Socket) -> tuple[_Socket, ClientAddress]:
    """Do what `socket.accept()` does, without enum members for the listener's family and type. Making these
    takes longer than all that a compat server does for a connection in addition to the standard library's
    calls.
    """
    if type(listener) is not _Socket or socket.socket is not _Socket or _Socket.accept is not _ACCEPT:
        return listener.accept()  # the program has replaced it
    descriptor, address = listener._accept()  # type: ignore[attr-defined]
    sock = socket.socket(_family_of(listener), _type_of(listener), listener.proto, descriptor)
    if listener.gettimeout() and socket.getdefaulttimeout() is None:
        # On some systems the accepted socket inherits O_NONBLOCK from the listener.
        sock.setblocking(True)
    return sock, address


class TCPServer(BaseServer):
    """A server of TCP connections; each is one request.

    The constructor opens, binds and activates the socket, or with `bind_and_activate=False` only opens it. If
    that fails, the socket is closed through `server_close()` and the error goes to the caller.
    """

    address_family = socket.AF_INET
    socket_type = socket.SOCK_STREAM
    request_queue_size = _BACKLOG
    allow_reuse_address = False
    allow_reuse_port = False

    def __init__(
        self,
        server_address: ClientAddress,
        RequestHandlerClass: HandlerFactory,
        bind_and_activate: bool = True,
    ) -> None:
        BaseServer.__init__(self, server_address, RequestHandlerClass)
        self.socket: _Socket = socket.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind the socket, and set `server_address` to its address."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        may_reuse = not _REUSEPORT_IS_FOR_IP_ONLY or self.address_family in (socket.AF_INET, socket.AF_INET6)
        if self.allow_reuse_port and hasattr(socket, "SO_REUSEPORT") and may_reuse:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_address: ClientAddress = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen, with `request_queue_size` as the length of the kernel's queue."""
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the listening socket. May be called any number of times."""
        self.socket.close()
        table.emit_listener_closed(self)

    def fileno(self) -> int:
        """Return the descriptor of the listening socket, for which the loop waits."""
        return int(self.socket.fileno())

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Accept a connection; return (its socket, the client's address)."""
        listener = self.socket
        if type(listener) is not _Socket and deferred_tls.is_tls(listener):
            return deferred_tls.accept(self)
        return _accept(listener)

    def shutdown_request(self, request: Request) -> None:
        """Shut down the sending side of the connection, then call `close_request()`."""
        try:
            # close() alone sends no FIN while another process, such as a child, has the socket too.
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # not connected, or closed already
        self.close_request(request)

    def close_request(self, request: Request) -> None:
        """Close the connection."""
        request.close()


class UDPServer(TCPServer):
    """A server of datagrams; each is one request: (its bytes, the server's socket).

    Of a datagram of more than `max_packet_size` bytes the rest is lost.
    """

    allow_reuse_port = False
    allow_reuse_address = False
    socket_type = socket.SOCK_DGRAM
    max_packet_size = 8192

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Receive a datagram; return ((its bytes, the server's socket), the sender's address)."""
        data, client_address = self.socket.recvfrom(self.max_packet_size)
        return (data, self.socket), client_address

    def server_activate(self) -> None:
        """Do nothing: a datagram socket does not listen."""

    def shutdown_request(self, request: Request) -> None:
        """Call `close_request()`: there is no connection to shut down."""
        self.close_request(request)

    def close_request(self, request: Request) -> None:
        """Do nothing: the socket is the server's."""


if hasattr(socket, "AF_UNIX"):

    class UnixStreamServer(TCPServer):
        """`TCPServer` on a Unix socket; `server_address` is its path."""

        address_family = socket.AF_UNIX

    class UnixDatagramServer(UDPServer):
        """`UDPServer` on a Unix socket; `server_address` is its path."""

        address_family = socket.AF_UNIX
