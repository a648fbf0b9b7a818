"""A limit that is found and not given: `AdaptiveLimit` as a value. `registry/gradient.py` finds it."""

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
    """Let a server find its best number of concurrent connections: ``Limits(adaptive=…)``.

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
      min_connections: the least that the limit may be, an int from 1 on.
      max_connections: the most, an int from `min_connections` on, or `math.inf`; `Limits.max_connections`
        holds as well.
      buffer: by which share of the ideal a latency may be longer without anything being wrong, from 0 on.
      update_every: the limit is set once in so many seconds, or once in two latencies if that is longer, by
        ten latencies or more; after ten times as long whatever there is must do.
      remeasure_every: the ideal is measured anew after so many seconds (up to 15 % more, drawn by chance),
        and when it is doubted, as above or since the limit has been at its least for five updates.
      samples: of how many latencies the ideal is the median, an int from 1 on.

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
