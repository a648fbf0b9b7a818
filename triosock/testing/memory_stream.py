"""Two ends of an in-memory connection: no socket, bounded buffers, resets.

The rules:

1. **Every method begins with a checkpoint, and is synchronous after it unless it has to wait.** So a
   cancelled receive has taken nothing, and a cancelled send has sent nothing, or what it had sent before it
   had to wait.
2. **It shows the worst behaviour of TCP.** An end that closes with unread input, or receives data after its
   close, resets the connection, and the reset discards what the other end has not read yet (RFC 9112, 9.6).
   On a network that may happen; here it always does, so that a test sees it.
3. **An end that was not closed emits a ResourceWarning**, as a socket does; `leaks.py` finds those that are
   still referenced.
"""

from __future__ import annotations

import warnings
import weakref
from typing import Final, final

import attrs
import trio
from trio.lowlevel import ParkingLot, checkpoint

from .._core.protocols.framing import check_max_bytes
from .._core.transport.interface import BytesLike, check_receive_size, check_sendable
from .stream_end import StreamEnd

#: The bytes that one direction holds before a send has to wait: a pipe's default on Linux, pipe(7).
BUFFER_SIZE: Final = 65_536

#: The ends that are open now, for `leaks.py`.
open_streams: weakref.WeakSet[MemoryStream] = weakref.WeakSet()


@attrs.define(eq=False)
class _Pipe:
    """One direction: the bytes that were sent and not received, and the state of both ends."""

    size: int
    data: bytearray = attrs.field(factory=bytearray)
    #: The sending end has ended its stream, or was closed.
    ended: bool = False
    #: The receiving end was closed.
    abandoned: bool = False
    #: It was reset: its bytes are lost, and a receive raises.
    reset: bool = False
    changed: ParkingLot = attrs.field(factory=ParkingLot)

    def break_off(self) -> None:
        self.reset = True
        self.data.clear()
        self.changed.unpark_all()

    def end(self) -> None:
        self.ended = True
        self.changed.unpark_all()

    @property
    def room(self) -> int:
        return self.size - len(self.data)


@final
class MemoryStream(StreamEnd):
    """One end of an in-memory connection, made by `memory_stream_pair()` or `MemoryListener`. One receiving
    and one sending task at a time.

    Errors: `trio.BrokenResourceError` if the other end is closed (sending) or reset the connection (both);
    `trio.ClosedResourceError` if this end is closed, or is sent on after `send_eof()`;
    `trio.BusyResourceError` for a second task.
    """

    def __init__(self, name: str, incoming: _Pipe, outgoing: _Pipe) -> None:
        super().__init__()
        self._name = name
        self._incoming = incoming
        self._outgoing = outgoing
        open_streams.add(self)

    def __repr__(self) -> str:
        return f"<MemoryStream {self._name}{' (closed)' if self._closed else ''}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for some bytes and return them, up to `max_bytes` (from 1 on; None: all of them); b"" at the
        end of the stream.

        A checkpoint. Cancellation: loses nothing.
        """
        if max_bytes is not None:
            check_receive_size(max_bytes)
        incoming = self._incoming
        with self._alone("receiving"):
            await checkpoint()
            while not self._closed and not self.has_input():
                await incoming.changed.park()
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if incoming.reset:
            raise trio.BrokenResourceError("the other end has reset the connection")
        taken = bytes(incoming.data[:max_bytes])
        del incoming.data[:max_bytes]
        if taken:
            incoming.changed.unpark_all()
        return taken

    def has_input(self) -> bool:
        """Whether a receive would find bytes, the end of the stream or a reset without waiting."""
        incoming = self._incoming
        return bool(incoming.data) or incoming.ended or incoming.reset

    def has_room(self) -> bool:
        """Whether a send would find room, or an error, without waiting."""
        outgoing = self._outgoing
        return bool(outgoing.room) or outgoing.abandoned or outgoing.ended or self._incoming.reset

    async def wait_peer_gone(self) -> None:
        """Return when the other end has ended its stream, closed, or reset the connection. Its data can
        still be received. A checkpoint.
        """
        await checkpoint()
        incoming = self._incoming
        while not (self._closed or incoming.ended or incoming.reset):
            await incoming.changed.park()
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")

    # Sending

    async def send_all(self, data: BytesLike) -> None:
        """Send all of `data`; waits while the buffer is full. A checkpoint.

        Cancellation: some of it may have been sent, if it had to wait.
        """
        check_sendable(data)
        view = memoryview(data).cast("B")
        with self._alone("sending"):
            await checkpoint()
            while True:
                self._check_send()
                outgoing = self._outgoing
                piece, view = view[: outgoing.room], view[outgoing.room :]
                if piece:
                    outgoing.data += piece
                    outgoing.changed.unpark_all()
                if not view:
                    return
                await outgoing.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Return when there is room for at least one byte, or the other end is gone: then the next send
        raises. A checkpoint.
        """
        with self._alone("sending"):
            await checkpoint()
            self._check_can_send()
            while not self.has_room():
                await self._outgoing.changed.park()
                self._check_can_send()

    async def send_eof(self) -> None:
        """End the stream in this direction; a second call does nothing. A checkpoint."""
        with self._alone("sending"):
            await checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this stream is closed")
            self._outgoing.end()

    def _check_can_send(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self._outgoing.ended:
            raise trio.ClosedResourceError("send_eof() was called: nothing more can be sent")

    def _check_send(self) -> None:
        self._check_can_send()
        if self._outgoing.abandoned:
            # As with TCP, this also loses the unread data that the other end had sent before it closed.
            self._incoming.break_off()
        if self._incoming.reset:
            raise trio.BrokenResourceError("the other end has closed the connection")

    # Ending

    def close(self) -> None:
        """Close this end. Synchronous. If there is unread input, the other end gets a reset."""
        self._close(reset=bool(self._incoming.data))

    def _close(self, *, reset: bool) -> None:
        if self._closed:
            return
        self._closed = True
        open_streams.discard(self)
        if reset:
            self._outgoing.break_off()
        else:
            self._outgoing.end()
        self._incoming.abandoned = True
        for pipe in (self._incoming, self._outgoing):
            pipe.changed.unpark_all()


def memory_stream_pair(
    *, buffer_size: int = BUFFER_SIZE, names: tuple[str, str] = ("client", "server")
) -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a new connection.

    Args: `buffer_size`, the bytes (from 1 on) that each direction holds before a send has to wait; `names`,
    for messages.
    """
    try:
        check_max_bytes(buffer_size)
    except (TypeError, ValueError) as error:
        raise type(error)(f"buffer_size must be an int from 1 on, not {buffer_size!r}") from None
    one, other = _Pipe(buffer_size), _Pipe(buffer_size)
    return MemoryStream(names[0], one, other), MemoryStream(names[1], other, one)
