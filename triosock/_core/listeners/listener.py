"""Listeners: the base class, TCP sockets, and foreign listeners. `unix.py` has Unix sockets, `systemd.py`
inherited ones.

Rules of this file:

1. An opener returns listeners that listen, or raises and leaves nothing open.
2. A `Listener` accepts in two steps, `wait_ready` and `accept_nowait`, so that the accept loop can check in
   between whether a slot is free.
3. An inherited socket is only closed, and never shut down (shutdown(2)), since other processes may have it
   too: sd_listen_fds(3).
"""

from __future__ import annotations

import abc
import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

import trio

from ..model.addresses import Address, MemoryAddress, SockAddr, from_sockaddr
from ..model.checks import check_int
from ..model.options import explained
from .bind import check_in_trio, open_on_one_port, set_common_options
from .closing import notify_closing

#: What a listener accepts: a connected, non-blocking socket, or a stream of any kind.
Accepted: TypeAlias = socket.socket | trio.abc.Stream

#: The peer of an accepted connection: an address, or what the socket module reports (converted when it is
#: first read), or None.
PeerName: TypeAlias = Address | SockAddr | str | bytes | None

#: What can be made a `Listener`.
Adoptable: TypeAlias = trio.abc.Listener[trio.abc.Stream] | socket.socket | trio.socket.SocketType

_CAN_COUNT: Final = sys.platform == "linux" and hasattr(socket, "TCP_INFO")
#: Where `struct tcp_info` (linux/tcp.h) has tcpi_unacked: of a listening socket, the length of its queue.
_UNACKED: Final = slice(24, 28)

#: As long a queue as the kernel allows, as trio does it: listen(2) cuts it to net.core.somaxconn.
DEFAULT_BACKLOG: Final = 65_535


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """A source of connections. Also a `trio.abc.Listener`.

    A subclass needs `address`, `wait_ready`, `accept_nowait`, `is_closed` and `close`.
    """

    @property
    @abc.abstractmethod
    def address(self) -> Address:
        """Where it listens."""

    @abc.abstractmethod
    async def wait_ready(self) -> None:
        """Return when `accept_nowait` may find something. A checkpoint even if that is so at once.

        Raises: trio.ClosedResourceError if it is closed.
        """

    @abc.abstractmethod
    def accept_nowait(self) -> tuple[Accepted, PeerName]:
        """Return the first connection of the queue and the peer's name.

        Raises: trio.WouldBlock if the queue is empty; trio.ClosedResourceError; an OSError of accept(2).
        """

    def count_waiting(self) -> int | None:
        """Return the length of the queue; None if it is not known."""
        return None

    @property
    @abc.abstractmethod
    def is_closed(self) -> bool:
        """Whether it was closed, by `close()` or behind its back."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop listening. Tasks that wait get trio.ClosedResourceError. May be called again."""

    async def accept(self) -> trio.abc.Stream:
        """Wait for a connection and return it as a trio stream. A checkpoint."""
        while True:
            await self.wait_ready()
            try:
                accepted, _ = self.accept_nowait()
            except trio.WouldBlock:
                continue
            if isinstance(accepted, socket.socket):
                return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
            return accepted

    async def aclose(self) -> None:
        """Stop listening; closed even if cancelled. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()


class SocketListener(Listener):
    """A listening stream socket of the standard library, which it owns and makes non-blocking."""

    def __init__(self, sock: socket.socket) -> None:
        if not isinstance(sock, socket.socket):
            raise TypeError(f"a listener needs a socket.socket, not {sock!r}")
        address = _check_listening(sock)
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Accepted sockets inherit it on Linux and the BSDs: one call here instead of one for each
            # connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.socket = sock
        # What socket.accept() does, without asking the listener each time of which kind it is.
        self._accept: Callable[[], tuple[int, PeerName]] = sock._accept  # type: ignore[attr-defined]
        self._family, self._type, self._proto = int(sock.family), int(sock.type), sock.proto
        self._address = address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._address}{' (closed)' if self.is_closed else ''}>"

    @property
    def address(self) -> Address:
        """Where it listens, as the kernel says."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, by `close()` or behind its back."""
        return self.socket.fileno() < 0

    async def wait_ready(self) -> None:
        """Return when the kernel's queue is not empty. Raises: trio.ClosedResourceError if it is closed."""
        if self.is_closed:
            raise trio.ClosedResourceError("this listener is closed")
        await trio.lowlevel.wait_readable(self.socket)

    def accept_nowait(self) -> tuple[socket.socket, PeerName]:
        """Return the first socket of the kernel's queue, non-blocking, and its name as accept(2) gave it."""
        try:
            descriptor, name = self._accept()
        except BlockingIOError:
            raise trio.WouldBlock from None
        sock = socket.socket(self._family, self._type, self._proto, descriptor)
        sock.setblocking(False)
        return sock, name

    def count_waiting(self) -> int | None:
        """Return how many are in the kernel's queue, for TCP on Linux; None elsewhere."""
        if not _CAN_COUNT or self._family not in (socket.AF_INET, socket.AF_INET6):
            return None
        try:
            info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.stop)
        except OSError:
            return None
        return int.from_bytes(info[_UNACKED], sys.byteorder)

    def close(self) -> None:
        """Close the descriptor. The kernel then refuses connections, and resets those in its queue."""
        if not self.is_closed:
            notify_closing(self.socket)
            self.socket.close()


def _check_listening(sock: socket.socket | trio.socket.SocketType) -> Address:
    """Return where it listens. Raises: ValueError and OSError, as `adopt` says."""
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"a listener needs a stream socket, not {sock.type.name}")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError(f"the socket bound to {sock.getsockname()!r} does not listen: call listen() first")
    return from_sockaddr(sock.family, socket.SOCK_STREAM, sock.getsockname())


def adopt(listener: object) -> Listener:
    """Return `listener` as a `Listener`: a trio.SocketListener, a listening socket.socket or trio socket, or
    what is one already.

    The listener takes the socket over; a trio.SocketListener or trio socket is left closed.

    Raises: TypeError for anything else; ValueError for a socket that is no stream socket, does not listen, or
    is of a family other than AF_INET, AF_INET6, AF_UNIX; OSError (EBADF) for one that is closed. It is then
    left to its owner.
    """
    match listener:
        case Listener():
            return listener
        case socket.socket():
            return SocketListener(listener)
        case trio.SocketListener(socket=inner) | (trio.socket.SocketType() as inner):
            _check_listening(inner)  # before it is taken from its owner
            family, kind, protocol = inner.family, inner.type, inner.proto
            return SocketListener(socket.socket(family, kind, protocol, fileno=inner.detach()))
        case trio.abc.Listener():
            return _ForeignListener(listener)
    raise TypeError(f"listeners must be triosock or trio listeners, or listening sockets, not {listener!r}")


def _address_of(listener: trio.abc.Listener[Any]) -> Address:
    """Return the address of a listener: that of its socket, if trio's own classes are around one."""
    inner = listener
    while isinstance(inner, trio.SSLListener):
        inner = inner.transport_listener
    if isinstance(inner, trio.SocketListener):
        sock = inner.socket
        # A family without an `Address`, such as AF_VSOCK, is served too; a closed one says so in `accept`.
        with contextlib.suppress(ValueError, OSError):
            return from_sockaddr(sock.family, socket.SOCK_STREAM, sock.getsockname())
    return MemoryAddress(type(listener).__name__)


@final
class _ForeignListener(Listener):
    """Any other trio listener, which only has `accept`: an accepted stream is kept until a slot is free."""

    def __init__(self, inner: trio.abc.Listener[Any]) -> None:
        self._inner = inner
        self._accepted: trio.abc.Stream | None = None
        self._closed = False
        self._wait: trio.CancelScope | None = None
        self._address = _address_of(inner)

    @property
    def address(self) -> Address:
        return self._address

    async def wait_ready(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener is closed")
        if self._accepted is not None:
            await trio.lowlevel.checkpoint()
            return
        scope = self._wait = trio.CancelScope()
        try:
            with scope:
                self._accepted = await self._inner.accept()
        finally:
            self._wait = None
        if scope.cancelled_caught:
            raise trio.ClosedResourceError("this listener was closed")

    def accept_nowait(self) -> tuple[trio.abc.Stream, None]:
        if self._accepted is None:
            raise trio.WouldBlock
        accepted, self._accepted = self._accepted, None
        return accepted, None

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        # `aclose` does the rest, since closing a foreign listener is asynchronous.
        self._closed = True
        if self._wait is not None:
            self._wait.cancel()

    async def aclose(self) -> None:
        self.close()
        accepted, self._accepted = self._accepted, None
        if accepted is not None:
            await trio.aclose_forcefully(accepted)
        await self._inner.aclose()


# TCP


@explained
async def open_tcp_listeners(
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    reuse_port: bool = False,
) -> list[SocketListener]:
    """Listen for TCP connections.

    Args:
      port: from 0 to 65535; 0 is any free one, the same for all addresses that `host` stands for.
      host: a name or address; None is every address of this machine, IPv4 and IPv6, a socket for each family.
      backlog: how many may wait in the kernel's queue, from 1 on; None is as many as it allows.
      reuse_port: let other sockets of this user listen on the same port; the kernel spreads the connections
        (socket(7)).

    Returns: the listeners, at least one.

    Raises: TypeError, ValueError; OSError (socket.gaierror) if `host` cannot be resolved; AddressUnavailable
    if an address is in use, not this machine's, or not allowed.

    Cancellation: a checkpoint; cancelled, nothing is left open.
    """
    check_in_trio("open_tcp_listeners()")
    length = check_backlog(backlog)

    def bind(family: int, sockaddr: SockAddr) -> socket.socket:
        return _bind(family, sockaddr, length, reuse_port)

    return [SocketListener(sock) for sock in await open_on_one_port(port, host, socket.SOCK_STREAM, bind)]


def check_backlog(backlog: object) -> int:
    """Return the length for listen(2): `backlog` if it is an int from 1 on, the largest for None; TypeError,
    ValueError otherwise.
    """
    if backlog is None:
        return DEFAULT_BACKLOG
    return min(check_int(backlog, "backlog", besides=", or None"), DEFAULT_BACKLOG)


def _bind(family: int, sockaddr: SockAddr, backlog: int, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            # On Windows the same option would let any process take over the port, as trio's opener says.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        set_common_options(sock, reuse_port=reuse_port)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
