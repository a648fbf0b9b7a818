"""The interface of a wire: what a connection needs of the object that carries its bytes.

Three files have wires: `socket.py` (the fast path), `stream_adapter.py` (any `trio.abc.Stream`) and `tls.py`.
Rules for all of them:

1. **Every call is a checkpoint**, with one exception: a send that follows a receive on the same connection
   may be a cancel point only. The receive was a checkpoint, which is enough for one receive and a send of the
   same size.
2. **A cancelled read has taken nothing.**
3. **A cancelled send is remembered**: the next send raises, rather than to continue the stream in the wrong
   place.
4. **An idle wait can be ended from outside** (`interrupt()`), and then raises `Interrupted`.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import trio

BytesLike: TypeAlias = bytes | bytearray | memoryview

#: As much as one `recv` asks for when the caller does not say: the default of trio's SocketStream.
RECEIVE_SIZE: Final = 65_536

#: What may be sent after a receive before others must have had their turn again: RECEIVE_SIZE bytes, as much
#: as the receive may have brought, each send counted as this many at least. So 16 in a row are the most.
SMALL: Final = 4096


class Interrupted(Exception):
    """An idle wait was ended by `interrupt()`. Never leaves the core."""


class Wire(Protocol):
    """The object that carries a connection's bytes. The rules are at the top of this file."""

    #: Whether the stream can end in one direction (TCP and Unix sockets can, TLS cannot).
    can_half_close: bool
    #: Whether the peer's end of stream has been read: then a close is enough.
    input_ended: bool
    #: Set by the reader of the peer's requests: whether the next one is here already. Answers to the others
    #: may then be gathered.
    gathering: bool
    #: Its task has just begun to run: others have run, and the first receive need not let them run again.
    just_begun: bool
    received: int
    sent: int
    is_closed: bool
    #: The first error because the peer is gone; later errors are the same object, or have it as their cause.
    failure: trio.BrokenResourceError | None

    @property
    def transport(self) -> socket.socket | trio.abc.Stream:
        """What carries the bytes."""
        ...

    async def receive_some(
        self, max_bytes: int | None = None, *, idle: bool = False, iterating: bool = False
    ) -> bytes:
        """Return some bytes, or none at the end of the stream. `idle`: raise Interrupted if `interrupt()`
        ends the wait. `iterating`: raise StopAsyncIteration at the end of the stream.
        """
        ...

    async def take_turn(self) -> None:
        """Let others run, as a receive does."""
        ...

    async def send_all(self, data: BytesLike) -> None:
        """Send all of it."""
        ...

    async def send_pieces(self, read: Callable[[], Awaitable[BytesLike]]) -> int:
        """Send what `read` returns until that is nothing; return the number of bytes. It is one message: no
        other task can send meanwhile.
        """
        ...

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the peer may take more."""
        ...

    async def send_eof(self) -> None:
        """End the stream in this direction."""
        ...

    def interrupt(self) -> None:
        """End the idle wait that goes on now, and at once each that begins later without input at hand."""
        ...

    def note_wait_end(self, *, idle: bool) -> None:
        """A wait for the peer (`idle`, for its next request) has been ended from this side, and nothing was
        received in it.
        """
        ...

    def expire(self) -> None:
        """End the idle wait that goes on now: it took too long. Until something comes, others end at once."""
        ...

    @property
    def is_interrupted(self) -> bool:
        """Whether `interrupt()` was called."""
        ...

    @property
    def has_expired(self) -> bool:
        """Whether an idle wait was ended by `expire()`, and nothing has come since."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether an idle wait that begins now ends at once, unless there is input."""
        ...

    async def wait_request(self) -> bytes | None:
        """Wait, idle, for input. Return what had to be taken to find out: None if nothing had to be, b"" at
        the end of the stream. Raises: Interrupted.
        """
        ...

    async def wait_peer_gone(self) -> None:
        """Return when the peer has hung up; input stays where it is. Raises: TypeError if that cannot be
        told.
        """
        ...

    def has_input(self) -> bool | None:
        """Whether a receive would find something without waiting; None if that cannot be told."""
        ...

    def has_room(self) -> bool | None:
        """Whether something could be sent without waiting; None if that cannot be told."""
        ...

    async def linger(self) -> None:
        """End the stream (half-close, where the transport can), then discard input until the peer ends its
        own.
        """
        ...

    def close_now(self, *, reset: bool = False) -> None:
        """Close without a lingering close and without a close_notify, or (`reset`) with a reset, so that the
        peer does not take it for a proper end.
        """
        ...

    @property
    def is_broken_off(self) -> bool:
        """Whether a send ended half-way, or goes on in another task."""
        ...

    @property
    def ended_waiting(self) -> bool:
        """Whether the last thing that happened here is that a wait for the peer was ended from this side."""
        ...

    async def aclose_now(self, *, reset: bool = False) -> None:
        """Close as `close_now`, cancelled or not, also where closing is asynchronous; with a reset where the
        transport has one. Not a checkpoint.
        """
        ...


def check_receive_size(max_bytes: object) -> int:
    """Return `max_bytes` if it is an int from 1 on, and the default for None; TypeError or ValueError
    otherwise.
    """
    if max_bytes is None:
        return RECEIVE_SIZE
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
        raise TypeError(f"max_bytes must be an int from 1 on, or None, not {max_bytes!r}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be from 1 on, not {max_bytes}")
    return max_bytes


def check_sendable(data: object) -> int:
    """Return how many bytes `data` has, if it is bytes, a bytearray or a memoryview; TypeError, with a hint
    for a str, otherwise.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        hint = "; a str needs .encode()" if isinstance(data, str) else ""
        if inspect.iscoroutine(data):
            data.close()  # it will never be awaited; closed, it does not warn of that as well
            hint = f"; write `await` before {data.__name__}(…)"
        raise TypeError(f"data must be bytes, a bytearray or a memoryview, not {type(data).__name__}{hint}")
    return data.nbytes if isinstance(data, memoryview) else len(data)
