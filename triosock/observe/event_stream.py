"""The events of all servers of this process, as they happen, as lines of JSON, for the control socket.

The rules:

1. **A slow reader delays no server, and the queue is bounded**: an event for which the queue has no room is
   counted, and a line ``EventsLost`` has the number in the place of the events.
2. Nothing stays attached: when the stream ends, new servers do not get it any more, and each server detaches
   it at its next event.
3. Events may come from any thread, since servers of `triosock.compat` have their own; the queue is a deque,
   whose operations are atomic, and its reader is woken by trio's token.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, final

import attrs
import trio

from .._core.model.config import Timeouts
from .._core.model.emitter import Emitter, ObserverDone, watchers
from .._core.model.events import Event
from .text import error_text, printable

#: Events that wait for a slow reader, at most.
MAX_PENDING: Final = 10_000
#: The first line of a stream: all later events are in it.
FOLLOWS: Final = "EventsFollow"


def event_fields(event: Event) -> dict[str, object]:
    """Return an event as an object of JSON: the name of its class under "event", its fields by their names.

    Addresses, errors and observers are written as texts, and infinite numbers as null. "time" is the time of
    the system's clock at this moment (seconds since 1970), not of trio's clock, which differs between
    processes.
    """
    plain = {field.name: _plain(getattr(event, field.name)) for field in attrs.fields(type(event))}
    return note(type(event).__name__, **plain)


def note(name: str, /, **fields: object) -> dict[str, object]:
    """Return an object that is written like an event, with the current time."""
    return {"event": name, **fields, "time": round(time.time(), 6)}


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no infinity
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Timeouts):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(Timeouts)}
    return error_text(value) if isinstance(value, BaseException) else printable(value)


@final
class EventStream:
    """An observer that queues events for one reader.

    Args: `kinds`, the classes of the events that it wants, derived classes included; None for all. Servers
    do not create events that no observer wants. `hidden`, the name of a server whose events are left out:
    the server that sends the stream, whose sends would otherwise cause more events.
    """

    def __init__(self, kinds: Iterable[type[Event]] | None = None, hidden: str = "") -> None:
        self.wants: tuple[type[Event], ...] | None = None if kinds is None else tuple(kinds)
        self._hidden = hidden
        self._pending: deque[dict[str, object]] = deque()
        self._lost = 0
        self._is_open = True
        self._token = trio.lowlevel.current_trio_token()
        self._wakes = trio.Event()

    @contextmanager
    def listening(self, emitters: Iterable[Emitter] = ()) -> Iterator[EventStream]:
        """Attach it, for the length of the block, to `emitters`, which are those of the running servers, and
        to each server that starts in the block. The first line, ``EventsFollow``, is queued.
        """
        make = self._of_new_server
        watchers.append(make)
        try:
            for emitter in emitters:
                emitter.add(self)
            self.put(note(FOLLOWS))
            yield self
        finally:
            self._is_open = False
            watchers.remove(make)

    def _of_new_server(self) -> EventStream:
        return self

    def on_event(self, event: Event) -> None:
        """Queue an event, if there is room. May be called in any thread."""
        if not self._is_open:
            raise ObserverDone
        if event.server != self._hidden:
            self.put(event_fields(event))

    def put(self, fields: dict[str, object]) -> None:
        """Queue an object of `event_fields` or `note`, if there is room; otherwise count it. May be called in
        any thread.
        """
        if len(self._pending) >= MAX_PENDING:
            self._lost += 1
            return
        self._pending.append(fields)
        try:
            self._token.run_sync_soon(self._wake, idempotent=True)
        except trio.RunFinishedError:
            pass  # a server of another thread outlives the run of the reader

    def _wake(self) -> None:
        self._wakes.set()

    async def receive(self) -> bytes:
        """Return all queued events, one in a line; wait until there is one. A checkpoint only if it waits."""
        while not self._pending:
            self._wakes = trio.Event()
            if not self._pending:
                await self._wakes.wait()
        lines = [self._pending.popleft() for _ in range(len(self._pending))]
        if self._lost:
            lost, self._lost = self._lost, 0
            lines.append(note("EventsLost", count=lost))
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
