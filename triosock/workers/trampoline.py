"""The first code of a worker process: puts its descriptors where sd_listen_fds(3) wants them, ties its life
to the parent's, and becomes the program.

It is run by the path of this file with ``python -I -S``, and imports nothing of triosock: it must be fast,
and what it is followed by (`exec`) starts with a clean interpreter. It exists because only the child itself
knows the process id that LISTEN_PID must say, and because code between fork and exec of a threaded parent
(`preexec_fn`) is not safe.

Arguments: the parent's process id (0 for one that is to outlive it), the lifeline's descriptor (-1), the
descriptors of the sockets with commas between, and the program's own command line. The descriptors arrive
under their numbers in the parent.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys

_FIRST = 3  # SD_LISTEN_FDS_START
_PR_SET_PDEATHSIG = 1


def main(parent: int, lifeline: int, sockets: list[int], command: list[str]) -> None:
    """Become the program; never returns."""
    if parent:
        die_with(parent)
        # A Ctrl-C at the terminal goes to the whole foreground group: the parent drains its workers itself,
        # and a second signal would cut them off.
        os.setpgid(0, 0)
    move([*sockets, lifeline] if parent else sockets)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(sockets))
    if parent:
        os.environ["TRIOSOCK_LIFELINE"] = str(_FIRST + len(sockets))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]!r}: {error.strerror}")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (prctl(2)). It outlives `exec`.

    The parent must have started it from a thread that lives as long as the parent: that thread's end counts.
    Elsewhere than on Linux the end of the lifeline tells.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before that.
    if os.getppid() != parent:
        sys.exit("the parent has ended")


def move(descriptors: list[int]) -> None:
    """Give the descriptors the numbers from 3 on, in this order, and close their old numbers."""
    beyond = max([_FIRST + len(descriptors), *(one + 1 for one in descriptors)])
    # First out of each other's way.
    copies = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, beyond) for one in descriptors]
    for one in set(descriptors):
        os.close(one)
    for number, copy in enumerate(copies, _FIRST):
        os.dup2(copy, number, inheritable=True)
        os.close(copy)


if __name__ == "__main__":
    _parent, _lifeline, _sockets, *_command = sys.argv[1:]
    main(int(_parent), int(_lifeline), [int(one) for one in _sockets.split(",") if one], _command)
