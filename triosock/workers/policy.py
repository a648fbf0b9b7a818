"""How long workers may take, how often they may fail, and when they are replaced: values, validated.

Rule: every wait is bounded, and every default says where it comes from.
"""

from __future__ import annotations

import math
import random
from typing import Final, final

import attrs

from .._core.model.checks import count, seconds, seconds_or_zero, share

#: With the jitter, so that workers that started together are not replaced together.
_JITTER: Final = 0.1
_CRASHES: Final[float] = 5


@final
@attrs.frozen(kw_only=True)
class Supervision:
    """How the parent treats its workers. Times are in seconds, above 0 (`settle` from 0 on), or inf.

    Args:
      ready: how long a worker may take from its start until it is ready (gunicorn's `timeout` and systemd's
        `TimeoutStartSec` have 30 and 90).
      settle: how long a successor must live after it is ready before its predecessor drains. A deploy that
        crashes at once then changes nothing.
      watchdog: a worker whose event loop has not turned for so long is killed and replaced (gunicorn's
        `timeout`: 30). A program that never feeds the watchdog has none.
      backoff, max_backoff: a slot whose worker crashed gets the next one at once, after a second crash in a
        row `backoff` later, and twice as much each time, up to `max_backoff`.
      stable: a worker that was ready for so long has not crashed in a row with the last one.
      max_crashes: after so many crashes in a row in every slot the service ends.
    """

    ready: float = attrs.field(default=60.0, validator=seconds)
    settle: float = attrs.field(default=0.5, validator=seconds_or_zero)
    watchdog: float = attrs.field(default=30.0, validator=seconds)
    backoff: float = attrs.field(default=0.5, validator=seconds)
    max_backoff: float = attrs.field(default=30.0, validator=seconds)
    stable: float = attrs.field(default=10.0, validator=seconds)
    max_crashes: float = attrs.field(default=_CRASHES, validator=count)

    def delay(self, crashes: int) -> float:
        """Return how long to wait after so many crashes in a row, from 1 on."""
        # The exponent is bounded, for a float is.
        return min(self.max_backoff, self.backoff * 2 ** min(crashes - 2, 60)) if crashes > 1 else 0.0


@final
@attrs.frozen(kw_only=True)
class Recycle:
    """When a healthy worker is replaced, as on a rolling restart: at the first of these. inf for never.

    Args:
      age: seconds since it was ready.
      requests: how many it has finished (`events.RequestFinished`).
      memory: bytes of resident memory, looked at with each of its watchdog's pings (Linux).
      jitter: each worker's own age and requests are less than these by up to this share, at random, so that
        not all are replaced at once (gunicorn's `max_requests_jitter`).
    """

    age: float = attrs.field(default=math.inf, validator=seconds)
    requests: float = attrs.field(default=math.inf, validator=count)
    memory: float = attrs.field(default=math.inf, validator=count)
    jitter: float = attrs.field(default=_JITTER, validator=share)

    def for_one(self) -> Recycle:
        """Return the limits of one worker, with its jitter taken off."""
        share = 1 - self.jitter * random.random()
        requests = self.requests if self.requests == math.inf else max(1, round(self.requests * share))
        return attrs.evolve(self, age=self.age * share, requests=requests, jitter=0.0)
