"""A connection of the world: both ends, its faults, and whether an error of its client is excused.

An error is excused if the network, a crash, a cancellation, a limit or the end of a grace period caused it,
or if the request came too late. **The server owed an answer if all that the client had sent had arrived
before the drain began, and nothing was answered since**; the first request of a newcomer, which a connection
is for five seconds, may also have arrived later (docs/discussion/draining.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import attrs

from triosock import Cause

from .link import BUFFER, Conditions
from .stream import SimulatedStream

#: Seconds for which a connection that has sent nothing is a newcomer in a drain.
NEWCOMER: Final = 5.0
#: The causes that are timeouts of the server.
_TIMEOUTS: Final = (Cause.IDLE, Cause.SEND, Cause.REQUEST, Cause.HANDSHAKE)


@final
@attrs.define(eq=False)
class SimulatedConnection:
    """One connection. `faults` describes the faults injected into it."""

    name: str
    client: SimulatedStream
    server: SimulatedStream
    connected: float = math.inf
    faults: list[str] = attrs.field(factory=list)
    #: Whether its server crashed, or was cancelled.
    is_cut_short: Callable[[], bool] = bool
    #: Whether a limit of its server refused it.
    refused: bool = False
    #: The cause of its end at the server, once it has ended.
    cause: Cause | None = None
    #: The exception with which it ended.
    error: BaseException | None = None
    drain_began: float = math.inf
    #: The number of its bytes that had arrived when its server began to drain.
    arrived_at_drain: int = 0
    sent_at_drain: int = 0

    def note_drain(self, now: float) -> None:
        """Note that its server begins to drain."""
        self.server.incoming.deliver_due()
        self.drain_began = now
        self.arrived_at_drain = self.server.incoming.arrived
        self.sent_at_drain = self.server.outgoing.sent

    @property
    def had_no_delays(self) -> bool:
        """Whether the network has no faults that slow it down."""
        return not self.faults and all(
            map(_has_no_delays, (self.client.incoming.conditions, self.client.outgoing.conditions))
        )

    def excuse(self) -> str | None:
        """Return the reason for an error of its client; None if there is none."""
        if self.faults:
            return self.faults[0]
        if self.is_cut_short():
            return "its server crashed or was cancelled"
        if self.refused:
            return "a limit refused it"
        if self.cause in _TIMEOUTS and not self.had_no_delays and not self._was_refused():
            return f"a timeout of its server on a slow network: {self.cause}"
        if self.cause is Cause.DRAIN:
            return "the grace period of the drain was over"
        if self.drain_began < math.inf and not self._is_owed():
            return "its request came after the drain had begun"
        return None

    def _was_refused(self) -> bool:
        """Whether its handshake has failed, but not by a timeout."""
        return self.cause is Cause.HANDSHAKE and self.error is not None

    def _is_owed(self) -> bool:
        sent = self.client.outgoing.sent
        if not sent:
            return False
        if self.server.outgoing.sent > self.sent_at_drain:
            return False  # it was answered, at least in part
        if self.arrived_at_drain:
            return self.arrived_at_drain == sent and not self._was_answered()
        first = self.server.incoming.first_arrival
        return first < self.connected + NEWCOMER and first < self.drain_began + NEWCOMER

    def _was_answered(self) -> bool:
        return self.server.outgoing.sent > self.client.outgoing.answers_at_put


def _has_no_delays(conditions: Conditions) -> bool:
    return (
        not conditions.seconds
        and conditions.buffer == BUFFER
        and not conditions.piece
        and not conditions.reading
        and conditions.bandwidth == math.inf
    )
