"""What a registry keeps of each connection, session, datagram or compat request: an entry.

An entry carries what the deadlines need, in plain attributes that cost nothing to write: the stage of its
life, and when each wait that it is in began. Nobody is told when they change; the timeout monitor, a tree and
a report read them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable
from typing import Final, Literal, Protocol, TypeAlias

import attrs
import trio

from ..model.addresses import Address
from ..model.config import Timeouts
from ..model.events import Cause

#: Where a connection is in its life: queued (accepted in a drain, waiting for a slot), handshake (PROXY
#: header, TLS), serving (the handler runs), closing (the reply is sent; waiting for the peer's end of
#: stream).
Stage: TypeAlias = Literal["queued", "handshake", "serving", "closing"]
#: What it does at this moment: the stage, or while serving: idle (waiting for the first byte of the next
#: request), reading (for more bytes), sending (for the peer to take some), working (anything else).
Phase: TypeAlias = Literal["queued", "handshake", "idle", "reading", "sending", "working", "closing"]

#: The folders whose calls a stack leaves out: the core's, and trio's.
_NOT_THE_HANDLERS: Final = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep for file in (os.path.dirname(__file__), trio.__file__)
)

#: The time of something that has not begun.
NEVER: Final = math.inf


class Carrier(Protocol):
    """What carries the bytes of what is served."""

    @property
    def received(self) -> int:
        """How many bytes have come."""
        raise NotImplementedError

    @property
    def sent(self) -> int:
        """How many bytes were sent."""
        raise NotImplementedError

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed it."""
        raise NotImplementedError

    @property
    def failure(self) -> BaseException | None:
        """What was raised because the peer is gone."""

    def has_input(self) -> bool | None:
        """Whether something has come that nobody has taken yet; None if that cannot be told."""

    def has_room(self) -> bool | None:
        """Whether something could be sent without waiting; None if that cannot be told."""


class Served(Protocol):
    """What is served: a connection, a session, a datagram."""

    @property
    def peer(self) -> Address:
        """The other side."""
        raise NotImplementedError

    @property
    def wire(self) -> Carrier:
        """What carries its bytes."""
        raise NotImplementedError

    def interrupt_idle(self, cause: Cause) -> None:
        """End the idle wait of now, and those that begin later."""


@attrs.define(eq=False, slots=True)
class Entry:
    """One connection (or request of a compat server) that is being served.

    The drain and the timeout monitor know three verbs of it: `interrupt` ends an idle wait, `cut` ends all of
    it, `stack` tells where it is.
    """

    accepted: float
    #: The clock of its trio run: that of `trio.current_time`, without the question whose run it is.
    now: Callable[[], float] = trio.current_time
    #: From 1 on, in the order of arrival; 0 outside a registry.
    number: int = 0
    stage: Stage = "serving"
    #: When the wait began that it is in now: for the first byte of a request, for any bytes, for the peer to
    #: take some.
    idle_since: float = NEVER
    receive_since: float = NEVER
    send_since: float = NEVER
    #: When the request in progress began, and when it must be done; NEVER between two requests. A block
    #: `conn.request()` minds its own deadline.
    request_since: float = NEVER
    request_due: float = NEVER
    handshake_since: float = NEVER
    #: When all of it must be over: of one too many, for which the overflow handler runs.
    due: float = NEVER
    #: When the last word was said and the wait for the peer's began.
    closing_since: float = NEVER
    #: Timeouts of its own (`Connection.set_timeouts`); None for the server's.
    timeouts: Timeouts | None = None
    #: Which look of the timeout monitor is the next one: an earlier note of another is void.
    next_look: int = 0
    #: Why it ends, once that is decided.
    cause: Cause | None = None
    #: Everything that runs for this entry runs inside this scope.
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    task: trio.lowlevel.Task | None = None
    #: What is served, from before it is registered until it is removed.
    served: Served | None = None
    #: Under which names the limits per peer and per network count it.
    keys: tuple[Hashable, ...] = ()
    holds_slot: bool = False
    #: When its peer could speak first, if a handshake came before that; NEVER: when it was accepted.
    ready_since: float = NEVER
    #: In a drain: until when one more request of its peer is waited for; 0 for not at all.
    spared_until: float = 0.0
    #: It was cut at the end of a drain's grace: no more is waited for, not even its last word.
    is_final: bool = False
    gone: bool = False

    @property
    def peer(self) -> Address:
        """The address of the other side."""
        assert self.served is not None
        return self.served.peer

    @property
    def wire(self) -> Carrier:
        """What carries its bytes."""
        assert self.served is not None
        return self.served.wire

    @property
    def is_idle(self) -> bool:
        """Whether the peer owes nothing: it waits for the first byte of the next request."""
        return self.idle_since != NEVER and self.request_since == NEVER

    @property
    def phase(self) -> Phase:
        """What it does at this moment."""
        if self.stage != "serving":
            return self.stage
        if self.send_since != NEVER:
            return "sending"
        if self.is_idle:
            return "idle"
        return "working" if self.receive_since == NEVER else "reading"

    def has_input(self) -> bool | None:
        """Whether its peer has sent something that nobody has taken yet; None if that cannot be told."""
        return self.wire.has_input()

    def has_room(self) -> bool | None:
        """Whether its peer has taken something, so that more could be sent; None if that cannot be told."""
        return self.wire.has_room()

    def interrupt(self, cause: Cause) -> None:
        """End the idle wait that it is in, or the next that it begins; work goes on."""
        assert self.served is not None
        self.served.interrupt_idle(cause)

    def cut(self, cause: Cause) -> None:
        """Cancel all of it, now. The first cause stands, and one that has said its last word is not cut off
        from anything.
        """
        if self.cause is None and self.stage != "closing":
            self.cause = cause
        if cause is Cause.DRAIN:
            self.is_final = True
        self.scope.cancel(reason=f"triosock: {cause}")

    def stack(self) -> tuple[str, ...]:
        """Return where its task is: one line a call ("file:line in function"), the outermost first.

        What every stack has in common, our own calls around the handler's and trio's at the end, is left out,
        unless nothing else is there.
        """
        if self.task is None:
            return ()
        calls = [(frame.f_code, line) for frame, line in self.task.iter_await_frames()]
        told = [call for call in calls if not call[0].co_filename.startswith(_NOT_THE_HANDLERS)]
        return tuple(f"{code.co_filename}:{line} in {code.co_name}" for code, line in told or calls)
