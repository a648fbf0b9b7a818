"""The list of works. A work is one kind of server, one load, and the figures that are compared.

A ratio says how many times better the first of a pair is: first divided by second for rates, second divided
by first for costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .load import DRIVEN
from .peers import PEERS, Peer

MEBIBYTE = 1 << 20
#: Of these, more is better; of everything else, less.
MORE_IS_BETTER = frozenset({"rate", "answered"})


@dataclass(frozen=True)
class Work:
    """`kind` of the servers, `load` and its `params`; `measures` are what ratios are made of; `without` says
    who cannot, `also` which special peers it has.
    """

    name: str
    title: str
    kind: str
    load: str
    params: dict[str, Any] = field(default_factory=dict)
    unit: str = "operations"
    measures: tuple[str, ...] = ("rate", "cpu_us")
    without: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()

    @property
    def peers(self) -> list[Peer]:
        able = [peer for peer in PEERS if self.kind in peer.kinds and peer.name not in self.without]
        return [peer for peer in able if not peer.special or peer.name in self.also]

    @property
    def in_slices(self) -> bool:
        """Whether its load is driven, and not a matter of once."""
        return self.load in DRIVEN

    def pairs(self, names: set[str]) -> list[tuple[str, str]]:
        """Who is compared with whom, of those in `names`: compat with the stdlib, variants with the default,
        green servers with threads and with gevent, triosock with all.
        """
        pairs = []
        for name in (peer.name for peer in self.peers if peer.name in names):
            if name == "compat-green":
                pairs += [(name, "stdlib-threading"), (name, "gevent"), ("triosock", name)]
            elif name.startswith("compat-"):
                pairs.append((name, name.replace("compat-", "stdlib-")))
            elif name.startswith("triosock-"):
                pairs.append((name, "triosock"))
            elif name != "triosock":
                pairs.append(("triosock", name))
        return [pair for pair in pairs if names.issuperset(pair)]


#: Streams as many users write them: `writer.close()` and no `wait_closed()`.
_CLOSES = frozenset({"uvloop-close", "asyncio-close"})
_VARIANTS = frozenset({"triosock-timeouts", "triosock-observer"})
#: One connection at a time: with several that stay open it serves only the first.
_SYNC = frozenset({"stdlib-sync", "compat-sync"})
_THREADS = frozenset({"stdlib-threading", "compat-threading"})
_FORKS = frozenset({"stdlib-forking", "compat-forking"})


def _echo(connections: int, without: frozenset[str]) -> Work:
    title = f"raw echo, {connections:,} connection{'s' if connections > 1 else ''}"
    params = {"connections": connections}
    return Work(f"echo-{connections}", title, "echo", "exchange", params, unit="messages", without=without)


def _busy(connections: int) -> Work:
    """Thousands of blocking handlers at once: those who are written like that, and the native server."""
    title = f"blocking handlers on {connections:,} busy connections"
    params = {"connections": connections}
    able = {"triosock", "gevent", "compat-green", "stdlib-threading"}
    without = frozenset(peer.name for peer in PEERS) - able
    return Work(
        f"busy-{connections}", title, "echo", "exchange", params, unit="messages", without=frozenset(without)
    )


def _connect(in_flight: int, ending: str = "close") -> Work:
    says = {"close": "close", "half-close": "half-close and wait for the end", "reset": "reset"}[ending]
    name = f"connect-{in_flight}" + (f"-{ending}" if ending != "close" else "")
    return Work(
        name,
        f"connect, exchange, {says}; {in_flight} in flight",
        "echo",
        "connect",
        {"in_flight": in_flight, "ending": ending},
        unit="connections",
        without=_VARIANTS,
        also=_CLOSES,
    )


def _bulk(name: str, title: str, kind: str, request: int, reply: int) -> Work:
    params = {"connections": 4, "request": request, "reply": reply}
    return Work(name, title, kind, "bulk", params, unit="MiB", without=_VARIANTS | _SYNC | _FORKS)


def _lines() -> list[Work]:
    one: dict[str, Any] = {"connections": 64}
    sixteen = one | {"size": 16 * 64, "lines": 16}
    return [
        Work("lines", "lines, 64 connections", "lines", "exchange", one, unit="lines"),
        Work("lines-16", "lines, 16 at once, 64 connections", "lines", "exchange", sixteen, unit="lines"),
    ]


def _tls() -> list[Work]:
    echo = {"connections": 64, "tls": True}
    whole: dict[str, Any] = {"in_flight": 8}
    resumed = ("tls-resumed", "resumed TLS handshakes, 8 in flight")
    kind, load, unit = "tls-echo", "handshakes", "handshakes"
    return [
        Work("tls-echo", "TLS echo, 64 connections", kind, "exchange", echo, unit="messages"),
        Work("tls-handshakes", "TLS handshakes, 8 in flight", kind, load, whole, unit),
        # Twisted's own options for a server keep no sessions.
        Work(*resumed, kind, load, whole | {"resume": True}, unit, without=frozenset({"twisted"})),
        _idle("idle-tls", "2,000 idle TLS connections", kind, connections=2_000, tls=True),
    ]


def _udp() -> list[Work]:
    sessions = frozenset({"triosock-sessions"})
    alone, bursts = {"sockets": 64}, {"burst": 200}
    return [
        Work("udp", "datagrams, 64 sockets", "udp", "udp", alone, "datagrams", also=sessions),
        Work("udp-bursts", "datagrams, bursts of 200", "udp", "bursts", bursts, "datagrams", also=sessions),
    ]


def _features() -> list[Work]:
    """What each feature costs a connection of one exchange, and a line."""
    names = frozenset(peer.name for peer in PEERS if peer.special and peer.name.startswith("triosock-"))
    others = frozenset(peer.name for peer in PEERS) - names - {"triosock"}
    few, short = {"connections": 64}, {"in_flight": 32}
    lines, connect = ("features-lines", "lines, features on"), ("features-connect", "connects, features on")
    return [
        Work(*lines, "lines", "exchange", few, "lines", without=others, also=names),
        Work(*connect, "echo", "connect", short, "connections", without=others, also=names),
    ]


def _one_figure(name: str, title: str, kind: str, load: str, measure: str, **rest: Any) -> Work:
    return Work(name, title, kind, load, measures=(measure,), **rest)


def _idle(name: str, title: str, kind: str, **params: Any) -> Work:
    without = _VARIANTS | _SYNC | _THREADS | _FORKS
    return _one_figure(
        name, title, kind, "memory", "idle_kib", params=params, unit="connections", without=without
    )


WORKS = [
    _echo(1, _VARIANTS),
    _echo(64, _SYNC),
    _echo(4000, _VARIANTS | _SYNC | _THREADS | _FORKS),
    # The usual hard limit of descriptors is 20,000, and a server has some others.
    _echo(19_000, _VARIANTS | _SYNC | _THREADS | _FORKS),
    _busy(4000),
    _busy(8000),
    *_lines(),
    _connect(1),
    _connect(32),
    _connect(32, "half-close"),
    _connect(32, "reset"),
    _bulk("download", "replies of 1 MiB, 4 connections", "download", 1, MEBIBYTE),
    _bulk("upload", "uploads of 1 MiB, 4 connections", "upload", MEBIBYTE, 1),
    _bulk("bulk-echo", "echo of 1 MiB, 4 connections", "echo", MEBIBYTE, MEBIBYTE),
    *_tls(),
    _idle("idle", "10,000 idle connections", "echo", connections=10_000),
    *_udp(),
    *_features(),
    _one_figure(
        "fairness",
        "one polite connection beside a greedy one",
        "echo",
        "fairness",
        "p99_us",
        unit="exchanges",
        without=_VARIANTS | _SYNC | _FORKS,
    ),
    _one_figure(
        "drain",
        "drain with 1,000 idle and 100 busy connections",
        "drain",
        "drain",
        "drain_ms",
        params={"idle": 1_000, "busy": 100},
        unit="connections",
    ),
    _one_figure(
        "shutdown", "shutdown of an idle server", "shutdown", "none", "shutdown_ms", unit="shutdowns"
    ),
]
BY_NAME = {work.name: work for work in WORKS}
