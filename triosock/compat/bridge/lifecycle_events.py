"""The lifecycle events of a server that a plain `serve_forever()` serves: started, suspended, resumed,
closed.

Rules of this file:

1. `ServerStarted` comes with the first loop, `ServerSuspended` when the last one has ended and the listener
   is still open (new connections wait in the kernel's queue), `ServerResumed` with the next loop.
2. **`ServerClosed` is the last event**: the listener is closed, no loop runs, and no request is handled or
   expected. The last of a loop, a request and `server_close()` emits it.
3. Loops and requests hold the request table until their own last event, so the last `release()` comes after
   all others. A thread that `server_close()` waits for is expected until it has ended.
4. A server without observers has none of this.
5. A server in a trio program (`compat.serve`) emits these events itself. One that only uses
   `handle_request()` has no loop, and emits none.
"""

from __future__ import annotations

from threading import Lock as _Lock
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
        self._lock = _Lock()
        self._loops = 0
        self._begun = False
        self._address: Address | None = None
        self._listening = False

    def loop_begins(self, server: Server) -> None:
        """In the thread that serves, which holds the request table."""
        request_table = self._request_table
        with self._lock:
            self._loops += 1
            if self._loops > 1:
                return
            if request_table.emitter is None or request_table.served is not None:
                return
            if self._begun and self._listening:
                request_table.tell(ServerResumed)
                return
            self._begun = self._listening = True
            self._address = address_of_listener(server)
            request_table.tell(ServerStarted, addresses=(self._address,), lifetime=request_table.lifetime)

    def loop_ends(self, server: Server) -> None:
        """In the thread that serves, which still holds the request table."""
        with self._lock:
            self._loops -= 1
            if self._loops or not self._listening:
                return
            if is_closed(server):
                self._shut()
            else:
                self._request_table.tell(ServerSuspended)

    def closes(self) -> None:
        """The listener has been closed by `server_close()`. In any thread."""
        if self._begun and self._request_table.served is None:
            self._end(listening=False)

    def look(self) -> None:
        """Emit `ServerClosed` if nothing is left; the request table is not held any more."""
        if self._begun and not self._listening:
            self._end()

    def look_held(self) -> None:
        """The same for the last holder of the request table."""
        with self._lock:
            if self._is_over():
                self._begun = False
                self._request_table.tell(ServerClosed)

    def _end(self, listening: bool | None = None) -> None:
        try:
            self._request_table.hold()
        except RuntimeError:
            return  # in a trio thread, or if no thread can be started: it cannot be emitted
        try:
            with self._lock:
                if listening is False and self._listening:
                    self._shut()
        finally:
            self._request_table.release()

    def _shut(self) -> None:
        self._listening = False
        self._request_table.tell(ListenerClosed, address=self._address)

    def _is_over(self) -> bool:
        return self._begun and not self._listening and not self._loops and self._request_table.is_empty


def is_closed(server: Server) -> bool:
    """Whether the socket that a server listens on is closed; one without a socket has nothing to close."""
    sock = getattr(server, "socket", None)
    try:
        return sock is None or sock.fileno() == -1
    except (AttributeError, OSError, ValueError):
        return True
