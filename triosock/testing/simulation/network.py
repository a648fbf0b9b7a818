"""Hosts, the links between them, and connecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import trio

from triosock import Address, TcpAddress

from .choices import Choices
from .connection import SimulatedConnection
from .faults import Faults
from .journal import Journal
from .link import Link, describe, draw_conditions
from .listener import QueuedConnection
from .pipe import Pipe
from .served import SimulatedServer
from .stream import SimulatedStream

#: The first port of clients: as on Linux, ip(7).
_FIRST_PORT: Final = 32_768
_LAST_PORT: Final = 65_535


@final
class Network:
    """The network of one world."""

    def __init__(
        self, choices: Choices, faults: Faults, journal: Journal, mark: Callable[[str, str], None]
    ) -> None:
        self._choices = choices
        self._faults = faults
        self._journal = journal
        self._mark = mark
        self._hosts: dict[str, str] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._next_port = _FIRST_PORT
        self.connections: list[SimulatedConnection] = []

    def ip(self, host: str) -> str:
        """Return the address of a host, which is created on first use."""
        if host not in self._hosts:
            number = len(self._hosts) + 1
            self._hosts[host] = f"10.0.{number >> 8}.{number & 255}"
        return self._hosts[host]

    def link(self, one: str, other: str) -> Link:
        """Return the link between two hosts."""
        key = (one, other) if one < other else (other, one)
        if key not in self._links:
            self._links[key] = Link(*key)
        return self._links[key]

    def next_error(self) -> int:
        """Return the errno with which an accept fails, or 0."""
        if not self._choices.happens(self._faults.accept_errors):
            return 0
        number = self._choices.pick(self._faults.errnos)
        return number

    def close_clients(self) -> None:
        """Close the clients' ends that are still open."""
        for connection in self.connections:
            connection.client.close()

    async def connect(self, server: SimulatedServer, host: str, peer: Address | None) -> SimulatedConnection:
        """Return a new connection of `host` to `server`.

        Raises: ConnectionRefusedError. Cancellation: the attempt leaves nothing.
        """
        who = peer or TcpAddress(self.ip(host), self._next_port)
        self._next_port = self._next_port + 1 if self._next_port < _LAST_PORT else _FIRST_PORT
        connection, arrival = self._make(server, host, who)
        seconds = connection.client.outgoing.conditions.seconds
        link = connection.client.outgoing.link
        try:
            await link.travel(seconds)
            if isinstance(who, TcpAddress):
                server.connections[who] = connection
            connection.connected = trio.current_time()
            await server.listener.enter(arrival)
            await link.travel(seconds)
        except BaseException:
            connection.client.abort()
            if arrival.is_outside:
                connection.server.abort()
            raise
        return connection

    def _make(
        self, server: SimulatedServer, host: str, peer: Address
    ) -> tuple[SimulatedConnection, QueuedConnection]:
        link, journal = self.link(host, server.host), self._journal
        name = f"{host}-{self._next_port - _FIRST_PORT}"
        there, back = draw_conditions(self._choices, self._faults)
        one = Pipe(f"{name} to {server.host}", link, there, journal)
        other = Pipe(f"{server.host} to {name}", link, back, journal)
        one.back, other.back = other, one
        for pipe in (one, other):
            for kind, text in describe(pipe.conditions):
                self._mark(kind, f"{pipe.name} {text}")
        faults: list[str] = []

        def on_fault(kind: str, text: str) -> None:
            faults.append(text)
            self._mark(kind, text)

        connection = SimulatedConnection(
            name,
            SimulatedStream(name, other, one, on_fault),
            SimulatedStream(f"{server.host} (to {name})", one, other, on_fault),
            faults=faults,
            is_cut_short=lambda: server.cut_short,
        )
        self.connections.append(connection)
        return connection, QueuedConnection(connection.server, peer)
