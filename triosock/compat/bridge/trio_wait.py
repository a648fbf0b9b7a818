"""The wait of a server in the host: a `poll.PollWait` while it is busy, then a wait in the trio run.

It is a file of its own, since it imports trio: a server that waits without trio never imports it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ..requests import table
from ..waiting.poll import LINGER, LINGER_MS, PAUSE, PollWait
from ..waiting.wakeup import Wakeup
from . import trio_thread as hosts

if TYPE_CHECKING:
    import selectors
    from typing import Self

    from ..requests.ports import Group, Server


def may_block() -> bool:
    """Whether the calling thread may block for a trio run: not if it runs one itself."""
    return not trio.lowlevel.in_trio_run()


class TrioWait(PollWait):
    """Hands a longer wait to the host's trio run; without a host, waits on its own `poll`."""

    def __init__(
        self, server: Server, selector: selectors.BaseSelector, host: hosts.Host | None = None
    ) -> None:
        super().__init__(server, selector)
        self._host = host
        self._scope: trio.CancelScope | None = None
        # Made with the first request: an unused server has no wakeup, and so no extra descriptor.
        self._lingers = False
        self._alone = False
        self._is_bounded = self.request_table.max_requests != math.inf
        #: Whether requests of this server can be accepted in the trio thread, which handles them.
        self._accepts = self.request_table.green is not None and not self._is_bounded

    def __enter__(self) -> Self:
        super().__enter__()
        if self.request_table.green is not None:
            self.request_table.green.loop_begins()
        return self

    def wait(self, interval: float | None) -> bool:
        """As above; also ended by `wake()`."""
        # Compared with 0 first, so that a value that is no number raises as in poll().
        if self._alone or self.draining or (interval is not None and (interval <= 0 or interval <= LINGER)):
            return super().wait(interval)
        if self._lingers and not self._exhausted and not (self._is_bounded and self.request_table.is_full):
            # Set before the flag is read, below; wake() sets the flag and then looks for it.
            if self._alarm is None:
                self._alarm = Wakeup(self._poll)
            if self._look(LINGER_MS):
                return True
            self._lingers = False
            if interval is not None:
                interval -= LINGER
        if not self._woken:
            host = self._find_host()
            if host is None:
                return super().wait(interval)
            self._lingers = self._wait_in(host, interval)
        if self._woken:
            self._woken = False
            if self._alarm is not None:
                self._alarm.silence()
            return False
        return self._lingers

    def wake(self) -> None:
        """End the current wait, or the next one."""
        super().wake()
        if self._host is not None and self.is_here():
            self._host.soon(self._cancel)

    def close(self) -> None:
        """Close the wakeup, and give the host back."""
        super().close()
        try:
            # Both wait for a thread, and Ctrl-C may end that.
            if self.request_table.green is not None and self.is_here():
                self.request_table.green.loop_ends()
                if self._host is not None:
                    # A task ends in the same step of the trio run in which its client sees the end: after one
                    # step, no finished task holds the host.
                    self._host.run(trio.CancelScope(), trio.lowlevel.checkpoint)
        finally:
            if self._host is not None:
                hosts.release_host(self._host)

    @property
    def group(self) -> Group:
        """The group of the green requests; used only when they are accepted here."""
        assert self.request_table.green is not None
        return self.request_table.green

    @property
    def is_woken(self) -> bool:
        """Whether the wait is to end, for `wake()` was called."""
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
                self._alone = True
        elif not self.is_here():
            # A handler has forked, and the child has returned to the loop: the parent's host is not in this
            # process.
            self._alone = True
        return None if self._alone else self._host

    def _wait_in(self, host: hosts.Host, interval: float | None) -> bool:
        self._scope = scope = trio.CancelScope()
        fd = None
        if self._exhausted:
            self._exhausted = False
            interval = PAUSE if interval is None else min(interval, PAUSE)
        elif not self.request_table.is_full:
            fd = self._fd
        try:
            return host.run(scope, self._readable, scope, fd, interval)
        except hosts.Ended:
            return False
        except trio.BusyResourceError:
            # Two threads serve one server, or its number is that of a closed listener which another server
            # still waits for.
            self._alone = True
            return False
        finally:
            self._scope = None

    async def _readable(self, scope: trio.CancelScope, fd: int | None, interval: float | None) -> bool:
        # Runs in the trio thread, as _cancel() does. The scope is there before the flag is read: one of them
        # sees the wake-up.
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
            pass  # closed by another thread: get_request() finds out, as it does after a poll
        return True
