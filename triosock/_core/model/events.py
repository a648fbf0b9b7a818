"""What happened: frozen event classes, the Observer protocol, and the Emitter that brings one to the other.

Rules of this file:

1. Nothing is logged or measured here; consumers live in `triosock.observe` and see only what stands in this
   file.
2. An event that nobody wants is not even made: `emit` is given the class and the fields, and looks first.
3. An observer cannot hurt a server: one that raises is taken off, and `ObserverFailed` says so.
4. The words of `Cause` are the same in closing events, counters, reports and in trio's own cancel reasons.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, final, runtime_checkable

import attrs

from .addresses import Address
from .config import Timeouts


class Cause(str, enum.Enum):
    """Why a connection or request ended."""

    #: The handler returned.
    FINISHED = "finished"
    #: The handler raised an exception that was not the peer's doing.
    FAILED = "failed"
    #: The peer went away in the middle, or broke a rule of the protocol.
    PEER = "peer"
    #: Still busy when the grace of a drain was over.
    DRAIN = "drain deadline"
    #: `Timeouts.idle` was over.
    IDLE = "idle"
    #: `Timeouts.request` was over.
    REQUEST = "request"
    #: `Timeouts.send` was over.
    SEND = "send"
    #: `Timeouts.handshake` was over, or the handshake failed.
    HANDSHAKE = "handshake"
    #: A cancellation from around the server.
    PARENT = "parent"
    #: One too many for `Limits`: served by the overflow handler, if there is one, and closed.
    OVERFLOW = "overflow"

    __hash__ = str.__hash__  # an Enum's own is a Python function, and one is counted for each connection
    __str__ = str.__str__


@attrs.frozen(kw_only=True)
class Event:
    """What all events say: the name of the `server`, and the `time` in seconds of trio's clock
    (`trio.current_time`).
    """

    server: str
    time: float


@attrs.frozen(kw_only=True)
class ConnectionEvent(Event):
    """What all events of one connection say: its number (`connection`, unique in its server) and its
    `peer`.
    """

    connection: int
    peer: Address


@final
@attrs.frozen(kw_only=True)
class ServerStarted(Event):
    """The server is listening on `addresses`. Those it serves are under `timeouts` (None: a compat server),
    with `session_idle` (`Sessions.idle`) for `Timeouts.idle`; they have `lifetime` seconds in all
    (`Policy.request_timeout`).
    """

    addresses: tuple[Address, ...]
    timeouts: Timeouts | None = None
    session_idle: float | None = None
    lifetime: float | None = None


@final
@attrs.frozen(kw_only=True)
class ServerSuspended(Event):
    """`suspend()`: nothing is accepted until `resume()`; the kernel's queue holds those who come."""


@final
@attrs.frozen(kw_only=True)
class ServerResumed(Event):
    """`resume()`: accepting again."""


@final
@attrs.frozen(kw_only=True)
class ListenerClosed(Event):
    """The listener on `address` is closed, by the end of the server or by somebody else."""

    address: Address


@final
@attrs.frozen(kw_only=True)
class AcceptFailed(Event):
    """`accept` failed with `error` on `address`; `action` is "go on", "back off" (for `delay` seconds), "end"
    or "crash".
    """

    address: Address
    error: BaseException
    action: str
    delay: float = 0.0


@final
@attrs.frozen(kw_only=True)
class LimitReached(Event):
    """`max_connections` are being served: what comes now waits or is turned away, until one of them ends."""

    active: int


@final
@attrs.frozen(kw_only=True)
class Refused(Event):
    """A connection was turned away. `reason`: "connections", "peer", "network" (which limit), "overflow"
    (farewells), "drain".
    """

    peer: Address
    reason: str


@final
@attrs.frozen(kw_only=True)
class ConnectionOpened(ConnectionEvent):
    """Accepted and counted; its task is about to start. `local` is the address that the peer connected to."""

    local: Address


@final
@attrs.frozen(kw_only=True)
class HandshakeFinished(ConnectionEvent):
    """PROXY header and TLS handshake are done, `duration` seconds after the accept; `peer` is the one the
    header named.
    """

    duration: float
    tls_version: str | None = None
    cipher: str | None = None
    alpn: str | None = None


@final
@attrs.frozen(kw_only=True)
class HandshakeRefused(ConnectionEvent):
    """PROXY header or TLS handshake failed with `error`, or took too long (`error` is then None). The
    connection is closed.
    """

    error: BaseException | None


@final
@attrs.frozen(kw_only=True)
class RequestStarted(ConnectionEvent):
    """The first byte of a request is here, or a block `conn.request()` was entered."""


@final
@attrs.frozen(kw_only=True)
class RequestFinished(ConnectionEvent):
    """The request is done, `duration` seconds after it started; `cause` says how it ended."""

    duration: float
    cause: Cause = Cause.FINISHED


@final
@attrs.frozen(kw_only=True)
class HandlerFailed(ConnectionEvent):
    """The handler raised `error`; its connection is closed, the server goes on."""

    error: BaseException


@final
@attrs.frozen(kw_only=True)
class ConnectionClosed(ConnectionEvent):
    """The connection is closed and no longer counted.

    `cause` says why, and `error` what was raised, if anything was; `received` and `sent` are bytes of the
    stream (of the plain text under TLS), `duration` seconds.
    """

    cause: Cause
    received: int
    sent: int
    duration: float
    error: BaseException | None = None


@final
@attrs.frozen(kw_only=True)
class DatagramDropped(Event):
    """A datagram of `peer` was received and will not be handled. Reasons: `DatagramStatistics.dropped`."""

    peer: Address
    reason: str


@final
@attrs.frozen(kw_only=True)
class DatagramTruncated(Event):
    """Of a datagram of `peer` only the first `size` bytes were received: it was longer than `max_bytes`."""

    peer: Address
    size: int


@final
@attrs.frozen(kw_only=True)
class DatagramsLost(Event):
    """The kernel has dropped `count` datagrams to `address` since this was last told: its queue was full."""

    address: Address
    count: int


@final
@attrs.frozen(kw_only=True)
class DrainStarted(Event):
    """Nothing new is taken; `active` connections are being served, `idle` of them idle, and have `grace`
    seconds.
    """

    grace: float
    active: int
    idle: int


@final
@attrs.frozen(kw_only=True)
class DrainFinished(Event):
    """The drain is over. The numbers are those of the `DrainReport`."""

    finished: int
    failed: int
    cancelled: int
    refused: int
    duration: float


@final
@attrs.frozen(kw_only=True)
class ServerClosed(Event):
    """Nothing of the server is left: no task, no socket, no file."""


@final
@attrs.frozen(kw_only=True)
class ObserverFailed(Event):
    """`observer` raised `error`, and was taken off."""

    observer: Observer
    error: Exception


class ObserverDone(Exception):
    """An observer raises it from `on_event` when it wants no more: it is taken off, and nobody is told."""


@runtime_checkable
class Observer(Protocol):
    """Whoever wants to know: one method. An attribute `wants`, a tuple of event classes, narrows it."""

    def on_event(self, event: Event, /) -> None:
        """Take one event. Called in the middle of things: must be quick, must not block, and must not raise,
        other than ObserverDone.
        """


#: Makes the observers that every server has besides its own: the log, which this package may not know.
default_observers: list[Callable[[], Observer]] = []

#: The same for recorders: compat servers, which have no log, have these too. Called from any thread.
watchers: list[Callable[[], Observer]] = []


@final
class Emitter:
    """Brings events to the observers of one server, called `name`; `clock` dates the events."""

    __slots__ = ("_clock", "_ends", "_observers", "_takers", "name", "wants_openings", "wants_requests")

    def __init__(self, name: str, clock: Callable[[], float], observers: Iterable[Observer] = ()) -> None:
        self.name: str = name
        self._clock = clock
        self._observers: list[Observer] = []
        self._takers: dict[type[Event], tuple[Observer, ...]] = {}
        self._ends: frozenset[Cause] = frozenset()
        #: Whether anybody wants to know of these: what is asked for each of them must cost nothing.
        self.wants_openings: bool = False
        self.wants_requests: bool = False
        for observer in (*(make() for make in watchers), *observers):
            self.add(observer)

    def add(self, observer: Observer) -> None:
        """Attach an observer: it gets every event from now on. What it `wants` is asked here, and not again.

        Raises: TypeError if it has no method `on_event`, or `wants` something that is no event class.
        """
        method = getattr(observer, "on_event", None)
        if not callable(method) or isinstance(observer, type):
            raise TypeError(f"observers must be objects with a method on_event(event), not {observer!r}")
        if inspect.iscoroutinefunction(method):
            raise TypeError(f"on_event must be a plain method, not an async one, of {observer!r}")
        try:
            _wants(observer, Event)
        except TypeError:
            wants = getattr(observer, "wants", None)
            raise TypeError(f"wants of an observer must be a tuple of event classes, not {wants!r}") from None
        self._observers.append(observer)
        self._ask_again()

    def remove(self, observer: Observer) -> None:
        """Detach an observer; nothing happens if it is not attached."""
        # By identity: two observers may be equal, and only one of them has failed.
        self._observers = [one for one in self._observers if one is not observer]
        self._ask_again()

    def _ask_again(self) -> None:
        self._takers.clear()
        self.wants_openings = bool(self.takers(ConnectionOpened))
        self.wants_requests = bool(self.takers(RequestStarted) or self.takers(RequestFinished))
        ends = (getattr(one, "wants_ends", Cause) for one in self.takers(ConnectionClosed))
        self._ends = frozenset().union(*ends)

    def __iter__(self) -> Iterator[Observer]:
        return iter(tuple(self._observers))

    def __len__(self) -> int:
        return len(self._observers)

    def __contains__(self, observer: object) -> bool:
        return any(one is observer for one in self._observers)

    def takers(self, kind: type[Event]) -> tuple[Observer, ...]:
        """Return those who want events of this class: falsy, and cheap to ask, if nobody does."""
        found = self._takers.get(kind)
        if found is None:
            found = self._takers[kind] = tuple(one for one in self._observers if _wants(one, kind))
        return found

    def wants_end(self, cause: Cause) -> bool:
        """Whether anybody wants to know of the end of a connection for this cause. An observer's
        `wants_ends`, a set of causes, narrows it.
        """
        return cause in self._ends

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Make an event of the class `kind` with these fields and hand it on, if anybody wants it."""
        takers = self.takers(kind)
        if not takers:
            return
        event = kind(server=self.name, time=self._clock(), **fields)
        for observer in takers:
            if self._takers.get(kind) is not takers and observer not in self:
                continue  # taken off in the middle of this event
            try:
                observer.on_event(event)
            except Exception as error:  # whatever it is: an observer must not take a server down with it
                self._drop(observer, error)

    def _drop(self, observer: Observer, error: Exception) -> None:
        self.remove(observer)
        if isinstance(error, ObserverDone):
            return
        if self.takers(ObserverFailed):
            self.emit(ObserverFailed, observer=observer, error=error)
        else:
            # Nobody is left to tell. The hook for unraisable exceptions would fit better, but takes arguments
            # that only the interpreter can make.
            told = RuntimeError(
                f"the observer {observer!r} of server {self.name!r} raised, and was taken off"
            )
            told.__cause__ = error
            sys.excepthook(RuntimeError, told, None)


def _wants(observer: Observer, kind: type[Event]) -> bool:
    wanted: tuple[type[Event], ...] | None = getattr(observer, "wants", None)
    return wanted is None or issubclass(kind, wanted)
