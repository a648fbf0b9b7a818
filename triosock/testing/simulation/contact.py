"""A connection as the world knows it: both ends, whose they are, and what was done to it.

The question that is answered here: whether a client that was disappointed was owed an answer. It was not if
the network or a crash was at fault, or if it asked too late. **It was owed one if all that it had sent had
arrived before the drain began, and nothing came back since**; and if it was new then, which it is for five
seconds, its first request may also have arrived later (docs/discussion/draining.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import attrs

from triosock import Cause

from .link import BUFFER, Terms
from .stream import SimulatedStream

#: How long a connection that has sent nothing is a newcomer in a drain.
NEWCOMER: Final = 5.0
#: Ends that the server's own timeouts bring about.
_TIMEOUTS: Final = (Cause.IDLE, Cause.SEND, Cause.REQUEST, Cause.HANDSHAKE)


@final
@attrs.define(eq=False)
class Contact:
    """One connection. `faults` has what was done to it, in words."""

    name: str
    client: SimulatedStream
    server: SimulatedStream
    connected: float = math.inf
    faults: list[str] = attrs.field(factory=list)
    #: Whether its server crashed, or was cancelled.
    is_cut_short: Callable[[], bool] = bool
    #: A limit of its server turned it away.
    refused: bool = False
    #: How it ended at its server, once it has.
    cause: Cause | None = None
    #: With which exception.
    error: BaseException | None = None
    drain_began: float = math.inf
    #: How many of its bytes had arrived when its server began to drain.
    arrived_at_drain: int = 0
    sent_at_drain: int = 0

    def note_drain(self, now: float) -> None:
        """Its server begins to drain."""
        self.server.incoming.land()
        self.drain_began = now
        self.arrived_at_drain = self.server.incoming.arrived
        self.sent_at_drain = self.server.outgoing.sent

    @property
    def was_kind(self) -> bool:
        """Whether the network did nothing to slow it down."""
        return not self.faults and all(
            map(_is_kind, (self.client.incoming.terms, self.client.outgoing.terms))
        )

    def excuse(self) -> str | None:
        """Return why its client need not have got what it wanted; None if there is no reason."""
        if self.faults:
            return self.faults[0]
        if self.is_cut_short():
            return "its server was cut short"
        if self.refused:
            return "a limit turned it away"
        if self.cause in _TIMEOUTS and not self.was_kind and not self._was_refused():
            return f"its server gave up on a slow network: {self.cause}"
        if self.cause is Cause.DRAIN:
            return "the grace of the drain was over"
        if self.drain_began < math.inf and not self._is_owed():
            return "it asked when its server was draining already"
        return None

    def _was_refused(self) -> bool:
        """Whether its handshake has failed, and not for want of time."""
        return self.cause is Cause.HANDSHAKE and self.error is not None

    def _is_owed(self) -> bool:
        sent = self.client.outgoing.sent
        if not sent:
            return False
        if self.server.outgoing.sent > self.sent_at_drain:
            return False  # it was answered, if perhaps only in part
        if self.arrived_at_drain:
            return self.arrived_at_drain == sent and not self._was_answered()
        first = self.server.incoming.first_arrival
        return first < self.connected + NEWCOMER and first < self.drain_began + NEWCOMER

    def _was_answered(self) -> bool:
        return self.server.outgoing.sent > self.client.outgoing.answers_at_put


def _is_kind(terms: Terms) -> bool:
    return (
        not terms.seconds
        and terms.buffer == BUFFER
        and not terms.piece
        and not terms.reading
        and terms.bandwidth == math.inf
    )
