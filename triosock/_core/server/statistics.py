"""The statistics of stream servers, also those of compat and DTLS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import attrs

from ..model.events import Cause


@final
@attrs.frozen(kw_only=True)
class ServerStatistics:
    """The state of a server at one moment.

    `active` connections hold a slot, `idle` of them are in an idle wait, `queued` ones wait for a slot (only
    in a drain), `peak` was the largest `active`. `accepted`, `refused` (by reason), `ended` (by `Cause`),
    `accept_errors`, `received` and `sent` (bytes) only grow, and so does `limited`: requests that came faster
    than a rate of `Limits`, by the name of that option. `suspended` and `draining` are those of the server.

    `limit` is the present maximum of active connections: `Limits.max_connections`, or less with
    `Limits.adaptive`, which does not count those that only wait for their peers to close. `lag` is the time
    in seconds for which a new connection or task waits for the event loop, and `shedding` says whether new
    connections are refused because of it. They are inf, 0.0 and False for DTLS and compat servers, which do
    not measure them.
    """

    active: int
    idle: int
    queued: int
    peak: int
    accepted: int
    ended: Mapping[Cause, int]
    refused: Mapping[str, int]
    accept_errors: int
    received: int
    sent: int
    suspended: bool
    draining: bool
    limit: float = math.inf
    lag: float = 0.0
    shedding: bool = False
    limited: Mapping[str, int] = attrs.field(factory=dict)
