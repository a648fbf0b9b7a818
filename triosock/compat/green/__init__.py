"""Green mode: the handlers of a threading server, unchanged, each in a trio task instead of a thread.

    thread that serves: accept, verify_request, process_request ── Group.start()
                                                                     │
    trio run of the host: a task per request: process_request_thread <┘ in a greenlet

It is a second way for a `ThreadingMixIn` to start `process_request_thread()`. Everything else (the loop, the
hooks, the request table, drains, deadlines, events) is that of compat, without a second implementation.

The invariant: **a green handler waits in trio or not at all.** A blocking call goes through `portal.py`,
which suspends the greenlet and waits in its task; so each wait is a checkpoint, and a cut is a cancellation.

Read on: `portal.py` (a sync function in a task), `tasks.py`, `group.py` (the requests of one server),
`readers.py` and `socket.py` (how they wait), `accepting.py`, `watch.py` (which handler blocks the others);
`native.py` and `connection_socket.py` (the same handlers under a native server, over any stream).

May import: the rest of compat, the facade, trio, greenlet. Nothing imports it until a server is green.
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
