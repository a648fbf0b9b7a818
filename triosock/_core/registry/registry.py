"""The registry: what a server serves. An entry is counted before its task starts; limits, statistics and the
drain report are computed from it.

The invariant: **an entry is in the registry from the moment the server takes its socket to the moment that
socket is closed**, both steps are synchronous, and an entry that is served holds exactly one slot.
`Registry.check()` asserts it; a property test calls it under cancellation at every checkpoint.

An entry also has what the deadlines need, in plain attributes that are cheap to write: the stage of its life,
and when each current wait began. Changes are not announced; the timeout monitor, a tree and a report read
them.
"""

from __future__ import annotations

import bisect
import collections
import ipaddress
import math
import os
from collections.abc import Callable, Hashable
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

from ..model.addresses import Address, TcpAddress, UdpAddress
from ..model.config import Limits, Timeouts
from ..model.events import Cause
from .served import Carrier, LatencyObserver, Served
from .tally import Tally as Tally

#: Where a connection is in its life: queued (accepted in a drain, waiting for a slot), handshake (PROXY
#: header, TLS), serving (the handler runs), closing (the reply is sent; waiting for the peer's end of
#: stream).
Stage: TypeAlias = Literal["queued", "handshake", "serving", "closing"]
#: What it does at this moment: the stage, or while serving: idle (waiting for the first byte of the next
#: request), reading (for more bytes), sending (for the peer to take some), working (anything else).
Phase: TypeAlias = Literal["queued", "handshake", "idle", "reading", "sending", "working", "closing"]

#: Which limit one more of a peer exceeds.
PeerLimit: TypeAlias = Literal["peer", "network"]
_PEER_LIMITS: Final[tuple[PeerLimit, ...]] = ("peer", "network")

#: The folders whose calls a stack leaves out: the core's, and trio's.
_NOT_THE_HANDLERS: Final = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep for file in (os.path.dirname(__file__), trio.__file__)
)

#: The time of something that has not begun.
NEVER: Final = math.inf


@attrs.define(eq=False, slots=True)
class Entry:
    """One connection (or request of a compat server) that is being served.

    A drain and the timeout monitor use three methods: `interrupt` ends an idle wait, `cut` cancels all of it,
    `stack` says where it is.
    """

    accepted: float
    #: The clock of its trio run: as `trio.current_time`, without looking the run up.
    now: Callable[[], float] = trio.current_time
    #: From 1 on, in the order of arrival; 0 outside a registry.
    number: int = 0
    stage: Stage = "serving"
    #: When the wait began that it is in now: for the first byte of a request, for any bytes, for the peer to
    #: take some.
    idle_since: float = NEVER
    receive_since: float = NEVER
    send_since: float = NEVER
    #: When the request in progress began, and when it must be done; NEVER between two requests. A block
    #: `conn.request()` has its own deadline.
    request_since: float = NEVER
    request_due: float = NEVER
    handshake_since: float = NEVER
    #: When an overflow handler must be done.
    due: float = NEVER
    #: When the lingering close began.
    closing_since: float = NEVER
    #: Timeouts of its own (`Connection.set_timeouts`); None for the server's.
    timeouts: Timeouts | None = None
    #: The number of the next check by the timeout monitor; notes with other numbers are void.
    next_look: int = 0
    #: Why it ends; None until that is decided.
    cause: Cause | None = None
    #: Everything that runs for this entry runs inside this scope.
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    task: trio.lowlevel.Task | None = None
    #: What is served, from before it is registered until it is removed.
    served: Served | None = None
    #: The keys under which the limits per peer and per network count it.
    keys: tuple[Hashable, ...] = ()
    holds_slot: bool = False
    #: When its peer could send first, after a wait for a slot or a handshake; NEVER without: when accepted.
    ready_since: float = NEVER
    #: How many bytes its PROXY header had, which are no request.
    header_bytes: int = 0
    #: In a drain: until when one more request of its peer is waited for; 0 for none.
    spared_until: float = 0.0
    #: When it reaches its maximum age, and is drained; NEVER without one.
    retires_at: float = NEVER
    #: How many more requests it may have; 0 without a limit.
    requests_left: float = 0
    #: It was cut at the end of a drain's grace period: `on_error` is not called any more.
    is_final: bool = False
    gone: bool = False
    #: The handler's own task has closed the connection; another task's close does not count.
    closed_by_handler: bool = False
    #: The adaptive limit that gets its latency, if there is one, and whether it got that of its requests.
    gradient: LatencyObserver | None = None
    has_told: bool = False

    @property
    def peer(self) -> Address:
        """The address of the other side."""
        assert self.served is not None
        return self.served.peer

    @property
    def wire(self) -> Carrier:
        """What carries its bytes."""
        assert self.served is not None
        return self.served.wire

    def handler_thread(self) -> int | None:
        """Return the thread that its handler runs in; None if it runs in a task."""
        return None

    @property
    def is_idle(self) -> bool:
        """Whether it is in an idle wait: for the first byte of the next request."""
        return self.idle_since != NEVER and self.request_since == NEVER

    @property
    def phase(self) -> Phase:
        """What it does at this moment."""
        if self.stage != "serving":
            return self.stage
        if self.send_since != NEVER:
            return "sending"
        if self.is_idle:
            return "idle"
        return "working" if self.receive_since == NEVER else "reading"

    def has_input(self) -> bool | None:
        """Whether its peer has sent something that was not received yet; None if that is not known."""
        return self.wire.has_input()

    def has_room(self) -> bool | None:
        """Whether more could be sent without waiting; None if that is not known."""
        return self.wire.has_room()

    def interrupt(self, cause: Cause) -> None:
        """End its current or next idle wait; a request in progress goes on."""
        assert self.served is not None
        self.served.interrupt_idle(cause)

    def retire(self, idle_grace: float) -> None:
        """Drain this entry alone: after `idle_grace` seconds, in which one more request may come, its current
        or next idle wait ends.
        """
        now = self.now()
        if idle_grace and self.is_idle and not self.spared_until:
            self.spared_until = now + idle_grace
        if self.spared_until > now:  # set here, or by a drain of the server
            self.retires_at = self.spared_until
            return
        self.retires_at = NEVER
        self.spared_until = 0.0
        self.interrupt(Cause.DRAIN)

    def cut(self, cause: Cause) -> None:
        """Cancel its scope. The first cause is kept, and the lingering close does not change the cause."""
        if self.cause is None and self.stage != "closing":
            self.cause = cause
        if cause is Cause.DRAIN:
            self.is_final = True
        self.scope.cancel(reason=f"triosock: {cause}")

    def stack(self) -> tuple[str, ...]:
        """Return the stack of its task: one line a call ("file:line in function"), the outermost first.

        Calls of triosock and trio are left out, unless there are no others.
        """
        if self.task is None:
            return ()
        calls = [(frame.f_code, line) for frame, line in self.task.iter_await_frames()]
        told = [call for call in calls if not call[0].co_filename.startswith(_NOT_THE_HANDLERS)]
        return tuple(f"{code.co_filename}:{line} in {code.co_name}" for code, line in told or calls)


@final
class Registry:
    """The entries of one server, and the slots of its `Limits`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        #: Whether any limit counts connections by peer. If not, keys are not computed.
        self.counts_peers: bool = (
            min(limits.max_connections_per_peer, limits.max_connections_per_network) < math.inf
        )
        self.tally: Tally = Tally()
        self._entries: dict[int, Entry] = {}
        self._slots = 0
        #: How many may be served at once now: `max_connections`, or less by an adaptive limit.
        self.most: float = limits.max_connections
        #: Whether one more may be served. Stored, since it is read for every connection.
        self.has_room: bool = True
        self._per_key: collections.Counter[Hashable] = collections.Counter()
        self._queue: collections.deque[tuple[Entry, trio.Event]] = collections.deque()
        self._next_number = 1
        self._room: trio.Event | None = None
        self._empty: trio.Event | None = None
        self._departure: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def active(self) -> int:
        """The number of entries that are served, each with a slot."""
        return self._slots

    def entries(self) -> tuple[Entry, ...]:
        """Return the entries, in the order in which they came."""
        return tuple(self._entries.values())

    def count_idle(self) -> int:
        """Return the number of entries in an idle wait."""
        return sum(entry.is_idle for entry in self._entries.values())

    @property
    def unslotted(self) -> int:
        """The number of entries without a slot: they are being refused, or wait for one."""
        return len(self._entries) - self._slots

    def add(self, entry: Entry, *, slot: bool = True, keys: tuple[Hashable, ...] = ()) -> None:
        """Add an entry, with a slot, or without one if it is over a limit or waits for a slot."""
        entry.number = self._next_number
        self._next_number += 1
        self._entries[entry.number] = entry
        entry.keys = keys
        for key in keys:
            self._per_key[key] += 1
        self.tally.accepted += 1
        if slot:  # as `grant`, without the call
            entry.holds_slot = True
            self._slots += 1
            self.has_room = self._slots < self.most
            if self._slots > self.tally.peak:
                self.tally.peak = self._slots

    def remove(self, entry: Entry) -> None:
        """Remove an entry; its slot goes to the first in the queue. Nothing happens if it was removed
        already.
        """
        if self._entries.get(entry.number) is not entry:
            return
        del self._entries[entry.number]
        entry.gone = True
        for key in entry.keys:
            self._per_key[key] -= 1
            if not self._per_key[key]:
                del self._per_key[key]
        self.take_back(entry)
        if self._departure is not None:
            self._departure.set()
            self._departure = None
        if not self._entries and self._empty is not None:
            self._empty.set()
            self._empty = None

    def take_back(self, entry: Entry) -> None:
        """Give its slot, if it has one, to the first in the queue."""
        if entry.holds_slot:
            entry.holds_slot = False
            self._slots -= 1
            self.has_room = self._slots < self.most
            if self._queue or self._room is not None:
                self._hand_on()

    def set_most(self, most: float) -> None:
        """Set the limit of connections from now on, up to `max_connections`. Open ones stay."""
        self.most = min(most, self.limits.max_connections)
        self.has_room = self._slots < self.most
        while self.has_room and self._queue:
            self._hand_on()
        if self.has_room:
            self._hand_on()

    def refusal(self, keys: tuple[Hashable, ...]) -> PeerLimit | None:
        """Return which limit ("peer" or "network") one more with these keys would exceed, or None."""
        limits = self.limits
        for key, limit, name in zip(
            keys,
            (limits.max_connections_per_peer, limits.max_connections_per_network),
            _PEER_LIMITS,
            strict=False,
        ):
            if self._per_key[key] >= limit:
                return name
        return None

    def count_of(self, key: Hashable) -> int:
        """Return the number of entries with this key."""
        return self._per_key[key]

    def add_keys(self, entry: Entry, keys: tuple[Hashable, ...]) -> None:
        """Add keys to an entry: those of the client that its proxy names."""
        entry.keys += keys
        for key in keys:
            self._per_key[key] += 1

    def keys_for(self, peer: Address, user: int | None = None) -> tuple[Hashable, ...]:
        """Return the keys under which the limits count this peer: its host or user id, and its network; ()
        without such a limit.
        """
        if not self.counts_peers:
            return ()
        limits = self.limits
        if not isinstance(peer, (TcpAddress, UdpAddress)):
            return (("peer", user if user is not None else str(peer)),)
        host = ipaddress.ip_address(peer.host)
        # A v4 client of a v6 socket is the same peer as over v4.
        host = getattr(host, "ipv4_mapped", None) or host
        prefix = limits.network_prefix[0 if host.version == 4 else 1]
        return (("peer", host), ("network", ipaddress.ip_network((host, prefix), strict=False)))

    async def wait_room(self) -> None:
        """Return when one more may be served; the caller must take the slot before its next checkpoint.
        Always a checkpoint.
        """
        await trio.lowlevel.checkpoint()
        while not self.has_room:
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()

    async def wait_departure(self) -> None:
        """Return when the next entry is removed. Always a checkpoint."""
        if self._departure is None:
            self._departure = trio.Event()
        await self._departure.wait()

    async def wait_empty(self) -> None:
        """Return when there is no entry. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._entries:
            if self._empty is None:
                self._empty = trio.Event()
            await self._empty.wait()

    async def wait_slot(self, entry: Entry) -> None:
        """Wait in the queue until this entry holds a slot. Cancelled, it leaves the queue. A checkpoint if it
        must wait.
        """
        if self.has_room and not self._queue:
            self.grant(entry)
            return
        turn = (entry, trio.Event())
        # In the order of arrival: trio runs tasks that were started together in any order.
        bisect.insort(self._queue, turn, key=lambda one: one[0].number)
        try:
            await turn[1].wait()
        except BaseException:
            if turn in self._queue:
                self._queue.remove(turn)
            raise

    def grant(self, entry: Entry) -> None:
        """Give a slot to an entry without one; there must be room."""
        entry.holds_slot = True
        self._slots += 1
        self.has_room = self._slots < self.most
        if self._slots > self.tally.peak:
            self.tally.peak = self._slots

    def _hand_on(self) -> None:
        if self._queue and self.has_room:
            entry, turn = self._queue.popleft()
            self.grant(entry)
            turn.set()
        elif self._room is not None and self.has_room:
            self._room.set()
            self._room = None

    def check(self) -> None:
        """Assert the invariant of this file. Raises: AssertionError."""
        served = [entry for entry in self._entries.values() if entry.holds_slot]
        assert len(served) == self._slots, f"{len(served)} entries are served, {self._slots} slots are taken"
        assert self._slots <= self.limits.max_connections, (
            f"{self._slots} slots of {self.limits.max_connections}"
        )
        assert self.has_room == (self._slots < self.most), "has_room does not say so"
        keys = collections.Counter(key for entry in self._entries.values() for key in entry.keys)
        assert keys == self._per_key, f"keys {keys} are counted as {self._per_key}"
