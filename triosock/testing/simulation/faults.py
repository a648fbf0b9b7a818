"""How much goes wrong: `Faults`, a value."""

from __future__ import annotations

import errno
import math
from typing import Any, Final, final

import attrs

from ..._core.model.checks import check_seconds, is_number, share

#: What accept(2) may fail with: the peer is gone, and the machine has nothing left.
ACCEPT_ERRORS: Final = (errno.ECONNABORTED, errno.EPROTO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _seconds(instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    if check_seconds(value, attribute.name, zero=True) == math.inf:
        raise ValueError(f"{attribute.name} must be finite, not {value!r}")


@final
@attrs.frozen(kw_only=True)
class Faults:
    """How much of each fault a world may have. The default is none: then only the order in which tasks run
    comes from the seed. `Faults.all()` has some of everything, `Faults.network()` what a network does.

    Of each connection, a share from 0 to 1:
      `cuts`: its bytes come in pieces that have nothing to do with how they were sent;
      `small_buffers`: few bytes fit into it, so that a send waits for the reader;
      `slow_readers`: its client waits before each receive;
      `resets`: it is reset after some byte;
      `half_closes`: its client's sending side ends after some byte;
      `partitions`: nothing arrives for a while, silently, and then everything does.

    Of each connection and datagram, in seconds (from 0 on):
      `latency`: the most that anything takes on its way, drawn for each connection;
      `jitter`: the most that one piece takes beyond that;
      `pause`: the longest partition, and the longest wait of a slow reader.

    `bandwidth` is the least that a connection has, in bytes a second, if it is a slow one (inf: none is).

    Of each accept: `accept_errors`, and `errnos`, with which of them.

    Of each run, a share from 0 to 1:
      `stalls`: the event loop stands still once, for up to `stall` seconds;
      `drains`, `suspends`, `cancels`, `crashes`: that comes over a server after some step of some task. A
      server that was suspended is resumed.

    Of each datagram: `losses`, `duplicates`, `reorders` (it comes later than those sent after it),
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
        """Return what a bad network does that loses nothing: latency, pieces, small buffers, slow readers,
        partitions. `changes` are fields.
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
        """Return some of everything. `changes` are fields."""
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
