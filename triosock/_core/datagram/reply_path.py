"""The reply path: what the replies of datagrams and of sessions have in common.

The rules:

1. **A reply leaves as one datagram or not at all.** One that is too long is a mistake of the caller, raised
   before anything is sent wherever the limit is known.
2. **An undeliverable reply raises in the task that sends it**, and never stops the server. A reply that was
   sent may still be lost.
3. After the end of the server a send raises `trio.ClosedResourceError`.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable
from typing import Final, NoReturn, final

import trio

from ..listeners.accept_errors import THE_PEERS
from ..listeners.listener import PeerName
from ..model.addresses import Address, TcpAddress, UdpAddress
from ..model.config import Timeouts
from ..model.errors import NoReturnAddress
from ..model.events import Cause
from ..registry.registry import NEVER, Entry, Registry
from ..transport.interface import BytesLike, check_sendable
from .packet_info import ControlMessage
from .queue import ReceiveQueue
from .socket import ABOUT_A_REPLY, DatagramSocket, Received

#: The peer cannot be reached: its socket file is gone or stale, there is no route, or a firewall forbids it.
_NOBODY_THERE: Final = (THE_PEERS | ABOUT_A_REPLY | {errno.ENOENT}) - {errno.EMSGSIZE, errno.EACCES}
#: What the path that a Unix peer named leads to: nothing, a loop, another kind of socket, or a place that we
#: may not enter or write to (unix(7), path_resolution(7)). The peer has chosen it.
_NO_SUCH_PATH: Final = frozenset(
    {errno.ENOTDIR, errno.ELOOP, errno.EPROTOTYPE, errno.EACCES, errno.ENAMETOOLONG, errno.ENXIO}
)
#: Unspecified addresses. RFC 4291, 2.5.2, forbids sending to them; Linux sends to this machine then, so that
#: a neighbour could make a server talk to a service on its loopback. A source port of 0 (RFC 768) means that
#: there is none.
_NOWHERE: Final = ("::", "0.0.0.0")


@final
class Route:
    """The socket, the peer and the local address that belong together."""

    __slots__ = (
        "_destination",
        "_local",
        "_name",
        "_peer",
        "_queue",
        "_timeouts",
        "entry",
        "failure",
        "received",
        "sent",
        "socket",
    )

    def __init__(
        self,
        socket: DatagramSocket,
        name: PeerName,
        destination: ControlMessage | None,
        entry: Entry,
        queue: ReceiveQueue,
        timeouts: Timeouts,
    ) -> None:
        self.socket: DatagramSocket = socket
        self._name = name
        self._destination = destination
        self.entry: Entry = entry
        self._queue = queue
        self._timeouts = timeouts
        self._peer: Address | None = None
        self._local: Address | None = None
        #: The exception that was raised because the peer cannot be reached.
        self.failure: trio.BrokenResourceError | None = None
        #: Bytes received and sent over it.
        self.received: int = 0
        self.sent: int = 0

    def renewed(self, entry: Entry) -> Route:
        """Return the same route for another entry, with both counters at 0."""
        return Route(self.socket, self._name, self._destination, entry, self._queue, self._timeouts)

    @property
    def peer(self) -> Address:
        """The address of the other side; ``UnixAddress("")`` if it has none."""
        if self._peer is None:
            self._peer = self.socket.peer_address(self._name)
        return self._peer

    @property
    def local(self) -> Address:
        """The local address that the peer sent to."""
        if self._local is None:
            self._local = self.socket.local_address(self._destination)
        return self._local

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended."""
        return self.socket.is_closed

    def has_input(self) -> None:
        """Not known: all peers share one socket."""

    def has_room(self) -> None:
        """Not known, either."""

    async def send(self, data: BytesLike) -> None:
        """Send one datagram back, from the address that the peer sent to. A checkpoint."""
        check_sendable(data)
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        most = self.socket.max_payload
        if most is not None and size > most:
            raise self._too_long(size, f"UDP carries {most:,} bytes at most here")
        if not self._name:
            raise NoReturnAddress(
                "the peer's Unix socket has no name, so there is nowhere to send a reply to: "
                "a client that wants one must bind() its socket first"
            )
        if isinstance(self._name, tuple) and (not self._name[1] or self._name[0] in _NOWHERE):
            self.failure = trio.BrokenResourceError(
                "the peer cannot be reached: its datagram names no address and port to answer to"
            )
            raise self.failure
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._try_send(data, size):
            await self._wait_room()
        self.sent += size
        self._queue.count_sent(size)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _try_send(self, data: BytesLike, size: int) -> bool:
        self._check_open()
        try:
            self.socket.send_nowait(data, self._name, self._destination)
        except trio.WouldBlock:
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise self._too_long(size, "the system takes less at once") from error
            self._fail(error)
        return True

    def _check_open(self) -> None:
        if self.is_closed:
            raise trio.ClosedResourceError(f"nothing can be sent to {self.peer}: the server has ended")

    def _too_long(self, size: int, why: str) -> ValueError:
        return ValueError(f"data has {size:,} bytes, too many for one datagram to {self.peer}: {why}")

    async def _wait_room(self) -> None:
        """Wait until the kernel may take it, for `Timeouts.send` at most."""
        entry = self.entry
        entry.send_since = trio.current_time()
        try:
            with trio.move_on_after(self._timeouts.send) as patience:
                try:
                    await self.socket.wait_writable(self._name)
                except trio.ClosedResourceError:
                    self._check_open()
                    raise
                except OSError as error:
                    self._fail(error)
        finally:
            entry.send_since = NEVER
        if patience.cancelled_caught:
            # As for streams, the handler is cancelled. A task that is not the handler's gets the error.
            entry.cut(Cause.SEND)
            await trio.lowlevel.checkpoint()
            raise trio.TooSlowError(f"{self.peer} took nothing for {self._timeouts.send:g} s (Timeouts.send)")

    def _fail(self, error: OSError) -> NoReturn:
        """The one place where the system's errors become trio's."""
        if error.errno == errno.EBADF:
            raise trio.ClosedResourceError(
                f"nothing can be sent to {self.peer}: the socket is closed"
            ) from None
        by_path = isinstance(self._name, (str, bytes)) and error.errno in _NO_SUCH_PATH
        if by_path or error.errno in _NOBODY_THERE:
            self.failure = trio.BrokenResourceError(f"the peer cannot be reached: {error}")
            raise self.failure from error
        hint = "; if this is a broadcast address, open the socket with broadcast=True"
        text = f"nothing can be sent to {self.peer}: {error}{hint if error.errno == errno.EACCES else ''}"
        raise trio.BrokenResourceError(text) from error


def keys_for(registry: Registry, route: Route) -> tuple[Hashable, ...]:
    """Return under which names the limits count a peer; () if no limit asks."""
    return registry.keys_for(route.peer) if registry.counts_peers else ()


def host_of(received: Received) -> object:
    """Return whose share of the pending datagrams one takes: its host without the port, or its Unix name."""
    name = received.name
    if isinstance(name, tuple):
        return name[0]
    if isinstance(name, (TcpAddress, UdpAddress)):
        return name.host
    return name
