"""What happened: frozen event classes, the causes for which things end, and the Observer protocol.

Rules of this file:

1. Nothing is logged or measured here; consumers live in `triosock.observe`.
2. The words of `Cause` are the same in closing events, counters, reports and in trio's own cancel reasons.
"""

from __future__ import annotations

import enum
from typing import Protocol, final, runtime_checkable

import attrs

from .addresses import Address
from .config import Timeouts


class Cause(enum.StrEnum):
    """Why a connection or request ended."""

    #: The handler returned.
    FINISHED = "finished"
    #: The handler raised an exception that was not the peer's doing.
    FAILED = "failed"
    #: The peer went away in the middle, or broke a rule of the protocol.
    PEER = "peer"
    #: Still busy when the grace of a drain was over.
    DRAIN = "drain deadline"
    #: `Timeouts.idle` was over.
    IDLE = "idle"
    #: `Timeouts.request` was over.
    REQUEST = "request"
    #: `Timeouts.send` was over.
    SEND = "send"
    #: `Timeouts.handshake` was over, or the handshake failed.
    HANDSHAKE = "handshake"
    #: A cancellation from around the server.
    PARENT = "parent"
    #: One too many for `Limits`: served by the overflow handler, if there is one, and closed.
    OVERFLOW = "overflow"

    __hash__ = str.__hash__  # an Enum's own is a Python function, and one is counted for each connection


@attrs.frozen(kw_only=True)
class Event:
    """What all events say: the name of the `server`, and the `time` in seconds of trio's clock
    (`trio.current_time`).
    """

    server: str
    time: float


@attrs.frozen(kw_only=True)
class ConnectionEvent(Event):
    """What all events of one connection say: its number (`connection`, unique in its server) and its
    `peer`.
    """

    connection: int
    peer: Address


@final
@attrs.frozen(kw_only=True)
class ServerStarted(Event):
    """The server is listening on `addresses`. Its connections have these `timeouts` (None: a compat server),
    with `session_idle` (`Sessions.idle`) for `Timeouts.idle`, and `lifetime` seconds in all
    (`Policy.request_timeout`).
    """

    addresses: tuple[Address, ...]
    timeouts: Timeouts | None = None
    session_idle: float | None = None
    lifetime: float | None = None


@final
@attrs.frozen(kw_only=True)
class ServerSuspended(Event):
    """`suspend()`: nothing is accepted until `resume()`; new connections wait in the kernel's queue."""


@final
@attrs.frozen(kw_only=True)
class ServerResumed(Event):
    """`resume()`: accepting again."""


@final
@attrs.frozen(kw_only=True)
class ListenerClosed(Event):
    """The listener on `address` is closed, by the server or from outside."""

    address: Address


@final
@attrs.frozen(kw_only=True)
class AcceptFailed(Event):
    """`accept` failed with `error` on `address`; `action` is "go on", "back off" (for `delay` seconds), "end"
    or "crash".
    """

    address: Address
    error: BaseException
    action: str
    delay: float = 0.0


@final
@attrs.frozen(kw_only=True)
class LimitReached(Event):
    """`max_connections` are being served: what comes now waits or is turned away, until one of them ends."""

    active: int


@final
@attrs.frozen(kw_only=True)
class RateReached(Event):
    """Work came faster than a rate allows: `limit` is the option of `Limits` that says so. It waits for
    `delay` seconds; None: a request was refused.

    For the rate of all connections it is emitted when the first one must wait, and again only after one did
    not have to; `peer` is then None. For requests it is emitted each time.
    """

    limit: str
    peer: Address | None = None
    delay: float | None = None


@final
@attrs.frozen(kw_only=True)
class SheddingStarted(Event):
    """The loop was late by `lag` seconds, more than `Limits.max_lag`: new connections are refused until the
    server has caught up. Refusing may start and stop many times during one load; this is emitted once.
    """

    lag: float


@final
@attrs.frozen(kw_only=True)
class SheddingEnded(Event):
    """The server has caught up, after `duration` seconds in which `refused` connections were turned away, and
    one more in which none was. Not emitted if the server ends before.
    """

    duration: float
    refused: int


@final
@attrs.frozen(kw_only=True)
class Refused(Event):
    """A connection was refused: it is closed, or given to the overflow handler. `reason`: "connections",
    "peer", "network" or "proxy" (the limit that was reached); "drain"; "lag" (`Limits.max_lag`);
    "handshakes": it kept the server waiting before or in its handshake, and another one came
    (`Limits.max_handshakes`); or the option of `Limits` with the rate that was reached, such as
    "rate_per_peer".
    """

    peer: Address
    reason: str


@final
@attrs.frozen(kw_only=True)
class ConnectionOpened(ConnectionEvent):
    """Accepted and counted; its task is about to start. `local` is the address that the peer connected to."""

    local: Address


@final
@attrs.frozen(kw_only=True)
class HandshakeFinished(ConnectionEvent):
    """PROXY header and TLS handshake are done, `duration` seconds after the accept; `peer` is the one the
    header named. `tls_version` is as in `TlsInfo`, and "DTLS" for each version of that. Not emitted
    for TLS that a handler begins (`Connection.start_tls`).
    """

    duration: float
    tls_version: str | None = None
    cipher: str | None = None
    alpn: str | None = None


@final
@attrs.frozen(kw_only=True)
class HandshakeRefused(ConnectionEvent):
    """PROXY header or TLS handshake failed with `error`; None: it took too long, or had not begun when others
    came (`Refused` says so). The connection is closed.
    """

    error: BaseException | None


@final
@attrs.frozen(kw_only=True)
class HandlerStarted(ConnectionEvent):
    """The handler of a connection or session is about to be called. Emitted in the task that calls it: the
    handler sees context variables that an observer sets. Not emitted by compat servers.
    """


@final
@attrs.frozen(kw_only=True)
class CertificatesReloaded(Event):
    """The files of the server's certificates had changed, and new handshakes have what is in them: for the
    server names `names`, the first of them valid until `not_after` (seconds since 1970).
    """

    names: tuple[str, ...]
    not_after: float


@final
@attrs.frozen(kw_only=True)
class CertificatesRefused(Event):
    """The files of the server's certificates have changed, and cannot be used: `error` says why. Handshakes
    go on with what was loaded before.
    """

    error: BaseException


@final
@attrs.frozen(kw_only=True)
class RequestStarted(ConnectionEvent):
    """The first byte of a request is here, or a block `conn.request()` was entered."""


@final
@attrs.frozen(kw_only=True)
class RequestFinished(ConnectionEvent):
    """The request is done, `duration` seconds after it started; `cause` says how it ended."""

    duration: float
    cause: Cause = Cause.FINISHED


@final
@attrs.frozen(kw_only=True)
class HandlerFailed(ConnectionEvent):
    """The handler raised `error`; its connection is closed, the server goes on."""

    error: BaseException


@final
@attrs.frozen(kw_only=True)
class ConnectionClosed(ConnectionEvent):
    """The connection is closed and no longer counted.

    `cause` says why, and `error` what was raised, if anything was; `received` and `sent` are bytes of the
    stream (of the plain text under TLS), `duration` seconds.
    """

    cause: Cause
    received: int
    sent: int
    duration: float
    error: BaseException | None = None


@final
@attrs.frozen(kw_only=True)
class DatagramDropped(Event):
    """A datagram of `peer` was received and will not be handled. Reasons: `DatagramStatistics.dropped`."""

    peer: Address
    reason: str


@final
@attrs.frozen(kw_only=True)
class DatagramTruncated(Event):
    """Of a datagram of `peer` only the first `size` bytes were received: it was longer than `max_bytes`."""

    peer: Address
    size: int


@final
@attrs.frozen(kw_only=True)
class DatagramsLost(Event):
    """The kernel has dropped `count` datagrams to `address` since the last such event: its queue was full."""

    address: Address
    count: int


@final
@attrs.frozen(kw_only=True)
class DrainAnnounced(Event):
    """A drain will begin in `delay` seconds. Until then the server accepts new work, and its `draining` is
    True.
    """

    delay: float


@final
@attrs.frozen(kw_only=True)
class DrainStarted(Event):
    """Nothing new is taken; `active` connections are being served, `idle` of them idle, and have `grace`
    seconds.
    """

    grace: float
    active: int
    idle: int


@final
@attrs.frozen(kw_only=True)
class DrainFinished(Event):
    """The drain is over. The numbers are those of the `DrainReport`."""

    finished: int
    failed: int
    left: int
    cancelled: int
    refused: int
    duration: float


@final
@attrs.frozen(kw_only=True)
class ServerClosed(Event):
    """Nothing of the server is left: no task, no socket, no file."""


@runtime_checkable
class Observer(Protocol):
    """An object with a method `on_event`. An attribute `wants`, a tuple of event classes, selects events."""

    def on_event(self, event: Event, /) -> None:
        """Take one event. Called synchronously by the server: must be quick, must not block, and must not
        raise, other than ObserverDone.
        """


@final
@attrs.frozen(kw_only=True)
class ObserverFailed(Event):
    """`observer` raised `error`, and was taken off."""

    observer: Observer
    error: Exception
