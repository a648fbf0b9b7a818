"""A listener that raises given errors, which a test cannot make a kernel raise.

    FlakyListener(MemoryListener(), [OSError(errno.EMFILE, "too many open files")] * 3)

The rule: **errors come first.** While errors are left, `wait_ready` returns at once, as with a connection in
the accept queue, and `accept_nowait` raises the next error (with `where="wait"` `wait_ready` itself raises
it); afterwards the inner listener does everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, final

import trio

from .._core.listeners.listener import Accepted, Listener, PeerName
from .._core.model.addresses import Address


@final
class FlakyListener(Listener):
    """Raises each of `errors` once, one at a time, before it accepts from `listener`.

    Args: `listener`, which it closes; `errors`, exceptions (usually OSErrors with an errno); `where`:
    "accept" raises them from `accept_nowait`, "wait" from `wait_ready`.

    Raises: TypeError, ValueError for wrong arguments.
    """

    def __init__(
        self,
        listener: Listener,
        errors: Iterable[BaseException],
        *,
        where: Literal["accept", "wait"] = "accept",
    ) -> None:
        if not isinstance(listener, Listener):
            raise TypeError(f"listener must be a triosock.Listener, not {listener!r}")
        if where not in ("accept", "wait"):
            raise ValueError(f"where must be 'accept' or 'wait', not {where!r}")
        self._inner = listener
        self._errors = deque(errors)
        for error in self._errors:
            if not isinstance(error, BaseException):
                raise TypeError(
                    f"errors must be exceptions, such as OSError(errno.EMFILE, '…'), not {error!r}"
                )
        self._where = where

    def __repr__(self) -> str:
        return f"<FlakyListener around {self._inner!r}, {self.remaining} errors left>"

    @property
    def remaining(self) -> int:
        """The number of errors left."""
        return len(self._errors)

    @property
    def address(self) -> Address:
        """The address of the inner listener."""
        return self._inner.address

    @property
    def is_closed(self) -> bool:
        """Whether the inner listener is closed."""
        return self._inner.is_closed

    async def wait_ready(self) -> None:
        """Return at once while errors are left, or raise one (`where="wait"`); otherwise wait as the inner
        listener does.
        """
        if not self._errors:
            await self._inner.wait_ready()
            return
        await trio.lowlevel.checkpoint()
        if self._where == "wait":
            self._raise_next()

    def accept_nowait(self) -> tuple[Accepted, PeerName]:
        """Raise the next error (`where="accept"`); otherwise accept as the inner listener does."""
        if self._where == "accept":
            self._raise_next()
        return self._inner.accept_nowait()

    def _raise_next(self) -> None:
        if self._errors:
            raise self._errors.popleft()

    def close(self) -> None:
        """Close the inner listener."""
        self._inner.close()

    async def aclose(self) -> None:
        """Close the inner listener by its `aclose`. A checkpoint."""
        await self._inner.aclose()
