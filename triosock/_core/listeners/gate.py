"""What `suspend()` shuts and `resume()` opens: nothing is taken from the kernel in between."""

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
        """Let nobody through until `open()`."""
        if self.is_open:
            self.is_open = False
            self._opened = trio.Event()

    def open(self) -> None:
        """Let everybody through."""
        self.is_open = True
        self._opened.set()

    async def wait_open(self) -> None:
        """Return when it is open. A checkpoint only if it must wait."""
        if not self.is_open:
            await self._opened.wait()
