"""The lifecycle events of a server that a plain `serve_forever()` serves: started, suspended, resumed,
closed.

Rules of this file:

1. The first loop emits `ServerStarted`; the last loop emits `ServerSuspended` at its end if the listener is
   still open (new connections wait in the kernel's queue); the next loop emits `ServerResumed`.
2. **`ServerClosed` is the last event**: the listener is closed, no loop runs, and no request is handled or
   expected. It is emitted by the last to end of the loops, the requests and `server_close()`.
3. Loops and requests hold the request table until they have emitted their last event, so the last `release()`
   comes after all other events. A thread that `server_close()` waits for is expected until it has ended.
4. A server without observers has no `LifecycleEvents`.
5. The lock is reentrant: a signal handler may call `server_close()` while its thread holds it. The state
   changes after the event is emitted, so that `ServerStarted` is the first one then too.
6. For a server in a trio program, `compat.serve` emits these events. A server that only uses
   `handle_request()` has no loop, and emits none.
"""

from __future__ import annotations

from threading import RLock as _RLock
from typing import TYPE_CHECKING

from triosock._core.model.events import (
    ListenerClosed,
    ServerClosed,
    ServerResumed,
    ServerStarted,
    ServerSuspended,
)

from .addresses import address_of_listener

if TYPE_CHECKING:
    from triosock import Address

    from ..requests.ports import Server
    from ..requests.table import RequestTable


class LifecycleEvents:
    """The lifecycle events of one request table's server."""

    def __init__(self, request_table: RequestTable) -> None:
        self._request_table = request_table
        self._lock = _RLock()
        self._loops = 0
        self._begun = False
        self._address: Address | None = None
        self._listening = False

    def loop_begins(self, server: Server) -> None:
        """A loop begins. In the serving thread, which holds the request table."""
        request_table = self._request_table
        with self._lock:
            self._loops += 1
            if self._loops > 1:
                return
            if request_table.emitter is None or request_table.served is not None:
                return
            if self._begun and self._listening:
                request_table.emit(ServerResumed)
                return
            self._address = address_of_listener(server)
            request_table.emit(ServerStarted, addresses=(self._address,), lifetime=request_table.lifetime)
            self._begun = self._listening = True

    def loop_ends(self, server: Server) -> None:
        """A loop has ended. In the serving thread, which still holds the request table."""
        with self._lock:
            self._loops -= 1
            if self._loops or not self._listening:
                return
            if is_closed(server):
                self._shut()
            else:
                self._request_table.emit(ServerSuspended)

    def listener_closed(self) -> None:
        """`server_close()` has closed the listener. In any thread."""
        if self._begun and self._request_table.served is None:
            self._end(listening=False)

    def check_closed(self) -> None:
        """Emit `ServerClosed` if nothing is left. The caller does not hold the request table."""
        if self._begun and not self._listening:
            self._end()

    def check_closed_held(self) -> None:
        """Emit `ServerClosed` if nothing is left. The caller is the last one that holds the request table."""
        with self._lock:
            if self._is_over():
                self._begun = False
                self._request_table.emit(ServerClosed)

    def _end(self, listening: bool | None = None) -> None:
        try:
            self._request_table.hold()
        except RuntimeError:
            return  # in a trio thread, or if no thread can be started, the event cannot be emitted
        try:
            with self._lock:
                if listening is False and self._listening:
                    self._shut()
        finally:
            self._request_table.release()

    def _shut(self) -> None:
        self._listening = False
        self._request_table.emit(ListenerClosed, address=self._address)

    def _is_over(self) -> bool:
        return self._begun and not self._listening and not self._loops and self._request_table.is_empty


def is_closed(server: Server) -> bool:
    """Whether the listener of a server is closed; True also for a server without a socket."""
    sock = getattr(server, "socket", None)
    try:
        return sock is None or sock.fileno() == -1
    except (AttributeError, OSError, ValueError):
        return True
