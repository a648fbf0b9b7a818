"""The servers of the world: for connections and for datagrams."""

from __future__ import annotations

from typing import final

from triosock import DatagramServer, MemoryAddress, StreamServer, TcpAddress
from triosock import events as happened
from triosock.events import Event

from ..datagrams import MemoryDatagramSocket
from .connection import SimulatedConnection
from .journal import Journal
from .listener import SimulatedListener
from .server_base import ServerBase


@final
class SimulatedServer(ServerBase):
    """Returned by `World.serve`. `server` is the `StreamServer`, `events` has all its events, `report` is
    its `DrainReport` after its end.
    """

    def __init__(
        self, host: str, listener: SimulatedListener, may_fail: tuple[type[Exception], ...], journal: Journal
    ) -> None:
        super().__init__(host, may_fail, journal)
        self.listener: SimulatedListener = listener
        self.connections: dict[TcpAddress, SimulatedConnection] = {}
        #: Whether it has TLS: then its byte counts differ from those of the network.
        self.is_encrypted: bool = False
        #: The number of connections that ended since its drain began.
        self.ended_in_drain: int = 0
        self._draining = False

    @property
    def server(self) -> StreamServer:
        """The server itself."""
        assert isinstance(self._any_server, StreamServer)
        return self._any_server

    @property
    def address(self) -> TcpAddress:
        """Its address."""
        return self.listener.address

    def _silence(self) -> None:
        # The kernel resets the connections of a process that has died.
        self.listener.close()
        for connection in self.connections.values():
            connection.server.abort()

    def on_event(self, event: Event, /) -> None:
        """Keep an event, as an observer."""
        super().on_event(event)
        match event:
            case happened.DrainStarted():
                self._draining = True
                for connection in self.connections.values():
                    connection.note_drain(event.time)
            case happened.ConnectionClosed():
                self.ended_in_drain += self._draining
                if (ended := self.connection_of(event.peer)) is not None:
                    ended.cause, ended.error = event.cause, event.error
            case happened.Refused():
                if (refused := self.connection_of(event.peer)) is not None:
                    refused.refused = True
            case _:
                pass

    def connection_of(self, peer: object) -> SimulatedConnection | None:
        """Return the connection of a peer, if that is a TcpAddress."""
        return self.connections.get(peer) if isinstance(peer, TcpAddress) else None


@final
class SimulatedDatagramServer(ServerBase):
    """Returned by `World.serve_datagrams`. `server` is the `DatagramServer`; the rest is as in
    `SimulatedServer`.
    """

    def __init__(
        self,
        host: str,
        socket: MemoryDatagramSocket,
        may_fail: tuple[type[Exception], ...],
        journal: Journal,
    ) -> None:
        super().__init__(host, may_fail, journal)
        self.socket = socket

    @property
    def server(self) -> DatagramServer:
        """The server itself."""
        assert isinstance(self._any_server, DatagramServer)
        return self._any_server

    @property
    def address(self) -> MemoryAddress:
        """Its address."""
        return self.socket.address

    def _silence(self) -> None:
        self.socket.close()
