"""One child process: its start, its drain, its end.

The invariants:

1. **The code that starts a process reaps it**: `wait` and `end_at_once` return when it is reaped, and a
   caller that is cancelled calls `end_at_once` in a shielded scope.
2. **It is started from the trio thread itself**, and not from a worker thread as `trio.lowlevel.open_process`
   does: the kernel kills the child when the thread that started it ends (PR_SET_PDEATHSIG), and trio's
   threads end when they have been idle. `subprocess.Popen` blocks for the milliseconds that vfork and exec
   take.
3. **The lifeline is a pipe whose writing end only the parent has.** A line in it begins a drain of the
   worker, and a further line can tighten it; rejected: a signal, of which the second one cancels. The end of
   the pipe means that the parent has ended.
4. **A child that dies with its parent has a process group of its own**, from its first instruction on. Ctrl-C
   at a terminal sends SIGINT to the whole foreground group; the parent drains its workers itself, and for
   them the signal would be a second one, which cancels.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, final

import trio

_TRAMPOLINE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trampoline.py")
_STDERR: Final = 2
#: Seconds from SIGTERM to SIGKILL in `end_at_once`.
TERM_TIMEOUT: Final = 1.0


@final
class Process:
    """A running child. Its sockets are its descriptors from 3 on, as sd_listen_fds(3) specifies.

    Args:
      command: the program and its arguments.
      sockets: the descriptors that it inherits, each with its name.
      environment: its environment, to which LISTEN_* and TRIOSOCK_LIFELINE are added.
      dies_with_parent: whether the kernel kills it when this process ends, and it has a lifeline. Otherwise
        it can be released.

    Raises: OSError if no process or descriptor can be had.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[tuple[str, int]],
        environment: Mapping[str, str],
        *,
        dies_with_parent: bool = True,
    ) -> None:
        reading, self._lifeline = os.pipe()
        os.set_blocking(self._lifeline, False)  # a worker that does not read must not block its parent
        try:
            with contextlib.ExitStack() as copies:
                descriptors = [_above_standard(descriptor, copies) for _, descriptor in sockets]
                handed = ",".join(map(str, descriptors))
                lifeline = _above_standard(reading, copies)
                tie = [str(os.getpid()), str(lifeline)] if dies_with_parent else ["0", "-1"]
                self._popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", _TRAMPOLINE, *tie, handed, *command],
                    stdin=subprocess.DEVNULL,
                    process_group=0 if dies_with_parent else None,
                    pass_fds=[*descriptors, lifeline] if dies_with_parent else descriptors,
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
        """Write a line to the lifeline. The line is lost if the child has closed the pipe, or does not empty
        it.
        """
        if self._popen.returncode is None:
            try:
                os.write(self._lifeline, line.encode() + b"\n")
            except OSError:
                pass  # EPIPE: it is ending; EAGAIN: it is stuck, and its deadline ends it

    def signal(self, number: int) -> None:
        """Send a signal, if the process is not reaped yet."""
        if self._popen.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    async def wait(self) -> int:
        """Return its exit code when it has ended and is reaped. A checkpoint. A cancellation does not end
        it.
        """
        if self._popen.returncode is None:
            await trio.lowlevel.wait_readable(self._handle)
            self._popen.wait()
            os.close(self._handle)
            os.close(self._lifeline)
        else:
            await trio.lowlevel.checkpoint()
        return self._popen.wait()  # returns at once: it has ended

    def release(self) -> None:
        """Give up a process that does not die with its parent: it outlives this one, and is not reaped
        here.
        """
        if self._popen.returncode is None:
            self._popen.returncode = 0  # otherwise subprocess warns that it still runs
            os.close(self._handle)
            os.close(self._lifeline)

    async def end_at_once(self) -> None:
        """Cancel it, send SIGKILL after `TERM_TIMEOUT` seconds, and return when it is reaped. Call it in a
        scope that is shielded from cancellation.
        """
        # SIGTERM alone would only begin a drain in a program of triosock.run.
        self.tell("end")
        self.signal(signal.SIGTERM)
        with trio.move_on_after(TERM_TIMEOUT):
            await self.wait()
        self.signal(signal.SIGKILL)
        await self.wait()


def _above_standard(descriptor: int, copies: contextlib.ExitStack) -> int:
    """Return a descriptor above 2 for the child: in a program that was started without standard input or
    output, one of these numbers may be that of a socket, and the child has its own files there.
    """
    if descriptor > _STDERR:
        return descriptor
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    copies.callback(os.close, copy)
    return copy


def open_handle(popen: subprocess.Popen[bytes]) -> int:
    """Return a pidfd of a child that was just started: it is readable when the child has ended.

    Raises: OSError if no descriptor can be had; the child is killed and reaped then.
    """
    try:
        return os.pidfd_open(popen.pid)  # nothing has reaped it yet, so the id cannot be reused
    except BaseException:
        popen.kill()
        popen.wait()
        raise
