"""Servers on trio: TCP, UDP, Unix stream and Unix datagram. Nothing outlives its brackets.

The layers, each importing only from those above it:

    _core/        the library itself; `_core/__init__.py` is its guided tour
    handlers      class-flavoured handlers, for those who port
    signals       run(): SIGTERM drains
    observe/      those who are told: the log and others
    testing/      what you test your handlers with
    compat/       the standard library's socketserver, on the same core
    cli/          python -m triosock
"""

from . import signals as _signals
from ._core.address import Address as Address
from ._core.address import MemoryAddress as MemoryAddress
from ._core.address import TcpAddress as TcpAddress
from ._core.address import UdpAddress as UdpAddress
from ._core.address import UnixAddress as UnixAddress
from ._core.address import parse_address as parse_address
from ._core.connection import Connection as Connection
from ._core.connection import PeerCredentials as PeerCredentials
from ._core.conversation import IdleBlock as IdleBlock
from ._core.conversation import RequestBlock as RequestBlock
from ._core.datagram import Datagram as Datagram
from ._core.datagram_server import DatagramServer as DatagramServer
from ._core.datagram_server import DatagramStatistics as DatagramStatistics
from ._core.datagram_socket import DatagramSocket as DatagramSocket
from ._core.drain import DrainReport as DrainReport
from ._core.drain import DrainScope as DrainScope
from ._core.drain import Straggler as Straggler
from ._core.drain import draining as draining
from ._core.drain import wait_draining as wait_draining
from ._core.errors import AddressUnavailable as AddressUnavailable
from ._core.errors import FrameMalformed as FrameMalformed
from ._core.errors import FrameTooLarge as FrameTooLarge
from ._core.errors import HandshakeFailed as HandshakeFailed
from ._core.errors import Incomplete as Incomplete
from ._core.errors import MachineError as MachineError
from ._core.errors import NoReturnAddress as NoReturnAddress
from ._core.errors import PeerError as PeerError
from ._core.errors import ProxyHeaderError as ProxyHeaderError
from ._core.errors import RequestTimedOut as RequestTimedOut
from ._core.errors import TriosockError as TriosockError
from ._core.events import Cause as Cause
from ._core.events import Event as Event
from ._core.events import Observer as Observer
from ._core.events import default_observers as _default_observers
from ._core.framing import Delimited as Delimited
from ._core.framing import FixedSize as FixedSize
from ._core.framing import Framer as Framer
from ._core.framing import LengthPrefixed as LengthPrefixed
from ._core.framing import Netstrings as Netstrings
from ._core.inherited import inherited_listeners as inherited_listeners
from ._core.limits import Limits as Limits
from ._core.limits import Timeouts as Timeouts
from ._core.listen import Listener as Listener
from ._core.listen import SocketListener as SocketListener
from ._core.listen import open_tcp_listeners as open_tcp_listeners
from ._core.open_udp import open_udp_sockets as open_udp_sockets
from ._core.open_udp import open_unix_datagram_socket as open_unix_datagram_socket
from ._core.proxy import ProxyHeader as ProxyHeader
from ._core.proxy import ProxyPolicy as ProxyPolicy
from ._core.serve import serve_listeners as serve_listeners
from ._core.serve import serve_tcp as serve_tcp
from ._core.serve import serve_unix as serve_unix
from ._core.serve_datagram import serve_datagram_sockets as serve_datagram_sockets
from ._core.serve_datagram import serve_udp as serve_udp
from ._core.serve_datagram import serve_unix_datagram as serve_unix_datagram
from ._core.sessions import Session as Session
from ._core.sessions import Sessions as Sessions
from ._core.stream_server import ServerStatistics as ServerStatistics
from ._core.stream_server import StreamServer as StreamServer
from ._core.tls import TlsInfo as TlsInfo
from ._core.unix import UnixListener as UnixListener
from ._core.unix import open_unix_listener as open_unix_listener
from ._version import __version__ as __version__
from .handlers import DatagramHandler as DatagramHandler
from .handlers import StreamHandler as StreamHandler
from .observe import serve_control as _serve_control
from .observe import tree as _tree
from .observe.log import LogObserver as _LogObserver
from .signals import Looking as _Looking
from .signals import run as run

_default_observers.append(_LogObserver)
_signals.looking = _Looking(show=_tree, serve=_serve_control)

__all__ = [
    "Address",
    "AddressUnavailable",
    "Cause",
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
    "MachineError",
    "MemoryAddress",
    "Netstrings",
    "NoReturnAddress",
    "Observer",
    "PeerCredentials",
    "PeerError",
    "ProxyHeader",
    "ProxyHeaderError",
    "ProxyPolicy",
    "RequestBlock",
    "RequestTimedOut",
    "ServerStatistics",
    "Session",
    "Sessions",
    "SocketListener",
    "Straggler",
    "StreamHandler",
    "StreamServer",
    "TcpAddress",
    "Timeouts",
    "TlsInfo",
    "TriosockError",
    "UdpAddress",
    "UnixAddress",
    "UnixListener",
    "draining",
    "inherited_listeners",
    "open_tcp_listeners",
    "open_udp_sockets",
    "open_unix_datagram_socket",
    "open_unix_listener",
    "parse_address",
    "run",
    "serve_datagram_sockets",
    "serve_listeners",
    "serve_tcp",
    "serve_udp",
    "serve_unix",
    "serve_unix_datagram",
    "wait_draining",
]
