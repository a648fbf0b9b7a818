"""What is counted over the life of a server."""

from __future__ import annotations

import collections

import attrs

from ..model.events import Cause


@attrs.define(slots=True)
class Tally:
    """What is only ever counted up, over the life of one server."""

    accepted: int = 0
    peak: int = 0
    ended: collections.Counter[Cause] = attrs.field(factory=collections.Counter)
    #: Of those that ended by IDLE: the ones that were let go, like at the end of the stream, and not cut.
    idled: int = 0
    refused: collections.Counter[str] = attrs.field(factory=collections.Counter)
    #: Requests that came faster than a rate, by its option.
    limited: collections.Counter[str] = attrs.field(factory=collections.Counter)
    accept_errors: int = 0
    received: int = 0
    sent: int = 0
