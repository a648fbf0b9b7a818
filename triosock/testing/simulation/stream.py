"""One end of a simulated connection.

The rules are those of `MemoryStream`: every method begins with a checkpoint and is synchronous from then on
unless it has to wait; a cancelled receive has taken nothing; an end that closes with unread input, or
receives data after its close, resets the connection. Also:

1. **Ends and resets take time**: they arrive after the data sent before, with the same delay.
2. **A fault is noted before it happens**, so that the server is not blamed for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import trio
from trio.lowlevel import checkpoint

from ..._core.transport.interface import BytesLike, check_receive_size, check_sendable
from ..stream_end import StreamEnd
from .pipe import Pipe


@final
class SimulatedStream(StreamEnd):
    """One end, made by `World.connect`. One receiving and one sending task at a time.

    Errors: those of `triosock.testing.MemoryStream`. `on_fault` is called with each fault, as a kind and a
    description.
    """

    def __init__(
        self, name: str, incoming: Pipe, outgoing: Pipe, on_fault: Callable[[str, str], None]
    ) -> None:
        super().__init__()
        self.name: str = name
        self.incoming: Pipe = incoming
        self.outgoing: Pipe = outgoing
        #: The unread bytes that had arrived when it was closed.
        self.closed_with_input: int = 0
        self._on_fault = on_fault

    def __repr__(self) -> str:
        return f"<SimulatedStream {self.name}{' (closed)' if self._closed else ''}>"

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for some bytes and return them, up to `max_bytes` (from 1 on; None: all of them); b"" at the
        end of the stream.

        A checkpoint. Cancellation: loses nothing.
        """
        if max_bytes is not None:
            check_receive_size(max_bytes)
        incoming = self.incoming
        with self._alone("receiving"):
            if incoming.conditions.reading:
                await trio.sleep(incoming.conditions.reading)
            else:
                await checkpoint()
            while not self._closed and not incoming.is_readable():
                await incoming.wait_readable()
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if incoming.is_reset:
            raise trio.BrokenResourceError("the other end has reset the connection")
        return incoming.take(max_bytes)

    def has_input(self) -> bool:
        """Whether a receive would find bytes, the end of the stream or a reset without waiting."""
        return self.incoming.is_readable()

    def has_room(self) -> bool:
        """Whether a send would find room, or an error, without waiting."""
        outgoing = self.outgoing
        return outgoing.room > 0 or outgoing.is_abandoned or outgoing.is_ended or self.incoming.is_reset

    async def wait_peer_gone(self) -> None:
        """Return when the other end has ended its stream, closed, or reset the connection. A checkpoint."""
        await checkpoint()
        incoming = self.incoming
        while not self._closed:
            incoming.deliver_due()
            if incoming.is_reset or (incoming.end_due <= trio.current_time() and not incoming.link.is_down):
                break
            await incoming.wait_readable()
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")

    # Sending

    async def send_all(self, data: BytesLike) -> None:
        """Send all of `data`; waits while the buffer is full. A checkpoint.

        Cancellation: some of it may have been sent, if it had to wait.
        """
        check_sendable(data)
        view = memoryview(data).cast("B")
        outgoing = self.outgoing
        with self._alone("sending"):
            await checkpoint()
            while True:
                self._check_send()
                view = self._put_some(view)
                if not view:
                    return
                if outgoing.room_for(len(view)) <= 0:
                    await self._wait_room()

    def _put_some(self, view: memoryview) -> memoryview:
        outgoing = self.outgoing
        conditions = outgoing.conditions
        until_fault = min(conditions.reset_at, conditions.end_at) - outgoing.sent
        size = int(min(len(view), outgoing.room_for(len(view)), max(until_fault, 0)))
        if size:
            outgoing.put(view[:size])
        if self.outgoing.is_abandoned and self.incoming.reset_due == math.inf:
            # The other end is closed, and answers data with a reset (RFC 9293, 3.5.2).
            self.incoming.reset(self.outgoing.conditions.seconds + self.incoming.conditions.seconds)
        if outgoing.sent >= min(conditions.reset_at, conditions.end_at):
            self._inject()
        return view[size:]

    def _inject(self) -> None:
        conditions, outgoing = self.outgoing.conditions, self.outgoing
        if outgoing.sent >= conditions.end_at:
            conditions.end_at = math.inf
            self._on_fault("half closes", f"{self.name} ends its sending side after {outgoing.sent} bytes")
            outgoing.end()
        else:
            conditions.reset_at = math.inf
            self.break_off("resets", f"the connection of {self.name} is reset after {outgoing.sent} bytes")

    def break_off(self, kind: str, why: str) -> None:
        """Reset both ends, as a fault of the network. Args: `kind` of fault, and `why`, a description."""
        self._on_fault(kind, why)
        self.outgoing.reset()
        self.incoming.reset(0.0)

    async def _wait_room(self) -> None:
        # A reset belongs to the other direction, and may arrive later.
        due = self.incoming.reset_due
        if due == math.inf:
            await self.outgoing.changed.park()
        else:
            with trio.move_on_at(due):
                await self.outgoing.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Return when there is room for at least one byte. A checkpoint."""
        with self._alone("sending"):
            await checkpoint()
            self._check_send()
            while self.outgoing.room <= 0:
                await self._wait_room()
                self._check_send()

    async def send_eof(self) -> None:
        """End the stream in this direction; a second call does nothing. A checkpoint."""
        with self._alone("sending"):
            await checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this stream is closed")
            self.outgoing.end()

    def _check_send(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self.incoming.is_reset:
            raise trio.BrokenResourceError("the connection was reset")
        if self.outgoing.is_ended:
            raise trio.ClosedResourceError("send_eof() was called: nothing more can be sent")

    # Ending

    def close(self) -> None:
        """Close this end. Synchronous. If there is unread input, the other end gets a reset."""
        self.incoming.deliver_due()
        self._close(reset=bool(self.incoming.ready))

    def _close(self, *, reset: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self.incoming.deliver_due()
        self.closed_with_input = len(self.incoming.ready)
        if reset:
            self.outgoing.reset()
        elif self.incoming.in_flight and self.incoming.reset_due == math.inf:
            # Data that arrives later at a closed end is answered with a reset.
            self.outgoing.end()
            last, _ = self.incoming.in_flight[-1]
            self.outgoing.reset(last - trio.current_time() + self.outgoing.conditions.seconds)
        else:
            self.outgoing.end()
        self.incoming.forget()
        self.outgoing.changed.unpark_all()
