"""One worker, from its start until it is reaped.

The invariants:

1. **The process exists only within `run`.** When it returns or raises, cancelled or not, the process is
   reaped.
2. **There is always one next deadline, with a reason**: to be ready, to feed the watchdog, or to have
   drained. When it has passed, the process is killed, and the reason is logged.
3. **Messages are read first**: those that have arrived are read before a deadline, or the end of the process,
   has an effect.

    starting ── READY ── ready ── drain() ── draining ── ended
        └─────────────────┴── crash, kill ───────┴─────────┘
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

from .._core.registry.drain_report import DrainReport
from .._worker import CONTROL, JOINED, MAX_REQUESTS, RECYCLE, REPORTS, format_drain
from .policy import Recycle, Supervision
from .process import TERM_TIMEOUT, Process
from .receiver import Fields, NotifyReceiver
from .reports import read_reports

State: TypeAlias = Literal["starting", "ready", "draining", "ended"]

_logger: Final = logging.getLogger("triosock.workers")
#: Seconds after the end of its grace period within which a worker must send its report and exit.
MARGIN: Final = 5.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class StartFailed(Exception):
    """The worker ended before it was ready."""


@final
@attrs.frozen(kw_only=True)
class Settings:
    """The settings that all workers of a service share."""

    command: Sequence[str]
    environment: Mapping[str, str]
    supervision: Supervision
    recycle: Recycle
    grace: float
    idle_grace: float | None
    #: Whether workers have control sockets, at which the parent asks them, and whether these allow verbs.
    control: Literal["none", "looks", "verbs"] = "none"


@final
class Worker:
    """One worker process.

    Args:
      number: of its slot, from 1 on.
      generation: 1, and one more after each `Workers.restart`; for statistics.
      sockets: the descriptors it inherits, each with its name.
      on_recycle: called with the reason, once, when the worker should be replaced.
    """

    def __init__(
        self,
        number: int,
        generation: int,
        settings: Settings,
        receiver: NotifyReceiver,
        sockets: Sequence[tuple[str, int]],
        on_recycle: Callable[[Worker, str], None],
    ) -> None:
        self.number = number
        self.generation = generation
        self.state: State = "starting"
        self.status: str = ""
        #: The abstract name of its control socket; "" for none.
        self.control: str = ""
        self.process: Process | None = None
        self.reports: list[DrainReport] | None = None
        self.ready_at: float = math.inf
        self.killed_for: str = ""
        self.ready: trio.Event = trio.Event()
        self.ended: trio.Event = trio.Event()
        self._settings = settings
        self._receiver = receiver
        self._recycle = settings.recycle.for_one()
        self._sockets = sockets
        self._on_recycle: Callable[[Worker, str], None] | None = on_recycle
        self._has_joined = False
        self._feeds_watchdog = False
        self._pinged_at = self._start_by = self._drained_by = math.inf
        self._wait_scope = trio.CancelScope()

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process.id if self.process else 'none'})"

    @property
    def can_be_asked(self) -> bool:
        """Whether it has a control socket: it was given one, and its program is `triosock.run`."""
        return bool(self.control) and self._has_joined

    @property
    def id(self) -> int:
        """Its process id; 0 before it has one."""
        return self.process.id if self.process else 0

    # The process

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the process, and return when it is reaped; report started when it is ready.

        Raises: StartFailed if it ended before it was ready. Cancellation: the process is ended at once.
        """
        self._start_by = trio.current_time() + self._settings.supervision.ready
        try:
            # In a drain that has just begun its sockets are closed.
            await trio.lowlevel.checkpoint_if_cancelled()
            self.process = process = self._start()
        except BaseException:
            self.state = "ended"
            self.ended.set()
            raise
        self._receiver.register(process.id, self._take)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report_ready, task_status)
                nursery.start_soon(self._recycle_by_age)
                await self._wait_in_time(process)
                self._receiver.read_pending()
                nursery.cancel_scope.cancel(reason="triosock: the worker has ended")
        finally:
            with trio.CancelScope(shield=True):
                await process.end_at_once()
            self._receiver.read_pending()
            self._receiver.forget(process.id)
            self.state = "ended"
            self.ended.set()
        if not self.ready.is_set():
            raise StartFailed(f"{self} {self.describe_end()} before it was ready")

    def _start(self) -> Process:
        supervision, most = self._settings.supervision, self._recycle.requests
        environment = {
            **self._settings.environment,
            "NOTIFY_SOCKET": self._receiver.path,
            "TRIOSOCK_WORKER": str(self.number),
        }
        if supervision.watchdog < math.inf:
            environment["WATCHDOG_USEC"] = str(round(supervision.watchdog * 1e6))
        if self._settings.control != "none":
            self.control = f"triosock-{os.getpid()}-{self.number}-{secrets.token_hex(8)}"
            environment[CONTROL] = f"{self._settings.control}@{self.control}"
        if most < math.inf:
            environment[MAX_REQUESTS] = str(int(most))
        try:
            return Process(self._settings.command, self._sockets, environment)
        except OSError as error:
            raise StartFailed(f"worker {self.number} cannot be started: {error}") from error

    async def _report_ready(self, task_status: trio.TaskStatus[None]) -> None:
        await self.ready.wait()
        _logger.info("%s is ready", self)
        task_status.started()

    async def _wait_in_time(self, process: Process) -> None:
        """Return when the process has ended, by itself or since a deadline has passed."""
        while True:
            due, reason = self._next_deadline()
            with trio.CancelScope(deadline=due) as self._wait_scope:
                await process.wait()
                return
            self._receiver.read_pending()
            due, reason = self._next_deadline()
            if due <= trio.current_time():
                break
        self.killed_for = reason
        _logger.error("%s is killed: %s", self, reason)
        if process.exit_code is None and self.state == "ready":
            # SIGABRT dumps core by default; a worker with faulthandler prints the stack in which it is
            # blocked.
            process.signal(signal.SIGABRT)
            with trio.move_on_after(TERM_TIMEOUT):
                await process.wait()
        process.signal(signal.SIGKILL)
        await process.wait()

    def _next_deadline(self) -> tuple[float, str]:
        supervision = self._settings.supervision
        # The watchdog counts from READY on, and only if the program feeds it.
        stuck = self._pinged_at if self._feeds_watchdog and self.ready.is_set() else math.inf
        deadlines = [
            (self._start_by, f"not ready within {supervision.ready:g} s"),
            (stuck + supervision.watchdog, f"its event loop stood for {supervision.watchdog:g} s"),
            (self._drained_by, "not drained in time"),
        ]
        return min(deadlines)

    def _update_deadline(self) -> None:
        self._wait_scope.deadline = self._next_deadline()[0]

    def drain(self, grace: float, idle_grace: float | None = None, delay: float = 0.0) -> None:
        """Begin its drain, as `DrainScope.drain`. Synchronous. A further call can only tighten the drain.

        Does nothing before it is ready: then it serves no connection, and the task that starts it ends it.
        """
        if not self.check_ready() or self.state == "ended" or self.process is None:
            return
        first, self.state = self.state != "draining", "draining"
        self._drained_by = min(self._drained_by, trio.current_time() + delay + grace + MARGIN)
        self._on_recycle = None
        if self._has_joined:
            self.process.tell(format_drain(grace, idle_grace, delay))
        elif first:
            self.process.signal(signal.SIGTERM)
        self._update_deadline()

    # Its messages

    def check_ready(self) -> bool:
        """Return whether it has ever been ready. Synchronous; a message that has arrived and was not read yet
        counts.
        """
        if self.state == "starting" and self.process is not None:
            self._receiver.read_pending()
        return self.ready.is_set()

    def _take(self, fields: Fields) -> None:
        now = trio.current_time()
        if fields.get(JOINED) == "1":
            self._has_joined = True
        if fields.get("WATCHDOG") == "1":
            self._feeds_watchdog = True
            self._pinged_at = now
            self._recycle_by_memory()
        if fields.get("READY") == "1" and not self.ready.is_set():
            self.state, self.ready_at, self._start_by = "ready", now, math.inf
            self._pinged_at = now
            self.ready.set()
        if "STATUS" in fields:
            self.status = fields["STATUS"]
        if RECYCLE in fields:
            self._ask_for_successor(f"{self._recycle.requests:g} requests")
        if REPORTS in fields:
            try:
                self.reports = read_reports(fields[REPORTS])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                _logger.error("%s sent a report that cannot be read: %r", self, error)
        self._update_deadline()

    async def wait_ready_or_ended(self) -> None:
        """Return when it is ready, or has ended before that."""
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel(reason="triosock: the worker is ready or has ended")

            nursery.start_soon(wait, self.ready)
            nursery.start_soon(wait, self.ended)

    # Recycling

    async def _recycle_by_age(self) -> None:
        await self.ready.wait()
        await trio.sleep(self._recycle.age)
        self._ask_for_successor(f"{self._recycle.age:g} s old")

    def _recycle_by_memory(self) -> None:
        if self._recycle.memory < math.inf and (size := self.memory()) > self._recycle.memory:
            self._ask_for_successor(f"{size:,} bytes of memory")

    def _ask_for_successor(self, reason: str) -> None:
        if self.state == "ready" and self._on_recycle is not None:
            ask, self._on_recycle = self._on_recycle, None
            ask(self, reason)

    # For statistics and logs

    def memory(self) -> int:
        """Return its resident memory in bytes; 0 without /proc, or after its end."""
        try:
            with open(f"/proc/{self.process.id if self.process else 0}/statm") as file:
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):
            return 0

    @property
    def has_failed(self) -> bool:
        """Whether it ended otherwise than with exit code 0."""
        return bool(self.killed_for) or self.process is None or self.process.exit_code != 0

    def describe_end(self) -> str:
        """Return a phrase that says how it ended, such as "exited with 1"."""
        if self.killed_for:
            return f"was killed ({self.killed_for})"
        code = None if self.process is None else self.process.exit_code
        if code is None:
            return "runs"
        if code < 0:
            return f"was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"exited with {code}"
