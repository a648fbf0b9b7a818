"""`serve_udp`, `serve_unix_datagram`, `serve_datagram_sockets`: open sockets and serve them, in one await.

The rules are those of `stream/serve.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import attrs
import trio

from ..listeners.bind import check_in_trio, warn_of_autojump
from ..model.checks import check_several
from ..model.config import Limits, Timeouts
from ..model.emitter import Emitter, default_observers
from ..model.events import Observer
from ..model.options import explained
from ..registry.drain_report import DrainReport
from ..registry.registry import Registry
from ..server.arguments import check_async, check_name, check_on_error, check_value
from ..server.handler_run import Common
from .dispatch import Datagram
from .open import check_size, open_udp_sockets, open_unix_datagram_socket
from .server import DatagramServer
from .session import Session, Sessions
from .socket import Adoptable, DatagramSocket, KernelSocket, adopt

DatagramHandlerFunction: TypeAlias = Callable[[Datagram], Awaitable[object]]
SessionHandlerFunction: TypeAlias = Callable[[Session], Awaitable[object]]
#: A function of a datagram; with `sessions`, of a session.
AnyHandler: TypeAlias = DatagramHandlerFunction | SessionHandlerFunction
DatagramOnError: TypeAlias = (
    Literal["log", "raise"]
    | Callable[[Exception, Datagram], Awaitable[object]]
    | Callable[[Exception, Session], Awaitable[object]]
)


@explained
async def serve_udp(
    handler: AnyHandler,
    port: int,
    *,
    host: str | bytes | None = None,
    reuse_port: bool = False,
    max_bytes: int | None = None,
    receive_buffer: int | None = None,
    groups: Iterable[str] = (),
    broadcast: bool = False,
    sessions: Sessions | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    on_error: DatagramOnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[DatagramServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Receive on a UDP port, and handle each datagram in a task of its own, or each peer with `sessions`.

    Args:
      handler: an async function of one `Datagram`; with `sessions`, of one `Session`.
      port, host, reuse_port, max_bytes, receive_buffer, groups, broadcast: as for `open_udp_sockets`; port 0
        is any free one, the same for IPv4 and IPv6.
      sessions: `Sessions(…)` to give each peer a task of its own; None handles each datagram by itself.
      limits: `max_pending_datagrams` bounds what is received and not yet handled, `drop` says which datagram
        is dropped beyond that, and one peer may hold no more of it than is left free for others (plus one).
        `max_connections` bounds the handlers or sessions at once, those per peer and per network too;
        `datagram_rate`, and those per peer and network, say how often datagrams may come, `rate` and its two
        how often sessions may begin. The others are not used: `overflow`, `max_handshakes`, `max_lag`,
        `adaptive`, and those of requests.
      timeouts: how long to wait. `request` bounds each handler (with `sessions`, the work on one datagram),
        `send` a reply that the kernel has no room for, `grace` the drain; `idle` is `Sessions.idle` here, and
        the others are not used.
      on_error, observers, name: as for `serve_tcp`, with the datagram or session for the connection.

    Returns: the `DrainReport`, after a drain. `nursery.start` returns the `DatagramServer` as soon as it
    receives.

    Raises: TypeError, ValueError for wrong arguments; AddressUnavailable; socket.gaierror for an unknown
    host; OSError for a group that cannot be joined; what a handler raises, with on_error="raise", in an
    ExceptionGroup.

    Cancellation: every handler is cancelled, and everything is closed. Drain: datagrams that had arrived are
    handled, idle sessions end, busy handlers finish, and then the sockets are closed, so that every reply can
    be sent.
    """
    check_in_trio("serve_udp()")
    common = _common(handler, sessions, limits, timeouts, on_error)
    sockets = await open_udp_sockets(
        port,
        host=host,
        reuse_port=reuse_port,
        max_bytes=max_bytes,
        receive_buffer=receive_buffer,
        groups=groups,
        broadcast=broadcast,
    )
    return await _serve(common, sockets, sessions, observers, name, task_status)


@explained
async def serve_unix_datagram(
    handler: AnyHandler,
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    # Where
    mode: int | None = None,
    max_bytes: int | None = None,
    # How much, how long
    sessions: Sessions | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    # What else
    on_error: DatagramOnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[DatagramServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Receive on a Unix datagram socket, and handle each datagram, or each peer, in a task of its own.

    Args: `path`, `mode` and `max_bytes` as for `open_unix_datagram_socket`; all others, what is returned and
    raised, and the behaviour on cancellation and drain as for `serve_udp`. The socket file is removed at the
    end, unless another process has replaced it.

    A peer whose socket has no name (a client that did not bind()) cannot be answered: `reply` raises
    NoReturnAddress. With `sessions` all of these share one session, since they cannot be told apart.
    """
    check_in_trio("serve_unix_datagram()")
    common = _common(handler, sessions, limits, timeouts, on_error)
    socket = open_unix_datagram_socket(path, mode=mode, max_bytes=max_bytes)
    return await _serve(common, [socket], sessions, observers, name, task_status)


@explained
async def serve_datagram_sockets(
    handler: AnyHandler,
    sockets: Iterable[Adoptable],
    *,
    # Where
    max_bytes: int | None = None,
    # How much, how long
    sessions: Sessions | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    # What else
    on_error: DatagramOnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[DatagramServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Serve what comes in by these sockets; one server, with common limits, for all of them.

    Args: `sockets`, at least one: those of `open_udp_sockets` and `open_unix_datagram_socket`, bound datagram
    sockets of the socket module or of trio, or any `DatagramSocket`. The server owns them and closes them at
    its end. `max_bytes` is for those that are not a `DatagramSocket` yet. All others as for `serve_udp`.
    """
    check_in_trio("serve_datagram_sockets()")
    common = _common(handler, sessions, limits, timeouts, on_error)
    check_size(max_bytes, "max_bytes")
    given = list(check_several(sockets, "sockets must be several datagram sockets in a list"))
    if not given:
        raise ValueError("sockets must be at least one")
    with contextlib.ExitStack() as undo:
        # An error in the second must not leave the first one open, since it is owned already.
        adopted = [undo.enter_context(contextlib.closing(adopt(socket, max_bytes))) for socket in given]
        undo.pop_all()
    return await _serve(common, adopted, sessions, observers, name, task_status)


async def _serve(
    common: Common,
    sockets: Sequence[DatagramSocket],
    sessions: Sessions | None,
    observers: Iterable[Observer],
    name: str | None,
    task_status: trio.TaskStatus[DatagramServer],
) -> DrainReport:
    with contextlib.ExitStack() as opened:
        for socket in sockets:
            opened.callback(socket.close)
        if any(isinstance(socket, KernelSocket) for socket in sockets):
            warn_of_autojump(stacklevel=5)
        common.emitter.name = str(sockets[0].address) if name is None else check_name(name)
        for observer in check_several(observers, "observers must be several observers in a list"):
            common.emitter.add(observer)
        return await DatagramServer(common, sockets, sessions).serve(task_status)


def _common(
    handler: AnyHandler,
    sessions: Sessions | None,
    limits: Limits | None,
    timeouts: Timeouts | None,
    on_error: DatagramOnError,
) -> Common:
    if sessions is not None and not isinstance(sessions, Sessions):
        raise TypeError(f"sessions must be a triosock.Sessions(…) or None, not {sessions!r}")
    limits = check_value("limits", limits, Limits)
    # The registry counts handlers. The receive loops never wait for a slot: what is not received is dropped
    # by the kernel.
    most = limits.max_connections if sessions is None else min(limits.max_connections, sessions.max)
    return Common(
        handler=check_async(
            "handler", handler, "one datagram" if sessions is None else "one session", count=1
        ),
        on_error=check_on_error(on_error, "an exception and a datagram or session"),
        limits=limits,
        timeouts=check_value("timeouts", timeouts, Timeouts),
        registry=Registry(attrs.evolve(limits, max_connections=most, overflow="reject")),
        emitter=Emitter("", trio.current_time, [make() for make in default_observers]),
    )
