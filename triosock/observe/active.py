"""Which connections are open, for gauges that must come back to zero.

The invariant: **only what was seen to begin is seen to end.** An observer may be attached while connections
are open; their ends, counted without their beginnings, would bring a gauge below zero for good.

The lock is for servers of trio runs in several threads that share an observer and a name. The thread is no
part of the key: a request of a compat server may begin under one host thread and end under the next.
"""

from __future__ import annotations

import threading
from typing import final

from .._core.model.events import ConnectionClosed, ConnectionOpened


@final
class Active:
    """The connections that are open, by the name of their server and their number: `begin(event)`, and
    `end(event)`, which says whether the beginning was seen. Servers may share a name.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], int] = {}

    def begin(self, event: ConnectionOpened) -> None:
        """Note one more."""
        key = event.server, event.connection
        with self._lock:
            self._open[key] = self._open.get(key, 0) + 1

    def end(self, event: ConnectionClosed) -> bool:
        """Note one less; return whether it had been noted."""
        key = event.server, event.connection
        with self._lock:
            left = self._open.pop(key, 0) - 1
            if left > 0:
                self._open[key] = left
        return left >= 0
