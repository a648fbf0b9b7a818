"""The amount of each fault in a world: `Faults`."""

from __future__ import annotations

import errno
import math
from typing import Any, Final, final

import attrs

from ..._core.model.checks import check_seconds, is_number, share

#: Errors of accept(2): the peer has disconnected, or the machine has no resources.
ACCEPT_ERRORS: Final = (errno.ECONNABORTED, errno.EPROTO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _seconds(instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    if check_seconds(value, attribute.name, zero=True) == math.inf:
        raise ValueError(f"{attribute.name} must be finite, not {value!r}")


@final
@attrs.frozen(kw_only=True)
class Faults:
    """The amount of each fault in a world. The default is none: then only the order of tasks comes from the
    seed. `Faults.all()` has some of each, `Faults.network()` those of a network.

    Of each connection, a share from 0 to 1:
      `cuts`: its bytes are split into other pieces than were sent;
      `small_buffers`: its buffer is small, so that a send waits for the reader;
      `slow_readers`: its client waits before each receive;
      `resets`: it is reset after some byte;
      `half_closes`: its client's sending side ends after some byte;
      `partitions`: nothing arrives for a while, without an error, and then everything does.

    Of each connection and datagram, in seconds (from 0 on):
      `latency`: the maximum of the travel time, drawn for each connection;
      `jitter`: the maximum of the additional time of one piece;
      `pause`: the longest partition, and the longest wait of a slow reader.

    `bandwidth` is the minimum bandwidth of a slow connection, in bytes a second, above 0; inf if none is
    slow.

    Of each accept: `accept_errors`, a share from 0 to 1, with the errors in `errnos`.

    Of each run, a share from 0 to 1:
      `stalls`: the event loop is blocked once, for up to `stall` seconds;
      `drains`, `suspends` (and resumes), `cancels`, `crashes`: of a server, after some step of some task.

    Of each datagram: `losses`, `duplicates`, `reorders` (it arrives after datagrams sent later),
    `truncations` (its end is missing).
    """

    cuts: float = attrs.field(default=0.0, validator=share)
    small_buffers: float = attrs.field(default=0.0, validator=share)
    slow_readers: float = attrs.field(default=0.0, validator=share)
    resets: float = attrs.field(default=0.0, validator=share)
    half_closes: float = attrs.field(default=0.0, validator=share)
    partitions: float = attrs.field(default=0.0, validator=share)
    latency: float = attrs.field(default=0.0, validator=_seconds)
    jitter: float = attrs.field(default=0.0, validator=_seconds)
    pause: float = attrs.field(default=5.0, validator=_seconds)
    bandwidth: float = attrs.field(default=math.inf)
    accept_errors: float = attrs.field(default=0.0, validator=share)
    errnos: tuple[int, ...] = ACCEPT_ERRORS
    stalls: float = attrs.field(default=0.0, validator=share)
    stall: float = attrs.field(default=2.0, validator=_seconds)
    drains: float = attrs.field(default=0.0, validator=share)
    suspends: float = attrs.field(default=0.0, validator=share)
    cancels: float = attrs.field(default=0.0, validator=share)
    crashes: float = attrs.field(default=0.0, validator=share)
    losses: float = attrs.field(default=0.0, validator=share)
    duplicates: float = attrs.field(default=0.0, validator=share)
    reorders: float = attrs.field(default=0.0, validator=share)
    truncations: float = attrs.field(default=0.0, validator=share)

    def __attrs_post_init__(self) -> None:
        if not is_number(self.bandwidth) or not self.bandwidth > 0:
            raise ValueError(f"bandwidth must be bytes a second, more than 0, not {self.bandwidth!r}")
        if not self.errnos or not all(isinstance(one, int) for one in self.errnos):
            raise ValueError(f"errnos must be numbers of errno, at least one, not {self.errnos!r}")

    @classmethod
    def network(cls, **changes: Any) -> Faults:
        """Return the faults of a bad network that loses nothing: latency, low bandwidth, split data, small
        buffers, slow readers, partitions, datagrams out of order. `changes` are fields.
        """
        return attrs.evolve(
            cls(
                cuts=0.5,
                small_buffers=0.3,
                slow_readers=0.2,
                partitions=0.1,
                latency=0.2,
                jitter=0.05,
                bandwidth=20_000,
                reorders=0.1,
            ),
            **changes,
        )

    @classmethod
    def all(cls, **changes: Any) -> Faults:
        """Return some of each fault, those of servers and of the loop included. `changes` are fields."""
        return attrs.evolve(
            cls.network(
                resets=0.1,
                half_closes=0.05,
                accept_errors=0.1,
                stalls=0.3,
                drains=0.3,
                suspends=0.2,
                cancels=0.1,
                crashes=0.1,
                losses=0.1,
                duplicates=0.1,
                truncations=0.05,
            ),
            **changes,
        )
