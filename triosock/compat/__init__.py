"""The standard library's `socketserver`, on trio: `import triosock.compat as socketserver`.

Every name, default, hook, call order, thread and exception is the standard library's;
`docs/reference/compat-deviations.md` lists the deviations, and a test checks each. `shutdown()` of an idle
server returns at once.

`__all__` has the standard library's names and no others. The names that are new here are imported explicitly;
see `docs/discussion/compat.md`.

Five packages; each imports only from those above it:

    requests    the table of requests, a record for each; the port through which they reach what needs trio
    waiting     the wait of an idle server, without trio
    stdlib      the standard library's classes, in the structure of its module
    bridge      the trio run that servers use from their threads
    control     policies, drains, and servers in a trio program

`green`, beside `control`, runs handlers in trio tasks. Three files import from all packages: this one,
`loading.py` (imports everything that needs trio at one moment) and `choose.py` (chooses the wait of a loop).

The main files are `stdlib/base.py` (the loop and its hooks), `waiting/poll.py` (the wait of an idle server),
and `bridge/trio_thread.py` (the trio run).

Importing this module imports neither trio nor the rest of triosock: see `loading.py`.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading as threading
import warnings as _warnings
from io import BufferedIOBase as BufferedIOBase
from time import monotonic as _monotonic
from types import FunctionType
from typing import TYPE_CHECKING, get_type_hints

from triosock._core.inspect.providers import elsewhere as _elsewhere

from . import loading as _loading
from .choose import serving as _serving  # noqa: F401 - base.py finds it here
from .install import install as install
from .requests import table as _table
from .stdlib import deferred_tls as _deferred_tls  # noqa: F401
from .stdlib import mixins as _mixins
from .stdlib import reply_order as _reply_order  # noqa: F401
from .stdlib.base import BaseServer
from .stdlib.handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
from .stdlib.mixins import _NoThreads as _NoThreads
from .stdlib.mixins import _Threads as _Threads
from .stdlib.servers import TCPServer, UDPServer
from .stdlib.writer import _SocketWriter as _SocketWriter
from .waiting import forking as _forking  # noqa: F401 - a running server imports nothing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triosock._core.model.node import Node

    from .bridge.thread_interrupt import RequestCut as RequestCut
    from .control.call_trio import run as run
    from .control.drain import drain as drain
    from .control.policy import Policy as Policy
    from .control.serve import CompatServer as CompatServer
    from .control.serve import serve as serve
    from .control.statistics import statistics as statistics
    from .green import GreenMixIn as GreenMixIn
    from .green import GreenTCPServer as GreenTCPServer
    from .green import GreenUDPServer as GreenUDPServer
    from .green import GreenUnixDatagramServer as GreenUnixDatagramServer
    from .green import GreenUnixStreamServer as GreenUnixStreamServer
    from .green import blocking as blocking
    from .green import green_handler as green_handler
    from .green import sleep as sleep
    from .stdlib.mixins import ThreadingMixIn as ThreadingMixIn
    from .stdlib.mixins import ThreadingTCPServer as ThreadingTCPServer
    from .stdlib.mixins import ThreadingUDPServer as ThreadingUDPServer
    from .stdlib.mixins import ThreadingUnixDatagramServer as ThreadingUnixDatagramServer
    from .stdlib.mixins import ThreadingUnixStreamServer as ThreadingUnixStreamServer

# The port through which the lower packages reach the higher ones.
_table.port.parts = _loading

#: As in the standard library; from Python 3.15 on it comes from `__getattr__`, with a warning.
_VERSION = "0.4"
if sys.version_info < (3, 15):
    __version__ = _VERSION

#: The clock of `handle_request()`, under the standard library's name, which programs replace.
time = _monotonic

#: The selector class that waits for requests. Programs may replace it; it is looked up by each
#: `serve_forever()` and `handle_request()`.
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
    from .stdlib.mixins import ForkingMixIn, ForkingTCPServer, ForkingUDPServer

    __all__ += ["ForkingMixIn", "ForkingTCPServer", "ForkingUDPServer"]

if hasattr(socket, "AF_UNIX"):
    from .stdlib.servers import UnixDatagramServer, UnixStreamServer

    __all__ += [
        "ThreadingUnixDatagramServer",
        "ThreadingUnixStreamServer",
        "UnixDatagramServer",
        "UnixStreamServer",
    ]

    if sys.version_info >= (3, 12) and hasattr(os, "fork"):
        from .stdlib.mixins import ForkingUnixDatagramServer, ForkingUnixStreamServer

        __all__ += ["ForkingUnixDatagramServer", "ForkingUnixStreamServer"]

#: Names that no forking server needs. The first use of one imports trio: see `loading.py`.
_THREADING = {name: getattr(_mixins, name) for name in __all__ if name.startswith("Threading")}


def _as_in_the_standard_library() -> None:
    """Give the names of the standard library this module as `__module__`, and remove their annotations.

    The standard library's have no annotations. Ours are for type checkers, which read the source; at run time
    some of the names in them cannot be resolved.
    """
    there = [_THREADING.get(name) or globals()[name] for name in __all__]
    for thing in (*there, install, _SocketWriter, _Threads, _NoThreads):
        thing.__module__ = __name__
        if "__annotations__" in vars(thing):
            del thing.__annotations__
        for part in vars(thing).values() if isinstance(thing, type) else ():
            if isinstance(part, FunctionType):
                part.__annotations__ = {}


_as_in_the_standard_library()
del _as_in_the_standard_library

#: The names that the standard library does not have, with their modules. The first use of one imports trio.
_NEW = {
    "CompatServer": "control.serve",
    "GreenMixIn": "green.mixins",
    "GreenTCPServer": "green.mixins",
    "GreenUDPServer": "green.mixins",
    "GreenUnixDatagramServer": "green.mixins",
    "GreenUnixStreamServer": "green.mixins",
    "Policy": "control.policy",
    "RequestCut": "bridge.thread_interrupt",
    "blocking": "green.tasks",
    "drain": "control.drain",
    "green_handler": "green.native",
    "run": "control.call_trio",
    "serve": "control.serve",
    "sleep": "green.tasks",
    "statistics": "control.statistics",
}
_EXTRAS = ("install", *_NEW)

if not TYPE_CHECKING:

    def _module(name: str) -> object:
        package, _, part = name.partition(".")
        if package != "green":
            return _loading.late(name)
        try:
            return _loading.late_green(part)
        except RuntimeError as error:
            raise ImportError(str(error)) from error

    def __getattr__(name: str) -> object:
        if name == "__version__":
            _warnings._deprecated("__version__", remove=(3, 20))
            return _VERSION
        if name in _THREADING:
            _loading.load()
            return globals().setdefault(name, _THREADING[name])
        if name not in _NEW:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _loading.load()
        module = _module(_NEW[name])
        value = getattr(module, name)
        if isinstance(value, type):
            # The annotations of a class are resolved in the module that it names.
            value.__annotations__ = get_type_hints(value, vars(module))
        value.__module__ = __name__
        return globals().setdefault(name, value)

    def __dir__() -> list[str]:
        # Tools use every name that is listed, so a name that cannot be imported is left out.
        absent = () if _loading.has_green() else (name for name in _NEW if _NEW[name].startswith("green."))
        return sorted({*globals(), *__all__, *_EXTRAS}.difference(absent))


def _look(what: object, limit: int) -> Iterable[Node]:
    nodes: Iterable[Node] = _loading.late("control.tree").look(what, limit)
    return nodes


_elsewhere.append(_look)
