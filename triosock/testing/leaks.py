"""Finds what a block of code leaves behind: file descriptors, tasks, threads, in-memory streams.

`no_leaks()` asserts that **nothing outlives its brackets**: whatever was opened or started inside the block
is closed or ended when the block ends, and not by the garbage collector, which emits a ResourceWarning.

Idle threads in trio's cache do not count: trio keeps them for a while for the next `trio.to_thread.run_sync`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Final, final

import attrs
import trio

from .memory_stream import MemoryStream, open_streams

#: Where the system lists the descriptors of a process: Linux (proc(5)), macOS and the BSDs.
_LISTINGS: Final = ("/proc/self/fd", "/dev/fd")
_CACHED_THREAD: Final = "Trio thread "


@final
@attrs.frozen
class Resources:
    """The resources of this process and this trio run at one moment: `Resources.now()`.

    `descriptors`: number and target of each; `tasks`, including trio's own; `threads`, without idle ones in
      trio's cache; `streams`, the open ends of in-memory connections.
    """

    descriptors: frozenset[tuple[int, str]]
    tasks: frozenset[trio.lowlevel.Task]
    threads: frozenset[threading.Thread]
    streams: frozenset[MemoryStream]

    @classmethod
    def now(cls) -> Resources:
        """Take a snapshot. Must be called in a trio program. A system that does not list descriptors shows
        none.
        """
        return cls(
            frozenset(_descriptors()),
            frozenset(_tasks(trio.lowlevel.current_root_task())),
            frozenset(one for one in threading.enumerate() if not one.name.startswith(_CACHED_THREAD)),
            frozenset(open_streams),
        )

    def new_since(self, before: Resources) -> list[str]:
        """Return descriptions of what is in this snapshot and not in `before`."""
        return [
            *(
                f"descriptor {number}: {target}"
                for number, target in sorted(self.descriptors - before.descriptors)
            ),
            *(f"task {_describe(task)}" for task in self.tasks - before.tasks),
            *(f"thread {thread.name}" for thread in self.threads - before.threads),
            *(f"stream {stream!r}" for stream in self.streams - before.streams),
        ]


def _descriptors() -> Iterator[tuple[int, str]]:
    listing = next((folder for folder in _LISTINGS if os.path.isdir(folder)), None)
    if listing is None:
        return
    for number in os.listdir(listing):
        try:
            yield int(number), os.readlink(f"{listing}/{number}")
        except FileNotFoundError:
            pass  # the descriptor of the listing itself
        except OSError:
            yield int(number), "?"  # on systems where the entries are no links


def _tasks(root: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        yield task
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)


def _describe(task: trio.lowlevel.Task) -> str:
    return f"{task.name} at {where(task)}"


def where(task: trio.lowlevel.Task) -> str:
    """Return the place of a task: "file:line in function" of its innermost call; its name if it has ended."""
    frames = [*task.iter_await_frames()]
    if not frames:
        return task.name
    # The innermost frame of the program itself: the frames below it are trio's.
    own = [one for one in frames if not one[0].f_globals.get("__name__", "").startswith("trio.")] or frames
    frame, line = own[-1]
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


@contextlib.contextmanager
def no_leaks() -> Iterator[None]:
    """Assert that the block leaves nothing behind. Use it in a trio program, around code that starts nothing
    that should stay.

    Raises: AssertionError, which names everything that is left or was closed by the garbage collector.
    """
    gc.collect()  # leaks of earlier code must not count for this block
    with no_new_resources():
        yield


@contextlib.contextmanager
def no_new_resources() -> Iterator[None]:
    """As `no_leaks()`, without its first, slow step, for callers that have done it."""
    before = Resources.now()
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except BaseException as error:
        _keep_warnings(caught, error)
        raise
    after = Resources.now()
    dropped = [str(one.message) for one in caught if _is_leak_warning(one)]
    for one in caught:
        if not _is_leak_warning(one):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    left = after.new_since(before) + [f"garbage: {text}" for text in dropped]
    assert not left, "left behind:\n  " + "\n  ".join(left)


def _keep_warnings(caught: list[warnings.WarningMessage], error: BaseException) -> None:
    """Show the warnings of a block that has raised; those of leaks, which may be the reason, as notes."""
    for one in caught:
        if _is_leak_warning(one):
            error.add_note(f"and in the same block: {one.message}")
        else:
            with contextlib.suppress(Warning):  # one that is an error must not replace this one
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _is_leak_warning(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, ResourceWarning) or "was never awaited" in str(warning.message)
