"""The receive queue: every datagram is handled, dropped for a counted reason, or pending; and each peer's
share of the pending ones.

The invariants:

1. **Every datagram is counted**: received == handled + dropped + pending, at every moment, and each drop is
   counted under its reason and emitted as an event. `check()` asserts it.
2. **The pending ones are bounded** by `Limits.max_pending_datagrams`; with `drop="oldest"` the oldest waiting
   one is dropped instead of the newest.
3. **No peer can fill it alone.** A peer may hold no more than the places that are left free, plus one. One
   flooding peer gets half of all, two get a third each; with any number of them, as much as each holds is
   left for other peers. Switches share their buffers among ports by this rule (Choudhury and Hahne, "Dynamic
   queue length thresholds for shared-memory packet switches", 1998), because it needs no number to be chosen.
   A peer is a host here, not a port, since a flooder can use any number of ports.
"""

from __future__ import annotations

import collections
from collections.abc import Hashable
from typing import Literal, Protocol, TypeAlias, final

from ..model.addresses import Address
from ..model.config import Limits
from ..model.emitter import Emitter
from ..model.events import DatagramDropped, DatagramTruncated
from ..registry.rate_limits import RateOption
from ..registry.registry import Tally

#: Why a datagram was dropped: see `DatagramStatistics.dropped`.
Reason: TypeAlias = (
    Literal["full", "share", "peer", "network", "sessions", "buffer", "unread", "drain", "late", "closed"]
    | RateOption
)


class Sender(Protocol):
    """An object with a peer's address, which is computed only if an observer wants the event: a flood must be
    cheap to drop.
    """

    @property
    def peer(self) -> Address:
        """The address."""
        raise NotImplementedError


class Waiting(Sender, Protocol):
    """A datagram that waits to be handled."""

    @property
    def host(self) -> Hashable:
        """The host that it counts for."""

    def withdraw(self) -> None:
        """Leave its queue: it was dropped."""


@final
class ReceiveQueue:
    """The counters of one datagram server, and what waits in it."""

    def __init__(self, limits: Limits, tally: Tally, emitter: Emitter) -> None:
        self._most = limits.max_pending_datagrams
        self._keep_newest = limits.drop == "oldest"
        self._tally = tally
        self._emitter = emitter
        self.received: int = 0
        self.received_bytes: int = 0
        self.handled: int = 0
        self.truncated: int = 0
        self.sent: int = 0
        self.sent_bytes: int = 0
        self.dropped: collections.Counter[Reason] = collections.Counter()
        #: The reason for which datagrams of new peers are dropped; None while they are accepted.
        self.refusing: Literal["late", "closed"] | None = None
        #: All that wait, and the same by host: dicts, which keep the order and remove any item in constant
        #: time.
        self._waiting: dict[Waiting, None] = {}
        self._waiting_of: dict[Hashable, dict[Waiting, None]] = {}
        self._held = 0
        self._held_by: collections.Counter[Hashable] = collections.Counter()

    @property
    def pending(self) -> int:
        """How many have been received, and neither handled nor dropped."""
        return len(self._waiting)

    def is_waiting(self, queued: Waiting) -> bool:
        """Whether it has been neither handled nor dropped."""
        return queued in self._waiting

    def count(self, data: bytes, truncated: bool) -> None:
        """Count one as received. The caller must admit or refuse it before its next checkpoint."""
        self.received += 1
        self.received_bytes += len(data)
        self.truncated += truncated

    def tell_truncated(self, sender: Sender, size: int) -> None:
        """Emit `DatagramTruncated`."""
        if self._emitter.takers(DatagramTruncated):
            self._emitter.emit(DatagramTruncated, peer=sender.peer, size=size)

    def admit(self, queued: Waiting) -> bool:
        """Let one wait, if the bound and its peer's share allow it; it holds a place from now until
        `release`.
        """
        host = queued.host
        reason = self._refusal(host)
        if reason is not None:
            candidates = self._waiting_of.get(host, {}) if reason == "share" else self._waiting
            if not self._keep_newest or not candidates:
                self.refuse(reason, queued)
                return False
            self.discard(next(iter(candidates)), reason)
        self._waiting[queued] = None
        self._waiting_of.setdefault(host, {})[queued] = None
        self._held += 1
        self._held_by[host] += 1
        return True

    def _refusal(self, host: Hashable) -> Reason | None:
        free = self._most - self._held
        if free < 1:
            return "full"
        return "share" if self._held_by[host] > free else None

    def begin(self, queued: Waiting) -> None:
        """Count one that waited as handled. It keeps its place."""
        self._take_out(queued)
        self.handled += 1

    def release(self, host: Hashable) -> None:
        """Release the place of one that was begun."""
        self._held -= 1
        self._held_by[host] -= 1
        if not self._held_by[host]:
            del self._held_by[host]

    def discard(self, queued: Waiting, reason: Reason) -> None:
        """Drop one that waits."""
        self._take_out(queued)
        self.release(queued.host)
        self.refuse(reason, queued)
        queued.withdraw()

    def refuse(self, reason: Reason, sender: Sender) -> None:
        """Count one as dropped that was received and does not wait (or not any more)."""
        self.dropped[reason] += 1
        if reason == "drain":
            self._tally.refused["drain"] += 1
        if self._emitter.takers(DatagramDropped):
            self._emitter.emit(DatagramDropped, peer=sender.peer, reason=reason)

    def count_sent(self, size: int) -> None:
        """Count a datagram that was sent."""
        self.sent += 1
        self.sent_bytes += size

    def _take_out(self, queued: Waiting) -> None:
        del self._waiting[queued]
        of_host = self._waiting_of[queued.host]
        del of_host[queued]
        if not of_host:
            del self._waiting_of[queued.host]

    def check(self) -> None:
        """Assert the invariants of this file. Raises: AssertionError."""
        dropped = self.dropped.total()
        assert self.received == self.handled + dropped + self.pending, (
            f"{self.received} received, {self.handled} handled, {dropped} dropped, {self.pending} pending"
        )
        assert self._held <= self._most, f"{self._held} of {self._most} places are held"
        assert self._held == sum(self._held_by.values()) >= self.pending
        assert self.pending == sum(map(len, self._waiting_of.values()))
