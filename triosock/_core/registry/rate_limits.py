"""The rates of one kind of work: for all, for each network, for each peer.

The invariants:

1. **Refused work takes no token**: not of the rate that refuses it, and not of the others.
2. **A peer is one int**, since there may be very many.
"""

from __future__ import annotations

import socket
from collections.abc import Hashable, Mapping
from typing import Final, Literal, TypeAlias, final

import trio

from ..model.addresses import Address, TcpAddress, UdpAddress
from ..model.config import Limits
from ..model.emitter import Emitter
from ..model.events import RateReached
from .rate_table import RateTable

#: The beginning of the names of three fields of `Limits`.
Kind: TypeAlias = Literal["rate", "request_rate", "datagram_rate"]
#: The options of `Limits` that hold a rate.
RateOption: TypeAlias = (
    Kind
    | Literal["rate_per_peer", "rate_per_network"]
    | Literal["request_rate_per_peer", "request_rate_per_network"]
    | Literal["datagram_rate_per_peer", "datagram_rate_per_network"]
)
#: For each kind the options that count by peer or network.
_OPTIONS: Final[Mapping[Kind, tuple[RateOption, RateOption]]] = {
    "rate": ("rate_per_peer", "rate_per_network"),
    "request_rate": ("request_rate_per_peer", "request_rate_per_network"),
    "datagram_rate": ("datagram_rate_per_peer", "datagram_rate_per_network"),
}
#: Under which keys the tables know a peer: itself, and its network.
RateKeys: TypeAlias = tuple[Hashable, Hashable]

#: The one key of the table of all.
_ALL: Final = 0
#: A v4 client of a v6 socket (RFC 4291, 2.5.5.2).
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"


@final
class RateLimits:
    """The rates in `Limits` of one kind of work."""

    def __init__(self, limits: Limits, kind: Kind) -> None:
        total = getattr(limits, kind)
        self._prefix = limits.network_prefix
        self._total = None if total is None else RateTable(total, 1)
        #: The rates per peer and network: the name of the option, the place of the key, the table.
        self._tables: list[tuple[RateOption, int, RateTable]] = []
        for place, name in enumerate(_OPTIONS[kind]):
            rate = getattr(limits, name)
            if rate is not None:
                self._tables.append((name, place, RateTable(rate, limits.max_rate_peers)))
        self._kind: Kind = kind

    @property
    def needs_keys(self) -> bool:
        """Whether any of them is per peer or per network."""
        return bool(self._tables)

    @property
    def has_total(self) -> bool:
        """Whether there is one for all."""
        return self._total is not None

    def keys_of(self, peer: Address, user: int | None = None) -> RateKeys:
        """Return the keys of a peer; `user` is that of a Unix socket's other end, if it is known."""
        if isinstance(peer, (TcpAddress, UdpAddress)):
            return keys_of_host(peer.host, self._prefix)
        name = ("user", user) if user is not None else str(peer)
        return (name, name)

    def keys_of_host(self, host: Hashable) -> RateKeys:
        """Return the keys of a host by its IP address, or of whatever else names a peer."""
        return keys_of_host(host, self._prefix) if isinstance(host, str) else (host, host)

    def total_delay(self, now: float) -> float:
        """Return in how many seconds one more may come by the rate for all."""
        return 0.0 if self._total is None else self._total.delay(_ALL, now)

    def wait_for(
        self, now: float, rate_keys: RateKeys | None, *, total: bool = True
    ) -> tuple[float, RateOption]:
        """Return in how many seconds one more may come (0.0 if now), and the option that makes it wait.

        Args: `rate_keys`, None to ignore the rates of peers and networks; `total`, False to ignore the total
        rate.
        """
        name: RateOption
        longest, name = (self.total_delay(now) if total else 0.0), self._kind
        if rate_keys is not None:
            for option, place, table in self._tables:
                delay = table.delay(rate_keys[place], now)
                if delay > longest:
                    longest, name = delay, option
        return longest, name

    def take(self, now: float, rate_keys: RateKeys | None, *, total: bool = True) -> None:
        """Count one more. Args: as for `wait_for`."""
        if total and self._total is not None:
            self._total.take(_ALL, now)
        if rate_keys is not None:
            for _, place, table in self._tables:
                table.take(rate_keys[place], now)

    def refusal(self, now: float, rate_keys: RateKeys | None, *, total: bool = True) -> RateOption | None:
        """Count one more and return None, or the option that refuses it. Args: as for `wait_for`."""
        delay, name = self.wait_for(now, rate_keys, total=total)
        if delay:
            return name
        self.take(now, rate_keys, total=total)
        return None


def rates_of(limits: Limits, kind: Kind) -> RateLimits | None:
    """Return the rates of one kind of work; None if there are none."""
    rates = RateLimits(limits, kind)
    return rates if rates.has_total or rates.needs_keys else None


def keys_of_host(host: str, prefix: tuple[int, int]) -> RateKeys:
    """Return the keys of an IP address and its network; a host that is none is its own.

    IPv6 is below zero, so that no key of one family is one of the other.
    """
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    except (OSError, ValueError):
        return (host, host)
    if packed.startswith(_MAPPED) and len(packed) == 16:
        packed = packed[12:]
    number = int.from_bytes(packed, "big")
    if len(packed) == 4:
        return (number, number >> (32 - prefix[0]))
    return (-1 - number, -1 - (number >> (128 - prefix[1])))


def make_accept_pacer(rates: RateLimits | None, limits: Limits, emitter: Emitter) -> AcceptPacer | None:
    """Return what keeps accept loops to the rate of all connections; None if those too many do not wait."""
    waits = rates is not None and rates.has_total and limits.overflow == "wait"
    return AcceptPacer(rates, emitter) if rates is not None and waits else None


@final
class AcceptPacer:
    """Keeps the accept loops of a server, which share it, to the rate of all connections: an accept waits
    until the rate allows it.
    """

    def __init__(self, rates: RateLimits, emitter: Emitter) -> None:
        self._rates = rates
        self._emitter = emitter
        self._is_told = False
        self._waiting = 0

    @property
    def is_waiting(self) -> bool:
        """Whether an accept loop waits until the rate allows an accept."""
        return self._waiting > 0

    def is_due(self) -> bool:
        """Whether one more may be taken now."""
        return not self._rates.total_delay(trio.current_time())

    async def wait(self) -> None:
        """Return when the next connection may be accepted. A checkpoint only if it must wait."""
        if self.is_due():
            self._is_told = False
        while delay := self._rates.total_delay(trio.current_time()):
            if not self._is_told:
                self._is_told = True
                self._emitter.emit(RateReached, limit="rate", delay=delay)
            self._waiting += 1
            try:
                await trio.sleep(delay)
            finally:
                self._waiting -= 1
