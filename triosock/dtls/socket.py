"""The object that trio's DTLS endpoint uses as its socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeAlias, final

import trio

from .._core.datagram.packet_info import ControlMessage
from .._core.datagram.socket import ABOUT_A_REPLY, DatagramSocket
from .._core.listeners.accept_errors import ErrorAction, judge
from .._core.listeners.gate import Gate
from .._core.listeners.listener import PeerName
from .._core.model.emitter import Emitter
from .._core.model.events import AcceptFailed
from .._core.registry.registry import Registry

#: What stands for an address to the endpoint: the peer's name, and our address that it sent to.
ReturnPath: TypeAlias = tuple[PeerName, ControlMessage | None]


@final
class EndpointSocket(trio.socket.SocketType):
    """The socket of trio's endpoint: a `DatagramSocket` of triosock, so that replies leave from the address
    that the request was sent to.

    To the endpoint an address is what `recvfrom` returns: here the peer's name together with the local
    address that it sent to. Errors never reach its receive loop, since that is a system task of trio, in
    which an error ends the whole program.
    """

    def __init__(
        self,
        inner: DatagramSocket,
        family: socket.AddressFamily,
        gate: Gate,
        registry: Registry,
        emitter: Emitter,
        on_end: Callable[[OSError | None], None],
    ) -> None:
        self.inner = inner
        self._on_end = on_end
        self._family = family
        self._gate = gate
        self._registry = registry
        self._emitter = emitter
        self._in_use = False
        self._left = trio.Event()

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6, for the size of packets."""
        return self._family

    @property
    def type(self) -> socket.SocketKind:
        """Always SOCK_DGRAM."""
        return socket.SOCK_DGRAM

    def getsockname(self) -> str:
        """The local address: the socket is bound."""
        return str(self.inner.address)

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, ReturnPath]:
        """Wait for a datagram; return it, with its way back. Raises nothing but trio.ClosedResourceError."""
        self._in_use = True
        while True:
            try:
                await self._gate.wait_open()
                await self.inner.wait_ready()
                received = self.inner.receive_nowait()
            except trio.WouldBlock:
                continue
            except trio.ClosedResourceError:
                self._left.set()
                self._on_end(None)
                raise
            except OSError as error:
                action = await self._consider(error)
                if action in (ErrorAction.END, ErrorAction.CRASH):
                    self._left.set()
                    self._on_end(error if action is ErrorAction.CRASH else None)
                    raise trio.ClosedResourceError(f"receiving failed for good: {error}") from error
            else:
                return received.data, (received.name, received.destination)

    async def _consider(self, error: OSError) -> ErrorAction:
        """Return what the table of accept errors says, after the wait that it wants."""
        action = ErrorAction.GO_ON if error.errno in ABOUT_A_REPLY else judge(error)
        self._registry.tally.accept_errors += 1
        self._emitter.emit(AcceptFailed, address=self.inner.address, error=error, action=action.value)
        if action is ErrorAction.BACK_OFF:
            with trio.move_on_after(0.1):
                await self._registry.wait_departure()
        else:
            await trio.lowlevel.checkpoint()
        return action

    async def sendto(self, *args: Any) -> int:
        """Send a datagram. Raises nothing but trio.ClosedResourceError."""
        data, (name, destination) = args[0], args[-1]
        await trio.lowlevel.checkpoint()
        while not self.inner.is_closed:
            try:
                self.inner.send_nowait(data, name, destination)
            except trio.WouldBlock:
                await self.inner.wait_writable(name)
            except OSError:
                return 0  # it will not arrive, as any datagram may; retransmission is the protocol's business
            else:
                return len(data)
        # At this point no handler is left: who still sends is the receive loop, and this ends it as well.
        self._left.set()
        raise trio.ClosedResourceError("the server has ended")

    def close(self) -> None:
        """Close the socket; the receive loop ends."""
        self.inner.close()

    async def wait_left(self) -> None:
        """Return when the endpoint's receive loop has noticed the close, with which its task ends."""
        if self._in_use:
            with trio.CancelScope(shield=True):
                await self._left.wait()
                await trio.lowlevel.checkpoint()
