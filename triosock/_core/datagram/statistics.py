"""The state of a datagram server at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, final

import attrs

from ..model.events import Cause
from ..server.base_server import Server


@final
@attrs.frozen(kw_only=True)
class DatagramStatistics:
    """The state of a datagram server at one moment.

    `active` handlers (or sessions) are running, `idle` sessions wait for their next datagram, `queued` ones
    wait for a slot, `peak` was the largest `active`. `pending` datagrams were received and are neither
    handled nor dropped yet.

    All others only grow. `received`, `handled` (taken by a handler) and `dropped` (by reason) are datagrams,
    and ``received == handled + sum(dropped.values()) + pending``; `lost` were dropped by the kernel,
    whose queue was full. `truncated` were cut at `max_bytes`, `sent` were sent; `received_bytes` and
    `sent_bytes` are their sizes. `ended` counts handlers (or sessions) by `Cause`, `receive_errors`
    the errors of receiving.

    The reasons in `dropped`: "full" (`Limits.max_pending_datagrams`), "share" (what one peer may have of
    that), "peer" and "network" (the limits per peer and network), "sessions" (`Sessions.max`), "buffer"
    (`Sessions.buffer`), "unread" (left by a session that ended), "drain" (no turn before the grace was over),
    "late" (came after the drain had begun), "closed" (the server was cancelled); and the options of `Limits`
    with a rate that was reached, such as "datagram_rate_per_peer" (too many datagrams) and "rate_per_peer"
    (too many new sessions).
    """

    active: int
    idle: int
    queued: int
    peak: int
    pending: int
    received: int
    handled: int
    dropped: Mapping[str, int]
    lost: int
    truncated: int
    sent: int
    received_bytes: int
    sent_bytes: int
    ended: Mapping[Cause, int]
    receive_errors: int
    suspended: bool
    draining: bool


#: A `DatagramServer`, as those know it that it is made of.
DatagramOwner: TypeAlias = Server[DatagramStatistics]
