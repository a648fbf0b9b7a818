"""Recorder: a context manager around a run; it writes the page to step through the run.

The invariants:

1. **Outside of its block it costs nothing**: no instrument and no observer is left, and trio is as before.
   A run in another thread is released at its next step.
2. **It acts only when trio or a server calls it**, and never by itself.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import attrs
import trio

from ..._core.model.checks import check_int
from ..._core.model.emitter import ObserverDone, watchers
from ..._core.model.events import ConnectionOpened, Event
from ..text import printable
from ..timeline import Timeline
from ..timeline.runs import this_run
from . import trio_internals
from .instrument import RunInstrument
from .keeper import Keeper
from .model import Happening, Kind
from .page import page
from .words import told

if TYPE_CHECKING:
    from typing import Self

StrPath: TypeAlias = "str | os.PathLike[str]"
#: Makes a page of about two megabytes.
MAX_EVENTS: Final = 50_000


@final
@attrs.frozen(kw_only=True)
class Step:
    """One thing that happened. Tasks are numbers from 1 on, in the order in which they were started.

    `kind` is "spawn" (the task is made), "run" (it runs), "pause" (it lets others run), "wait", "wake" (it is
    runnable), "cancel" (it is runnable, and will get `Cancelled`), "started" (it moved to the nursery that
    `nursery.start` was called on), "open" and "close" (a nursery of this task), "end" (it returned), "fail"
    (it raised), "gone" (it ended because it was cancelled), or "event" (of a server).

    `time` is in seconds since the run began; `task` is None for what no task did; `name` is the task's name.
    `by` is the task that did it: None if it was the system (input, output, time), and 0 for one of trio's
    system tasks or another thread. `where` is a file and a line (of a cancellation, where `cancel()` was
    called), `waits_for` says in words what it waits for, and `text` has the reason of a cancellation, the
    error of a failure, or the text of a server's event. `deadline` is when the wait ends at the latest, on
    the clock of `time`. `nursery` is the one in which a task is started, that is opened or closed, or that is
    cancelled as a whole, the task included; 0 is the top of the trio run.
    """

    time: float
    kind: Kind
    task: int | None
    name: str
    by: int | None = None
    where: str = ""
    waits_for: str = ""
    text: str = ""
    deadline: float | None = None
    nursery: int | None = None


@final
class Recorder:
    """Records what the tasks of trio programs do, to be stepped through, forwards and backwards::

        with triosock.observe.Recorder() as recorder:
            trio.run(main)
        recorder.write_html("run.html")

    The block may be around anything. Around `trio.run` it records each trio run that begins while it lasts,
    in any thread; inside of a trio program it records that one, with the tasks that are there already, and
    those that begin meanwhile. The events of servers in it are recorded, too.

    Args: `max_events`, an int from 1 on: how many happenings are kept. Beyond that the oldest are forgotten,
    and the page says how many; living tasks stay known. A step of a task is about three happenings.

    Attributes: `timeline`, the `Timeline` of the same servers.

    The page has the source text of the program's own files, and the names of their folders below the current
    one: look at it before you pass it on. It may be written while it records, as often as wanted. Nothing
    here is asynchronous.
    """

    def __init__(self, *, max_events: int = MAX_EVENTS) -> None:
        check_int(max_events, "max_events")
        self.timeline: Timeline = Timeline()
        self._keeper = Keeper(max_events, self.timeline._recording.place_run)
        self._instruments: dict[object, RunInstrument] = {}
        self._inside: RunInstrument | None = None
        self._entered = False
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this Recorder has been used already: make another one")
        is_inside = trio.lowlevel.in_trio_run()
        if not is_inside and not trio_internals.can_hear_of_runs():
            raise RuntimeError(
                f"a Recorder cannot learn of the runs of trio {trio.__version__}: enter it inside of the "
                "trio program, `with Recorder():` in its async function"
            )
        self._entered = True
        if is_inside:
            self._inside = self._instrument()
            self._inside.attach()
        if trio_internals.can_hear_of_runs():
            self._exits.enter_context(trio_internals.each_new_run(self._instrument))
        self._exits.enter_context(self.timeline)
        watchers.append(self._tap)
        self._exits.callback(watchers.remove, self._tap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()
        self._keeper.stopped = True
        if self._inside is not None:
            self._inside.detach()

    def _instrument(self) -> RunInstrument:
        return RunInstrument(self._keeper, self._instruments)

    def _tap(self) -> _Tap:
        return _Tap(self._keeper, self._instruments)

    def mark(self, text: str) -> None:
        """Record a text at this moment: as a step of the task that calls it, and as a point in the timeline.
        Call it in the trio program that is recorded.
        """
        self.timeline.mark(text)
        instrument = self._instruments.get(this_run())
        if instrument is not None:
            task = instrument.number_of_current() or 0
            self._keeper.add(Happening(instrument.time(), "event", task, text=printable(text)))

    @property
    def forgotten(self) -> int:
        """How many of the oldest things that happened were forgotten, to bound the memory."""
        return self._keeper.copy()[2]

    def steps(self) -> tuple[Step, ...]:
        """Return all that is kept, as values."""
        base, kept, _ = self._keeper.copy()
        names = {number: task.name for number, task in base.tasks.items()}
        for one in kept:
            if one.kind == "spawn":
                names[one.task] = one.text or ""
        return tuple(_step(one, names) for one in kept)

    def html(self) -> str:
        """Return the page as text."""
        return page(*self._keeper.copy(), self.timeline.picture())

    def write_html(self, path: StrPath) -> None:
        """Write one HTML file that needs nothing else, to step through the run with keys, buttons or a
        slider. Raises: OSError.
        """
        Path(path).write_text(self.html(), "utf-8")


def _step(one: Happening, names: dict[int, str]) -> Step:
    where, waits_for = "", ""
    if one.stack is not None and (place := one.stack.place()) is not None:
        frame = one.stack.frames[place]
        where = f"{frame.file}:{frame.line}"
        if one.kind in ("wait", "pause"):
            words, call = one.stack.waits_for()
            waits_for = f"{words} ({call})" if words and call else words or call
    return Step(
        time=one.time,
        kind=one.kind,
        task=one.task or None,
        name=names.get(one.task, ""),
        by=one.by,
        where=where,
        waits_for=waits_for,
        text="" if one.kind == "spawn" else one.text or "",
        deadline=one.deadline,
        nursery=one.other,
    )


@final
class _Tap:
    """The observer of one server: adds its events to the happenings."""

    def __init__(self, keeper: Keeper, instruments: dict[object, RunInstrument]) -> None:
        self._keeper = keeper
        self._instruments = instruments

    def on_event(self, event: Event, /) -> None:
        if self._keeper.stopped:
            raise ObserverDone
        instrument: Any = self._instruments.get(this_run())
        if instrument is None:
            return  # an event from a thread without a run: a compat server's own loop
        task = instrument.number_of_current() or 0
        self._keeper.add(
            Happening(instrument.time(), "event", task, text=f"{printable(event.server)}: {told(event)}")
        )
        if isinstance(event, ConnectionOpened):
            # Accepted: the next task that the accept loop starts serves it.
            instrument.next_name = f"connection {event.connection} of {printable(event.peer)}"
