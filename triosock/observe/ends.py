"""Records of connections and requests that have ended, collected from several events, for access logs.

The invariant: **memory is bounded by the number of open connections.** There is one entry for each; the event
of its end removes it, and the end of a server removes all entries of that server.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, final

import attrs

from .._core.model.addresses import Address
from .._core.model.events import (
    Cause,
    ConnectionClosed,
    ConnectionEvent,
    ConnectionOpened,
    Event,
    HandshakeFinished,
    RequestFinished,
    ServerClosed,
)

Kind: TypeAlias = Literal["connections", "requests"]
KINDS: Final[tuple[Kind, ...]] = ("connections", "requests")


@final
@attrs.frozen(kw_only=True)
class Ended:
    """A connection or a request that has ended.

    `what` is "connection", or "request" for a request of a connection and for a datagram. `peer` is the
    client, as a PROXY header named it; `neighbour` is the address that has connected, and `local` the address
    that it connected to; both are None for datagrams, and if the connection was opened before the observer
    was attached. `received` and `sent` are bytes, None for a request; `requests` is the number of requests of
    the connection that have ended so far; `duration` is in seconds; `error` is None for a request.
    """

    what: Literal["connection", "request"]
    server: str
    connection: int
    peer: Address
    neighbour: Address | None
    local: Address | None
    cause: Cause
    duration: float
    received: int | None
    sent: int | None
    requests: int
    tls_version: str | None
    cipher: str | None
    alpn: str | None
    error: BaseException | None


@attrs.define
class _Open:
    neighbour: Address
    local: Address
    requests: int = 0
    handshake: HandshakeFinished | None = None


@final
class Ends:
    """Takes events, and returns an `Ended` for the last event of each connection or request.

    Args: `kind`, "connections" or "requests". A connection is identified by the name of its server and its
    number, so servers that share one `Ends` need different names.

    Raises: ValueError for another `kind`.
    """

    def __init__(self, kind: Kind) -> None:
        if kind not in KINDS:
            raise ValueError(f"of must be one of {', '.join(map(repr, KINDS))}, not {kind!r}")
        self._kind = kind
        self._open: dict[tuple[str, int], _Open] = {}
        self.wants: tuple[type[Event], ...] = (
            ConnectionOpened,
            HandshakeFinished,
            RequestFinished,
            ConnectionClosed,
            ServerClosed,
        )

    def __len__(self) -> int:
        return len(self._open)

    def take(self, event: Event) -> Ended | None:
        """Take one event of `wants`. Return the connection or request that has ended with it, if it is of the
        wanted kind; otherwise None.
        """
        if not isinstance(event, ConnectionEvent):
            for key in [one for one in self._open if one[0] == event.server]:
                del self._open[key]
            return None
        key = event.server, event.connection
        entry = self._open.get(key)
        if isinstance(event, ConnectionOpened):
            self._open[key] = _Open(event.peer, event.local)
        elif isinstance(event, HandshakeFinished) and entry is not None:
            entry.handshake = event
        elif isinstance(event, RequestFinished):
            if entry is not None:
                entry.requests += 1
            return _ended(event, entry) if self._kind == "requests" else None
        elif isinstance(event, ConnectionClosed):
            self._open.pop(key, None)
            return _ended(event, entry) if self._kind == "connections" else None
        return None


def _ended(event: RequestFinished | ConnectionClosed, entry: _Open | None) -> Ended:
    closed = event if isinstance(event, ConnectionClosed) else None
    shake = None if entry is None else entry.handshake
    return Ended(
        what="request" if closed is None else "connection",
        server=event.server,
        connection=event.connection,
        peer=event.peer,
        neighbour=None if entry is None else entry.neighbour,
        local=None if entry is None else entry.local,
        cause=event.cause,
        duration=event.duration,
        received=None if closed is None else closed.received,
        sent=None if closed is None else closed.sent,
        requests=0 if entry is None else entry.requests,
        tls_version=None if shake is None else shake.tls_version,
        cipher=None if shake is None else shake.cipher,
        alpn=None if shake is None else shake.alpn,
        error=None if closed is None else closed.error,
    )
