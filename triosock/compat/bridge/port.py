"""What `bridge` provides through `requests.table.port.parts`: see `requests/ports.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triosock._core.model.events import AcceptFailed

from . import deadline_task, lifecycle_events, supervisor
from .addresses import address_of_listener

if TYPE_CHECKING:
    from triosock._core.model.emitter import Emitter

    from ..requests.ports import Deadlines, Lifecycle, Server, Supervision
    from ..requests.table import Book


class BridgePort:
    """A `ports.TrioPart`."""

    def make_emitter(self, book: Book, watched: bool) -> Emitter | None:
        """Return the emitter of a book, if it has observers or a timeline is open."""
        return supervisor.make_emitter(book, watched)

    def supervise(self, book: Book) -> Supervision:
        """Return the supervisor of a book."""
        return supervisor.Supervisor(book)

    def watch_deadlines(self, book: Book, request_timeout: float) -> Deadlines:
        """Begin to cut the requests whose time is over. Raises RuntimeError if there can be no trio run."""
        return deadline_task.begin(book, request_timeout)

    def tell_life(self, book: Book) -> Lifecycle:
        """Return the object that emits the lifecycle events of a server."""
        return lifecycle_events.LifecycleEvents(book)

    def tell_accept_error(
        self, book: Book, server: Server, error: OSError, action: str, delay: float
    ) -> None:
        """Emit `AcceptFailed`."""
        address = address_of_listener(server)
        book.tell(AcceptFailed, address=address, error=error, action=action, delay=delay)


PORT = BridgePort()
