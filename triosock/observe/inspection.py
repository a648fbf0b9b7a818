"""Inspection by `triosock top --pid`: the side of the inspected process.

The protocol: a process that allows it holds a file in memory (memfd_create(2)) called `MARK`, which only its
own user and root see in ``/proc/PID/fd``. `top` writes into it the name of a directory and a number, and
sends SIGUSR1; the process empties it, and answers into that directory, see `peek.py`.

The invariant: **only a user with the permissions of ptrace(2) can inspect a process**: writing into that file
needs them. And a SIGUSR1 without a request is what it was before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final, final

from . import peek

if TYPE_CHECKING:
    from typing import Self

MARK: Final = "triosock-top"
#: The longest request.
MAX_REQUEST: Final = 4096 + 20


@final
class InspectionRequests:
    """What is asked of this process: ``with InspectionRequests() as requests:``; it holds one descriptor, and
    none where the system has no memfd_create.
    """

    def __init__(self) -> None:
        self._file = -1

    def __enter__(self) -> Self:
        if sys.platform == "linux":
            self._file = os.memfd_create(MARK)
        return self

    def __exit__(self, *error: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def answer(self) -> bool:
        """Answer the request that is there; return whether there was one. Synchronous; raises nothing."""
        try:
            request = os.pread(self._file, MAX_REQUEST, 0) if self._file >= 0 else b""
            if request:
                os.ftruncate(self._file, 0)
        except OSError:
            return False
        limit, _, directory = request.decode("utf-8", "surrogateescape").partition(" ")
        if not (limit.isdecimal() and directory.startswith("/")):
            return False
        peek.answer(directory, int(limit))
        return True


@contextmanager
def allow_top() -> Iterator[None]:
    """Let ``python -m triosock top --pid`` look into this process while this block lasts, by SIGUSR1, for the
    same user only.

    For programs that `triosock.run` does not run, which does this by itself: any trio program, or one with
    servers of `triosock.compat` or none at all. From Python 3.14 on it is not needed, if the system allows
    to attach to the process. A SIGUSR1 without a request does nothing.

    Raises: RuntimeError outside of the main thread, or if the program has a use for SIGUSR1 already.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("allow_top() must be entered in the main thread, where signals arrive")
    if signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL:
        raise RuntimeError(
            "the program has a use for SIGUSR1 already: let it keep that, and take a control socket"
        )
    with InspectionRequests() as requests:

        def look(number: int, frame: FrameType | None) -> None:
            requests.answer()

        signal.signal(signal.SIGUSR1, look)
        try:
            yield
        finally:
            # Before the mark goes: who sees that must not end the process by its signal.
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            requests.__exit__()
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
