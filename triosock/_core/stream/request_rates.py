"""Rates of requests (`Limits.request_rate` and its kind): each connection has a meter if there is one.

The invariants:

1. **A request takes one token**: by the first of `lines()`, `frames()`, `wait_request()` and `request()` that
   meets it. If the wait is cancelled, the request keeps its token and its time.
2. **A request that waits is in the buffer**, so a cancelled wait loses nothing.
3. **The order is that of arrival**: each request gets its time when it begins, and its task wakes once.
"""

from __future__ import annotations

from typing import Protocol, final

import trio

from ..model.addresses import Address
from ..model.emitter import Emitter
from ..model.errors import RateExceeded
from ..model.events import RateReached
from ..model.peer_credentials import user_of
from ..registry.rate_limits import RateKeys, RateLimits
from ..registry.registry import Registry
from ..transport.socket import SocketWire
from ..transport.stream_adapter import StreamWire


class RequestSource(Protocol):
    """The part of a `RequestState` that a meter reads."""

    @property
    def peer(self) -> Address:
        """The client."""
        raise NotImplementedError

    @property
    def wire(self) -> SocketWire | StreamWire:
        """What carries the bytes."""
        raise NotImplementedError


@final
class RequestRates:
    """The rates of requests of one server."""

    def __init__(self, rates: RateLimits, registry: Registry, emitter: Emitter) -> None:
        self.rates = rates
        self.waits: bool = registry.limits.request_overflow == "wait"
        self._tally = registry.tally
        self._emitter = emitter

    def tell(self, limit: str, state: RequestSource, delay: float | None) -> None:
        """Count a request that has come too early, and emit `RateReached`."""
        self._tally.limited[limit] += 1
        if self._emitter.takers(RateReached):
            self._emitter.emit(RateReached, limit=limit, peer=state.peer, delay=delay)


@final
class RequestMeter:
    """What one connection has taken of the rates."""

    __slots__ = ("_rate_keys", "_rates", "_turn", "has_token")

    def __init__(self, rates: RequestRates) -> None:
        self._rates = rates
        self._rate_keys: RateKeys | None = None
        #: When the request that has begun is due; None before a token was taken.
        self._turn: float | None = None
        #: Whether it has its token. Reset at the end of the request.
        self.has_token: bool = False

    async def wait_due(self, state: RequestSource) -> None:
        """Return when the request that has begun is due. A checkpoint only if it must wait.

        Raises: RateExceeded, with ``request_overflow="reject"``; nothing was taken then.
        """
        if self.has_token:
            return
        now = trio.current_time()
        if self._turn is None:
            self._turn = now + self._take(state, now)
        if self._turn > now:
            await trio.sleep_until(self._turn)
        self._turn = None
        self.has_token = True

    def _take(self, state: RequestSource, now: float) -> float:
        """Take a token; return in how many seconds it counts."""
        ours = self._rates
        if self._rate_keys is None:  # not earlier: a PROXY header may change the client's address
            self._rate_keys = ours.rates.keys_of(state.peer, user_of(state.wire.transport))
        delay, limit = ours.rates.wait_for(now, self._rate_keys)
        if delay:
            ours.tell(limit, state, delay if ours.waits else None)
            if not ours.waits:
                raise RateExceeded(limit, delay)._of(state)
        ours.rates.take(now, self._rate_keys)
        return delay
