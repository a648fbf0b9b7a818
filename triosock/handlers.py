"""Native handlers as classes, for code ported from `socketserver`: the same three steps, all async.

A handler class is no part of the core: `Shout.serve` is a plain async function of one connection, and nothing
else in triosock uses the class. There is one object per connection, and no inheritance from servers: what the
stdlib does with mixins is an option of `serve_*` here.
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
        """Serve one connection: the function to give to `serve_tcp` and its sisters.

        As with the stdlib's handlers, `finish` is run if `setup` was, however `handle` ended; an exception
        passes on to the server.

        Cancellation: `finish` runs, and what it awaits is cancelled at once unless it is shielded. Drain: as
        `Connection` has it.
        """
        self = cls(conn)
        await self.setup()
        try:
            await self.handle()
        finally:
            await self.finish()

    async def setup(self) -> None:
        """What comes first. Does nothing here."""
        await trio.lowlevel.checkpoint()

    async def handle(self) -> None:
        """Serve the connection. Does nothing here."""
        await trio.lowlevel.checkpoint()

    async def finish(self) -> None:
        """What comes last, however `handle` ended. Does nothing here, and is no checkpoint: it may be the
        clean-up of a cancellation.
        """


class DatagramHandler:
    """Serves one datagram in three steps::

        class Shout(triosock.DatagramHandler):
            async def handle(self):
                await self.datagram.reply(self.data.upper())

        await triosock.serve_udp(Shout.serve, 9999)

    `datagram` is the `Datagram`, `data` its bytes, `peer` who sent it, `server` the `DatagramServer`.
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
        """Serve one datagram: the function to give to `serve_udp` and `serve_unix_datagram`.

        `finish` is run if `setup` was, however `handle` ended; an exception passes on to the server.

        Cancellation: `finish` runs, and what it awaits is cancelled at once unless it is shielded.
        """
        self = cls(datagram)
        await self.setup()
        try:
            await self.handle()
        finally:
            await self.finish()

    async def setup(self) -> None:
        """What comes first. Does nothing here."""
        await trio.lowlevel.checkpoint()

    async def handle(self) -> None:
        """Handle the datagram. Does nothing here."""
        await trio.lowlevel.checkpoint()

    async def finish(self) -> None:
        """What comes last, however `handle` ended. Does nothing here, and is no checkpoint."""
