"""The Emitter, which passes the events of a server to its observers.

Rules of this file:

1. An event that no observer wants is not made: `emit` gets the class and the fields, and checks first.
2. An observer cannot end a server: one that raises is removed, and `ObserverFailed` is emitted, also if its
   `repr()` raises as well.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

from .events import (
    Cause,
    ConnectionClosed,
    ConnectionOpened,
    Event,
    HandlerStarted,
    Observer,
    ObserverFailed,
    RequestFinished,
    RequestStarted,
)


class ObserverDone(Exception):
    """An observer raises it from `on_event` to be removed, without an event."""


#: Makes the observers that every server has besides its own: the log, which this package may not know.
default_observers: list[Callable[[], Observer]] = []

#: The same for recorders: compat servers, which have no log, have these too. Called from any thread.
watchers: list[Callable[[], Observer]] = []

#: The same for what wants no event of a connection or request: it is no reason to supervise the requests of a
#: compat server.
announcers: list[Callable[[], Observer]] = []


@final
class Emitter:
    """Brings events to the observers of one server, called `name`; `clock` dates the events."""

    __slots__ = (
        "_clock",
        "_ends",
        "_observers",
        "_takers",
        "name",
        "wants_handlers",
        "wants_openings",
        "wants_requests",
    )

    def __init__(self, name: str, clock: Callable[[], float], observers: Iterable[Observer] = ()) -> None:
        self.name: str = name
        self._clock = clock
        self._observers: list[Observer] = []
        self._takers: dict[type[Event], tuple[Observer, ...]] = {}
        self._ends: frozenset[Cause] = frozenset()
        #: Whether an observer wants these events: plain attributes, since they are checked for each one.
        self.wants_openings: bool = False
        self.wants_handlers: bool = False
        self.wants_requests: bool = False
        for observer in (*(make() for make in (*watchers, *announcers)), *observers):
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
        self.wants_handlers = bool(self.takers(HandlerStarted))
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
        """Return the observers that want events of this class: falsy, and cheap, if there are none."""
        found = self._takers.get(kind)
        if found is None:
            found = self._takers[kind] = tuple(one for one in self._observers if _wants(one, kind))
        return found

    def wants_end(self, cause: Cause) -> bool:
        """Whether an observer wants the end of a connection with this cause. An observer's `wants_ends`, a
        set of causes, narrows it.
        """
        return cause in self._ends

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Make an event of the class `kind` with these fields and pass it on, if an observer wants it."""
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
                f"the observer {repr_of(observer)} of server {self.name!r} raised, and was taken off"
            )
            told.__cause__ = error
            sys.excepthook(RuntimeError, told, None)


def repr_of(value: object) -> str:
    """Return `repr(value)`, or what an object without one of its own has if that raises: who tells of a
    failure must not fail by it.
    """
    try:
        return repr(value)
    except Exception:  # of the user's code: whatever it is, there is something else to say
        return object.__repr__(value)


def _wants(observer: Observer, kind: type[Event]) -> bool:
    wanted: tuple[type[Event], ...] | None = getattr(observer, "wants", None)
    return wanted is None or issubclass(kind, wanted)
