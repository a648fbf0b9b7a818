"""A child process that removes the socket files of a service whose parent was killed (SIGKILL, the kernel's
OOM killer): no other process is left then, since the workers are killed with the parent.

The invariants:

1. **It acts only when this process is dead**: the end of a pipe tells it, whose writing end is here.
2. It removes only the files that were made here, by device and inode.
3. **It ends with this process**, and before it: it is notified that there is nothing left to do, and reaped.
4. **Its end is noticed at any time**: its starter waits for it, as `reaper.py` expects of the owner of a
   child.

Rejected: a worker that removes them, since workers that go on for a moment could still accept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Final, Self, final

import trio

from .process import open_handle

_PROGRAM: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "file_guard_program.py")


@final
class FileGuard:
    """A running guard, an async context manager. `files`: of each the path, the device and the inode.

    Raises: OSError if the machine has no room for another process.
    """

    def __init__(self, files: Iterable[tuple[str, int, int]]) -> None:
        arguments = [str(part) for one in files for part in one]
        reading, self._tie = os.pipe()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, *arguments],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal, or a hang-up of it, is for the parent
            )
            self._handle = open_handle(self._popen)
        except BaseException:
            os.close(self._tie)
            raise
        finally:
            os.close(reading)
        self.id: Final = self._popen.pid

    def stand_down(self) -> None:
        """Say that there is nothing left to do: the files are gone, or a successor's. May be said again."""
        if self._tie == -1:
            return
        tie, self._tie = self._tie, -1
        try:
            os.write(tie, b"\n")
        except BrokenPipeError:
            pass  # it was killed
        finally:
            os.close(tie)

    @property
    def stood_down(self) -> bool:
        """Whether it was notified that there is nothing left to do."""
        return self._tie == -1

    async def wait(self) -> None:
        """Return when it has ended and is reaped. Cancelled, it goes on."""
        if self._popen.returncode is None:
            await trio.lowlevel.wait_readable(self._handle)
            self._popen.wait()
            os.close(self._handle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stand_down()
        with trio.CancelScope(shield=True):  # it ends at once: reading is all that it does
            await self.wait()
