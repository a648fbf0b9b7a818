"""The standard library's `socketserver`, on trio: `import triosock.compat as socketserver`.

Every name, default, hook, call order, thread and exception is the standard library's;
`docs/reference/compat-deviations.md` lists the exceptions, and a test pins each. `shutdown()` of an idle
server returns at once.

`__all__` has the standard library's names and no others. What is new is asked for by name; see
`docs/discussion/compat.md`.

Read on: `base.py` (the loop and its hooks), `servers.py`, `mixins.py`, `handlers.py`, then `wait.py` (how an
idle server waits) and `host.py` (where the trio run lives).

Importing this imports neither trio nor the rest of triosock: see `records.py`.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading as threading
from importlib import import_module
from io import BufferedIOBase as BufferedIOBase
from time import monotonic as _monotonic
from typing import TYPE_CHECKING

from triosock._core.inspect.providers import elsewhere as _elsewhere

from .base import BaseServer
from .handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
from .handlers import _SocketWriter as _SocketWriter
from .install import install as install
from .mixins import ThreadingMixIn, ThreadingTCPServer, ThreadingUDPServer
from .mixins import _NoThreads as _NoThreads
from .mixins import _Threads as _Threads
from .servers import TCPServer, UDPServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triosock._core.inspect.snapshot import Node

    from .interrupt import RequestCut as RequestCut
    from .policy import Policy as Policy
    from .policy import drain as drain
    from .policy import run as run
    from .policy import statistics as statistics
    from .serving import CompatServer as CompatServer
    from .serving import serve as serve

__version__ = "0.4"

#: The clock of `handle_request()`, under the name that people replace.
time = _monotonic

#: What waits for requests. People put their own class here; it is looked up at each `serve_forever()` and
#: `handle_request()`.
_ServerSelector = getattr(selectors, "PollSelector", selectors.SelectSelector)

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "UDPServer",
]

if hasattr(os, "fork"):
    from .mixins import ForkingMixIn, ForkingTCPServer, ForkingUDPServer

    __all__ += ["ForkingMixIn", "ForkingTCPServer", "ForkingUDPServer"]

if hasattr(socket, "AF_UNIX"):
    from .mixins import ThreadingUnixDatagramServer, ThreadingUnixStreamServer
    from .servers import UnixDatagramServer, UnixStreamServer

    __all__ += [
        "ThreadingUnixDatagramServer",
        "ThreadingUnixStreamServer",
        "UnixDatagramServer",
        "UnixStreamServer",
    ]

    if sys.version_info >= (3, 12) and hasattr(os, "fork"):
        from .mixins import ForkingUnixDatagramServer, ForkingUnixStreamServer

        __all__ += ["ForkingUnixDatagramServer", "ForkingUnixStreamServer"]

for _name in (*__all__, "install", "_SocketWriter", "_Threads", "_NoThreads"):
    globals()[_name].__module__ = __name__
del _name  # pyright: ignore[reportPossiblyUnboundVariable]

#: What is new, and where it comes from when it is first asked for: trio comes with it.
_NEW = {
    "CompatServer": "serving",
    "Policy": "policy",
    "RequestCut": "interrupt",
    "drain": "policy",
    "run": "policy",
    "serve": "serving",
    "statistics": "policy",
}
_EXTRAS = ("install", *_NEW)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _NEW:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_NEW[name]}"), name)
        value.__module__ = __name__
        return globals().setdefault(name, value)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_EXTRAS})


def _look(what: object, limit: int) -> Iterable[Node]:
    from .looking import look

    return look(what, limit)


_elsewhere.append(_look)
