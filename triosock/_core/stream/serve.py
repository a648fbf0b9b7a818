"""`serve_tcp`, `serve_unix`, `serve_listeners`: open listeners and serve them, in one await.

The rules:

1. A mistake in the arguments is raised before anything is opened.
2. What was opened here is closed here, whatever happens.
3. `task_status.started(server)` is called when every listener listens, and only then.
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
from ..model.options import explained
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


@explained
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
      handler: an async function of one `Connection`. When it returns, the connection is closed properly; when
        it raises, or is cancelled in the middle of a reply, with a reset (docs/reference/endings.md). Or a
        mapping from ALPN protocols to handlers: ``{"h2": …, "http/1.1": …, None: …}``, the preferred one
        first, which `tls` then offers. The handler under None serves clients that agree on none of them;
        without it they are refused.
      port, host, backlog, reuse_port: as for `open_tcp_listeners`; port 0 is any free one, the same for IPv4
        and IPv6.
      limits, timeouts: how many to serve and how long to wait; None for the defaults.
      tls: an `ssl.SSLContext` or `Certificates`: each connection begins with a TLS handshake.
      tls_https_compatible: treat a close without a close_notify as the end of the stream, since many HTTP
        clients close that way; see `Connection.start_tls`.
      proxy: expect a PROXY protocol header first: True for the default `ProxyPolicy`, or one of your own.
      on_error: what happens when a handler raises an `Exception`, besides the end of its connection. "log":
        the observers get an event. An async function of the exception and the connection: it is called once,
        also for an error of the peer and for a request that took too long, and may answer, within
        `Timeouts.handshake`. "raise": an error of the handler's own ends the server, which is trio's rule.
        The table of faults is in docs/discussion/errors.md.
      observers: they get the events of the server, besides the log.
      name: what events and logs call the server; None for its first address.

    Returns: the `DrainReport`, after a drain. `nursery.start` returns the `StreamServer` as soon as it
    listens.

    Raises: TypeError, ValueError for wrong arguments; AddressUnavailable; socket.gaierror for an unknown
    host; what a handler raises, with on_error="raise", in an ExceptionGroup.

    Cancellation: every handler is cancelled, and everything is closed. Drain: by `server.drain()`, or by a
    `DrainScope` around it.
    """
    check_in_trio("serve_tcp()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog, reuse_port=reuse_port)
    return await _serve(service, listeners, task_status)


@explained
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

    Args: `path`, `mode` and `backlog` as for `open_unix_listener`; all others as for `serve_tcp`.

    Returns: the `DrainReport`, after a drain. The socket file is removed by then, unless another process has
    replaced it.

    Raises: TypeError, ValueError for wrong arguments; AddressUnavailable if a process listens at the path,
    something other than a socket is there, or the system refuses; what a handler raises, with
    on_error="raise", in an ExceptionGroup.

    Cancellation and drain: as for `serve_tcp`.
    """
    check_in_trio("serve_unix()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    listener = open_unix_listener(path, mode=mode, backlog=backlog)
    return await _serve(service, [listener], task_status)


@explained
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
    `inherited_listeners`, any `trio.abc.Listener`, or listening sockets of the socket module or of trio. The
    server owns them and closes them at its end. All others as for `serve_tcp`.

    Raises: TypeError, ValueError for wrong arguments: no listener, something else in the list, a socket that
    is no stream socket or does not listen. What a handler raises, with on_error="raise", in an
    ExceptionGroup.

    Returns, cancellation and drain: as for `serve_tcp`.

    A listener that is not a `triosock.Listener` can accept but cannot tell whether a connection is there:
    with `overflow="wait"` it may have accepted one connection that waits for a slot.
    """
    check_in_trio("serve_listeners()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    several = check_several(listeners, "listeners must be several listeners in a list")
    return await _serve(service, _adopt_all(several), task_status)


def _adopt_all(listeners: Iterable[Adoptable]) -> list[Listener]:
    """Take over all of them; if one is wrong, close those before it."""
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
            warn_of_autojump(stacklevel=5)
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
    """Return what all connections of a server share, from the arguments of `serve_tcp`. Raises: TypeError,
    ValueError.
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
    # Without a name until the listener's address is known.
    called = "" if name is None else check_name(name)
    several = check_several(observers, "observers must be several observers in a list")
    return Emitter(called, trio.current_time, [*(make() for make in default_observers), *several])
