"""`open_server`: a server for the length of a block, with clients, and a check at its end that nothing is
left.

    async with open_server(handler, limits=Limits(max_connections=2)) as served:
        client = await served.connect()
        await client.send_all(b"hello\n")
        assert await client.receive_until(b"\n") == b"HELLO\n"

The rules:

1. **The block ends when nothing of the server is left**: the server drains, clients that the test left open
   are closed, and `check_nothing_left` is called. If the block raises, the server is cancelled instead, and
   the error is raised without a group.
2. **No sockets by default**: the listener is a `MemoryListener`, so that the clock may be virtual.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from typing import Final, TypeAlias, Unpack, final

import attrs
import trio

from .._core.listeners.listener import Adoptable, Listener, adopt
from .._core.model.addresses import Address, TcpAddress, UdpAddress, UnixAddress
from .._core.model.events import DrainStarted, Event, ServerClosed
from .._core.registry.drain_report import DrainReport
from .._core.stream.by_protocol import Handlers
from .._core.stream.connection import Connection
from .._core.stream.options import ServeOptions
from .._core.stream.serve import serve_listeners
from .._core.stream.server import StreamServer
from .memory_listener import MemoryListener
from .recorder import Recorder

#: The grace period of the drain at the end, in seconds: more than a handler needs whose client has closed.
GRACE: Final = 1.0

#: The servers that `cancel_at_every_checkpoint` checks.
watched_servers: ContextVar[list[StreamServer] | None] = ContextVar("triosock_watched_servers", default=None)


def watch(server: StreamServer) -> None:
    """Register a server that was not opened by `open_server` with `cancel_at_every_checkpoint`. Outside of
    that it does nothing.
    """
    servers = watched_servers.get()
    if servers is not None:
        servers.append(server)


def check_nothing_left(server: StreamServer) -> None:
    """Assert that a server has ended, and that it has no connection, taken slot or open listener.

    Raises: AssertionError, which names what is left.
    """
    registry = server._registry
    registry.check()
    assert not len(registry), (
        f"connections are left in the registry: {[str(entry.peer) for entry in registry.entries()]}"
    )
    assert not registry.active, f"{registry.active} slots are taken, although no connection is left"
    for listener in server._listeners:
        assert listener.is_closed, f"{listener!r} is still open"
    assert server._closed.is_set(), f"{server!r} has not ended"


@final
class OpenServer:
    """A server under test, made by `open_server`.

    `server` is the `StreamServer`, `recorder` has all its events, `listeners` are its listeners, `report` is
    its `DrainReport` (after the block).
    """

    def __init__(self, server: StreamServer, recorder: Recorder, listeners: tuple[Listener, ...]) -> None:
        self.server = server
        self.recorder = recorder
        self.listeners = listeners
        self.report: DrainReport | None = None
        self._clients: list[Connection] = []

    async def connect(self, *, peer: Address | None = None, listener: int = 0) -> Connection:
        """Connect to the server and return the client's end, as a `Connection`, for its reading methods.

        Args: `peer`, the address that the server sees (in memory only); `listener`, the index of the
        listener.

        Raises: ConnectionRefusedError if the listener is closed. The end of the block closes clients that
        are still open.
        """
        where = self.listeners[listener]
        if isinstance(where, MemoryListener):
            client = Connection(await where.connect(peer=peer), peer=where.address)
        else:
            client = Connection(await _connect_socket(where.address), peer=where.address)
        self._clients.append(client)
        return client

    async def close_clients(self) -> None:
        """Close all clients that `connect` has returned, even if cancelled. A checkpoint."""
        for client in self._clients:
            await client.wire.aclose_now()
        self._clients.clear()
        await trio.lowlevel.checkpoint()


async def _connect_socket(address: Address) -> socket.socket:
    if not isinstance(address, (TcpAddress, UdpAddress, UnixAddress)):
        raise TypeError(
            f"a test client cannot connect to {address}: give the server a MemoryListener or a SocketListener"
        )
    sock = trio.socket.socket(address.family, socket.SOCK_STREAM)
    try:
        await sock.connect(address.sockaddr)
    except BaseException:
        sock.close()
        raise
    plain = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    plain.setblocking(False)
    return plain


#: Listeners to serve on; None for a `MemoryListener`.
Where: TypeAlias = Iterable[Adoptable] | None


@contextlib.asynccontextmanager
async def open_server(
    handler: Handlers, *, listeners: Where = None, grace: float = GRACE, **options: Unpack[ServeOptions]
) -> AsyncIterator[OpenServer]:
    """Serve `handler` for the length of the block.

    Args:
      handler: an async function of one `Connection`, or a mapping from ALPN protocols to such functions.
      listeners: the listeners to serve on; None for a `MemoryListener`.
      grace: the grace period of the drain at the end, in seconds from 0 on.
      options: options of `serve_listeners`; its `observers` get the events besides the recorder.

    Yields: the `OpenServer`.

    Raises: the exception of the block, without a group; the errors of `serve_listeners`; AssertionError if
    anything is left at the end. If the block raises, the server is cancelled; otherwise it is drained.

    Cancellation: everything is closed at once. Drain: a test may drain the server itself, in the block.
    """
    where = tuple(adopt(one) for one in ([MemoryListener()] if listeners is None else listeners))
    recorder = Recorder()
    failure: Exception | None = None
    crash: BaseException | None = None
    opened: OpenServer | None = None
    serving = _Serving(handler, where, recorder, options)
    try:
        async with trio.open_nursery() as nursery:
            server: StreamServer = await nursery.start(serving.run)
            watch(server)
            opened = OpenServer(server, recorder, where)
            try:
                yield opened
            except Exception as error:  # raised below, without the nursery's group
                failure = error
                nursery.cancel_scope.cancel(reason="triosock: the test failed")
            finally:
                await _end(opened, grace)
    except BaseExceptionGroup as group:
        crash = _plain(group)
    finally:
        if opened is not None:
            opened.report = serving.report
    _raise_cause(failure, crash)
    assert opened is not None
    check_nothing_left(opened.server)


async def _end(opened: OpenServer, grace: float) -> None:
    """Drain the server, and close the clients when it has begun to count: the report has their handlers."""
    try:
        await _begin_drain(opened.server, grace)
    finally:
        await opened.close_clients()


async def _begin_drain(server: StreamServer, grace: float) -> None:
    """Drain a server; return when it has begun to count, or has ended."""
    begun = _DrainBegun()
    server.observers.add(begun)
    server.drain(grace=grace)
    if server._drain_run is None and not server._closed.is_set():
        await begun.event.wait()


@attrs.define(eq=False)
class _DrainBegun:
    """An observer that waits for the beginning of the drain."""

    event: trio.Event = attrs.field(factory=trio.Event)
    wants: tuple[type[Event], ...] = (DrainStarted, ServerClosed)

    def on_event(self, event: Event) -> None:
        self.event.set()


def _raise_cause(failure: Exception | None, crash: BaseException | None) -> None:
    """Raise the test's failure or the server's crash, if there was one."""
    if isinstance(failure, trio.BrokenResourceError) and crash is not None:
        raise crash from failure  # the connection broke because the server ended
    if failure is not None:
        raise failure from (crash or failure.__cause__)
    if crash is not None:
        raise crash


def _plain(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the exception in a group of one, or the group."""
    return group.exceptions[0] if len(group.exceptions) == 1 else group


class _Serving:
    """The server's task."""

    def __init__(
        self, handler: Handlers, listeners: tuple[Listener, ...], recorder: Recorder, options: ServeOptions
    ) -> None:
        self._handler = handler
        self._listeners = listeners
        self._options = options
        self._options["observers"] = [recorder, *options.get("observers", ())]
        self.report: DrainReport | None = None

    async def run(self, *, task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED) -> None:
        self.report = await serve_listeners(
            self._handler, self._listeners, task_status=task_status, **self._options
        )
