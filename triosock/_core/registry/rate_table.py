"""The token buckets of one rate: one number for each peer, in a table of bounded size.

A token bucket needs two numbers, its tokens and when they were counted. Here it is one: **when the bucket
will be full again** (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371). A
bucket with that time in the past is full; each token that is taken moves it one interval further; and one
more may be taken while it is no further away than the tokens of a burst but one.

The invariants:

1. **A full bucket needs no entry.** It equals one that was never used, so it may be forgotten at any time.
2. **The table never has more than `most` entries**, and each call looks at a few of them only, whatever peers
   do.
3. **The peer that used most is forgotten last.** When the table is full and a new peer comes, the fullest of
   eight buckets that are drawn at random is removed: forgetting it gives back the fewest tokens.

A flood of made-up sources fills the table with buckets that lack one token, and these push each other out; a
peer that has emptied its own stays. To have that one forgotten, an attacker would have to fill nearly the
whole table with buckets as empty as it, which costs more tokens than are won. An honest peer that is
forgotten has lost nothing: its bucket is full again. Drawing by chance is what Redis does
(maxmemory-samples): to keep all in order would cost memory and time. Rejected: to forget the least recently
used, since one datagram each from `most` sources then resets everybody; and to refuse new peers, since a
flood then locks all others out.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Final, final

from ..model.rate import Rate

#: How many are drawn when one must be removed.
DRAWN: Final = 8
#: How many are checked, and forgotten if they are full, when a new peer comes.
SWEPT: Final = 2


@final
class RateTable:
    """The buckets of one `rate`, by key; `most` of them at a time. Times are those of trio's clock."""

    __slots__ = ("_full_at", "_interval", "_keys", "_most", "_reach", "_slack")

    def __init__(self, rate: Rate, most: float) -> None:
        self._interval = rate.interval
        #: How far away the time may be at which the bucket is full, for one more to be taken now.
        self._reach = (rate.burst - 1) * self._interval
        #: The tolerance for sums of floats; less than an interval, so that it never lets one more through.
        self._slack = self._interval / 1000
        self._most = most
        self._full_at: dict[Hashable, float] = {}
        #: The same keys, to draw from.
        self._keys: list[Hashable] = []

    def __len__(self) -> int:
        return len(self._keys)

    def delay(self, key: Hashable, now: float) -> float:
        """Return in how many seconds one more may be taken; 0.0 if it may now."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0.0
        early = full_at - now - self._reach
        return early if early > self._slack else 0.0

    def take(self, key: Hashable, now: float) -> None:
        """Take one, also if there is none: then those who come next wait for that one, too."""
        full_at = self._full_at.get(key)
        if full_at is not None:
            self._full_at[key] = max(full_at, now) + self._interval
            return
        self._make_room(now)
        self._full_at[key] = now + self._interval
        self._keys.append(key)

    def _make_room(self, now: float) -> None:
        keys, full_at = self._keys, self._full_at
        for _ in range(min(SWEPT, len(keys))):
            drawn = random.randrange(len(keys))
            if full_at[keys[drawn]] <= now:
                self._forget(drawn)
        if len(keys) >= self._most:
            candidates = [random.randrange(len(keys)) for _ in range(DRAWN)]
            self._forget(min(candidates, key=lambda one: full_at[keys[one]]))

    def _forget(self, place: int) -> None:
        keys = self._keys
        del self._full_at[keys[place]]
        last = keys.pop()
        if place < len(keys):
            keys[place] = last
