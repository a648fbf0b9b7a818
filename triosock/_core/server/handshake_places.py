"""The places for handshakes (`Limits.max_handshakes`). Clients that begin one and stop cannot keep them.

A handshake waits for its peer most of its time, and costs memory meanwhile: about 45 kB of OpenSSL's,
Python's and the kernel's. The places bound that memory. What a client has sent does not show whether it will
go on: it may stop after one byte, after half a ClientHello, or after the server's answer. So a place is given
for a limited time.

The invariants:

1. **Never more places are taken than exist.** A connection that is cut frees its place at once.
2. **A connection that has had a place for `FAIR` seconds is cut as soon as another needs the place.** The
   time counts from when it got the place, and not from its last byte: a byte now and then buys nothing.
3. **No connection waits longer than `LONGEST_WAIT` for holders that keep the server waiting**: if they hold
   more than `MOST_STALLED` of the places then, the one of them that has had its place the longest is cut,
   however short that is. So in a flood of R a second each of N places is held for N / R seconds, or for
   `PAUSE / (1 - MOST_STALLED)` if that is longer.
4. **No connection is cut for a wait that is due to the server.** If it has so much to do that the others hold
   their places for its sake, one place more would make nothing faster.
5. **Only a connection whose peer keeps the server waiting is cut**, and none whose bytes have arrived. (Over
   DTLS, and over streams that cannot tell, a whole handshake counts as a wait for the peer.)

Places are given in the order in which they were asked for. A crowd of honest clients takes turns, and none is
cut before `Timeouts.handshake`, while a round trip is shorter than `FAIR`, and than the time that the server
needs for the handshakes of `MOST_STALLED` of the places. If it is longer, the places are too few for this
crowd, and some are cut once others have waited for `LONGEST_WAIT`.

Rejected: to give places up only after a time without a byte (a byte now and then would keep them); to give up
the longest holder at once whenever all places are taken (a crowd after a restart would lose most of its own);
to count only those that compute (one does, at any time: the memory is what has to be bounded).
"""

from __future__ import annotations

import math
from typing import Final, final

import attrs
import trio

from ..model.emitter import Emitter
from ..model.events import Cause, Refused
from ..registry.registry import NEVER, Entry, Registry

#: How long a place may be held, in seconds, though others need one. A handshake needs one round trip after
#: the hello, two if the hello comes in pieces; and TCP itself begins to retransmit after one second
#: (RFC 6298, 2).
FAIR: Final = 1.0
#: How long one may have to wait, in seconds, for a place whose holder keeps the server waiting.
LONGEST_WAIT: Final = 0.5
#: Which share of the places may be held by those that keep the server waiting, though one has waited for
#: `LONGEST_WAIT`. With the defaults, a processor that computes 1,000 handshakes a second, and a round trip of
#: 0.3 s, it is 0.6 in a crowd. In a flood of clients that stop it is nearly 1.
MOST_STALLED: Final = 0.75
#: All holders were looked at: they are looked at again after so many seconds, for a look asks the kernel
#: about each.
PAUSE: Final = 0.02


@attrs.define(eq=False)
class _Turn:
    """A waiter for a place: since when, and what wakes it."""

    since: float
    alarm: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@final
class HandshakePlaces:
    """The places of one server: `most` of them. `await take(entry)`, and `give_back(entry)` in `finally`."""

    def __init__(self, most: float, registry: Registry, emitter: Emitter) -> None:
        self._most = most
        self._registry = registry
        self._emitter = emitter
        #: The holders of places, and since when: the oldest first.
        self._holders: dict[Entry, float] = {}
        #: The waiters for one, in order: only while all are taken.
        self._queue: dict[Entry, _Turn] = {}
        self._next_look = -math.inf

    @property
    def taken(self) -> int:
        """How many are held."""
        return len(self._holders)

    async def take(self, entry: Entry) -> None:
        """Take a place, when there is one. A checkpoint only if it must wait; cancelled, it has none."""
        if len(self._holders) < self._most:
            self._holders[entry] = entry.now()
            return
        turn = self._queue[entry] = _Turn(entry.now())
        try:
            while True:
                self._make_room(entry.now())
                if entry not in self._queue:
                    return
                with turn.alarm:
                    await trio.sleep_forever()
                turn.alarm = trio.CancelScope()
        except BaseException:
            if self._queue.pop(entry, None) is None:
                self.give_back(entry)  # it was given one in the same moment
            else:
                self._set_alarm()
            raise

    def give_back(self, entry: Entry) -> None:
        """Give its place to the first that waits. Nothing happens if it was given up."""
        if self._holders.pop(entry, None) is not None and self._queue:
            self._hand_on(entry.now())
            self._set_alarm()

    def _make_room(self, now: float) -> None:
        """Give up those whose time is over, one for each that waits. Looks at each holder twice at most."""
        stalled: int | None = None
        for _ in range(len(self._holders)):
            if not self._queue or now < self._next_end():
                break
            entry, since = next(iter(self._holders.items()))
            if not _is_stalled(entry):
                # By its next turn here it has had another chance to answer.
                del self._holders[entry]
                self._holders[entry] = now
                continue
            if now < since + FAIR:
                stalled = sum(map(_is_stalled, self._holders)) if stalled is None else stalled - 1
                if stalled <= self._most * MOST_STALLED:
                    break
            self._give_up(entry, now)
        else:
            self._next_look = now + PAUSE
        if stalled is not None:
            self._next_look = now + PAUSE
        self._set_alarm()

    def _next_end(self) -> float:
        """Return when the next one is to be given up for the first that waits."""
        oldest, first = next(iter(self._holders.values())), next(iter(self._queue.values()))
        return max(min(oldest + FAIR, first.since + LONGEST_WAIT), self._next_look)

    def _give_up(self, entry: Entry, now: float) -> None:
        del self._holders[entry]
        self.refuse(entry)
        self._hand_on(now)

    def refuse(self, entry: Entry) -> None:
        """Cut a connection for the sake of others that shake hands; it is counted and told as refused."""
        self._registry.tally.refused["handshakes"] += 1
        self._emitter.emit(Refused, peer=entry.peer, reason="handshakes")
        entry.cut(Cause.HANDSHAKE)

    def _hand_on(self, now: float) -> None:
        entry = next(iter(self._queue))
        self._holders[entry] = now
        self._queue.pop(entry).alarm.cancel()

    def _set_alarm(self) -> None:
        """Wake the first waiting connection when another one is to be cut for it."""
        if self._queue:
            next(iter(self._queue.values())).alarm.deadline = self._next_end()


def _is_stalled(entry: Entry) -> bool:
    """Whether the peer of a holder keeps the server waiting. If not, the holder waits for the server."""
    return entry.receive_since != NEVER and not entry.has_input()


def count_places(most: float, connections: float) -> float:
    """Return how many places there are: `most`, and so few that of the connections there may be, one is left
    to wait for a place.
    """
    return min(most, max(1, connections - 1))
