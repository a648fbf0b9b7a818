"""The wait of a server in the host: for `POLL_FIRST` seconds after a request a `poll.PollWait`, then a wait
in the trio run.

The file is separate from `waiting/poll.py` since it imports trio, which a server that waits without trio
never does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ..requests import table
from ..waiting.poll import PAUSE, POLL_FIRST, POLL_FIRST_MS, PollWait
from ..waiting.wakeup import Wakeup
from . import trio_thread as hosts

if TYPE_CHECKING:
    import selectors
    from typing import Self

    from ..requests.ports import Group, Server


def may_block() -> bool:
    """Whether the calling thread may block for a trio run: False if it runs one itself."""
    return not trio.lowlevel.in_trio_run()


class TrioWait(PollWait):
    """Waits in the trio run of the host; on its own `poll` after a request, and if there can be no host."""

    def __init__(
        self, server: Server, selector: selectors.BaseSelector, host: hosts.Host | None = None
    ) -> None:
        super().__init__(server, selector)
        self._host = host
        self._scope: trio.CancelScope | None = None
        # The wakeup is made with the first request, so that an unused server has no extra descriptor.
        self._polls_first = False
        self._no_host = False
        self._is_bounded = self.request_table.max_requests != math.inf
        #: Whether requests of this server can be accepted in the trio thread, which handles them.
        self._accepts = self.request_table.green is not None and not self._is_bounded

    def __enter__(self) -> Self:
        super().__enter__()
        if self.request_table.green is not None:
            self.request_table.green.loop_begins()
        return self

    def wait(self, interval: float | None) -> bool:
        """As `Waiting.wait()`; `wake()` ends it."""
        # Compared with 0 first, so that a value that is no number raises as in `poll()`.
        if (
            self._no_host
            or self.draining
            or (interval is not None and (interval <= 0 or interval <= POLL_FIRST))
        ):
            return super().wait(interval)
        is_full = self._is_bounded and self.request_table.is_full
        if self._polls_first and not self._must_pause and not is_full:
            # It exists before the flag is read below; wake() sets the flag before it looks for the wakeup.
            if self._wakeup is None:
                self._wakeup = Wakeup(self._poll)
            if self._look(POLL_FIRST_MS):
                return True
            self._polls_first = False
            if interval is not None:
                interval -= POLL_FIRST
        if not self._woken:
            host = self._find_host()
            if host is None:
                return super().wait(interval)
            self._polls_first = self._wait_in(host, interval)
        if self._woken:
            self._woken = False
            if self._wakeup is not None:
                self._wakeup.reset()
            return False
        return self._polls_first

    def wake(self) -> None:
        """End the current wait, or the next one."""
        super().wake()
        if self._host is not None and self.is_here():
            self._host.soon(self._cancel)

    def close(self) -> None:
        """Close the wakeup, and release the host."""
        super().close()
        try:
            # Both calls wait for a thread, and Ctrl-C may interrupt them.
            if self.request_table.green is not None and self.is_here():
                self._end_green(self.request_table.green)
        finally:
            if self._host is not None:
                hosts.release_host(self._host)

    def _end_green(self, green: Group) -> None:
        try:
            if self._host is not None:
                # A task ends in the step of the trio run in which its client sees the end. After one more
                # step, no task that has ended holds the host, and an interrupted wait accepts no more.
                self._host.run(trio.CancelScope(), trio.lowlevel.checkpoint)
        finally:
            green.loop_ends()

    @property
    def group(self) -> Group:
        """The group of the green requests; used only when they are accepted here."""
        assert self.request_table.green is not None
        return self.request_table.green

    @property
    def is_woken(self) -> bool:
        """Whether `wake()` was called, and the wait must end."""
        return self._woken

    def _cancel(self) -> None:
        scope = self._scope  # read once: the serving thread takes it away when its wait is over
        if scope is not None:
            scope.cancel(reason="triosock: shutdown")

    def _find_host(self) -> hosts.Host | None:
        if self._host is None:
            try:
                self._host = hosts.acquire_host()
            except RuntimeError:
                self._no_host = True
        elif not self.is_here():
            # A handler has forked, and the child has returned to the loop: the host is in the parent only.
            self._no_host = True
        return None if self._no_host else self._host

    def _wait_in(self, host: hosts.Host, interval: float | None) -> bool:
        self._scope = scope = trio.CancelScope()
        fd = None
        if self._must_pause:
            self._must_pause = False
            interval = PAUSE if interval is None else min(interval, PAUSE)
        elif not self.request_table.is_full:
            fd = self._fd
        try:
            return host.run(scope, self._readable, scope, fd, interval)
        except hosts.Ended:
            return False
        except trio.BusyResourceError:
            # Two threads serve one server, or the descriptor has the number of a closed listener for which
            # another server still waits.
            self._no_host = True
            return False
        finally:
            self._scope = None

    async def _readable(self, scope: trio.CancelScope, fd: int | None, interval: float | None) -> bool:
        # Runs in the trio thread, as _cancel() does. The scope exists before the flag is read, so that no
        # call of wake() is missed.
        if self._woken:
            return False
        if interval is not None:
            scope.deadline = trio.current_time() + interval
        if fd is None:
            await trio.sleep_forever()
        assert fd is not None
        try:
            if self._accepts:
                return await table.port.parts.green().accept(self, fd)
            await trio.lowlevel.wait_readable(fd)
        except OSError:
            pass  # another thread has closed the listener: get_request() raises, as it does after a poll
        return True
