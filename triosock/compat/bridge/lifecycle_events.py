"""What the observers of a server are told of its life, when it is served by a plain `serve_forever()`: that
its doors are open, that they are shut, that nothing is left.

Rules of this file:

1. `ServerStarted` comes with the first loop, `ServerSuspended` when the last one has ended and the listener
   is still open (the kernel's queue holds those who come), `ServerResumed` with the next loop.
2. **`ServerClosed` is the last thing that is told**: the listener is closed, no loop runs, and no request is
   handled or expected. Whoever is the last to leave tells it: a loop, a request, or `server_close()`.
3. Loops and requests hold the book until they have told their own end, so that the last `release()` comes
   after everything that there was to tell. A thread that `server_close()` waits for is expected until it is
   over.
4. A server without observers has nobody to tell, and none of this.
5. A server that runs in a trio program (`compat.serve`) says all this itself. One that is only asked for
   single requests (`handle_request()`) has no doors to speak of, and none of it is told.
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
    from ..requests.table import Book


class LifecycleEvents:
    """What was told of the life of one book's server."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._lock = _Lock()
        self._loops = 0
        self._begun = False
        self._address: Address | None = None
        self._listening = False

    def loop_begins(self, server: Server) -> None:
        """In the thread that serves, which holds the book."""
        book = self._book
        with self._lock:
            self._loops += 1
            if self._loops > 1:
                return
            if book.emitter is None or book.served is not None:
                return
            if self._begun and self._listening:
                book.tell(ServerResumed)
                return
            self._begun = self._listening = True
            self._address = address_of_listener(server)
            book.tell(ServerStarted, addresses=(self._address,), lifetime=book.lifetime)

    def loop_ends(self, server: Server) -> None:
        """In the thread that serves, which still holds the book."""
        with self._lock:
            self._loops -= 1
            if self._loops or not self._listening:
                return
            if is_closed(server):
                self._shut()
            else:
                self._book.tell(ServerSuspended)

    def closes(self) -> None:
        """The listener has been closed by `server_close()`. In any thread."""
        if self._begun and self._book.served is None:
            self._end(listening=False)

    def look(self) -> None:
        """Tell the end if this is it, though nobody holds the book any more."""
        if self._begun and not self._listening:
            self._end()

    def look_held(self) -> None:
        """The same for the last who holds it."""
        with self._lock:
            if self._is_over():
                self._begun = False
                self._book.tell(ServerClosed)

    def _end(self, listening: bool | None = None) -> None:
        try:
            self._book.hold()
        except RuntimeError:
            return  # in a trio thread, or without a thread to be had: there is nobody to tell it
        try:
            with self._lock:
                if listening is False and self._listening:
                    self._shut()
        finally:
            self._book.release()

    def _shut(self) -> None:
        self._listening = False
        self._book.tell(ListenerClosed, address=self._address)

    def _is_over(self) -> bool:
        return self._begun and not self._listening and not self._loops and self._book.is_empty


def is_closed(server: Server) -> bool:
    """Whether the socket that a server listens on is closed; one without a socket has nothing to close."""
    sock = getattr(server, "socket", None)
    try:
        return sock is None or sock.fileno() == -1
    except (AttributeError, OSError, ValueError):
        return True
