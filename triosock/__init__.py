"""Servers on trio: TCP, UDP, Unix stream and Unix datagram. Nothing outlives its brackets.

The layers; each imports only from those above it:

    _core/        the library itself, in nine packages; `_core/__init__.py` names them
    events        the classes of events
    broadcast     one value to many members
    handlers      handlers as classes
    identity      the names in a TLS client's certificate
    notify        messages to the service manager
    signals       run(): SIGTERM drains
    observe/      consumers of events: the log and others
    workers/      several processes for one service
    testing/      tools for testing handlers
    compat/       the standard library's socketserver, on the same core
    dtls/         DTLS servers
    cli/          python -m triosock

Importing this package imports none of them: they are imported when a name is first used. A forking server of
`triosock.compat` never uses one, and so keeps its process small: every fork copies its page tables.

PYTEST_DONT_REWRITE: pytest warns of modules that it finds imported before its plugins, and this one is where
triosock.compat stands in for socketserver. There is no assertion in this file.
"""

# ruff: noqa: F403, F405 - the names of __all__ are the facade's

import importlib
import sys
import typing

if sys.version_info < (3, 11):  # noqa: UP036 - an installer checks it, but nothing does for a checkout
    raise ImportError(
        f"triosock needs Python 3.11 or newer, and {sys.executable} is Python "
        f"{'.'.join(map(str, sys.version_info[:3]))}: start your program with a newer one"
    )

if typing.TYPE_CHECKING:
    from ._facade import *
    from ._facade import __version__ as __version__

__all__ = [
    "AdaptiveLimit",
    "Address",
    "AddressUnavailable",
    "Broadcast",
    "BroadcastMember",
    "BroadcastStatistics",
    "Cause",
    "CertificateFiles",
    "CertificateRefused",
    "Certificates",
    "ClientNotRecognized",
    "Connection",
    "Datagram",
    "DatagramHandler",
    "DatagramServer",
    "DatagramSocket",
    "DatagramStatistics",
    "Delimited",
    "DrainReport",
    "DrainScope",
    "Event",
    "FixedSize",
    "FrameMalformed",
    "FrameTooLarge",
    "Framer",
    "HandshakeFailed",
    "IdleBlock",
    "Incomplete",
    "LengthPrefixed",
    "Limits",
    "Listener",
    "LoadedCertificate",
    "MachineError",
    "MemberTooSlow",
    "MemoryAddress",
    "Netstrings",
    "NoReturnAddress",
    "Observer",
    "PeerCredentials",
    "PeerError",
    "ProxyHeader",
    "ProxyHeaderError",
    "ProxyPolicy",
    "Rate",
    "RateExceeded",
    "Recycle",
    "RequestBlock",
    "RequestTimedOut",
    "RestartReport",
    "ServerStatistics",
    "Session",
    "Sessions",
    "SocketListener",
    "Straggler",
    "StreamHandler",
    "StreamServer",
    "Supervision",
    "TcpAddress",
    "Timeouts",
    "TlsInfo",
    "TriosockError",
    "UdpAddress",
    "UnixAddress",
    "UnixListener",
    "UpgradeFailed",
    "WorkerStatus",
    "Workers",
    "WorkersFailed",
    "draining",
    "inherited_datagram_sockets",
    "inherited_listeners",
    "open_health",
    "open_tcp_listeners",
    "open_udp_sockets",
    "open_unix_datagram_socket",
    "open_unix_listener",
    "parse_address",
    "run",
    "serve_datagram_sockets",
    "serve_health",
    "serve_listeners",
    "serve_stdio",
    "serve_tcp",
    "serve_udp",
    "serve_unix",
    "serve_unix_datagram",
    "serve_workers",
    "wait_draining",
]

if not typing.TYPE_CHECKING:
    #: Parts that are there without an import of their own, as the facade needs them.
    _WITH_IT = ("_core", "_version", "broadcast", "handlers", "notify", "observe", "signals", "workers")

    def __getattr__(name: str) -> object:
        if name not in __all__ and name not in ("__version__", *_WITH_IT):
            meant = [one for one in __all__ if one.startswith(f"{name}_")]
            hint = f": it has {', '.join(meant)}" if meant and not name.startswith("_") else ""
            text = f"module {__name__!r} has no attribute {name!r}{hint}"
            # Without the name, a traceback proposes no other one beside these.
            raise AttributeError(text, name=None) if hint else AttributeError(text)
        facade = importlib.import_module(f"{__name__}._facade")
        globals().update({one: getattr(facade, one) for one in (*__all__, "__version__")})
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__", *_WITH_IT})
