"""The base classes of green sockets: timeouts, waits in trio, fairness, and the end of a wait by a drain."""

from __future__ import annotations

import _socket
import contextlib
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

#: How many calls in a row may return without a checkpoint.
IN_A_ROW = 16


def _parse_timeout(value: float | None) -> float | None:
    """Return a timeout as a socket would keep it; which values are wrong, and how that is said, differs
    between Pythons.

    Raises: TypeError, ValueError, as `socket.socket.settimeout()`.
    """
    unopened = _socket.socket.__new__(_socket.socket)  # no descriptor: nothing is asked of the kernel
    with contextlib.suppress(OSError):  # EBADF, after the value is taken
        unopened.settimeout(value)
    return unopened.gettimeout()


class OwnTimeout:
    """The timeout of a green handler's socket, which the C code of `socket` does not know.

    A mixin without slots, so that a class with it has the layout of its base.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    _green_timeout: float | None

    def settimeout(self, value: float | None) -> None:
        """As `socket.socket.settimeout()`, but O_NONBLOCK of the descriptor is not changed."""
        self._green_timeout = _parse_timeout(value)

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
    """The part that plain and TLS sockets share: the timeout, waits in trio, fairness, drains.

    A mixin without slots, so that a class with it has the layout of its base.
    """

    if not TYPE_CHECKING:
        __slots__ = ()

    _green_calls: int
    #: Whether this side sent last; None before the first send.
    _green_answered: bool | None
    _green_draining: bool

    if TYPE_CHECKING:
        # Methods of the socket classes; typeshed does not have the last two.

        def fileno(self) -> int:
            """As `socket.socket.fileno()`."""
            raise NotImplementedError

        def _sendfile_use_send(self, file: _SendableFile, offset: int, count: int | None) -> int:
            raise NotImplementedError

        def _real_close(self, *args: object) -> None:
            raise NotImplementedError

    def begin(self) -> float | None:
        """Return the time, of `time.monotonic()`, at which a call that begins now times out; None for
        never.
        """
        timeout = self._green_timeout
        return None if timeout is None else monotonic() + timeout

    def note_call(self) -> None:
        """Count a call that did not have to wait; each `IN_A_ROW` of them end with a checkpoint."""
        self._green_calls += 1
        if self._green_calls >= IN_A_ROW and self._green_timeout != 0.0:
            task = tasks.current()
            if task is not None:
                self._green_calls = 0
                task.wait(checkpoint)

    def wait(
        self,
        until: float | None,
        wait: Callable[[*Ts], Coroutine[object, object, None]],
        *args: Unpack[Ts],
        late: str = "timed out",
    ) -> None:
        """Await `wait(*args)`. Raises: TimeoutError at the time `until`; RuntimeError in another thread."""
        task = tasks.here()
        self._green_calls = 0
        if until is None:
            task.wait(wait, *args)
        elif not task.wait(_wait_until, until, lambda: wait(*args)):
            raise TimeoutError(late)

    def is_over(self) -> bool:
        """Whether a drain ends the next wait: it would be an idle one, and nothing has arrived."""
        if not self._green_draining or self._green_answered is False:
            return False
        return not (isinstance(self, socket.socket) and has_unread(self))


async def _wait_until(until: float, wait: Callable[[], Awaitable[None]]) -> bool:
    with trio.move_on_after(max(0.0, until - monotonic())) as scope:
        await wait()
    return not scope.cancelled_caught
