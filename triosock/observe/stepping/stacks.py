"""The stack of a task, the owner of the code of each frame, and a description of the wait.

Stacks are interned, since tasks stop at the same few places.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

#: The maximum of interned stacks; a program may stop at ever new places.
MAX_STACKS: Final = 20_000
#: The maximum of frames of a stack, the innermost ones; a recursion may have thousands.
MAX_FRAMES: Final = 50

Owner: TypeAlias = Literal["own", "triosock", "trio", "library"]

_TRIO: Final = os.path.dirname(trio.__file__) + os.sep
_TRIOSOCK: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_PATHS: Final = sysconfig.get_paths()
_LIBRARIES: Final = tuple(_PATHS[name] + os.sep for name in ("purelib", "platlib", "stdlib", "platstdlib"))
_NO_FILES: Final = ("<frozen", "<attrs", "<string>")

#: Descriptions of the waits in these functions of trio and of this library.
_WAITS: Final = {
    "Nursery.start": "the task that it starts to say that it has started",
    "Nursery._nested_child_finished": "the tasks in its nursery",
    "sleep": "time to pass",
    "sleep_until": "time to pass",
    "sleep_forever": "its cancellation, for it sleeps for ever",
    "Event.wait": "an event that another task sets",
    "Condition.wait": "a condition that another task notifies of",
    "Lock.acquire": "a lock that another task holds",
    "StrictFIFOLock.acquire": "a lock that another task holds",
    "Semaphore.acquire": "a semaphore",
    "CapacityLimiter.acquire": "a token of a capacity limiter",
    "CapacityLimiter.acquire_on_behalf_of": "a token of a capacity limiter",
    "MemoryReceiveChannel.receive": "a message in a memory channel",
    "MemorySendChannel.send": "room in a memory channel",
    "ParkingLot.park": "another task",
    "to_thread_run_sync": "a thread",
    "wait_readable": "something to read",
    "wait_writable": "room to write",
    "wait_all_tasks_blocked": "all other tasks to be blocked",
    "checkpoint": "nothing: it lets others run",
    "checkpoint_if_cancelled": "nothing: it lets others run",
    "cancel_shielded_checkpoint": "nothing: it lets others run",
    "SocketListener.wait_ready": "a connection to accept",
    "EpollReader.run": "something to read, for any connection of its server",
    "TimeoutMonitor.run": "the next deadline of a connection",
    "SocketWire.linger": "its peer to close, too",
    "SocketReceiving._wait_input": "something to read",
}
#: The functions by which trio suspends a task, which are not named in the description of a wait.
_TRAPS: Final = frozenset({"wait_task_rescheduled", "_real_async_yield", "_async_yield"})


@attrs.frozen
class Frame:
    """A function, and the line in it."""

    file: str
    line: int
    function: str

    @property
    def owner(self) -> Owner:
        """The owner of the code."""
        return owner_of(self.file)


@final
@attrs.frozen(eq=False)
class Stack:
    """Frames, the outermost first."""

    frames: tuple[Frame, ...]

    def place(self) -> int | None:
        """Return the number of the frame that shows the place of a task: the innermost of the program's own;
        without one the innermost of triosock, and without that the innermost of a library other than trio.
        """
        for owners in (("own",), ("triosock",), ("library",)):
            for number in reversed(range(len(self.frames))):
                if self.frames[number].owner in owners:
                    return number
        return 0 if self.frames else None

    def is_of_trio(self) -> bool:
        """Whether the innermost frame is trio's."""
        return bool(self.frames) and self.frames[-1].owner == "trio"

    def waits_for(self) -> tuple[str, str]:
        """Return a description of the wait at this place, and the name of the function that was called for
        it. Both may be empty.
        """
        place = self.place()
        if place is None:
            return "", ""
        # The name of a program's own function does not say what it waits for.
        below = self.frames[place + (self.frames[place].owner == "own") :]
        calls = [frame.function for frame in below if frame.function not in _TRAPS]
        named = (name for name in calls if not name.rpartition(".")[2].startswith("_"))
        words = next((found for name in calls if (found := _word(name))), "")
        return words, next(named, calls[0] if calls else "")


def _word(function: str) -> str | None:
    return _WAITS.get(function) or _WAITS.get(function.rpartition(".")[2])


@functools.cache
def owner_of(file: str) -> Owner:
    """Return the owner of a file: trio, triosock, another library, or the program ("own")."""
    if file.startswith(_TRIO):
        return "trio"
    if file.startswith(_TRIOSOCK):
        return "triosock"
    return "library" if file.startswith((*_LIBRARIES, *_NO_FILES)) else "own"


@final
class Stacks:
    """Makes stacks, and returns the same object for the same frames."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[CodeType, int], ...], Stack] = {}

    def of_task(self, task: trio.lowlevel.Task) -> Stack:
        """Return the stack of a task that is suspended."""
        return self._intern((frame.f_code, line) for frame, line in task.iter_await_frames())

    def of_error(self, trace: TracebackType | None) -> Stack:
        """Return the stack of the place at which an exception was raised."""
        return self._intern(_lines_of(trace))

    def of_caller(self) -> Stack | None:
        """Return the innermost call that runs now, outside of trio and of the recorder, as a stack of one."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _is_machinery(frame.f_code.co_filename):
            frame = frame.f_back
        return None if frame is None else self._intern([(frame.f_code, frame.f_lineno)])

    def of_canceller(self) -> Stack | None:
        """Return the stack of the call of `CancelScope.cancel()` that runs now; None without one."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not (frame.f_code.co_name == "cancel" and _is_run(frame)):
            if frame.f_code.co_name == "unrolled_run" and _is_run(frame):
                return None
            frame = frame.f_back
        lines: list[tuple[CodeType, int]] = []
        frame = None if frame is None else frame.f_back
        while frame is not None and not _is_run(frame):
            lines.insert(0, (frame.f_code, frame.f_lineno))
            frame = frame.f_back
        return self._intern(lines) if lines else None

    def of_forced_close(self, task: trio.lowlevel.Task) -> Stack | None:
        """Return the stack of a call of `trio.aclose_forcefully`, which cancels before it waits; None without
        one.
        """
        lines = [(frame.f_code, line) for frame, line in task.iter_await_frames()]
        for number, (code, _) in enumerate(lines):
            if code.co_name == "aclose_forcefully" and code.co_filename.startswith(_TRIO):
                return self._intern(lines[: number + 1])
        return None

    def _intern(self, lines: Iterable[tuple[CodeType, int]]) -> Stack:
        key = tuple(lines)[-MAX_FRAMES:]
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_STACKS:
                self._known.clear()  # the happenings keep theirs
            # Instructions that belong to no line have None.
            frames = (Frame(code.co_filename, line or 0, code.co_qualname) for code, line in key)
            found = self._known[key] = Stack(tuple(frames))
        return found


def _lines_of(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next


#: The file of trio that has the run loop and the cancel scopes.
_RUN: Final = os.path.join(_TRIO, "_core", "_run.py")
_HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep


def _is_run(frame: FrameType) -> bool:
    return frame.f_code.co_filename == _RUN


def _is_machinery(file: str) -> bool:
    return file.startswith((_TRIO, _HERE))
