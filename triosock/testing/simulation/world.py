"""The world of one run, which a scenario gets.

    clients ─┬─ the scenario
             └─ each `world.client()`
    servers ──── each `world.serve()`          the life of a run, from the inside out:
    faults ───── partitions that heal, …       the scenario and its clients end; the servers that still run
                                               are drained; the fault tasks are cancelled; then the
                                               invariants are checked

The invariant: **everything but the scenario's own code is decided by the choices**, drawn in the order in
which things are made. Nothing here uses a clock, a hash or the system.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVarTuple, Unpack, final

import trio

import triosock
from triosock import Address, Connection, DatagramServer, DrainReport, StreamServer

from ..._core.datagram.options import DatagramOptions
from ..._core.datagram.serve import AnyHandler
from ..._core.stream.options import ServeOptions
from ..leaks import where
from . import oracles
from .choices import Choices
from .client import Client
from .client import current as current_client
from .datagrams import DatagramClient, SimulatedDatagramNetwork
from .fault_injector import FaultInjector
from .faults import Faults
from .instrument import StepInstrument
from .journal import Journal
from .link import Link
from .listener import BACKLOG, SimulatedListener
from .network import Network
from .served import SimulatedDatagramServer, SimulatedServer
from .server_base import ServerT

Ts = TypeVarTuple("Ts")

#: The default port of a server.
PORT: Final = 80


@final
class World:
    """The world of a scenario: hosts, links, servers, clients, and their faults.

    `seed` is the seed of the run (None: the choices were given), `random` a generator for the scenario.
    """

    def __init__(
        self,
        choices: Choices,
        faults: Faults,
        journal: Journal,
        instrument: StepInstrument,
        jump: Callable[[float], None],
        seed: int | None,
    ) -> None:
        self.seed: int | None = seed
        self.random: random.Random = random.Random(choices.integer(2**16 - 1))
        #: The count of each kind of fault.
        self.fault_counts: Counter[str] = Counter()
        #: The faults, for a picture: times and descriptions.
        self.marks: list[tuple[float, str]] = []
        #: Called with the description of each fault.
        self.on_mark: Callable[[str], None] | None = None
        self.servers: list[SimulatedServer | SimulatedDatagramServer] = []
        self.clients: list[Client] = []
        self._choices = choices
        self._faults = faults
        self._journal = journal
        self._instrument = instrument
        self._network = Network(choices, faults, journal, self._mark)
        self._datagrams = SimulatedDatagramNetwork(choices, faults, journal, self._mark, self._network.link)
        self._fault_injector = FaultInjector(choices, faults, instrument, jump, self._mark)
        self._checks: list[Callable[[], object]] = []
        self._client_nursery: trio.Nursery | None = None
        self._server_nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<World of seed {self.seed}>"

    # For the scenario

    async def serve(
        self,
        handler: Callable[[Connection], Awaitable[object]],
        *,
        host: str = "server",
        port: int = PORT,
        backlog: int = BACKLOG,
        may_fail: tuple[type[Exception], ...] = (),
        **options: Unpack[ServeOptions],
    ) -> SimulatedServer:
        """Serve `handler` on a host, and return the server when it listens. It is drained when the scenario
        and all clients have ended.

        Args: `port` and `backlog` are those of its listener; `may_fail`, exceptions that the handler may
        raise without failing the run; `options`, those of `triosock.serve_listeners`.
        """
        address = triosock.TcpAddress(self._network.ip(host), port)
        listener = SimulatedListener(address, self._journal, self._network.next_error, self._mark, backlog)
        server = SimulatedServer(host, listener, may_fail, self._journal)
        server.is_encrypted = options.get("tls") is not None
        options.setdefault("name", host)
        options["observers"] = [server, *options.get("observers", ())]

        async def serve(task_status: trio.TaskStatus[StreamServer]) -> DrainReport:
            return await triosock.serve_listeners(handler, [listener], **options, task_status=task_status)

        await self._begin(server, serve)
        self._instrument.check_always(oracles.at_every_step(server))
        self._instrument.check_settled(oracles.when_blocked(server))
        return server

    async def serve_datagrams(
        self,
        handler: AnyHandler,
        *,
        host: str = "server",
        max_bytes: int | None = None,
        may_fail: tuple[type[Exception], ...] = (),
        **options: Unpack[DatagramOptions],
    ) -> SimulatedDatagramServer:
        """Serve datagrams on a host, and return the server when it receives.

        Args: `max_bytes`, as for `triosock.serve_udp`; `may_fail`, as for `serve`; `options`, those of
        `triosock.serve_datagram_sockets`, `sessions` among them.
        """
        socket = self._datagrams.open(host, max_bytes)
        server = SimulatedDatagramServer(host, socket, may_fail, self._journal)
        options.setdefault("name", host)
        options["observers"] = [server, *options.get("observers", ())]

        async def serve(task_status: trio.TaskStatus[DatagramServer]) -> DrainReport:
            return await triosock.serve_datagram_sockets(
                handler, [socket], **options, task_status=task_status
            )

        await self._begin(server, serve)
        return server

    async def _begin(
        self,
        server: SimulatedServer | SimulatedDatagramServer,
        serve: Callable[[trio.TaskStatus[ServerT]], Awaitable[DrainReport]],
    ) -> None:
        nursery = self._servers_here()
        await nursery.start(server.run, serve)
        self.servers.append(server)
        self._fault_injector.inject_into_server(server, nursery)

    async def connect(
        self, server: SimulatedServer, *, host: str | None = None, peer: Address | None = None
    ) -> Connection:
        """Connect to a server, and return the client's end, as a `Connection`, for its reading methods. It is
        closed at the end of the client that called this, or of the scenario.

        Args: `host`, the client's host (None: that of the calling client); `peer`, the address that the
        server sees.

        Raises: ConnectionRefusedError if the listener is closed. Cancellation: the attempt leaves nothing.
        """
        client = current_client.get()
        connection = await self._network.connect(
            server, host or (client.name if client else "scenario"), peer
        )
        if client is not None:
            client.connections.append(connection)
        self._fault_injector.inject_into_link(connection, self._servers_here())
        return Connection(connection.client, peer=server.address)

    def datagram_client(self, server: SimulatedDatagramServer, *, host: str | None = None) -> DatagramClient:
        """Return a socket that sends datagrams to a server, and receives its answers.

        Args: `host`, the client's host (None: that of the calling client).
        """
        client = current_client.get()
        name = host or (client.name if client else "scenario")
        return DatagramClient(self._datagrams.open(name), server.address)

    def client(
        self,
        async_fn: Callable[[Unpack[Ts]], Awaitable[object]],
        *args: Unpack[Ts],
        name: str | None = None,
    ) -> Client:
        """Start a client: a task that runs ``async_fn(*args)`` on its own host, which has its `name`.

        The end of the scenario waits for it. A network error that it raises fails the run, unless there is a
        reason for it: see `Client`.
        """
        assert self._client_nursery is not None
        client = Client(name or f"client{len(self.clients) + 1}", self._journal)
        self.clients.append(client)
        self._client_nursery.start_soon(client.run, lambda: async_fn(*args), name=client.name)
        return client

    async def sleep(self, seconds: float) -> None:
        """Sleep on the world's clock. A checkpoint."""
        await trio.sleep(seconds)

    def integer(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`, from the seed. Shrinking makes it smaller: use it for the
        number of clients and of bytes that they send.
        """
        if not low <= high:
            raise ValueError(f"low must not be more than high, and {low} is more than {high}")
        return low + self._choices.integer(high - low)

    def link(self, one: str, other: str) -> Link:
        """Return the link between two hosts. Its `partition()` stops all that travels over it, until
        `heal()`.
        """
        return self._network.link(one, other)

    def crash(self, server: SimulatedServer | SimulatedDatagramServer) -> None:
        """Simulate the death of a server's process: its connections are reset. Its host may serve again."""
        server.crash()

    def check(self, check: Callable[[], object], *, always: bool = False) -> None:
        """Call `check` after the run, or (`always`) after every step of every task. The run fails if `check`
        raises AssertionError or returns False.
        """

        def called() -> None:
            assert check() is not False, f"{getattr(check, '__name__', check)} does not hold"

        if always:
            self._instrument.check_always(called)
        else:
            self._checks.append(called)

    @property
    def failure(self) -> Exception | None:
        """An exception of a handler that `may_fail` does not allow, if there was one."""
        return next((server.failure for server in self.servers if server.failure is not None), None)

    # The run

    async def run(self, scenario: Callable[[World], Awaitable[object]], max_seconds: float) -> None:
        """Run a scenario, and check the invariants."""
        with trio.CancelScope() as scope:
            self._instrument.watch(scope)
            async with trio.open_nursery() as watching:
                watching.start_soon(self._watch, max_seconds)
                await self._live(scenario)
                watching.cancel_scope.cancel(reason="triosock: the simulation is over")
        if self._instrument.error is not None:
            raise self._instrument.error
        for server in self.servers:
            oracles.at_end(server)
        oracles.streams(self._network.connections)
        self._datagrams.check()
        for client in self.clients:
            client.check_error()
        for check in self._checks:
            check()

    async def _live(self, scenario: Callable[[World], Awaitable[object]]) -> None:
        async with trio.open_nursery() as self._server_nursery:
            async with trio.open_nursery() as self._client_nursery:
                await scenario(self)
            self._network.close_clients()
            for server in self.servers:
                server.drain()
            for server in self.servers:
                await server.wait_over()
            self._server_nursery.cancel_scope.cancel(reason="triosock: the simulation is over")

    async def _watch(self, max_seconds: float) -> None:
        await trio.sleep(max_seconds)
        waiting = [
            f"{task.name} at {where(task)}"
            for nursery in (self._client_nursery, self._server_nursery)
            if nursery is not None
            for task in sorted(nursery.child_tasks, key=lambda task: task.name)
        ]
        raise AssertionError(
            f"the run was not over after {max_seconds:g} s of its clock; these tasks wait:"
            + "".join(f"\n    {one}" for one in waiting)
            + f"\n    and the scenario, or the end of a server: {', '.join(map(repr, self.servers))}"
        )

    def _servers_here(self) -> trio.Nursery:
        assert self._server_nursery is not None
        return self._server_nursery

    def _mark(self, kind: str, text: str) -> None:
        self.fault_counts[kind] += 1
        self.marks.append((trio.current_time(), text))
        if self.on_mark is not None:
            self.on_mark(text)
        self._journal.note(kind, text)
