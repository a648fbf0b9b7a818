"""Events: frozen classes, the causes for which connections and requests end, and the Observer protocol.

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
    #: The handler raised an exception of its own.
    FAILED = "failed"
    #: The peer disconnected in the middle, or broke a rule of the protocol.
    PEER = "peer"
    #: Still busy at the end of the grace period of a drain.
    DRAIN = "drain deadline"
    #: `Timeouts.idle` has passed.
    IDLE = "idle"
    #: `Timeouts.request`, or the timeout of `conn.request()`, has passed.
    REQUEST = "request"
    #: `Timeouts.send` has passed.
    SEND = "send"
    #: `Timeouts.handshake` has passed, or the handshake failed.
    HANDSHAKE = "handshake"
    #: Cancelled from outside of the server, or cut at the control socket.
    PARENT = "parent"
    #: Over one of the `Limits`, served by the overflow handler, and closed.
    OVERFLOW = "overflow"

    __hash__ = str.__hash__  # an Enum's own is a Python function, and one is counted for each connection


@attrs.frozen(kw_only=True)
class Event:
    """The base of all events: the name of the `server`, and the `time` in seconds of trio's clock
    (`trio.current_time`).
    """

    server: str
    time: float


@attrs.frozen(kw_only=True)
class ConnectionEvent(Event):
    """The base of all events of one connection: its number (`connection`, unique in its server) and its
    `peer`.
    """

    connection: int
    peer: Address


@final
@attrs.frozen(kw_only=True)
class ServerStarted(Event):
    """The server listens on `addresses`. `timeouts` are those of its connections (None for a compat server),
    `session_idle` is `Sessions.idle`, which is used instead of `Timeouts.idle`, and `lifetime` is
    `Policy.request_timeout`; both are None for servers without them.
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
    """The limit of connections is reached, with `active` ones: new ones wait, or are refused."""

    active: int


@final
@attrs.frozen(kw_only=True)
class RateReached(Event):
    """Connections or requests came faster than a rate allows: `limit` is the name of that option of `Limits`.
    The next one waits for `delay` seconds; None if a request was refused.

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
    """The server refuses no new connections for its lag any more: `refused` ones were refused in `duration`
    seconds, and then none for one second. Not emitted if the server ends before.
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
    """A connection was accepted and counted, and its task starts next. `local` is the address that the peer
    connected to.
    """

    local: Address


@final
@attrs.frozen(kw_only=True)
class HandshakeFinished(ConnectionEvent):
    """The PROXY header was read and the TLS handshake is complete, `duration` seconds after the accept;
    `peer` is the client that the header named. `tls_version` is as in `TlsInfo`; for DTLS it is "DTLS" for
    all versions. Not emitted for a handshake that a handler begins (`Connection.start_tls`).
    """

    duration: float
    tls_version: str | None = None
    cipher: str | None = None
    alpn: str | None = None


@final
@attrs.frozen(kw_only=True)
class HandshakeRefused(ConnectionEvent):
    """The PROXY header or the TLS handshake failed with `error`; None if it took too long, or was cut for
    another handshake (then there is a `Refused`, too). The connection is closed.
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
    """The files of the server's certificates had changed and were loaded, for new handshakes: `names` are the
    server names in them, and the first certificate is valid until `not_after` (seconds since 1970).
    """

    names: tuple[str, ...]
    not_after: float


@final
@attrs.frozen(kw_only=True)
class CertificatesRefused(Event):
    """The files of the server's certificates have changed and cannot be used; `error` has the reason.
    Handshakes use the certificates that were loaded before.
    """

    error: BaseException


@final
@attrs.frozen(kw_only=True)
class RequestStarted(ConnectionEvent):
    """The first byte of a request has arrived, or a block `conn.request()` was entered."""


@final
@attrs.frozen(kw_only=True)
class RequestFinished(ConnectionEvent):
    """The request is done, `duration` seconds after it started; `cause` says how it ended."""

    duration: float
    cause: Cause = Cause.FINISHED


@final
@attrs.frozen(kw_only=True)
class HandlerFailed(ConnectionEvent):
    """The handler, or an `on_error` function, raised `error`; its connection is closed, and the server goes
    on.
    """

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
    """A drain has begun: no new connections are accepted. `active` connections are served, `idle` of them are
    in an idle wait, and busy ones have `grace` seconds.
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
    """`observer` raised `error`, and was removed."""

    observer: Observer
    error: Exception
