"""Refuses what cannot be simulated: real threads, sockets, processes and sleeps.

Python calls an audit hook (PEP 578) for each of them, and the hook may raise, by whichever name a function
was imported. A hook cannot be removed; this one is added by the first simulation of a process, and does
nothing outside of a simulation and in other threads. `time.sleep` and the start of a thread, for which some
versions of Python have no audit event, are replaced as well.

The invariant: **a refused call fails the run**, even if the code that made it catches the error.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final, final

from .errors import NotSimulated
from .trio_internals import no_threads

_SOCKETS: Final = "a real socket: use world.serve() and world.connect(), or world.datagram_client()"
_PROCESSES: Final = "another process: replace it by a function of the scenario"
_THREADS: Final = "a real thread, whose speed is not deterministic: use an async function instead"
_SLEEPS: Final = "a sleep that blocks the event loop: use await world.sleep() or trio.sleep() instead"

#: Audit events (docs.python.org/3/library/audit_events.html), and their messages.
_REFUSED: Final = {
    **dict.fromkeys(("socket.__new__", "socket.bind", "socket.connect", "socket.getaddrinfo"), _SOCKETS),
    **dict.fromkeys(("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"), _PROCESSES),
    **dict.fromkeys(("os.system", "os.exec"), _PROCESSES),
    **dict.fromkeys(("_thread.start_new_thread", "_thread.start_joinable_thread"), _THREADS),
    "time.sleep": _SLEEPS,
}


@final
class Guard:
    """The guard of one run; `refused` is the first error that it raised."""

    def __init__(self) -> None:
        self.refused: NotSimulated | None = None

    def refuse(self, what: str) -> NotSimulated:
        """Return the error for a refused call; keep the first one."""
        error = NotSimulated(f"a simulation cannot use {what}")
        self.refused = self.refused or error
        return error

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse calls in this thread for the length of the block."""
        _install_hook()
        with (
            no_threads(lambda: self.refuse(_THREADS)),
            self._replaced(threading.Thread, "start", _THREADS),
            self._replaced(time, "sleep", _SLEEPS),
        ):
            _guards[threading.get_ident()] = self
            try:
                yield
            finally:
                del _guards[threading.get_ident()]

    @contextlib.contextmanager
    def _replaced(self, owner: object, name: str, what: str) -> Iterator[None]:
        before, mine = getattr(owner, name), threading.get_ident()

        def guarded(*args: object, **options: object) -> object:
            if threading.get_ident() == mine and mine in _guards:
                raise self.refuse(what)
            return before(*args, **options)

        setattr(owner, name, guarded)
        try:
            yield
        finally:
            setattr(owner, name, before)

    @contextlib.contextmanager
    def allowing(self) -> Iterator[None]:
        """Allow everything for the length of the block."""
        guard = _guards.pop(threading.get_ident(), None)
        try:
            yield
        finally:
            if guard is not None:
                _guards[threading.get_ident()] = guard


#: The guards in force, by thread.
_guards: Final[dict[int, Guard]] = {}
_hook_installed: list[bool] = []


def _install_hook() -> None:
    if not _hook_installed:
        _hook_installed.append(True)
        sys.addaudithook(_audit_hook)


def _audit_hook(event: str, args: tuple[object, ...]) -> None:
    if _guards and event in _REFUSED:
        guard = _guards.get(threading.get_ident())
        if guard is not None:
            raise guard.refuse(_REFUSED[event])
