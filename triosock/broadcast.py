"""Broadcast: sends each value to many members, with a queue for each member, and a policy for full queues.

The invariants:

1. **A slow member delays no other member.** A value is put, in one synchronous step, into all queues that
   have room; after that the sender may wait for the members with full queues, for all of them at once.
2. **The order of sends is the order in every queue.** Senders that wait do so in order.
3. **Every value is counted.** For each member, a value sent during its membership is queued or dropped, and a
   queued one is received or, at the end of the membership, unread.
4. Memory is bounded by `buffer` values for each member, and one for each `send()` that waits.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar, final

import attrs
import trio

from ._core.model.checks import check_count, check_seconds
from ._core.model.errors import MemberTooSlow
from ._core.model.misuse import write
from ._core.model.trio_thread import check_trio_thread

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")

WhenFull: TypeAlias = Literal["drop", "wait", "cut"]
_POLICIES: Final = ("drop", "wait", "cut")
_DROPS: Final = ("newest", "oldest")


@final
@attrs.frozen(kw_only=True)
class BroadcastStatistics:
    """The numbers of a `Broadcast`. At this moment: the number of `members`, and of values in their queues
    (`pending`). Since the beginning: the number of `sent` values; of `queued`, `dropped` and `unread` ones
    (in the queues of members that have left), counted for each member; and of members that were `cut`.
    """

    members: int
    pending: int
    sent: int
    queued: int
    dropped: int
    unread: int
    cut: int


@final
class Broadcast(Generic[T]):
    """Sends each value to all of its members: the lines of a chat, prices, changes.

    Args:
      buffer: the maximum of values in the queue of a member, an int from 1 on, or `math.inf`.
      when_full: what happens if the queue of a member is full: "drop" discards a value of that member, and
        counts it; "wait" makes the sender wait until there is room; "cut" ends the member with MemberTooSlow.
      drop: the value that "drop" discards: "newest" is the one that is sent, "oldest" the first in the queue.
      patience: the seconds, above 0, for which a sender waits with "wait"; a member whose queue is full then
        is cut.

    Raises: TypeError, ValueError.

    It is for the tasks of one trio run. It has no task, and need not be closed.
    """

    def __init__(
        self,
        *,
        buffer: float = 100,
        when_full: WhenFull = "drop",
        drop: Literal["newest", "oldest"] = "newest",
        patience: float = 1.0,
    ) -> None:
        self._buffer = check_count(buffer, "buffer")
        self._patience = check_seconds(patience, "patience")
        if when_full not in _POLICIES:
            raise ValueError(f"when_full must be one of {', '.join(_POLICIES)}, not {when_full!r}")
        if drop not in _DROPS:
            raise ValueError(f"drop must be one of {', '.join(_DROPS)}, not {drop!r}")
        self._when_full = when_full
        self._drop = drop
        self._members: dict[BroadcastMember[T], None] = {}
        self._sent = self._queued = self._dropped = self._unread = self._cut = 0

    def __len__(self) -> int:
        """The number of members."""
        return len(self._members)

    def join(self) -> BroadcastMember[T]:
        """Return a new member: ``with room.join() as inbox:``."""
        return BroadcastMember(self, self._buffer)

    def statistics(self) -> BroadcastStatistics:
        """Return the numbers at this moment, as a frozen value."""
        return BroadcastStatistics(
            members=len(self._members),
            pending=sum(member.pending for member in self._members),
            sent=self._sent,
            queued=self._queued,
            dropped=self._dropped,
            unread=self._unread,
            cut=self._cut,
        )

    def send_nowait(self, value: T, *, exclude: BroadcastMember[T] | None = None) -> int:
        """Put a value into the queue of every member but `exclude`; return the number of members that got it.

        Raises: trio.WouldBlock with "wait" if the queue of a member is full; then no member got it.
        RuntimeError outside the trio thread. Synchronous.
        """
        check_trio_thread("send_nowait", "room")
        if self._when_full == "wait" and any(one.is_full for one in self._members if one is not exclude):
            raise trio.WouldBlock
        count, _ = self._offer(value, exclude)
        return count

    async def send(self, value: T, *, exclude: BroadcastMember[T] | None = None) -> int:
        """Put a value into the queue of every member but `exclude`; return the number of members that got it.
        Only with "wait" it waits, for all members with a full queue at once, and for `patience` seconds at
        most.

        A checkpoint. Cancellation: if the call was cancelled before, no member got the value; if it is
        cancelled while it waits, the members with a full queue did not get it, and it counts as dropped for
        them.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        count, full = self._offer(value, exclude)
        if not full:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return count
        waits = [_Wait(self, member, value) for member in full]
        async with trio.open_nursery() as nursery:
            for wait in waits:
                nursery.start_soon(wait.run, self._patience)
        return count + sum(wait.done for wait in waits)

    # Synchronous from here on: see the first invariant.

    def _offer(self, value: T, exclude: BroadcastMember[T] | None) -> tuple[int, list[BroadcastMember[T]]]:
        """Give it to all members with room; return their number, and the members to wait for."""
        self._sent += 1
        count, full = 0, []
        for member in tuple(self._members):
            if member is exclude:
                continue
            if not member.is_full or self._make_room(member):
                member._put(value)
                count += 1
            elif self._when_full == "wait":
                full.append(member)
        return count, full

    def _make_room(self, member: BroadcastMember[T]) -> bool:
        """Handle a full member by `when_full`; return whether it has room now."""
        if self._when_full == "wait":
            return False
        self._note_dropped(member)
        if self._when_full == "cut":
            member._end()
        elif self._drop == "oldest":
            member._forget_oldest()
            return True
        return False

    def _note_dropped(self, member: BroadcastMember[T]) -> None:
        member.dropped += 1
        self._dropped += 1


@final
class BroadcastMember(Generic[T]):
    """A receiver of a `Broadcast`: ``with room.join() as inbox:``, and in the block ``async for value in
    inbox:``.

    The membership lasts from the beginning of the block to its end, or until `leave()`. If the member is cut,
    its block is cancelled, also in the middle of a send to a peer that does not read, and raises
    MemberTooSlow: a PeerError, which ends only that connection if it is not caught.

    `dropped` is the number of values that were dropped for this member.

    Raises, when the block is entered: RuntimeError if it was entered before.
    """

    def __init__(self, room: Broadcast[T], buffer: float) -> None:
        send, receive = trio.open_memory_channel[T](buffer)
        self._room = room
        self._send: trio.MemorySendChannel[T] = send
        self._receive: trio.MemoryReceiveChannel[T] = receive
        self._buffer = buffer
        self._scope = trio.CancelScope()
        self._state = "new"
        self.dropped: int = 0

    @property
    def pending(self) -> int:
        """The number of values in its queue."""
        return 0 if self._state == "over" else self._receive.statistics().current_buffer_used

    @property
    def is_full(self) -> bool:
        """Whether its queue is full."""
        return self.pending >= self._buffer

    if not TYPE_CHECKING:  # see misuse.py
        __iter__ = write("async for value in inbox:")
        __aenter__ = write("with room.join() as inbox:")
        __aexit__ = write("with room.join() as inbox:")

    def __enter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError("a member joins once: call join() again")
        self._state = "there"
        self._scope.__enter__()
        self._room._members[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.leave()
        room = self._room
        room._unread += self.pending
        self._state = "over"
        self._receive.close()
        swallowed = bool(self._scope.__exit__(kind, error, trace))
        if self._scope.cancelled_caught:
            raise MemberTooSlow(self._buffer)
        return swallowed

    def leave(self) -> None:
        """End the membership: later values do not reach it, and the iteration ends after those in its queue.
        Synchronous; a second call does nothing.
        """
        if self in self._room._members:
            del self._room._members[self]
            self._send.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Wait for the next value and return it. A checkpoint. Cancellation: loses nothing. The iteration
        ends after `leave()`.

        Raises: trio.ClosedResourceError after the block.
        """
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def _put(self, value: T) -> None:
        self._send.send_nowait(value)
        self._room._queued += 1

    def _forget_oldest(self) -> None:
        self._receive.receive_nowait()
        self._room._queued -= 1

    def _end(self) -> None:
        """Cut the member, unless another sender has done so already."""
        room = self._room
        if self in room._members:
            room._cut += 1
            self.leave()
            self._scope.cancel(reason="triosock: the member is too slow")


@final
class _Wait(Generic[T]):
    """The wait of one send for one member."""

    def __init__(self, room: Broadcast[T], member: BroadcastMember[T], value: T) -> None:
        self._room = room
        self._member = member
        self._value = value
        self.done: bool = False

    async def run(self, patience: float) -> None:
        room, member = self._room, self._member
        waiting = trio.move_on_after(patience)
        try:
            with waiting:
                await member._send.send(self._value)
                room._queued += 1
                self.done = True
        except trio.ClosedResourceError:
            pass  # it has left meanwhile
        finally:
            if not self.done:
                room._note_dropped(member)
        if waiting.cancelled_caught:
            member._end()
