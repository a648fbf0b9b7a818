"""The options of the supervision of workers: their time limits, how often they may crash, when they are
replaced.

Rule: every wait is bounded, and the source of a default is named beside it.
"""

from __future__ import annotations

import math
import random
from typing import Final, final

import attrs

from .._core.model.checks import count, seconds, seconds_or_zero, share

#: A share of age and requests: workers that have started together are not replaced together.
_JITTER: Final = 0.1
_CRASHES: Final[float] = 5


@final
@attrs.frozen(kw_only=True)
class Supervision:
    """How the parent treats its workers. Times are in seconds, above 0 (`settle` from 0 on), or inf.

    Args:
      ready: how long a worker may take from its start until it is ready (gunicorn's `timeout` and systemd's
        `TimeoutStartSec` have 30 and 90).
      settle: how long a successor must run after it is ready before its predecessor drains, so that new code
        that crashes at once replaces no worker.
      watchdog: a worker that has not fed the watchdog for this time is killed and replaced (gunicorn's
        `timeout`: 30). A worker that has never fed it is not.
      backoff, max_backoff: a crashed worker is replaced at once after the first crash in a row, after
        `backoff` after the second, and after twice the time at each further one, up to `max_backoff`.
      stable: the crash of a worker that was ready for this time or longer is counted as the first in a row.
      max_crashes: the service ends when every slot has had this many crashes in a row; from 1 on, or inf.
    """

    ready: float = attrs.field(default=60.0, validator=seconds)
    settle: float = attrs.field(default=0.5, validator=seconds_or_zero)
    watchdog: float = attrs.field(default=30.0, validator=seconds)
    backoff: float = attrs.field(default=0.5, validator=seconds)
    max_backoff: float = attrs.field(default=30.0, validator=seconds)
    stable: float = attrs.field(default=10.0, validator=seconds)
    max_crashes: float = attrs.field(default=_CRASHES, validator=count)

    def delay(self, crashes: int) -> float:
        """Return the seconds to wait after `crashes` crashes in a row; `crashes` is from 1 on, or 0 for
        none.
        """
        # The exponent is bounded, since a large one overflows a float.
        return min(self.max_backoff, self.backoff * 2 ** min(crashes - 2, 60)) if crashes > 1 else 0.0


@final
@attrs.frozen(kw_only=True)
class Recycle:
    """When a healthy worker is replaced, as in a rolling restart: at the first of these limits. inf is no
    limit. If its successor fails, it stays, and another successor is started `Supervision.max_backoff` later.

    Args:
      age: seconds since it was ready, above 0.
      requests: the number of requests that it has finished (`events.RequestFinished`), from 1 on.
      memory: bytes of resident memory, from 1 on; checked at each ping of the watchdog (Linux only).
      jitter: from 0 to 1. The age and requests of each worker are less by a random share up to this one, so
        that not all workers are replaced at once (gunicorn's `max_requests_jitter`).
    """

    age: float = attrs.field(default=math.inf, validator=seconds)
    requests: float = attrs.field(default=math.inf, validator=count)
    memory: float = attrs.field(default=math.inf, validator=count)
    jitter: float = attrs.field(default=_JITTER, validator=share)

    def for_one(self) -> Recycle:
        """Return the limits of one worker, with a random jitter subtracted."""
        share = 1 - self.jitter * random.random()
        requests = self.requests if self.requests == math.inf else max(1, round(self.requests * share))
        return attrs.evolve(self, age=self.age * share, requests=requests, jitter=0.0)
