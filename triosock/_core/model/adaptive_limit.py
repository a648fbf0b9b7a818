"""`AdaptiveLimit`: the options of a limit that follows latency. `registry/gradient.py` computes the limit."""

from __future__ import annotations

import math
from typing import final

import attrs

from .checks import T, check_count, count, is_number, seconds


def _finite_count(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if check_count(value, attribute.name) == math.inf:
        raise ValueError(f"{attribute.name} must be finite")


def _check_buffer(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if not is_number(value):
        raise TypeError(f"buffer must be a number from 0 on, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"buffer must be a finite number from 0 on, not {value!r}")


@final
@attrs.frozen(kw_only=True)
class AdaptiveLimit:
    """The options of a limit of concurrent connections that a server adapts to latency:
    ``Limits(adaptive=…)``.

    For servers whose connections, or the requests on them, are many and short. From time to time the limit is
    lowered to `min_connections`, and the latency that is measured then, with hardly any load, is the ideal
    one. Between these times the limit follows the ratio of the two, the gradient: it grows while latency is
    near the ideal, and shrinks when latency grows, which means that connections wait. `Limits.overflow` says
    what happens beyond the limit; take "reject" or a function, since others would wait in the kernel's queue
    instead.

    A connection is counted until its handler ends, and not while the server waits for its peer to close. When
    the limit has fallen by half, and latency has not, the ideal is measured anew: everything has become
    slower, and no connection waits for others.

    A latency is the time of a request, where a handler marks them (`lines()`, `frames()`, `conn.request()`,
    `wait_request()`), and otherwise that of the whole connection, from its accept to the end of the handler.

    Args:
      min_connections: the minimum of the limit, an int from 1 on.
      max_connections: the maximum of the limit, an int from `min_connections` on, or `math.inf`;
        `Limits.max_connections` applies as well.
      buffer: the share of the ideal, from 0 on, by which a latency may be longer than the ideal without
        lowering the limit.
      update_every: seconds between two changes of the limit, or two latencies if that is longer. A change
        needs ten latencies; after ten times this time it uses those that there are.
      remeasure_every: seconds after which the ideal is measured again (up to 15 % more, at random). It is
        also measured again if it may be outdated, as above, or if the limit was at its minimum for five
      changes. samples: the number of latencies whose median is the ideal, an int from 1 on.

    The defaults and rules are those of the gradient controller in Envoy's adaptive concurrency filter, whose
    ancestors are Netflix's concurrency-limits and, for the comparison with an ideal time, TCP Vegas (Brakmo,
    O'Malley, Peterson, SIGCOMM 1994). From Netflix's are the windows, and the rule that a limit of which not
    half is used does not grow.

    Raises: TypeError, ValueError, which name the argument.
    """

    min_connections: int = attrs.field(default=3, validator=_finite_count)
    max_connections: float = attrs.field(default=1000, validator=count)
    buffer: float = attrs.field(default=0.25, validator=_check_buffer)
    update_every: float = attrs.field(default=0.1, validator=seconds)
    remeasure_every: float = attrs.field(default=60.0, validator=seconds)
    samples: int = attrs.field(default=50, validator=_finite_count)

    def __attrs_post_init__(self) -> None:
        if self.max_connections < self.min_connections:
            raise ValueError(
                f"max_connections must be from min_connections ({self.min_connections}) on, "
                f"not {self.max_connections}"
            )
