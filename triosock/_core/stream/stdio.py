"""`serve_stdio`: what is on standard input and output, served like any other connection.

The rule: **it ends with its connection**. There is a server around it, so that drains, timeouts, events and
reports are what they are elsewhere, and when the connection has gone that server has nobody to wait for.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

import attrs
import trio

from ..listeners.bind import check_in_trio
from ..listeners.stdio import OneConnection, open_stdio
from ..model.config import Limits, Timeouts
from ..model.events import Observer
from ..protocols.proxy_parser import ProxyPolicy
from ..registry.drain_report import DrainReport
from ..server.arguments import check_value
from ..transport.tls import ServerTls
from .by_protocol import Handlers
from .connection_task import OnError
from .serve import make_service
from .server import StreamServer


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
    """Serve one connection, which is there already: standard input and output.

    That is a socket under inetd (nowait), and under systemd with ``Accept=yes``, also if it is handed down in
    LISTEN_FDS; `conn.peer` is then whoever connected. It is a terminal or pipes in a shell: `conn.peer` is
    ``memory://stdio``, and the stream cannot be ended in one direction.

    While a socket is served, whatever of stdin, stdout and stderr it was is /dev/null, then and afterwards:
    log to syslog or the journal. Terminals and pipes are left as they were, whether they block included.

    Args: all as for `serve_tcp`. `Timeouts.close` is for sockets only: what a terminal or pipe has left to
    say is left to others.

    Returns: the `DrainReport`, when the connection has ended. Use it with `triosock.run`, or
    `nursery.start`.

    Raises: TypeError, ValueError for wrong arguments; ValueError if stdin is closed, or a socket that is no
    connection; NotImplementedError for a terminal or pipe on Windows. What a handler raises, with
    on_error="raise", in an ExceptionGroup.

    Cancellation: everything ends now. Drain: the connection ends when it is idle, as those of `serve_tcp`.
    """
    check_in_trio("serve_stdio()")
    timeouts = check_value("timeouts", timeouts, Timeouts)
    with open_stdio() as standard:
        if not isinstance(standard.accepted, socket.socket):
            timeouts = attrs.evolve(timeouts, close=0)
        service = make_service(
            handler, limits, timeouts, tls, tls_https_compatible, proxy, on_error, observers, name
        )
        service.emitter.name = service.emitter.name or str(standard.local)
        listener = OneConnection(standard, service.registry)
        server = StreamServer(service, [listener])
        listener.on_end = server.drain
        return await server.serve(task_status)
