"""The first code of a worker process: it moves the descriptors to the numbers of sd_listen_fds(3), has the
kernel kill the process when its parent dies, and executes the program.

It is run by the path of this file with ``python -I -S``, and imports nothing of triosock: it must be fast,
and `exec` replaces the interpreter. It exists since only the child knows the process id for LISTEN_PID, and
since code between fork and exec of a threaded parent (`preexec_fn`) is not safe.

Arguments: the parent's process id (0 for a process that may outlive it), the descriptor of the lifeline (-1
for none), the descriptors of the sockets, separated by commas, and the command line of the program. The
descriptors have their numbers of the parent.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys

_FIRST = 3  # SD_LISTEN_FDS_START
_PR_SET_PDEATHSIG = 1


def main(parent: int, lifeline: int, sockets: list[int], command: list[str]) -> None:
    """Execute the program; never returns."""
    if parent:
        die_with_parent(parent)
    move([*sockets, lifeline] if parent else sockets)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(sockets))
    if parent:
        os.environ["TRIOSOCK_LIFELINE"] = str(_FIRST + len(sockets))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]!r}: {error.strerror}")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (prctl(2)); `exec` does not reset this.

    The kernel does so when the thread ends that has started this process, so the parent starts it from its
    trio thread. On other systems than Linux the worker ends at the end of the lifeline.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before the call.
    if os.getppid() != parent:
        sys.exit("the parent has ended")


def move(descriptors: list[int]) -> None:
    """Give the descriptors the numbers from 3 on, in this order, and close their old numbers."""
    beyond = max([_FIRST + len(descriptors), *(one + 1 for one in descriptors)])
    # They are copied above all old and new numbers first, so that no dup2() overwrites one that is needed.
    copies = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, beyond) for one in descriptors]
    for one in set(descriptors):
        os.close(one)
    for number, copy in enumerate(copies, _FIRST):
        os.dup2(copy, number, inheritable=True)
        os.close(copy)


if __name__ == "__main__":
    _parent, _lifeline, _sockets, *_command = sys.argv[1:]
    main(int(_parent), int(_lifeline), [int(one) for one in _sockets.split(",") if one], _command)
