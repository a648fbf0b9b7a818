"""Inspection by `triosock top --pid`: the part that runs in the inspected process.

The protocol: a process that allows it holds a file in memory (memfd_create(2)) called `MARK`, which only its
own user and root can open in ``/proc/PID/fd``. `top` writes a number and the name of a directory into it,
and sends SIGUSR1; the process empties the file, and writes its answer into that directory: see `peek.py`.

The invariant: **only a user with the permissions of ptrace(2) can inspect a process**, since opening that
file needs them. A SIGUSR1 without a request prints the live tree under `triosock.run`, and has no effect
under `allow_top()`.
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
    """The requests of `top` to this process: ``with InspectionRequests() as requests:``. It holds one
    descriptor on Linux; on other systems it holds none, and there are no requests.
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
        """Answer the pending request; return False if there is none. Synchronous; raises nothing."""
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
    """Allow ``python -m triosock top --pid`` to inspect this process by SIGUSR1 for the length of the block,
    for the same user and root only.

    It is for programs that do not use `triosock.run`, which allows it anyway: any trio program, a program
    with servers of `triosock.compat`, or one without servers. From Python 3.14 on it is not needed if the
    system allows `top` to attach to the process. In the block a SIGUSR1 without a request has no effect;
    after it the signal has its default action again.

    Raises: RuntimeError outside of the main thread, or if the program handles or ignores SIGUSR1 already.
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
            # Before the mark is removed: a `top` that has seen it may still send the signal.
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            requests.__exit__()
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
