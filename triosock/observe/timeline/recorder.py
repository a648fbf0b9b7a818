"""Timeline: a context manager that records a run, and writes pictures of it.

The invariants:

1. **Outside of its block it costs nothing**: each server that starts in the block gets an observer, which
   detaches itself at the first event after the block (`ObserverDone`).
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
    """Records the connections and requests of servers, and draws them as a timeline::

        with triosock.observe.Timeline() as timeline:
            trio.run(main)
        timeline.write_html("run.html")

    The block may be in any thread, inside or outside of a trio run: each server that starts in the process
    during the block is recorded. A server that runs already is added by `server.observers.add(timeline)`.

    Args: the bounds of its memory, each an int from 1 on. At most `max_connections` bars are kept, with at
    most `max_requests` requests together; beyond that the oldest connections that have ended well are
    discarded first, and the picture has the number of discarded ones. With the defaults a picture has a few
    megabytes at most.

    Raises: TypeError, ValueError for wrong arguments; RuntimeError when the block is entered a second time.

    Pictures may be written at any time, also during the block. No method is async.
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
        """Record an event, as an observer that was added to a running server."""
        if event.server in self._tapped:
            return
        if event.server not in self._added:
            self._added[event.server] = _Tap(self._recording)
        self._added[event.server].on_event(event)
        if isinstance(event, ServerClosed):
            del self._added[event.server]

    def mark(self, text: str) -> None:
        """Draw a point with this text, at this moment, for each recorded server. Call it in the trio run of
        the servers, for its clock.
        """
        self._recording.mark(text)

    def picture(self) -> Picture:
        """Return the values that would be drawn now."""
        return lay_out(self._recording.run())

    def svg(self, *, width: int = WIDTH) -> str:
        """Return the picture as a static SVG of `width` pixels; a width below 300 is taken as 300."""
        return Drawing(self.picture(), max(width, 300)).whole()

    def write_svg(self, path: StrPath, *, width: int = WIDTH) -> None:
        """Write `svg()` to a file. Raises: OSError."""
        Path(path).write_text(self.svg(width=width), "utf-8")

    def write_html(self, path: StrPath) -> None:
        """Write the picture as one HTML file that loads nothing else, with zoom by wheel or keys, a search,
        and the details of the bar under the pointer. Raises: OSError.
        """
        Path(path).write_text(page(self.picture()), "utf-8")

    def write_chrome_trace(self, path: StrPath) -> None:
        """Write the run in the Trace Event Format, which ui.perfetto.dev opens. Raises: OSError."""
        Path(path).write_text(chrome_trace(self._recording.run()), "utf-8")


@final
class _Tap:
    """The observer of one server. It knows its lane, since two servers may have the same name."""

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
