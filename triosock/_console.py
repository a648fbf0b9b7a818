"""What `triosock.run` prints for its user: where its servers listen, and how they ended.

The rules:

1. **On stderr, in whole lines**: what a program prints belongs to the program.
2. **Nothing is said twice**: what a log at INFO says of a server is not said here.
3. **Printing ends nothing**: a stderr that is closed or gone, or can do no more than write, is no error.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from typing import Final

import trio

from ._core.model.addresses import MemoryAddress
from ._core.model.emitter import announcers
from ._core.model.events import Event, ServerStarted
from ._core.registry.drain_scope import DrainScope

#: What a stderr raises that is gone, that is closed, and that a program has put there without `flush()`.
_NOT_WRITTEN: Final = (OSError, ValueError, AttributeError)
#: The console of this trio run.
_current: trio.lowlevel.RunVar[Console | None] = trio.lowlevel.RunVar("triosock_console", None)


class Console:
    """The lines of one `run()`; an observer of all servers of its trio run. A context manager."""

    wants: Final[tuple[type[Event], ...]] = (ServerStarted,)

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __enter__(self) -> Console:
        _current.set(self)
        announcers.append(self._observe)
        return self

    def __exit__(self, *error: object) -> None:
        announcers.remove(self._observe)
        _current.set(None)

    def _observe(self) -> Console:
        return self

    def on_event(self, event: Event) -> None:
        """Say where a server of this run listens."""
        if isinstance(event, ServerStarted) and threading.get_ident() == self._thread:
            # No client can connect to standard input and output, or to a listener in memory.
            where = [str(one) for one in event.addresses if not isinstance(one, MemoryAddress)]
            if where and not is_logged("triosock"):
                # A server that was given no name has that of its first address.
                name = "" if event.server == where[0] else f"{event.server}: "
                self.say(f"{name}listens on {', '.join(where)}")

    def say(self, line: str) -> None:
        """Say one line, and at a terminal what Ctrl-C does."""
        with contextlib.suppress(*_NOT_WRITTEN):
            isatty = getattr(sys.stderr, "isatty", None)
            is_read_by_a_person = isatty is not None and isatty()
            _write(line + (" (Ctrl-C drains, a second one cancels)" if is_read_by_a_person else ""))


def say(line: str, *, logger: str) -> None:
    """Say one line in the console of this run, if it has one and this logger has not said it."""
    console = _current.get()
    if console is not None and not is_logged(logger):
        console.say(line)


def say_reports(scope: DrainScope) -> None:
    """Say how the servers in a scope have ended."""
    for name, report, logger in scope.recorded:
        if logger is None or not is_logged(logger):
            _write(f"{name}: {report}")


def _write(line: str) -> None:
    with contextlib.suppress(*_NOT_WRITTEN):
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)


def is_logged(name: str) -> bool:
    """Whether any handler writes what this logger gets at INFO."""
    logger: logging.Logger | None = logging.getLogger(name)
    if not logging.getLogger(name).isEnabledFor(logging.INFO):
        return False
    while logger is not None:
        for handler in logger.handlers:
            if handler.level <= logging.INFO and not isinstance(handler, logging.NullHandler):
                return True
        logger = logger.parent if logger.propagate else None
    return False
