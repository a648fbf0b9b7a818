"""Counts over the life of a server."""

from __future__ import annotations

import collections

import attrs

from ..model.events import Cause


@attrs.define(slots=True)
class Tally:
    """The counters of one server that only grow."""

    accepted: int = 0
    peak: int = 0
    ended: collections.Counter[Cause] = attrs.field(factory=collections.Counter)
    #: Of those that ended by IDLE: the ones whose idle wait ended as at the end of the stream, and were not
    #: cut.
    idled: int = 0
    #: Of those that ended by OVERFLOW: the ones that were closed after their PROXY header, without a handler.
    turned_away: int = 0
    refused: collections.Counter[str] = attrs.field(factory=collections.Counter)
    #: Requests that came faster than a rate, by its option.
    limited: collections.Counter[str] = attrs.field(factory=collections.Counter)
    accept_errors: int = 0
    received: int = 0
    sent: int = 0
