"""A child process that removes the socket files of a service whose parent was killed (SIGKILL, the kernel's
OOM killer). No other process could do it, since the workers are killed with the parent.

The invariants:

1. **It acts only when this process is dead**: it reads from a pipe whose writing end only this process has.
2. It removes only the files that were made here; it compares device and inode.
3. **It ends before this process**: `dismiss()` tells it that nothing is left to do, and it is reaped.
4. **Its end is noticed at any time**: its starter waits for it, since `reaper.py` leaves a child to the code
   that has started it.

Rejected: a worker that removes the files. Other workers may run a moment longer than the parent, and accept.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Final, Self, final

import trio

from .process import open_handle

_PROGRAM: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "file_guard_program.py")


@final
class FileGuard:
    """The running process, as an async context manager.

    Args: `files`, each as its path, device and inode.

    Raises: OSError if no process or descriptor can be had.
    """

    def __init__(self, files: Iterable[tuple[str, int, int]]) -> None:
        arguments = [str(part) for one in files for part in one]
        reading, self._pipe = os.pipe()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, *arguments],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C and SIGHUP of the terminal are for the parent
            )
            self._handle = open_handle(self._popen)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reading)
        self.id: Final = self._popen.pid

    def dismiss(self) -> None:
        """Tell the process that the files are removed, or have another owner. Does nothing when called
        again.
        """
        if self._pipe == -1:
            return
        tie, self._pipe = self._pipe, -1
        try:
            os.write(tie, b"\n")
        except BrokenPipeError:
            pass  # the process was killed
        finally:
            os.close(tie)

    @property
    def dismissed(self) -> bool:
        """Whether `dismiss()` was called."""
        return self._pipe == -1

    async def wait(self) -> None:
        """Return when the process has ended and is reaped. A cancellation does not end the process."""
        if self._popen.returncode is None:
            await trio.lowlevel.wait_readable(self._handle)
            self._popen.wait()
            os.close(self._handle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.dismiss()
        if self._popen.returncode is None:
            # It has nothing to do any more, and one that is stopped would not read that.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        with trio.CancelScope(shield=True):  # bounded by that
            await self.wait()
