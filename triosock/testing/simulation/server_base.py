"""The base class of the servers of the world: starting, draining, cancelling and crashing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypedDict, TypeVar, Unpack

import trio

from triosock import DatagramServer, DrainReport, StreamServer
from triosock import events as happened
from triosock.events import Event

from .journal import Journal

ServerT = TypeVar("ServerT", StreamServer, DatagramServer)


class DrainOptions(TypedDict, total=False):
    """The options of a server's `drain`."""

    grace: float | None
    idle_grace: float | None
    delay: float | None


class ServerBase:
    """The base of both kinds: `events` has all its events, `report` is its `DrainReport` after its end,
    `cut_short` says that it crashed or was cancelled, `failure` is an exception of a handler that `may_fail`
    does not allow.
    """

    def __init__(self, host: str, may_fail: tuple[type[Exception], ...], journal: Journal) -> None:
        self.host: str = host
        self.events: list[Event] = []
        self.report: DrainReport | None = None
        self.cut_short: bool = False
        self.failure: Exception | None = None
        self._any_server: StreamServer | DatagramServer | None = None
        self._crashed = False
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._may_fail = may_fail
        self._journal = journal

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.host}{' (over)' if self.is_over else ''}>"

    @property
    def _running(self) -> StreamServer | DatagramServer:
        assert self._any_server is not None, "it does not serve yet"
        return self._any_server

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    def drain(self, **options: Unpack[DrainOptions]) -> None:
        """Drain it, with the options of the server's `drain`. It does nothing after the server's end."""
        if not self.is_over:
            self._journal.note("drain", self.host)
            self._running.drain(**options)

    def cancel(self) -> None:
        """Cancel it, as if the program around it ended."""
        if not self.is_over:
            self._end_by_force("cancelled")

    def crash(self) -> None:
        """Simulate the death of its process: nothing that it does afterwards has an effect."""
        if not self.is_over:
            self._crashed = True
            self._silence()
            self._end_by_force("crashed")

    def suspend(self) -> None:
        """Stop accepting until `resume()`."""
        self._running.suspend()

    def resume(self) -> None:
        """Accept again."""
        self._running.resume()

    def _silence(self) -> None:
        raise NotImplementedError

    def _end_by_force(self, how: str) -> None:
        self._journal.note(how, self.host)
        self.cut_short = True
        self._scope.cancel(reason=f"triosock: the world has {how} this server")

    async def wait_over(self) -> None:
        """Return when it has ended. A checkpoint."""
        await self._over.wait()

    async def run(
        self,
        serve: Callable[[trio.TaskStatus[ServerT]], Awaitable[DrainReport]],
        *,
        task_status: trio.TaskStatus[ServerBase] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until it is drained, cancelled or crashed: its task."""
        try:
            with self._scope:
                self.report = await serve(_Started(self, task_status))
        except Exception:  # with on_error="raise", those of its handlers
            if not self._crashed:  # what a dead process raises, nobody sees
                raise
        finally:
            self._over.set()
            self._journal.note("over", self.host)

    def on_event(self, event: Event, /) -> None:
        """Keep an event, as an observer."""
        self.events.append(event)
        if isinstance(event, (happened.HandlerFailed, happened.ObserverFailed)):
            self._note_failure(event.error)

    def _note_failure(self, error: BaseException) -> None:
        # Errors of handlers after a crash do not count.
        if not self.cut_short and isinstance(error, Exception) and not isinstance(error, self._may_fail):
            self.failure = self.failure or error


class _Started:
    """A task status that stores the server, and passes on the simulated one."""

    def __init__(self, life: ServerBase, status: trio.TaskStatus[ServerBase]) -> None:
        self._life = life
        self._status = status

    def started(self, value: StreamServer | DatagramServer | None = None) -> None:
        self._life._any_server = value
        self._status.started(self._life)
