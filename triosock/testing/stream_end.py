"""The base class of in-memory streams: one task at a time in each direction, and closing."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator

import trio
from trio.lowlevel import checkpoint


class StreamEnd(trio.abc.HalfCloseableStream):
    """One end of an in-memory connection. A subclass implements `close` and `_close`."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether this end was closed."""
        return self._closed

    @abc.abstractmethod
    def close(self) -> None:
        """Close this end. Synchronous. If there is unread input, the other end gets a reset."""

    @abc.abstractmethod
    def _close(self, *, reset: bool) -> None:
        """Close this end; a second call does nothing."""

    def abort(self) -> None:
        """Close this end with a reset: the other one loses its unread input. Synchronous."""
        self._close(reset=True)

    async def aclose(self) -> None:
        """The same as `close()`; it closes even if cancelled. A checkpoint."""
        self.close()
        await checkpoint()

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Raise BusyResourceError if another task does the same; `what` is "receiving" or "sending"."""
        if what in self._busy:
            raise trio.BusyResourceError(f"another task is {what} on this stream")
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)
