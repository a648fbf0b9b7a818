"""Green mode: the handlers of a threading server, unchanged, each in a trio task instead of a thread.

    serving thread: accept, verify_request, process_request ── Group.start()
                                                                 │
    trio run of the host: a task per request: process_request_thread in a greenlet

It is a second way for a `ThreadingMixIn` to start `process_request_thread()`. Everything else (the loop, the
hooks, the request table, drains, deadlines, events) is that of compat, without a second implementation.

The invariant: **a green handler waits in trio or not at all.** A blocking call of its socket goes through
`portal.py`, which suspends the greenlet and waits in its task. So each wait is a checkpoint, and a cut is a
cancellation.

    portal, greenlets                  a sync function in a greenlet in a task, which awaits for it
    tasks, group                       the task of a request; the requests of one server
    socket, tls, waiting, make         the sockets of green handlers
    readers                            the epoll reader that the requests of one trio run share
    accepting                          accepts in the trio thread
    proxying                           reads PROXY headers
    watch                              reports handlers that block the event loop
    native, connection_socket          handlers under a native server, over any stream
    mixins, check, port                the classes; which servers can be green; the interface for other
    packages

May import: the rest of compat, the facade, trio, greenlet. It is imported with the first green class or
policy.
"""

from __future__ import annotations

from .mixins import GreenMixIn as GreenMixIn
from .mixins import GreenTCPServer as GreenTCPServer
from .mixins import GreenUDPServer as GreenUDPServer
from .mixins import GreenUnixDatagramServer as GreenUnixDatagramServer
from .mixins import GreenUnixStreamServer as GreenUnixStreamServer
from .native import green_handler as green_handler
from .tasks import blocking as blocking
from .tasks import sleep as sleep
