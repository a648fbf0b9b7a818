"""What must not be left behind: file descriptors, tasks, threads, in-memory streams.

The invariant that `no_leaks()` asserts: **nothing outlives its brackets**. Whatever was opened or started
inside the block is closed or ended when the block ends, by somebody who meant to, and not by the garbage
collector, which says so in a ResourceWarning.

Idle threads of trio's own cache are none of the program's: it keeps them for a while, for the next call of
`trio.to_thread.run_sync`.
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
class Belongings:
    """What this process and this trio program have at one moment: `Belongings.now()`.

    `descriptors`: number and target of each; `tasks`, also those of trio's own; `threads`, without idle ones
    of trio's cache; `streams`, the ends of in-memory connections that are open.
    """

    descriptors: frozenset[tuple[int, str]]
    tasks: frozenset[trio.lowlevel.Task]
    threads: frozenset[threading.Thread]
    streams: frozenset[MemoryStream]

    @classmethod
    def now(cls) -> Belongings:
        """Look. Must be called in a trio program. On a system that does not list descriptors, there are none
        to see.
        """
        return cls(
            frozenset(_descriptors()),
            frozenset(_tasks(trio.lowlevel.current_root_task())),
            frozenset(one for one in threading.enumerate() if not one.name.startswith(_CACHED_THREAD)),
            frozenset(open_streams),
        )

    def beyond(self, before: Belongings) -> list[str]:
        """Return, in words, what is here that was not there before."""
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
            pass  # the one that the listing itself was read by
        except OSError:
            yield int(number), "?"  # where the entries are no links


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
    """Return where a task is: "file:line in function" of its innermost call; its name if it has ended."""
    frames = [*task.iter_await_frames()]
    if not frames:
        return task.name
    # What the program's own frames wait in: the innermost are always those of trio itself.
    own = [one for one in frames if not one[0].f_globals.get("__name__", "").startswith("trio.")] or frames
    frame, line = own[-1]
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


@contextlib.contextmanager
def no_leaks() -> Iterator[None]:
    """Assert that the block leaves nothing behind. Use it in a trio program, around code that does not start
    what should stay.

    Raises: AssertionError, which names everything that is left, and what the garbage collector had to close.
    """
    gc.collect()  # what others have left must not be charged to this block
    with compared():
        yield


@contextlib.contextmanager
def compared() -> Iterator[None]:
    """`no_leaks()` without its first, costly step, for those who have done it."""
    before = Belongings.now()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    after = Belongings.now()
    dropped = [str(one.message) for one in caught if _tells_of_leak(one)]
    for one in caught:
        if not _tells_of_leak(one):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    left = after.beyond(before) + [f"garbage: {text}" for text in dropped]
    assert not left, "left behind:\n  " + "\n  ".join(left)


def _tells_of_leak(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, ResourceWarning) or "was never awaited" in str(warning.message)
