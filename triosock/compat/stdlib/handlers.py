"""The handler classes: an object for each request, which does its work in its constructor.

Rules of this file: only the methods that the standard library calls are called on a request (`makefile` and
`sendall` for a stream), since programs pass objects of their own. No reference to a handler is kept.
"""

from __future__ import annotations

import socket
from io import BufferedIOBase, BytesIO
from socket import socket as Socket

from ..requests.signatures import ClientAddress, Request
from .base import BaseServer, _public
from .reply_order import note_order

_UNIX = getattr(socket, "AF_UNIX", object())


class BaseRequestHandler:
    """The base class. Its constructor calls `setup()`, `handle()` and `finish()`; `finish()` also if
    `handle()` raises, but not if `setup()` does.

    These methods have `self.request`, `self.client_address` and `self.server`.
    """

    def __init__(self, request: Request, client_address: ClientAddress, server: BaseServer) -> None:
        self.request: Request = request
        self.client_address: ClientAddress = client_address
        self.server = server
        self.setup()
        try:
            self.handle()
        finally:
            self.finish()

    def setup(self) -> None:
        """Called first. Does nothing here."""

    def handle(self) -> None:
        """Called to do the work. Does nothing here."""

    def finish(self) -> None:
        """Called last. Does nothing here."""


class StreamRequestHandler(BaseRequestHandler):
    """A handler of a connection: it reads from `self.rfile` and writes to `self.wfile`. `self.connection` is
    the request.

    `rbufsize` and `wbufsize` are the sizes of the buffers in bytes (-1: the default size, 0: none);
    `timeout`, in seconds, is set on the socket; `disable_nagle_algorithm` sets TCP_NODELAY.
    """

    rbufsize = -1
    wbufsize = 0
    timeout: float | None = None
    disable_nagle_algorithm = False

    connection: Request
    rfile: BufferedIOBase
    wfile: BufferedIOBase

    def setup(self) -> None:
        """Apply the options and make the two files."""
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = _public._SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)
        # A request that is no socket is asked for nothing else; `isinstance()` would ask for its `__class__`.
        if issubclass(type(self.connection), Socket) and self.connection.family == _UNIX:
            self.wfile = note_order(self.connection, self.rfile, self.wfile)

    def finish(self) -> None:
        """Flush and close the files. May be called more than once."""
        if not self.wfile.closed:
            try:
                self.wfile.flush()
            except OSError:
                pass  # the client has disconnected
        self.wfile.close()
        self.rfile.close()


class DatagramRequestHandler(BaseRequestHandler):
    """A handler of a datagram, which is in `self.rfile`. The content of `self.wfile` is sent back, even if
    empty.
    """

    packet: bytes
    socket: Socket
    rfile: BytesIO
    wfile: BytesIO

    def setup(self) -> None:
        """Make the two files."""
        self.packet, self.socket = self.request
        self.rfile = BytesIO(self.packet)
        self.wfile = BytesIO()

    def finish(self) -> None:
        """Send the reply."""
        self.socket.sendto(self.wfile.getvalue(), self.client_address)
