"""Whether new work is refused because the loop is late: `Limits.max_lag`.

The invariants:

1. **One pause is no overload.** It begins with two samples of the lag in a row that are above the limit, or
   with a queue that has not once been empty for longer than the limit. (A queue that empties is a burst, one
   that stands is overload: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012.)
2. **No more connections are accepted at once than can run in time**: when a queue stands, the accept loop
   takes as many in a batch as ran in a quarter of the limit. A larger batch would itself make the loop late.
3. **It ends lower than it begins**: with a sample below half of the limit, and no queue that stands. So it
   does not go on and off with each connection.
4. **It is reported once**: under lasting load it goes on and off some times in a second, each time until the
   queue is empty. All of that is one overload, which ends after `QUIET` seconds without a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

from ..model.events import SheddingEnded, SheddingStarted
from .loop_lag import LagMeter

#: How many are accepted in one go at most before others get their turn; Twisted, tornado and gevent take
#: about as many.
BATCH: Final = 100
#: The first batch, before their time is known: it doubles with each batch that takes little time.
FIRST_BATCH: Final = 10
#: Seconds without a refusal after which it is over.
QUIET: Final = 1.0


@final
class Shedding:
    """Whether one server sheds new work now: `is_on`."""

    __slots__ = (
        "_batch", "_clock", "_emit", "_ended", "_high", "_is_told", "_meter", "_since", "_stands",
        "_was_above", "is_on", "refused",
    )  # fmt: skip

    def __init__(
        self, max_lag: float, meter: LagMeter, emit: Callable[..., object], clock: Callable[[], float]
    ) -> None:
        self.is_on: bool = False
        #: How many were refused in this overload.
        self.refused: int = 0
        self._high = max_lag
        self._batch = BATCH if max_lag == math.inf else FIRST_BATCH
        self._meter = meter
        self._emit = emit
        self._clock = clock
        #: When this overload began, and when shedding last ended. `_is_told`: its end is not reported yet.
        self._since = self._ended = 0.0
        self._is_told = False
        self._was_above = False
        self._stands = False
        meter.tell = self.note_lag

    @property
    def batch(self) -> int:
        """The number of connections that an accept loop accepts at once; a refusal is cheap."""
        return BATCH if self.is_on else self._batch

    def note_pass(self, seconds: float) -> None:
        """Note the time in which the loop ran all ready tasks, a batch from a standing queue among them."""
        if self.is_on:
            return  # the batch was refused, and its tasks did not run
        fitting = self._batch * self._high / 4 / seconds if seconds > 0 else BATCH
        self._batch = int(min(max(fitting, 1), 2 * self._batch, BATCH))

    def note_lag(self, lag: float) -> None:
        """Note a sample of the loop's lag."""
        stands, self._stands = self._stands, False
        if self.is_on:
            if lag < self._high / 2 and not stands:
                self._end()
        elif lag > self._high:
            if self._was_above:
                self._begin(lag)
            self._was_above = True
        else:
            self._was_above = False
            if self._is_told and self._clock() - self._ended >= QUIET:
                self._tell_end()

    def note_queue(self, age: float) -> None:
        """Note that the queue has not been empty for `age` seconds."""
        self._stands = True
        if age > self._high and not self.is_on:
            self._begin(age)

    def _begin(self, lag: float) -> None:
        now = self._clock()
        # Connections in the queue now are refused at once, and do not keep it on.
        self.is_on, self._stands = True, False
        self._meter.sample_often(now)
        if not self._is_told:
            self._is_told = self._meter.stays = True
            self._since, self.refused = now, 0
            self._emit(SheddingStarted, lag=lag)

    def _end(self) -> None:
        self.is_on = self._was_above = self._meter.samples_often = False
        self._ended = self._clock()

    def _tell_end(self) -> None:
        self._is_told = self._meter.stays = False
        self._emit(SheddingEnded, duration=self._ended - self._since, refused=self.refused)
