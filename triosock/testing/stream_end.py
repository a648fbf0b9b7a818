"""What the ends of all connections in memory have in common: one task at a time, and how they are closed."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator

import trio
from trio.lowlevel import checkpoint


class StreamEnd(trio.abc.HalfCloseableStream):
    """One end of a connection in memory. A subclass says how it is closed: `close` and `_close`."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether this end was closed."""
        return self._closed

    @abc.abstractmethod
    def close(self) -> None:
        """Close this end. Synchronous. Input that was not read becomes a reset for the other one."""

    @abc.abstractmethod
    def _close(self, *, reset: bool) -> None:
        """Close this end; twice is as good as once."""

    def abort(self) -> None:
        """Close this end with a reset: the other one loses what it has not read yet. Synchronous."""
        self._close(reset=True)

    async def aclose(self) -> None:
        """The same as `close()`; closed even if cancelled. A checkpoint."""
        self.close()
        await checkpoint()

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Raise BusyResourceError if another task is at the same (`what`, in words)."""
        if what in self._busy:
            raise trio.BusyResourceError(f"another task is {what} on this stream")
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)
