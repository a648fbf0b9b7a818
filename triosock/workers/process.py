"""One child process: started, drained, waited for, killed.

The invariants:

1. **The code that starts a process reaps it.** `Process` is a context manager of its caller's own making:
   `wait` and `end_at_once` return only when the kernel has nothing left of it.
2. **It is started from the trio thread itself**, and not from a worker thread as `trio.lowlevel.open_process`
   does: the kernel kills the child when the thread that started it ends (PR_SET_PDEATHSIG), and trio's
   threads end when they have been idle. `subprocess.Popen` blocks for the milliseconds that vfork and exec
   take.
3. **The lifeline is a pipe whose writing end only the parent has.** A line in it begins a drain of the worker
   and may be repeated, unlike a signal, of which the second one cancels; its end means that the parent is
   gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, final

import trio

_TRAMPOLINE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trampoline.py")
#: Seconds that a process has to end by itself after the command to end at once.
PATIENCE: Final = 1.0


@final
class Process:
    """A running child. Its sockets are its descriptors 3 and up, as sd_listen_fds(3) says.

    Args:
      command: the program and its arguments.
      sockets: the descriptors to hand down, each with its name.
      environment: of the child, to which LISTEN_* and TRIOSOCK_LIFELINE are added.
      tied: whether it dies with this process, and has a lifeline. One that is not can be released.

    Raises: OSError if the machine has no room for another process.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[tuple[str, int]],
        environment: Mapping[str, str],
        *,
        tied: bool = True,
    ) -> None:
        reading, self._lifeline = os.pipe()
        os.set_blocking(self._lifeline, False)  # a worker that is stuck must not stop its parent
        try:
            descriptors = [descriptor for _, descriptor in sockets]
            handed = ",".join(map(str, descriptors))
            tie = [str(os.getpid()), str(reading)] if tied else ["0", "-1"]
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", _TRAMPOLINE, *tie, handed, *command],
                stdin=subprocess.DEVNULL,
                pass_fds=[*descriptors, reading] if tied else descriptors,
                env={**environment, "LISTEN_FDNAMES": ":".join(name for name, _ in sockets)},
            )
            self._handle = open_handle(self._popen)
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reading)
        self.id: Final = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """As `subprocess.Popen.returncode`: None while it runs, negative for a signal."""
        return self._popen.returncode

    def tell(self, line: str) -> None:
        """Write a line to the lifeline. One that has closed it, or takes nothing from it, is not told."""
        if self._popen.returncode is None:
            try:
                os.write(self._lifeline, line.encode() + b"\n")
            except OSError:
                pass  # it is ending

    def signal(self, number: int) -> None:
        """Send a signal, if it has not been reaped."""
        if self._popen.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    async def wait(self) -> int:
        """Return its exit code when it has ended and is reaped. A checkpoint; cancelled, it goes on."""
        if self._popen.returncode is None:
            await trio.lowlevel.wait_readable(self._handle)
            self._popen.wait()
            os.close(self._handle)
            os.close(self._lifeline)
        else:
            await trio.lowlevel.checkpoint()
        return self._popen.wait()  # at once, for it has ended

    def release(self) -> None:
        """Release a process that is not tied: it outlives this one, and is not reaped here."""
        if self._popen.returncode is None:
            self._popen.returncode = 0  # or subprocess warns that it runs
            os.close(self._handle)
            os.close(self._lifeline)

    async def end_at_once(self) -> None:
        """End it, orderly for one second and then by SIGKILL, and return when it is reaped. Must be shielded
        from cancellation.
        """
        # A program of triosock.run would only drain at the signal.
        self.tell("end")
        self.signal(signal.SIGTERM)
        with trio.move_on_after(PATIENCE):
            await self.wait()
        self.signal(signal.SIGKILL)
        await self.wait()


def open_handle(popen: subprocess.Popen[bytes]) -> int:
    """Return a descriptor of a child that was just started: it is readable when the child has ended.

    Raises: OSError if there is no room for one; the child is killed and reaped then.
    """
    try:
        return os.pidfd_open(popen.pid)  # it cannot have been reaped yet, so its id is its own
    except BaseException:
        popen.kill()
        popen.wait()
        raise
