"""The gate of a server, which `suspend()` shuts and `resume()` opens: nothing is accepted in between."""

from __future__ import annotations

from typing import final

import trio


@final
class Gate:
    """Open, or shut by `suspend()`."""

    def __init__(self) -> None:
        #: Whether anything may be accepted.
        self.is_open: bool = True
        self._opened = trio.Event()

    def shut(self) -> None:
        """Make `wait_open` wait until `open()`."""
        if self.is_open:
            self.is_open = False
            self._opened = trio.Event()

    def open(self) -> None:
        """Make `wait_open` return."""
        self.is_open = True
        self._opened.set()

    async def wait_open(self) -> None:
        """Return when it is open. A checkpoint only if it must wait."""
        if not self.is_open:
            await self._opened.wait()
