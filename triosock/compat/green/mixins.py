# ruff: noqa: D101 - the ready-made classes are empty, like those of the standard library.
"""`GreenMixIn`, which is used in the place of `ThreadingMixIn`, and the ready-made classes."""

from __future__ import annotations

from triosock.compat.stdlib.mixins import ThreadingMixIn
from triosock.compat.stdlib.servers import TCPServer, UDPServer, UnixDatagramServer, UnixStreamServer


class GreenMixIn(ThreadingMixIn):
    """Process each request in a trio task: `class S(GreenMixIn, TCPServer): pass`, mixin first.

    It is a `ThreadingMixIn` whose requests have tasks instead of threads: `process_request_thread()` runs in
    the task; `block_on_close` and `daemon_threads` have the same meaning. The constructor of a server raises
    RuntimeError if the extra `green` is not installed, and TypeError for a class that forks.
    """

    #: `table.is_green()` checks this.
    _BaseServer__green = True


class GreenTCPServer(GreenMixIn, TCPServer):
    pass


class GreenUDPServer(GreenMixIn, UDPServer):
    pass


class GreenUnixStreamServer(GreenMixIn, UnixStreamServer):
    pass


class GreenUnixDatagramServer(GreenMixIn, UnixDatagramServer):
    pass
