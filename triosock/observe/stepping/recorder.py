"""Recorder: a context manager that records trio runs, and writes a page to step through them.

The invariants:

1. **Outside of its block it costs nothing**: no instrument and no observer is left, and trio is as before. In
   another thread, the instrument of a run is removed at the next step of that run.
2. **It acts only when trio or a server calls it**: it has no thread and no task.
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
    """One recorded step. Tasks have numbers from 1 on, in the order in which they were first seen.

    `kind` is "spawn" (the task is started), "run" (it runs), "pause" (it lets others run), "wait", "wake" (it
    is runnable), "cancel" (it is runnable, and will get `Cancelled`), "started" (it moved to the nursery
    whose `start` was called), "open" and "close" (of a nursery of this task), "end" (it returned), "fail" (it
    raised), "gone" (it ended because it was cancelled), or "event" (of a server).

    `time` is in seconds since the first event; `task` is the number of the task, None for a step of no task,
    and `name` is its name. `by` is the number of the task that caused the step: None if the system did
    (input, output, time), and 0 for one of trio's system tasks or another thread. `where` is a file and a
    line; for a cancellation, those of the call of `cancel()`. `waits_for` is a description of the wait.
    `text` is the reason of a cancellation, the error of a failure, or the text of a server's event.
    `deadline` is the time at which the wait is cancelled at the latest. `nursery` is the nursery in which a
    task is started, that is opened or closed, or that is cancelled as a whole, the task included; 0 is the
    top of the trio run.
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
    """Records the steps of the tasks of trio programs, and writes a page to step through them, forwards and
    backwards::

        with triosock.observe.Recorder() as recorder:
            trio.run(main)
        recorder.write_html("run.html")

    It records each trio run that begins in the block, in any thread, and the events of the servers that start
    in it. Entered in a trio program, it records that run as well, with the tasks that exist already.

    Args: `max_events`, an int from 1 on: the number of steps that are kept. Beyond that the oldest are
    discarded, and the page has their number; tasks that still run stay in the tree. Each time that a task
    runs is about three steps: it becomes runnable, runs, and waits.

    Attributes: `timeline`, the `Timeline` of the same servers.

    Raises: TypeError, ValueError for a wrong `max_events`; when the block is entered, RuntimeError if it was
    used before, or outside of a trio run if this version of trio cannot be recorded from there.

    The page has the source text of the program's own files, and the names of their folders below the current
    one: check it before you publish it. It may be written at any time, also during the block. No method is
    async.
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
        """Record a text at this moment: as an event of the calling task, and as a point in the timeline. Call
        it in the trio run that is recorded.
        """
        self.timeline.mark(text)
        instrument = self._instruments.get(this_run())
        if instrument is not None:
            task = instrument.number_of_current() or 0
            self._keeper.add(Happening(instrument.time(), "event", task, text=printable(text)))

    @property
    def forgotten(self) -> int:
        """The number of steps that were discarded, the oldest ones, to bound the memory."""
        return self._keeper.copy()[2]

    def steps(self) -> tuple[Step, ...]:
        """Return all recorded steps as values."""
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
        """Write one HTML file, which loads nothing else, to step through the run by keys, buttons or a
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
