"""Open and serve in one await: `serve_tcp`, `serve_unix`, `serve_listeners`.

The rules:

1. A mistake in the arguments is raised before anything is opened.
2. What was opened here is closed here, whatever happens.
3. `task_status.started(server)` is called when every listener listens, and nothing else means "ready".
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import trio

from ..listeners.bind import check_in_trio, warn_of_autojump
from ..listeners.listener import Adoptable, Listener, SocketListener, adopt, open_tcp_listeners
from ..listeners.unix import open_unix_listener
from ..model.checks import check_several
from ..model.config import Limits, Timeouts
from ..model.emitter import Emitter, default_observers
from ..model.events import Observer
from ..protocols.proxy_parser import ProxyPolicy, check_proxy
from ..registry.drain_report import DrainReport
from ..registry.registry import Registry
from ..registry.timeout_monitor import TimeoutMonitor
from ..server.arguments import check_async, check_name, check_on_error, check_value
from ..transport.tls import ServerTls, check_server_tls
from .by_protocol import Handlers, check_handlers
from .connection_task import OnError, Service
from .handshakes import Handshakes
from .server import StreamServer


async def serve_tcp(
    handler: Handlers,
    port: int,
    *,
    # Where
    host: str | bytes | None = None,
    backlog: int | None = None,
    reuse_port: bool = False,
    # How much, how long
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    # What comes before the handler
    tls: ServerTls | None = None,
    tls_https_compatible: bool = False,
    proxy: ProxyPolicy | bool = False,
    # What else
    on_error: OnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Listen on a TCP port and serve each connection in a task of its own.

    Args:
      handler: an async function of one `Connection`. When it returns, the connection is ended properly; when
        it fails, or is cancelled in the middle, with a reset (docs/reference/endings.md). Or several, by the
        protocol that ALPN chooses: ``{"h2": …, "http/1.1": …, None: …}``, the preferred one first, which
        `tls` then offers; None is for clients that agree on none of them, who are refused without it.
      port, host, backlog, reuse_port: as for `open_tcp_listeners`; port 0 is any free one, the same for IPv4
        and IPv6.
      limits, timeouts: how much to take on and how long to wait; None for the defaults.
      tls: put TLS on each connection first, with this context of the ssl module, or these `Certificates`.
      tls_https_compatible: take a peer that closes without a close_notify for one that has ended the stream,
        as many HTTP clients do; see `Connection.start_tls`.
      proxy: expect a PROXY protocol header first: True for the default `ProxyPolicy`, or one of your own.
      on_error: what a handler's `Exception` does besides ending its connection. "log" tells the observers.
        An async function of the exception and the connection is called as well, once, also for what the peer
        did wrong and for a request that took too long, and may answer, within `Timeouts.handshake`. "raise"
        lets what is the handler's own fault end the server, which is trio's own rule. The table of faults is
        in docs/discussion/errors.md.
      observers: who is told what happens, besides the log.
      name: what events and logs call the server; None for its first address.

    Returns: the `DrainReport`, when it has been drained. `nursery.start` gives the `StreamServer` as soon as
    it listens.

    Raises: TypeError, ValueError for wrong arguments; AddressUnavailable; socket.gaierror for an unknown
    host; what a handler raises, with on_error="raise", in an ExceptionGroup.

    Cancellation: everything ends now and is closed. Drain: `server.drain()`, or that of a `DrainScope`
    around.
    """
    check_in_trio("serve_tcp()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog, reuse_port=reuse_port)
    return await _serve(service, listeners, task_status)


async def serve_unix(
    handler: Handlers,
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    # Where
    mode: int | None = None,
    backlog: int | None = None,
    # How much, how long
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    # What comes before the handler
    tls: ServerTls | None = None,
    tls_https_compatible: bool = False,
    proxy: ProxyPolicy | bool = False,
    # What else
    on_error: OnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Listen on a Unix stream socket and serve each connection in a task of its own.

    Args: `path`, `mode` and `backlog` as for `open_unix_listener`; all others, what is returned and raised,
    and the behaviour on cancellation and drain as for `serve_tcp`. The socket file is gone when this returns,
    if it was still ours.
    """
    check_in_trio("serve_unix()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    listener = open_unix_listener(path, mode=mode, backlog=backlog)
    return await _serve(service, [listener], task_status)


async def serve_listeners(
    handler: Handlers,
    listeners: Iterable[Adoptable],
    *,
    # How much, how long
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    # What comes before the handler
    tls: ServerTls | None = None,
    tls_https_compatible: bool = False,
    proxy: ProxyPolicy | bool = False,
    # What else
    on_error: OnError = "log",
    observers: Iterable[Observer] = (),
    name: str | None = None,
    task_status: trio.TaskStatus[StreamServer] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Serve each connection of these listeners in a task of its own; one server, with common limits, for all
    of them.

    Args: `listeners`, at least one: those of `open_tcp_listeners`, `open_unix_listener` and
    `inherited_listeners`, any `trio.abc.Listener`, or listening sockets. They belong to the server from then
    on, and are closed at its end. All others as for `serve_tcp`.

    A listener that is no `triosock.Listener` can only be asked for a connection, not whether there is one: it
    may have accepted one connection that waits here for its slot.
    """
    check_in_trio("serve_listeners()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    several = check_several(listeners, "listeners must be several listeners in a list")
    return await _serve(service, _adopt_all(several), task_status)


def _adopt_all(listeners: Iterable[Adoptable]) -> list[Listener]:
    """Take over all of them, or none that stays open."""
    with contextlib.ExitStack() as failed:
        adopted = []
        for listener in listeners:
            adopted.append(adopt(listener))
            failed.callback(adopted[-1].close)
        if not adopted:
            raise ValueError("listeners must be at least one")
        failed.pop_all()
    return adopted


async def _serve(
    service: Service,
    listeners: Iterable[Listener],
    task_status: trio.TaskStatus[StreamServer],
) -> DrainReport:
    listeners = list(listeners)
    with contextlib.ExitStack() as opened:
        for listener in listeners:
            opened.callback(listener.close)
        service.emitter.name = service.emitter.name or str(listeners[0].address)
        if any(isinstance(listener, SocketListener) for listener in listeners):
            warn_of_autojump(stacklevel=4)
        return await StreamServer(service, listeners).serve(task_status)


def make_service(
    handler: Handlers,
    limits: Limits | None,
    timeouts: Timeouts | None,
    tls: ServerTls | None,
    tls_https_compatible: bool,
    proxy: ProxyPolicy | bool,
    on_error: OnError,
    observers: Iterable[Observer],
    name: str | None,
) -> Service:
    """Return what all connections of a server have in common, of the arguments of `serve_tcp`. Raises:
    TypeError, ValueError.
    """
    limits, timeouts = check_value("limits", limits, Limits), check_value("timeouts", timeouts, Timeouts)
    if callable(limits.overflow):
        check_async("limits.overflow", limits.overflow, "one connection", count=1)
    registry, emitter = Registry(limits), _emitter(name, observers)
    tls = None if tls is None else check_server_tls(tls)
    return Service(
        handler=check_handlers(handler, tls),
        on_error=check_on_error(on_error, "an exception and a connection"),
        limits=limits,
        timeouts=timeouts,
        tls=tls,
        https_compatible=bool(tls_https_compatible),
        proxy=check_proxy(proxy),
        registry=registry,
        emitter=emitter,
        handshakes=Handshakes(limits, registry, emitter),
        monitor=TimeoutMonitor(timeouts),
    )


def _emitter(name: str | None, observers: Iterable[Observer]) -> Emitter:
    # Without a name until there is an address to name it by.
    called = "" if name is None else check_name(name)
    return Emitter(called, trio.current_time, [*(make() for make in default_observers), *observers])
