"""Timeline: what is put around a run, and what writes its pictures.

The invariants:

1. **Outside of its block it costs nothing**: servers that start inside get an observer each; the next event
   after the block takes it off again (`ObserverDone`).
2. **A server is recorded once**, even if the timeline is also among its own observers.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, final

from ..._core.model.checks import check_int
from ..._core.model.emitter import ObserverDone, watchers
from ..._core.model.events import Event, ServerClosed
from .layout import Picture, lay_out
from .model import Lane
from .page import page
from .recording import Recording
from .runs import this_run
from .svg import WIDTH, Drawing
from .trace import chrome_trace

if TYPE_CHECKING:
    from typing import Self

StrPath: TypeAlias = "str | os.PathLike[str]"


@final
class Timeline:
    """Records what servers do, and draws it::

        with triosock.observe.Timeline() as timeline:
            trio.run(main)
        timeline.write_html("run.html")

    The block may be around anything, in any thread, inside or outside of trio: each server that starts
    while it lasts gets a lane. One that runs already is added by `server.observers.add(timeline)`.

    Args: the bounds of its memory, each an int from 1 on. `max_connections` bars are kept, and `max_requests`
    requests in all of them; beyond that the oldest connections that ended well go first, and the picture says
    how many were let go. The defaults make a picture of a few megabytes at most.

    Pictures may be written while it records, as often as wanted. Nothing here is asynchronous.
    """

    def __init__(self, *, max_connections: int = 5_000, max_requests: int = 20_000) -> None:
        for name, value in (("max_connections", max_connections), ("max_requests", max_requests)):
            check_int(value, name)
        self._recording = Recording(max_connections, max_requests)
        self._entered = False
        #: The servers that are recorded by an observer of their own, and by this one.
        self._tapped: set[str] = set()
        self._added: dict[str, _Tap] = {}

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this Timeline has been used already: make another one")
        self._entered = True
        watchers.append(self._tap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watchers.remove(self._tap)
        self._recording.stop()

    def _tap(self) -> _Tap:
        return _Tap(self._recording, self._tapped)

    def on_event(self, event: Event, /) -> None:
        """Take an event, as an observer of a server that was there before."""
        if event.server in self._tapped:
            return
        if event.server not in self._added:
            self._added[event.server] = _Tap(self._recording)
        self._added[event.server].on_event(event)
        if isinstance(event, ServerClosed):
            del self._added[event.server]

    def mark(self, text: str) -> None:
        """Note something that no event says, at this moment: a point, with this text, at the door of every
        server that is recorded. Call it in the trio program of the servers.
        """
        self._recording.mark(text)

    def picture(self) -> Picture:
        """Return what would be drawn now, as values."""
        return lay_out(self._recording.run())

    def svg(self, *, width: int = WIDTH) -> str:
        """Return the picture as a static SVG, `width` pixels wide (300 or more)."""
        return Drawing(self.picture(), max(width, 300)).whole()

    def write_svg(self, path: StrPath, *, width: int = WIDTH) -> None:
        """Write `svg()` to a file. Raises: OSError."""
        Path(path).write_text(self.svg(width=width), "utf-8")

    def write_html(self, path: StrPath) -> None:
        """Write one HTML file that needs nothing else: to zoom with wheel or keys, with details of what is
        pointed at. Raises: OSError.
        """
        Path(path).write_text(page(self.picture()), "utf-8")

    def write_chrome_trace(self, path: StrPath) -> None:
        """Write the run in the Trace Event Format, which ui.perfetto.dev opens. Raises: OSError."""
        Path(path).write_text(chrome_trace(self._recording.run()), "utf-8")


@final
class _Tap:
    """The observer of one server: knows its lane, which events do not say when two servers have one name."""

    def __init__(self, recording: Recording, names: set[str] | None = None) -> None:
        self._recording = recording
        self._names = names
        self._lane: Lane | None = None
        self._run: object = self
        self._offset = 0.0

    def on_event(self, event: Event, /) -> None:
        if self._recording.stopped:
            raise ObserverDone
        begins, run = self._run is self, this_run()
        if run is not self._run:
            self._run, self._offset = run, self._recording.place_run(event.time)
        if begins:
            self._lane = self._recording.open_lane(event, self._offset)
            if self._names is not None and self._lane is not None:
                self._names.add(event.server)
        if self._lane is not None:
            self._recording.take(self._lane, event, self._offset)
