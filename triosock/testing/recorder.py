"""An observer for tests: keeps every event, and lets a test wait for one instead of sleeping."""

from __future__ import annotations

from typing import TypeVar, final

import trio

from .._core.model.events import Event

E = TypeVar("E", bound=Event)


def _is_event_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Event)


@final
class Recorder:
    """Collects the events of a server, in their order, in `events`. Give it to `serve_*` in `observers=[…]`.

    Args: the classes of events to keep; none for all.
    """

    def __init__(self, *kinds: type[Event]) -> None:
        for kind in kinds:
            if not _is_event_class(kind):
                raise TypeError(f"a Recorder wants event classes, not {kind!r}")
        self.wants: tuple[type[Event], ...] = kinds or (Event,)
        self.events: list[Event] = []
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Recorder of {len(self.events)} events>"

    def on_event(self, event: Event, /) -> None:
        """Keep one event."""
        self.events.append(event)
        self._changed.unpark_all()

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a class (also of its subclasses), in their order."""
        return [event for event in self.events if isinstance(event, kind)]

    def clear(self) -> None:
        """Remove all events."""
        self.events.clear()

    async def wait_for(self, kind: type[E], count: int = 1) -> E:
        """Wait until there are `count` events of a class, and return the `count`-th. A checkpoint.

        Must be called in the thread of the trio program that the server runs in. Cancelling it cancels only
        the wait.
        """
        await trio.lowlevel.checkpoint()
        while len(self.of(kind)) < count:
            await self._changed.park()
        return self.of(kind)[count - 1]
