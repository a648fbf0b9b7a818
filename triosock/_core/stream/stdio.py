"""`serve_stdio`: serve standard input and output like any other connection.

The rule: **the server ends with its one connection**. It is an ordinary `StreamServer`, so that drains,
timeouts, events and reports are the same as elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from ..listeners.bind import check_in_trio
from ..listeners.stdio import OneConnection, open_stdio
from ..model.config import Limits, Timeouts
from ..model.events import Observer
from ..model.options import explained
from ..protocols.proxy_parser import ProxyPolicy
from ..registry.drain_report import DrainReport
from ..transport.tls import ServerTls
from .by_protocol import Handlers
from .connection_task import OnError
from .serve import make_service
from .server import StreamServer


@explained
async def serve_stdio(
    handler: Handlers,
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
    """Serve one connection that exists already: standard input and output.

    Under inetd (nowait), and under systemd with ``Accept=yes``, also with LISTEN_FDS, that is a socket, and
    `conn.peer` is the client. In a shell it is a terminal or pipes: `conn.peer` is ``memory://stdio``, and
    the stream cannot be half-closed.

    The descriptors among 0, 1 and 2 that were the socket are replaced by /dev/null, for the rest of the
    process: log to syslog or the journal. Terminals and pipes are left as they were, O_NONBLOCK included.

    Args: all as for `serve_tcp`. Unread input is discarded, for `Timeouts.close`, only of a socket: that of a
    terminal or pipe is left to the next reader.

    Returns: the `DrainReport`, when the connection has ended. Use it with `triosock.run`, or
    `nursery.start`.

    Raises: TypeError, ValueError for wrong arguments; ValueError if stdin is closed, or a socket that is no
    connection; NotImplementedError for a terminal or pipe on Windows. What a handler raises, with
    on_error="raise", in an ExceptionGroup.

    Cancellation: the handler is cancelled, and everything is closed. Drain: as for `serve_tcp`.
    """
    check_in_trio("serve_stdio()")
    service = make_service(
        handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
    )
    with open_stdio() as standard:
        service.emitter.name = service.emitter.name or str(standard.local)
        listener = OneConnection(standard, service.registry)
        server = StreamServer(service, [listener])
        listener.on_end = server.drain
        return await server.serve(task_status)
