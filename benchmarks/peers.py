"""Which servers there are, and what each can do."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

STREAMS = frozenset({"echo", "lines", "download", "upload"})
TLS = frozenset({"tls-echo"})
UDP = frozenset({"udp"})
SHUTDOWN = frozenset({"shutdown"})
DRAIN = frozenset({"drain"})


@dataclass(frozen=True)
class Peer:
    """`module` is one of servers/; `needs` what it is skipped without; `arguments` follow the PEM."""

    name: str
    label: str
    module: str
    kinds: frozenset[str]
    needs: str | None = None
    arguments: tuple[str, ...] = ()
    #: Runs only in works that name it.
    special: bool = False

    @property
    def installed(self) -> bool:
        """Whether what it needs is there. (`find_spec` imports the parents of a dotted name.)"""
        try:
            return self.needs is None or importlib.util.find_spec(self.needs) is not None
        except ModuleNotFoundError:
            return False


def _native(variant: str, label: str, kinds: frozenset[str], needs: str = "triosock", **rest: bool) -> Peer:
    name = "triosock" if variant == "default" else f"triosock-{variant}"
    return Peer(name, label, "native", kinds, needs, (variant,), **rest)


def _features() -> list[Peer]:
    """The native server with one feature on each: for the works that compare them."""
    kinds = frozenset({"echo", "lines"})
    return [
        _native("access-log", "access log", kinds, special=True),
        _native("json-log", "access log as JSON", kinds, special=True),
        _native("rates", "rates per peer", kinds, special=True),
        _native("max-lag", "max_lag", kinds, special=True),
        _native("adaptive", "adaptive limit", kinds, special=True),
        _native("opentelemetry-api", "OpenTelemetry, no SDK", kinds, "opentelemetry", special=True),
        _native("opentelemetry-sdk", "OpenTelemetry, SDK", kinds, "opentelemetry.sdk", special=True),
    ]


def _socketserver(mixin: str, kinds: frozenset[str]) -> list[Peer]:
    compat, stdlib = ("triosock.compat", "socketserver")
    return [
        Peer(f"compat-{mixin}", f"triosock.compat, {mixin}", "stdlib", kinds, compat, (mixin, compat)),
        Peer(f"stdlib-{mixin}", f"socketserver, {mixin}", "stdlib", kinds, None, (mixin, stdlib)),
    ]


#: In the order of a round: those that are compared with each other most closely run next to each other.
PEERS = [
    _native("default", "triosock", STREAMS | TLS | UDP | SHUTDOWN | DRAIN),
    _native("timeouts", "triosock, timeouts on", frozenset({"echo"})),
    _native("observer", "triosock, one observer", frozenset({"echo"})),
    _native("sessions", "triosock, sessions", UDP, special=True),
    *_features(),
    Peer("trio", "trio.serve_tcp", "trio_tcp", STREAMS | TLS | UDP | SHUTDOWN | DRAIN, "trio"),
    Peer("uvloop", "uvloop streams", "uvloop_streams", STREAMS | TLS | SHUTDOWN, "uvloop"),
    Peer(
        "uvloop-close",
        "uvloop streams, close() only",
        "uvloop_streams",
        frozenset({"echo"}),
        "uvloop",
        ("close",),
        special=True,
    ),
    Peer("gevent", "gevent", "gevent_server", STREAMS | TLS | UDP, "gevent"),
    Peer("twisted", "Twisted", "twisted_server", STREAMS | TLS | UDP, "twisted"),
    Peer("anyio", "anyio on trio", "anyio_trio", STREAMS | TLS | UDP, "anyio"),
    Peer("asyncio", "asyncio streams", "asyncio_streams", STREAMS | TLS | SHUTDOWN),
    Peer(
        "asyncio-close",
        "asyncio streams, close() only",
        "asyncio_streams",
        frozenset({"echo"}),
        None,
        ("close",),
        special=True,
    ),
    Peer("asyncio-protocols", "asyncio protocols", "asyncio_protocols", STREAMS - {"lines"} | TLS | UDP),
    Peer("uvloop-protocols", "uvloop protocols", "uvloop_protocols", UDP, "uvloop"),
    Peer("easynetwork", "EasyNetwork on trio", "easynetwork_trio", STREAMS | TLS | UDP, "easynetwork"),
    *_socketserver("sync", frozenset({"echo", "udp", "shutdown"})),
    *_socketserver("threading", STREAMS | UDP | SHUTDOWN),
    *_socketserver("forking", frozenset({"echo", "udp"})),
    Peer(
        "compat-green",
        "triosock.compat, green",
        "stdlib",
        STREAMS | UDP | SHUTDOWN,
        "greenlet",
        ("green", "triosock.compat"),
    ),
    Peer("epoll", "select.epoll, no framework", "epoll", STREAMS | UDP),
]
BY_NAME = {peer.name: peer for peer in PEERS}
