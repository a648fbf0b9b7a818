"""A server for the length of a test, with clients, and a look at the end whether anything is left.

    async with open_server(handler, limits=Limits(max_connections=2)) as served:
        client = await served.connect()
        await client.send_all(b"hello\n")
        assert await client.receive_until(b"\n") == b"HELLO\n"

The rules:

1. **The block ends when nothing of the server is left**: the server drains, the clients that the test left
   open are closed, and `check_nothing_left` looks. If the block raised, the server is cancelled instead, and
   the error comes out as it is.
2. **No sockets unless asked for**: the listener is one in memory, so that the clock may be virtual.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from typing import Final, TypeAlias, Unpack, final

import trio

from .._core.listeners.listener import Adoptable, Listener, adopt
from .._core.model.addresses import Address, TcpAddress, UdpAddress, UnixAddress
from .._core.registry.drain_report import DrainReport
from .._core.stream.by_protocol import Handlers
from .._core.stream.connection import Connection
from .._core.stream.options import ServeOptions
from .._core.stream.serve import serve_listeners
from .._core.stream.server import StreamServer
from .memory_listener import MemoryListener
from .recorder import Recorder

#: Of the drain at the end of the block: more than a handler needs that sees its client gone.
GRACE: Final = 1.0

#: The servers that `cancel_at_every_checkpoint` has to look at.
watched_servers: ContextVar[list[StreamServer] | None] = ContextVar("triosock_watched_servers", default=None)


def watch(server: StreamServer) -> None:
    """Tell `cancel_at_every_checkpoint` of a server that was not opened by `open_server`. Without a harness
    it does nothing.
    """
    servers = watched_servers.get()
    if servers is not None:
        servers.append(server)


def check_nothing_left(server: StreamServer) -> None:
    """Assert that a server is over, and that no connection, no slot and no listener of it is left.

    Raises: AssertionError, which says what is.
    """
    registry = server._registry
    registry.check()
    assert not len(registry), (
        f"connections are left in the registry: {[str(entry.peer) for entry in registry.entries()]}"
    )
    assert not registry.active, f"{registry.active} slots are taken, though nobody is left"
    for listener in server._listeners:
        assert listener.is_closed, f"{listener!r} is still open"
    assert server._closed.is_set(), f"{server!r} has not ended"


@final
class OpenServer:
    """A server under test: what `open_server` gives.

    `server` is the `StreamServer`, `recorder` has all its events, `listeners` those that it was given,
    `report` its `DrainReport` (after the block).
    """

    def __init__(self, server: StreamServer, recorder: Recorder, listeners: tuple[Listener, ...]) -> None:
        self.server = server
        self.recorder = recorder
        self.listeners = listeners
        self.report: DrainReport | None = None
        self._clients: list[Connection] = []

    async def connect(self, *, peer: Address | None = None, listener: int = 0) -> Connection:
        """Connect to the server and return the client's end, as a `Connection`, for its reading methods.

        Args: `peer`, who the server shall think it is (in memory only); `listener`, to which one.

        Raises: ConnectionRefusedError if nobody listens any more. What the test does not close, the end of
        the block closes.
        """
        where = self.listeners[listener]
        if isinstance(where, MemoryListener):
            client = Connection(await where.connect(peer=peer), peer=where.address)
        else:
            client = Connection(await _connect_socket(where.address), peer=where.address)
        self._clients.append(client)
        return client

    async def close_clients(self) -> None:
        """Close all that `connect` has returned. Closed even if cancelled. A checkpoint."""
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


#: Where to serve; None for memory.
Where: TypeAlias = Iterable[Adoptable] | None


@contextlib.asynccontextmanager
async def open_server(
    handler: Handlers, *, listeners: Where = None, grace: float = GRACE, **options: Unpack[ServeOptions]
) -> AsyncIterator[OpenServer]:
    """Serve `handler` for the length of the block.

    Args:
      handler: an async function of one `Connection`.
      listeners: where to serve; None for a `MemoryListener`.
      grace: of the drain at the end, in seconds.
      options: those of `serve_listeners`; `observers` are told besides the recorder.

    Raises: what the block raises; what `serve_listeners` raises; AssertionError if anything is left at the
    end.

    Cancellation: everything is closed at once. Drain: a test may drain the server itself.
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
            except Exception as error:  # comes out below, without the nursery's group around it
                failure = error
                nursery.cancel_scope.cancel(reason="triosock: the test failed")
            finally:
                server.drain(grace=grace)  # before the clients go, so that the report counts their handlers
                await opened.close_clients()
    except BaseExceptionGroup as group:
        crash = _plain(group)
    finally:
        if opened is not None:
            opened.report = serving.report
    _raise_cause(failure, crash)
    assert opened is not None
    check_nothing_left(opened.server)


def _raise_cause(failure: Exception | None, crash: BaseException | None) -> None:
    """Raise what went wrong, if anything did: the test's failure or the server's crash."""
    if isinstance(failure, trio.BrokenResourceError) and crash is not None:
        raise crash from failure  # the server's end is why the connection broke
    if failure is not None:
        raise failure from (crash or failure.__cause__)
    if crash is not None:
        raise crash


def _plain(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the nursery caught, if it was one: its group says nothing that the test does not know."""
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
