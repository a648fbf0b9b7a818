"""The table of errors of accept and receive, for connections and datagrams.

No action leads to a busy loop: without descriptors or memory the loop waits until a connection of the server
closes, or for a delay that doubles each time.
"""

from __future__ import annotations

import enum
import errno
from typing import Final

import trio


class ErrorAction(enum.Enum):
    """What an accept loop does after an error."""

    GO_ON = "go on"
    BACK_OFF = "back off"
    END = "end"
    CRASH = "crash"


def _named(*names: str) -> frozenset[int]:
    # Not every system has every name.
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


#: The connection was gone, or a firewall forbade it, before it was accepted. accept(2) on Linux
#: passes such errors of the new socket on, and says to treat them like EAGAIN; trio's survey of other systems
#: adds the rest.
THE_PEERS: Final = _named(
    *(
        "ECONNABORTED",
        "EPERM",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
    ),
    *("ENETUNREACH", "ENOSR", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "ETIMEDOUT", "ECONNRESET", "EINTR"),
)
#: The process or the machine has no descriptor or memory left. The connection stays in the queue.
THE_MACHINES: Final = _named("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")
#: The listener is closed, or shut down (EINVAL on Linux).
CLOSED: Final = _named("EBADF", "ENOTSOCK", "EINVAL")


def judge(error: BaseException) -> ErrorAction:
    """Return the action for an error of `wait_ready` or `accept_nowait`. An unknown error is a bug: CRASH."""
    if isinstance(error, trio.ClosedResourceError):
        return ErrorAction.END
    if isinstance(error, OSError):
        if error.errno in THE_PEERS:
            return ErrorAction.GO_ON
        if error.errno in THE_MACHINES:
            return ErrorAction.BACK_OFF
        if error.errno in CLOSED:
            return ErrorAction.END
    return ErrorAction.CRASH
