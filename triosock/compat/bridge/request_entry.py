"""A request of a compat server as an entry of the core's registry, on which a drain, a deadline or a
cancellation acts.

Each action takes the lock of its request table, and does nothing once the request is sealed: then its thread
has left the handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from triosock import Cause
from triosock._core.registry.registry import Entry

from . import tcp_state, thread_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from triosock import Address
    from triosock._core.registry.registry import Phase

    from ..requests.ports import GreenTask
    from ..requests.table import RequestTable


@attrs.define(eq=False, slots=True, kw_only=True)
class Request(Entry):
    """A request of a compat server in the core's registry."""

    request: object
    address: Address
    thread: int
    request_table: RequestTable
    cause: Cause | None = None
    sealed: bool = False
    #: Whether it was removed from the registry.
    gone: bool = False
    was_cut: bool = False
    #: Whether it did not end after a cut in a drain, and was counted in its report.
    reported: bool = False
    #: Cancels the async call that its handler is in (`compat.run`); such a request is cut in no other way.
    call: Callable[[], None] | None = None
    #: Its task, if it is a green request, which is cut by a cancellation in the trio thread.
    green: GreenTask | None = None

    @property
    def peer(self) -> Address:
        """The client's address."""
        return self.address

    @property
    def is_idle(self) -> bool:
        """Whether it is in an idle wait."""
        return tcp_state.is_idle(self.request)

    @property
    def phase(self) -> Phase:
        """Idle or working: of a thread no more is known."""
        return "idle" if self.is_idle else "working"

    def handler_thread(self) -> int:
        """Return the thread that its handler runs in."""
        return self.thread

    def interrupt(self, cause: Cause) -> None:
        """End its current or next idle wait."""
        with self.request_table.lock:
            if not self.sealed:
                thread_interrupt.end_idle(self.request)

    def cut(self, cause: Cause) -> None:
        """Raise `RequestCut` in its thread, or cancel the async call that it is in."""
        with self.request_table.lock:
            if self.sealed or self.was_cut:
                return
            if self.cause is None:
                self.cause = cause
            self.was_cut = True
            if self.green is not None:
                self.green.scope.cancel(self.reason())
            elif self.call is not None:
                self.call()
            else:
                thread_interrupt.cut(self.request, self.thread, self.reason())

    def reason(self) -> str:
        """Return the text of its `RequestCut`."""
        return f"the request of {self.peer} was cut off: {_WHY.get(self.cause, self.cause)}"

    def stack(self) -> tuple[str, ...]:
        """Return the stack of its thread."""
        return thread_interrupt.stack_of(self.thread) if self.green is None else self.green.stack()


_WHY: dict[Cause | None, str] = {
    Cause.DRAIN: "the server drains, and the grace for requests in progress is over (drain deadline)",
    Cause.REQUEST: "its time is over (request, Policy.request_timeout)",
    Cause.PARENT: "the trio program that serves it was cancelled (parent)",
}
