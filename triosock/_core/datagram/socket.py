"""Where datagrams come from and go to: sockets of the kernel, and the shape that others (in memory) must
have.

Rules of this file:

1. **Nothing is cut in silence.** A datagram that is longer than `max_bytes` is received with `truncated` set
   (recvmsg(2): MSG_TRUNC), and what the kernel drops because its queue is full is counted in `lost`.
2. **Nothing waits but `wait_ready` and `wait_writable`**, and neither takes or gives anything: cancelled,
   they have lost nothing.
3. One buffer per socket, for one task per socket receives: 64 KiB are not made anew for each datagram.
"""

from __future__ import annotations

import abc
import errno
import socket
from typing import Any, Final, NamedTuple, TypeAlias, final

import trio

from ..listeners.closing import notify_closing
from ..listeners.listener import PeerName
from ..listeners.unix import SocketFile
from ..model.addresses import Address, MemoryAddress, from_sockaddr
from . import packet_info
from .packet_info import ControlMessage

#: The longest that UDP over IPv6 carries without jumbograms: 65,535 less its own header (RFC 768). Over IPv4
#: it is 20 less.
MAX_UDP_BYTES: Final = 65_527
MAX_UDP4_BYTES: Final = 65_507
#: More than Linux allows by default to send on a Unix datagram socket (net.core.wmem_default is 212,992).
MAX_UNIX_BYTES: Final = 262_144
_HAS_RECVMSG: Final = hasattr(socket.socket, "recvmsg_into")  # not on Windows
_MSG_TRUNC: Final = getattr(socket, "MSG_TRUNC", 0)
#: The least that a datagram of any length costs in the kernel's queue (an sk_buff and its data).
_LEAST_QUEUED: Final = 512


class Received(NamedTuple):
    """One datagram: its `data`, who sent it (`name`, as the socket has it), where to (`destination`), whether
    it was cut.
    """

    data: bytes
    name: PeerName
    destination: ControlMessage | None
    truncated: bool


class DatagramSocket(abc.ABC):
    """A socket that a datagram server can serve. Those of the kernel are made by `open_udp_sockets` and its
    sisters.
    """

    @property
    @abc.abstractmethod
    def address(self) -> Address:
        """Where it receives."""

    @property
    @abc.abstractmethod
    def is_closed(self) -> bool:
        """Whether it was closed, by `close()` or behind its back."""

    @property
    @abc.abstractmethod
    def lost(self) -> int:
        """Datagrams that arrived and were dropped before they could be received, for want of room."""

    @property
    def seen_lost(self) -> int:
        """The same, as far as it is known without asking the kernel."""
        return self.lost

    @property
    def max_queued(self) -> int:
        """How many datagrams can be waiting to be received, at most."""
        return 4_096

    @property
    def max_payload(self) -> int | None:
        """How long a reply may be; None if only the system knows."""
        return None

    @abc.abstractmethod
    async def wait_ready(self) -> None:
        """Return when `receive_nowait` may find something. Raises: trio.ClosedResourceError if closed."""

    @abc.abstractmethod
    def receive_nowait(self) -> Received:
        """Return the first of the queue. Raises: trio.WouldBlock if there is none; trio.ClosedResourceError;
        OSError.
        """

    @abc.abstractmethod
    def send_nowait(
        self, data: bytes | bytearray | memoryview, name: PeerName, destination: ControlMessage | None
    ) -> None:
        """Send a datagram to `name`, from where `destination` says. Raises: trio.WouldBlock; OSError."""

    @abc.abstractmethod
    async def wait_writable(self, name: PeerName) -> None:
        """Return when `send_nowait` to `name` may succeed. Raises: trio.ClosedResourceError; OSError."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close. Waiting tasks get trio.ClosedResourceError. A second call does nothing."""

    def peer_address(self, name: PeerName) -> Address:
        """Return the name of a sender as an address."""
        assert isinstance(name, MemoryAddress)
        return name

    def local_address(self, destination: ControlMessage | None) -> Address:
        """Return the local address that a datagram was sent to."""
        return self.address


class KernelSocket(DatagramSocket):
    """A bound datagram socket of the standard library, which it owns and makes non-blocking. `max_bytes`: cut
    what is longer.
    """

    def __init__(self, sock: socket.socket, max_bytes: int | None = None) -> None:
        _check_datagram_socket(sock)
        sock.setblocking(False)
        self.socket = sock
        self._is_unix = sock.family == getattr(socket, "AF_UNIX", None)
        self._max_payload = (
            None if self._is_unix else MAX_UDP4_BYTES if sock.family == socket.AF_INET else MAX_UDP_BYTES
        )
        default = MAX_UNIX_BYTES if self._is_unix else MAX_UDP_BYTES
        self._buffer = memoryview(bytearray(default if max_bytes is None else max_bytes))
        self._address = from_sockaddr(sock.family, socket.SOCK_DGRAM, sock.getsockname())
        self._port: int = getattr(self._address, "port", 0)
        packet_info.prepare(sock, wildcard=getattr(self._address, "host", "") in ("0.0.0.0", "::"))
        # The counter is the socket's, which may have had another owner before.
        self._lost_before = self._overflow = packet_info.count_overflow(sock) or 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._address}{' (closed)' if self.is_closed else ''}>"

    @property
    def address(self) -> Address:
        """Where it receives, as the kernel says."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, by `close()` or behind its back."""
        return self.socket.fileno() < 0

    @property
    def seen_lost(self) -> int:
        """The kernel's count of dropped datagrams when it queued the last one that was received."""
        return (self._overflow - self._lost_before) & 0xFFFF_FFFF  # the kernel counts in 32 bits

    @property
    def lost(self) -> int:
        """What the kernel has dropped, its queue being full; 0 where it does not say. After the end: at the
        end.
        """
        if not self.is_closed:
            self._overflow = packet_info.count_overflow(self.socket) or self._overflow
        return self.seen_lost

    @property
    def max_queued(self) -> int:
        """As many as SO_RCVBUF has room for, if they were empty."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // _LEAST_QUEUED + 1

    @property
    def max_payload(self) -> int | None:
        """How long a reply may be: what IP allows; None for Unix sockets, where only the system knows."""
        return self._max_payload

    async def wait_ready(self) -> None:
        """Return when the kernel's queue is not empty. Raises: trio.ClosedResourceError if it is closed."""
        if self.is_closed:
            raise trio.ClosedResourceError("this socket is closed")
        await trio.lowlevel.wait_readable(self.socket)

    def receive_nowait(self) -> Received:
        """Return the first datagram of the kernel's queue."""
        try:
            size, control, flags, name = self._receive()
        except BlockingIOError:
            raise trio.WouldBlock from None
        destination = None
        for message in control:
            level, kind, data = message
            if packet_info.is_destination(level, kind):
                destination = message
            elif (overflow := packet_info.read_overflow(level, kind, data)) is not None:
                self._overflow = overflow
        return Received(bytes(self._buffer[:size]), name, destination, bool(flags & _MSG_TRUNC))

    def _receive(self) -> tuple[int, list[ControlMessage], int, PeerName]:
        if _HAS_RECVMSG:
            return self.socket.recvmsg_into([self._buffer], packet_info.CONTROL_SIZE)
        size, name = self.socket.recvfrom_into(self._buffer)  # what is too long is an error there: EMSGSIZE
        return size, [], 0, name

    def send_nowait(
        self, data: bytes | bytearray | memoryview, name: Any, destination: ControlMessage | None
    ) -> None:
        """Give a datagram to the kernel, whole."""
        try:
            if destination is None:
                self.socket.sendto(data, name)
            else:
                source = packet_info.answer_to(destination)
                self.socket.sendmsg([data], source, 0, name)
        except BlockingIOError:
            raise trio.WouldBlock from None

    async def wait_writable(self, name: PeerName) -> None:
        """Return when the kernel would take a datagram for `name`."""
        if self.is_closed:
            raise trio.ClosedResourceError("this socket is closed")
        if self._is_unix and await self._wait_unix_peer(name):
            return
        await trio.lowlevel.wait_writable(self.socket)

    async def _wait_unix_peer(self, name: Any) -> bool:
        """Wait until the queue of a Unix peer has room; return False if that is not what the kernel looks at.

        Our Unix datagram socket must be unconnected, and the kernel reports such a socket as writable though
        the queue of the peer is full: waiting for that would be a busy loop. A second socket, connected to
        the peer, shows the real state (unix(7); unix_dgram_poll). A peer that has connected itself to us
        refuses that (EPERM); for such peers the only limit is our own send buffer, whose state our own socket
        shows.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gauge:
            gauge.setblocking(False)
            try:
                gauge.connect(name)
            except PermissionError:
                return False
            await trio.lowlevel.wait_writable(gauge)
        return True

    def close(self) -> None:
        """Close the descriptor; what is in the kernel's queue is gone."""
        if not self.is_closed:
            self._overflow = packet_info.count_overflow(self.socket) or self._overflow
            notify_closing(self.socket)
            self.socket.close()

    def peer_address(self, name: PeerName) -> Address:
        """Return the name of a sender as an address; one without a name is ``UnixAddress("")``."""
        return from_sockaddr(self.socket.family if name else socket.AF_UNIX, socket.SOCK_DGRAM, name)

    def local_address(self, destination: ControlMessage | None) -> Address:
        """Return the local address that a datagram was sent to: on a socket for all addresses, the one
        that it named.
        """
        if destination is None:
            return self._address
        host, interface = packet_info.read_origin(destination)
        port = self._port
        if ":" not in host:
            return from_sockaddr(socket.AF_INET, socket.SOCK_DGRAM, (host, port))
        scope = interface if host.startswith(("fe8", "fe9", "fea", "feb")) else 0
        return from_sockaddr(socket.AF_INET6, socket.SOCK_DGRAM, (host, port, 0, scope))


@final
class UnixSocket(KernelSocket):
    """A Unix datagram socket, with its file if it has one."""

    def __init__(self, sock: socket.socket, file: SocketFile | None, max_bytes: int | None = None) -> None:
        super().__init__(sock, max_bytes)
        self._file = file

    def close(self) -> None:
        """Close, and remove the file if it is still the one that was made; a forked child only closes its
        descriptor.
        """
        if self.is_closed:
            return
        try:
            if self._file is not None:
                self._file.remove()
        finally:
            super().close()


def _check_datagram_socket(sock: object) -> None:
    if not isinstance(sock, socket.socket):
        raise TypeError(f"a datagram server needs a socket.socket, not {sock!r}")
    if sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"a datagram server needs a datagram socket, not {sock.type.name}")
    if not sock.getsockname() or (
        sock.family != getattr(socket, "AF_UNIX", None) and not sock.getsockname()[1]
    ):
        raise ValueError("the socket is bound to no address: call bind() first")


#: What can be made a `DatagramSocket`.
Adoptable: TypeAlias = DatagramSocket | socket.socket | trio.socket.SocketType


def adopt(sock: object, max_bytes: int | None = None) -> DatagramSocket:
    """Return `sock` as one of ours: a bound socket.socket or trio socket, or what is one already.

    The socket has a new owner from then on; a trio socket is left closed.

    Raises: TypeError for anything else, ValueError for a socket that is no bound datagram socket.
    """
    match sock:
        case DatagramSocket():
            return sock
        case socket.socket():
            return KernelSocket(sock, max_bytes)
        case trio.socket.SocketType():
            if sock.type != socket.SOCK_DGRAM:
                raise ValueError(f"a datagram server needs a datagram socket, not {sock.type.name}")
            return KernelSocket(
                socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach()), max_bytes
            )
    raise TypeError(f"sockets must be triosock or trio datagram sockets, or socket.socket, not {sock!r}")


#: Errors of recvmsg(2) that are about some reply that was sent before, not about the socket: an ICMP message
#: came back for it (ip(7)), or, on Windows, ECONNRESET and EMSGSIZE stand for such. The loop goes on.
ABOUT_A_REPLY: Final = frozenset(
    getattr(errno, name)
    for name in ("ECONNREFUSED", "EACCES", "EMSGSIZE", "ECONNRESET", "ENETRESET", "EPIPE")
    if hasattr(errno, name)
)
