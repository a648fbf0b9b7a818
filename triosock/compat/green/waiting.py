"""What all green sockets share: timeouts of their own, waits in trio, fairness, and how drains end them."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING, TypeVarTuple, Unpack

import trio

from triosock._core.transport.checkpoints import checkpoint
from triosock.compat.bridge.tcp_state import has_unread

from . import tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from socket import _SendableFile

Ts = TypeVarTuple("Ts")

#: How many calls in a row may go without a wait.
IN_A_ROW = 16


class OwnTimeout:
    """The timeout of whatever a green handler has for a socket.

    Mixed into its class; the layout stays that of its base.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    _green_timeout: float | None

    def settimeout(self, value: float | None) -> None:
        """As `socket.socket.settimeout()`; the descriptor's mode stays."""
        if value is not None:
            value = float(value)
            if value < 0:
                raise ValueError("Timeout value out of range")
        self._green_timeout = value

    def gettimeout(self) -> float | None:
        """As `socket.socket.gettimeout()`."""
        return self._green_timeout

    def setblocking(self, flag: bool) -> None:
        """As `socket.socket.setblocking()`."""
        self._green_timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """As `socket.socket.getblocking()`."""
        return self._green_timeout != 0.0

    @property
    def timeout(self) -> float | None:
        """As `socket.socket.timeout`."""
        return self._green_timeout


class Waiting(OwnTimeout):
    """The part that plain and TLS sockets share: a timeout of its own, waits in trio, fairness, drains.

    Mixed into a socket class; the layout stays that of its base.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    _green_row: int
    #: Whether this side sent last; None before the first send.
    _green_answered: bool | None
    _green_last: bool

    if TYPE_CHECKING:
        # Attributes of the sockets that it is mixed into; the last two have no types in typeshed.

        def fileno(self) -> int:
            """As `socket.socket.fileno()`."""
            raise NotImplementedError

        def _sendfile_use_send(self, file: _SendableFile, offset: int, count: int | None) -> int:
            raise NotImplementedError

        def _real_close(self, *args: object) -> None:
            raise NotImplementedError

    def begin(self) -> float | None:
        """Return when a call that begins now times out, on the clock of `time.monotonic()`."""
        timeout = self._green_timeout
        return None if timeout is None else monotonic() + timeout

    def note_call(self) -> None:
        """Note a call that did not have to wait; after `IN_A_ROW` of them there is a checkpoint."""
        self._green_row += 1
        if self._green_row >= IN_A_ROW and self._green_timeout != 0.0:
            task = tasks.current()
            if task is not None:
                self._green_row = 0
                task.wait(checkpoint)

    def wait(
        self,
        until: float | None,
        wait: Callable[[*Ts], Coroutine[object, object, None]],
        *args: Unpack[Ts],
        late: str = "timed out",
    ) -> None:
        """Await `wait(*args)`. Raises TimeoutError if that takes too long, RuntimeError in another thread."""
        task = tasks.here()
        self._green_row = 0
        if until is None:
            task.wait(wait, *args)
        elif not task.wait(_wait_until, until, lambda: wait(*args)):
            raise TimeoutError(late)

    def is_over(self) -> bool:
        """Whether a drain ends the next wait: the peer owes nothing, and has sent nothing more."""
        if not self._green_last or self._green_answered is False:
            return False
        return not (isinstance(self, socket.socket) and has_unread(self))


async def _wait_until(until: float, wait: Callable[[], Awaitable[None]]) -> bool:
    with trio.move_on_after(max(0.0, until - monotonic())) as scope:
        await wait()
    return not scope.cancelled_caught
