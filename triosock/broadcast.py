"""Broadcast: one value to many members, with a queue for each, and a rule for full queues.

The invariants:

1. **A member that is slow delays no other member.** A value is put, in one synchronous step, into all queues
   that have room; after that the members with full queues are waited for, each on its own.
2. **The order of sends is the order in every queue.** Senders that wait do so in order.
3. **Every value is accounted for.** Of those sent while a member was there each is queued or dropped, and of
   the queued ones each is taken or, at its end, unread.
4. What is kept is bounded: `buffer` values for each member, and one for each `send()` that waits.
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
    """`members` are there now, and `pending` values wait in their queues. Of all so far: `sent` values;
    `queued`, `dropped` and `unread` (left by members that have left), each counted for each member; and how
    many members were `cut`.
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
    """Brings what is sent to all members: the lines of a chat, prices, changes.

    Args:
      buffer: how many values may wait for each member, from 1 on.
      when_full: what becomes of a member whose queue is full: "drop" loses values of that member, and counts
        them; "wait" has the sender wait for it; "cut" ends it with MemberTooSlow.
      drop: "newest" loses the value that finds the queue full, "oldest" the one that has waited for longest.
      patience: seconds, above 0, that a sender waits with "wait"; a member that has no room then is cut.

    Raises: TypeError, ValueError.

    It is for the tasks of one trio run. It has no task of its own, and nothing to close.
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
        """How many members there are."""
        return len(self._members)

    def join(self) -> BroadcastMember[T]:
        """Return a new member: ``with room.join() as inbox:``."""
        return BroadcastMember(self, self._buffer)

    def statistics(self) -> BroadcastStatistics:
        """Return the numbers of now."""
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
        """Put a value into the queue of every member but `exclude`; return how many have got it.

        Raises: trio.WouldBlock with "wait" if a member has no room; then no member has got it. RuntimeError
        outside the trio thread. Synchronous.
        """
        check_trio_thread("send_nowait", "room")
        if self._when_full == "wait" and any(one.is_full for one in self._members if one is not exclude):
            raise trio.WouldBlock
        count, _ = self._offer(value, exclude)
        return count

    async def send(self, value: T, *, exclude: BroadcastMember[T] | None = None) -> int:
        """Put a value into the queue of every member but `exclude`; return how many have got it. Waits only
        with "wait", for all members without room at once, and for `patience` seconds at most.

        A checkpoint. Cancelled before, no member has got the value; cancelled while it waits, the members
        without room have not got it, and it is counted as dropped for them.
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
    """A receiver of a `Broadcast`: ``with room.join() as inbox:``, and in there ``async for value in
    inbox:``.

    A member is there from the beginning of its block to its end, or until `leave()`. One that is cut has what
    goes on in the block cancelled, sends to a peer that does not read included, and the block raises
    MemberTooSlow: as a PeerError, which left uncaught ends that connection, and no other.

    `dropped` counts the values that it has not got.
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
        """How many values wait for it."""
        return 0 if self._state == "over" else self._receive.statistics().current_buffer_used

    @property
    def is_full(self) -> bool:
        """Whether it has no room for one more."""
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
        """Hear nothing from now on; the iteration ends after what is in the queue. Synchronous."""
        if self in self._room._members:
            del self._room._members[self]
            self._send.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Return the next value; wait for it. A checkpoint; cancelled, nothing is lost. Ends after `leave()`.

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
        """It is too slow, unless another sender has said so already."""
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
