"""The open connections that an observer has counted, for gauges that must return to zero.

The invariant: **an end is counted only if its beginning was counted.** An observer may be attached while
connections are open; if their ends were counted, the gauge would stay below zero. One that is closed before
them takes off what it has counted.

The lock is for servers of trio runs in several threads that share an observer and a name. The thread is no
part of the key: a request of a compat server may begin under one host thread and end under the next.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import final

from .._core.model.events import ConnectionClosed, ConnectionOpened


@final
class Active:
    """The open connections, by the name of their server and their number. Servers may share a name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], int] = {}
        self._is_closed = False

    def begin(self, event: ConnectionOpened) -> bool:
        """Note that a connection has opened; return False after `close()`: it is not counted."""
        key = event.server, event.connection
        with self._lock:
            if not self._is_closed:
                self._open[key] = self._open.get(key, 0) + 1
            return not self._is_closed

    def end(self, event: ConnectionClosed) -> bool:
        """Note that a connection has closed; return whether `begin` was called for it."""
        key = event.server, event.connection
        with self._lock:
            left = self._open.pop(key, 0) - 1
            if left > 0:
                self._open[key] = left
        return left >= 0

    def close(self) -> Counter[str]:
        """Forget all, and count no more; return how many were open of each server."""
        found: Counter[str] = Counter()
        with self._lock:
            self._is_closed = True
            for (server, _), number in self._open.items():
                found[server] += number
            self._open.clear()
        return found
