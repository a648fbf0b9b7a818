"""Native handlers as classes, for code ported from `socketserver`: the same three methods, all async.

A handler class is no part of the core: `Shout.serve` is a plain async function of one connection, and nothing
else in triosock uses the class. There is one object for each connection. Servers have no classes to inherit
from: the mixins of the standard library are options of `serve_*` here.
"""

from __future__ import annotations

import trio

from ._core.datagram.dispatch import Datagram
from ._core.datagram.server import DatagramServer
from ._core.model.addresses import Address
from ._core.stream.connection import Connection
from ._core.stream.server import StreamServer


class StreamHandler:
    """Serves one connection in three steps::

        class Shout(triosock.StreamHandler):
            async def handle(self):
                async for line in self.conn.lines():
                    await self.conn.send_all(line.upper())

        await triosock.serve_tcp(Shout.serve, 9999)

    `conn` is the `Connection`, `peer` its peer's address, `server` the `StreamServer` (None if the handler is
    used without one).
    """

    conn: Connection
    peer: Address
    server: StreamServer | None

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.peer = conn.peer
        self.server = conn.server if isinstance(conn.server, StreamServer) else None

    @classmethod
    async def serve(cls, conn: Connection) -> None:
        """Serve one connection: this function is the handler for `serve_tcp` and the other `serve_*`.

        As in the standard library, `finish` is called if `setup` has returned, however `handle` ended; an
        exception is raised to the server.

        Cancellation: `finish` is called, and its awaits are cancelled at once unless they are shielded.
        Drain: as for the methods of `Connection` that `handle` uses.
        """
        self = cls(conn)
        await self.setup()
        try:
            await self.handle()
        finally:
            await self.finish()

    async def setup(self) -> None:
        """Called first. The default does nothing."""
        await trio.lowlevel.checkpoint()

    async def handle(self) -> None:
        """Serve the connection. The default does nothing."""
        await trio.lowlevel.checkpoint()

    async def finish(self) -> None:
        """Called last, however `handle` ended. The default does nothing, and is no checkpoint, since it may
        be called during a cancellation.
        """


class DatagramHandler:
    """Serves one datagram in three steps::

        class Shout(triosock.DatagramHandler):
            async def handle(self):
                await self.datagram.reply(self.data.upper())

        await triosock.serve_udp(Shout.serve, 9999)

    `datagram` is the `Datagram`, `data` its bytes, `peer` the address of its sender, `server` the
    `DatagramServer`.
    """

    datagram: Datagram
    data: bytes
    peer: Address
    server: DatagramServer | None

    def __init__(self, datagram: Datagram) -> None:
        self.datagram = datagram
        self.data = datagram.data
        self.peer = datagram.peer
        self.server = datagram.server if isinstance(datagram.server, DatagramServer) else None

    @classmethod
    async def serve(cls, datagram: Datagram) -> None:
        """Serve one datagram: this function is the handler for `serve_udp` and `serve_unix_datagram`.

        `finish` is called if `setup` has returned, however `handle` ended; an exception is raised to the
        server.

        Cancellation: `finish` is called, and its awaits are cancelled at once unless they are shielded.
        Drain: does not end it before the end of the grace period.
        """
        self = cls(datagram)
        await self.setup()
        try:
            await self.handle()
        finally:
            await self.finish()

    async def setup(self) -> None:
        """Called first. The default does nothing."""
        await trio.lowlevel.checkpoint()

    async def handle(self) -> None:
        """Handle the datagram. The default does nothing."""
        await trio.lowlevel.checkpoint()

    async def finish(self) -> None:
        """Called last, however `handle` ended. The default does nothing, and is no checkpoint."""
