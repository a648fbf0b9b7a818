"""`Limits` and `Timeouts`: how many a server serves, and how long it waits.

Rules of this file:

1. A value is valid: all fields are checked when it is made, and it is frozen from then on.
2. A limit is finite by default if memory would be unbounded without it; `math.inf` must be written out.
3. Every default names its precedent.
4. Of nested limits the tightest one counts, and a drain can only tighten.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, final

import attrs

from .adaptive_limit import AdaptiveLimit
from .checks import T, count, one_of, seconds, seconds_or_zero, share
from .options import group
from .rate import Rate

# The argument is a Connection, which comes later in the reading order; `serve_*` types it exactly.
OverflowHandler: TypeAlias = Callable[[Any], Awaitable[object]]


def _check_adaptive(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if value is not None and not isinstance(value, AdaptiveLimit):
        raise TypeError(f"adaptive must be a triosock.AdaptiveLimit(…), or None, not {value!r}")


def _check_overflow(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if value in ("wait", "reject") or (callable(value) and not isinstance(value, type)):
        return
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"overflow must be 'wait', 'reject' or an async function of one connection, not {value!r}")


def _rate(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if value is not None and not isinstance(value, Rate):
        raise TypeError(
            f"{attribute.name} must be a triosock.Rate(…), such as Rate(20, per=1, burst=40), or None for no "
            f"limit, not {value!r}"
        )


def _check_prefix(instance: object, attribute: attrs.Attribute[T], value: object) -> None:
    match value:
        # A tuple, for a list could be changed later.
        case (int(v4), int(v6)) if isinstance(value, tuple) and 0 < v4 <= 32 and 0 < v6 <= 128:
            return
    raise ValueError(
        f"network_prefix must be a pair of prefix lengths (IPv4 1 to 32, IPv6 1 to 128), not {value!r}"
    )


@group("limits")
@final
@attrs.frozen(kw_only=True)
class Limits:
    """How much one server takes on. All counts are ints from 1 on, or `math.inf`. Stream servers use all but
    those of datagrams; `serve_udp` and `dtls.serve_dtls` say which of them they use, and ignore the others.

    `max_connections`
        Connections served at once, all listeners of the server together; exact. 16,384 is what ThousandIsland
        allows each acceptor; with fewer descriptors than that, accepting backs off until some are free again.
    `max_connections_per_peer`
        Connections of one IP address (of one user id on Unix sockets) at once. The peer is known only after
        the accept, so a connection over the limit is refused, or given to `overflow`, and never waits.
        Without limit by default: many people behind one address translator are one peer here.
    `max_connections_per_network`, `network_prefix`
        The same for a whole network: the first 24 bits of an IPv4 and 56 of an IPv6 address by default (a /56
        is what RFC 6177 suggests for a home).
    `max_handshakes`
        TLS and DTLS handshakes and PROXY headers under way at once, each from the peer's first byte on; the
        others wait their turn, and that wait counts towards `Timeouts.handshake`. One that has been under way
        for a second, and waits for its peer, is cut as soon as another needs its place; and if more than
        three quarters wait so, the longest one is cut when another has waited for half a second. As many
        besides (no more than half of `max_connections`) may wait in silence for their first byte: one more
        cuts the one that has been silent the longest. Those are counted as refused, "handshakes". 512 of them
        need about 23 MB, and 100 MB if each sends as much as OpenSSL takes. Linux allows from 128 to 1,024
        half-open connections, by the memory of the machine (tcp_max_syn_backlog in tcp(7)).
    `overflow`
        What happens to a connection beyond `max_connections`: ``"wait"`` leaves it in the kernel's queue, in
        order (as a semaphore around accept does in Eio and in Go's LimitListener); ``"reject"`` accepts and
        closes it; an async function of the connection, the overflow handler, may answer before the close. At
        most `max_overflowing` overflow handlers run; further connections are closed.
    `max_lag`
        Seconds that a new connection or task may wait for the event loop, in the queue of a listener or
        behind running tasks; while it is more, new connections are refused, or given to `overflow`, never
        left waiting, until it is less than half. Without limit by default. Measured always:
        `StreamServer.lag`. Stream servers only.
    `adaptive`
        An `AdaptiveLimit`: a limit of connections at once that follows their latency, below
        `max_connections`. None, the default, for none. Stream servers only.
    `max_requests_per_connection`
        Requests (turns of `lines()`, `frames()` and `wait_request()`, and `idle()` and `request()` blocks)
        after which a connection is drained, alone: in its last request `conn.draining` is True, and the next
        idle wait ends. Requests that have arrived before that are served. nginx has the same option,
        keepalive_requests.
    `max_pending_datagrams`
        Datagram handlers at once, for datagram servers. `drop` says which goes beyond that: the ``"newest"``
        or the ``"oldest"`` of those not yet begun.
    `rate`, `rate_per_peer`, `rate_per_network`
        How often connections may come (sessions, on datagram servers): each a `Rate`, or None, the default,
        for no limit. Beyond `rate` they do what `overflow` says, and beyond the other two one is refused, or
        given to `overflow`. A proxy is not limited: the clients that its headers name are.
    `request_rate`, `request_rate_per_peer`, `request_rate_per_network`
        How often requests may begin: turns of `lines()`, `frames()` and `wait_request()`, and
        `conn.request()` blocks, of all connections together.
    `request_overflow`
        What happens to a request beyond that: ``"wait"`` passes it to the handler when it is due, in the
        order of arrival (as nginx's limit_req does), and that wait counts towards `Timeouts.request`;
        ``"reject"`` raises `RateExceeded` in the handler, which may catch it; uncaught, it ends the
        connection, and an `on_error` function may answer before.
    `datagram_rate`, `datagram_rate_per_peer`, `datagram_rate_per_network`
        How often datagrams may come, those of sessions too. Beyond that they are dropped.
    `max_rate_peers`
        How many peers, and how many networks, each of the rates remembers. When more come, the peers that
        have used least of their rate are forgotten. 16,384 of them are about 4 MB for each rate.
    """

    max_connections: float = attrs.field(default=16_384, validator=count)
    max_connections_per_peer: float = attrs.field(default=math.inf, validator=count)
    max_connections_per_network: float = attrs.field(default=math.inf, validator=count)
    network_prefix: tuple[int, int] = attrs.field(default=(24, 56), validator=_check_prefix)
    max_handshakes: float = attrs.field(default=512, validator=count)
    overflow: Literal["wait", "reject"] | OverflowHandler = attrs.field(
        default="wait", validator=_check_overflow
    )
    max_overflowing: float = attrs.field(default=100, validator=count)
    max_lag: float = attrs.field(default=math.inf, validator=seconds)
    adaptive: AdaptiveLimit | None = attrs.field(default=None, validator=_check_adaptive)
    max_requests_per_connection: float = attrs.field(default=math.inf, validator=count)
    max_pending_datagrams: float = attrs.field(default=1_024, validator=count)
    drop: Literal["newest", "oldest"] = attrs.field(default="newest", validator=one_of("newest", "oldest"))
    rate: Rate | None = attrs.field(default=None, validator=_rate)
    rate_per_peer: Rate | None = attrs.field(default=None, validator=_rate)
    rate_per_network: Rate | None = attrs.field(default=None, validator=_rate)
    request_rate: Rate | None = attrs.field(default=None, validator=_rate)
    request_rate_per_peer: Rate | None = attrs.field(default=None, validator=_rate)
    request_rate_per_network: Rate | None = attrs.field(default=None, validator=_rate)
    request_overflow: Literal["wait", "reject"] = attrs.field(
        default="wait", validator=one_of("wait", "reject")
    )
    datagram_rate: Rate | None = attrs.field(default=None, validator=_rate)
    datagram_rate_per_peer: Rate | None = attrs.field(default=None, validator=_rate)
    datagram_rate_per_network: Rate | None = attrs.field(default=None, validator=_rate)
    max_rate_peers: float = attrs.field(default=16_384, validator=count)


@group("timeouts")
@final
@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one server waits, each in seconds above 0; `math.inf` for no limit.

    `handshake`
        From the accept to the end of PROXY header and TLS handshake. (In a drain, from the slot for which it
        may have waited.) 10 s is go-proxyproto's; the PROXY protocol's text wants at least 3.
    `idle`
        The time in which no byte comes from the peer and none is sent to it, while the handler waits for
        input or is in a block `conn.idle()`. 30 minutes is Twisted's TimeoutFactory; finite, so that unused
        connections release their slots.
    `request`
        From the first byte of a request to its end: the next turn of ``async for`` over `lines()` or
        `frames()`, the next `wait_request()` or `idle()`, or the end of `conn.request()`. No limit by
        default, since only the application knows how long its work may take.
    `send`
        The time in which the kernel takes no byte, while the handler sends. 60 s is nginx's send_timeout,
        which also counts from the last progress.
    `close`
        For the peer's own end of stream, after the handler has returned and the reply has been sent; further
        input is discarded meanwhile, so that it does not destroy the reply (RFC 9112, 9.6). 2 s is Apache's
        lingering close. 0 closes at once.
    `grace`
        From the beginning of a drain until busy handlers are cancelled, unless the drain sets another time.
        15 s is ThousandIsland's. 0 cuts at once.
    `idle_grace`
        The time from the beginning of a drain in which each connection may have one more request answered,
        unless the drain sets another time. 0, the default, ends idle connections at once. A proxy that reuses
        connections may have sent a request at that moment: with a few seconds it is answered, and the handler
        sees `conn.draining` and can announce that the answer is the last (``Connection: close``).
    `max_age`, `max_age_jitter`
        The age at which a stream connection is drained, alone, as in a drain of the server: `conn.draining`
        is True, an idle connection ends (after `idle_grace`), a busy one finishes its request first, and
        nothing is cut. So clients reconnect, and a load balancer can distribute them again. The jitter is a
        share from 0 to 1: each age is drawn from `max_age` ± that share, so that not all connections end
        together; 0.1 is that of gRPC's MAX_CONNECTION_AGE, which has no limit by default either.
        `Connection.set_timeouts` does not change the age.
    """

    handshake: float = attrs.field(default=10.0, validator=seconds)
    idle: float = attrs.field(default=1800.0, validator=seconds)
    request: float = attrs.field(default=math.inf, validator=seconds)
    send: float = attrs.field(default=60.0, validator=seconds)
    close: float = attrs.field(default=2.0, validator=seconds_or_zero)
    grace: float = attrs.field(default=15.0, validator=seconds_or_zero)
    idle_grace: float = attrs.field(default=0.0, validator=seconds_or_zero)
    max_age: float = attrs.field(default=math.inf, validator=seconds)
    max_age_jitter: float = attrs.field(default=0.1, validator=share)
