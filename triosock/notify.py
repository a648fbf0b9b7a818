"""sd_notify(3): messages to the service manager: the server is ready, stops, reloads, or is alive.

The protocol is one datagram of ``NAME=value`` lines to the Unix socket that the environment variable
NOTIFY_SOCKET names. The manager is systemd, or the parent of `triosock.serve_workers`.

The rules:

1. **READY means that the program listens.** It is sent when the program calls ``task_status.started()``; a
   program that takes no `task_status` is ready when its first server has started.
2. **The event loop itself feeds the watchdog**: a task of the trio run sends each ping, so a run in which a
   handler blocks the loop sends none, and the manager notices.
3. **A failed notification does not end the server.** If the manager has ended, that is logged once.
4. **The variables are read once and removed** (as by sd_notify's `unset_environment`), so that a child
   process does not notify in the name of the server.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final, TypeVar, final

import attrs
import trio

from ._core.model.emitter import default_observers
from ._core.model.events import Event, ServerStarted
from ._core.registry.drain_scope import DrainScope

__all__ = ["Notifier", "current_notifier", "format_message", "parse_message"]

Result = TypeVar("Result")

_logger: Final = logging.getLogger("triosock.notify")

#: The notifier of this trio run.
_current: trio.lowlevel.RunVar[Notifier | None] = trio.lowlevel.RunVar("triosock_notifier")


def format_message(**fields: object) -> bytes:
    """Return a datagram of the protocol. A newline within a value is replaced by a space, since it would end
    the value (sd_notify(3)).
    """
    lines = [f"{name}={' '.join(str(value).splitlines())}" for name, value in fields.items()]
    return "\n".join(lines).encode()


def parse_message(data: bytes) -> dict[str, str]:
    """Return the fields of a datagram of the protocol; lines without a ``=`` are left out."""
    lines = data.decode(errors="replace").split("\n")
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


@final
class Notifier:
    """Sends messages to the service manager. `current_notifier()` returns the notifier of this trio run.

    Each async method sends one message. It waits only if the manager's queue is full, and is always a
    checkpoint. Cancellation: nothing was sent. It is no error if the manager has ended.

    Args:
      path: the path of the manager's socket; ``@`` or a zero byte begins an abstract name (unix(7)).
      watchdog: the seconds within which the manager expects the next ping; None if it expects none.

    Raises: ValueError; OSError if the socket has no receiver.
    """

    def __init__(self, path: str, *, watchdog: float | None = None) -> None:
        if not path.startswith(("/", "@", "\0")):
            raise ValueError(
                f"NOTIFY_SOCKET must be an absolute path or @NAME, not {path!r}; AF_VSOCK is not supported"
            )
        self.path = path
        self.watchdog = watchdog
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._failed = False
        self._is_mute = False
        # Connected, for only then does the kernel say when the manager's queue has room again.
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(self._address)
        except BaseException:
            sock.close()
            raise
        return sock

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier | None:
        """Return the notifier for NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and remove these variables;
        None without NOTIFY_SOCKET. A wrong value is logged, and is no error.
        """
        path = environ.pop("NOTIFY_SOCKET", "")
        interval = environ.pop("WATCHDOG_USEC", "")
        process = environ.pop("WATCHDOG_PID", "")
        # sd_watchdog_enabled(3): without WATCHDOG_PID the watchdog is for any process that reads the
        # variable.
        meant = not process or process == str(os.getpid())
        watchdog = int(interval) / 1e6 if meant and interval.isdecimal() and int(interval) else None
        if not path:
            return None
        try:
            return cls(path, watchdog=watchdog)
        except (ValueError, OSError) as error:
            _logger.warning("the service manager is not told anything: %s", error)
            return None

    def mute(self) -> None:
        """Send nothing from now on, since another process notifies for the service."""
        self._is_mute = True

    def close(self) -> None:
        """Close the socket; nothing can be sent any more."""
        self._socket.close()

    async def send(self, **fields: object) -> None:
        """Send these fields, such as ``ERRNO=2``. Names of your own begin with ``X_``."""
        await trio.lowlevel.checkpoint()
        while not self.send_nowait(**fields):
            await trio.lowlevel.wait_writable(self._socket)

    def send_nowait(self, **fields: object) -> bool:
        """Send these fields, and return True; False, with nothing sent, if the manager's queue is full.
        Synchronous.
        """
        if self._is_mute:
            return True
        message = format_message(**fields)
        try:
            try:
                self._socket.send(message)
            except (ConnectionRefusedError, ConnectionResetError):
                # The manager may have made its socket anew, under the same name.
                self._socket.close()
                self._socket = self._connect()
                self._socket.send(message)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._failed:
                _logger.warning("cannot tell the service manager at %s: %s", self.path, error)
            self._failed = True
        return True

    async def ready(self, status: str | None = None) -> None:
        """Send READY=1: the service listens, or has reloaded after `reloading()`."""
        await self.send(READY=1, **({} if status is None else {"STATUS": status}))

    async def stopping(self) -> None:
        """Send STOPPING=1: the drain has begun."""
        await self.send(STOPPING=1)

    async def reloading(self) -> None:
        """Send RELOADING=1, with the time that ``Type=notify-reload`` of systemd 253 requires: the service
        reads its configuration again. `ready()` must follow.
        """
        # CLOCK_MONOTONIC, which is what systemd compares it with.
        await self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    async def status(self, text: str) -> None:
        """Send STATUS: one line about the state of the service, which `systemctl status` shows."""
        await self.send(STATUS=text)

    async def main_process(self, process: int) -> None:
        """Send MAINPID: the process with this id is the main process of the service from now on."""
        await self.send(MAINPID=process)

    async def alive(self) -> None:
        """Send WATCHDOG=1, once. `triosock.run` sends it regularly."""
        await self.send(WATCHDOG=1)

    async def feed_watchdog(self) -> None:
        """Send WATCHDOG=1 twice in each interval, as sd_watchdog_enabled(3) recommends, until cancelled;
        return at once if the manager expects no pings.
        """
        await trio.lowlevel.checkpoint()
        while self.watchdog is not None:
            await self.alive()
            await trio.sleep(self.watchdog / 2)


def current_notifier() -> Notifier | None:
    """Return the notifier of this trio run, for further messages; None without a service manager.

    Raises: RuntimeError outside of a trio run.
    """
    return _current.get(None)


# What triosock.run does


async def call_notifying(
    scope: DrainScope,
    async_fn: Callable[..., Awaitable[Result]],
    args: tuple[object, ...],
    options: dict[str, object],
) -> Result:
    """Call `async_fn(*args, **options)`, and notify the service manager meanwhile, if there is one; a drain
    of `scope` is the end of the service.

    A system task sends the messages, and not a task in a nursery, since an exception of the function must be
    raised without a group.
    """
    notifier = Notifier.from_environment()
    if notifier is None:
        return await async_fn(*args, **options)
    readiness = _Readiness(notifier)
    telling = trio.CancelScope()
    if takes_task_status(async_fn, options):
        options = {**options, "task_status": readiness}
    else:
        default_observers.append(readiness.observe)
    _current.set(notifier)
    trio.lowlevel.spawn_system_task(_tell, notifier, readiness, scope, telling)
    try:
        return await async_fn(*args, **options)
    finally:
        if readiness.observe in default_observers:
            default_observers.remove(readiness.observe)
        telling.cancel(reason="triosock: the program has ended")
        # Whatever has not been said by now; the task that tells may not have had its turn.
        if not readiness.has_stopped:
            notifier.send_nowait(STOPPING=1)
        _current.set(None)
        notifier.close()


async def _tell(
    notifier: Notifier, readiness: _Readiness, scope: DrainScope, telling: trio.CancelScope
) -> None:
    with telling:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.feed_watchdog)
            nursery.start_soon(_tell_ready, notifier, readiness)
            await scope.wait_draining()
            readiness.has_stopped = True
            await notifier.stopping()


async def _tell_ready(notifier: Notifier, readiness: _Readiness) -> None:
    await readiness.event.wait()
    if not readiness.is_told:
        await notifier.ready()


def takes_task_status(async_fn: Callable[..., object], options: dict[str, object]) -> bool:
    """Whether the function has a parameter `task_status` without a value."""
    try:
        found = inspect.signature(async_fn).parameters.get("task_status")
        own = inspect.signature(async_fn, follow_wrapped=False).parameters
    except (TypeError, ValueError):  # no signature: a builtin, or an odd object
        return False
    # A wrapper looks like the function that it wraps, but need not pass options on.
    if "task_status" not in own and not any(one.kind is one.VAR_KEYWORD for one in own.values()):
        return False
    # A partial that fills it has its value as the default.
    unfilled = (inspect.Parameter.empty, trio.TASK_STATUS_IGNORED)
    return found is not None and found.default in unfilled and "task_status" not in options


@attrs.define(eq=False)
class _Readiness:
    """A `task_status`, and an observer of servers; the first call of either sends READY.

    READY is sent at once if the manager's queue has room, since this process accepts from now on, and a
    parent that drains ends workers that are not known to be ready.
    """

    _notifier: Notifier
    event: trio.Event = attrs.field(factory=trio.Event)
    is_told: bool = False
    has_stopped: bool = False
    _thread: int = attrs.field(factory=threading.get_ident)
    wants: tuple[type[Event], ...] = (ServerStarted,)

    def started(self, value: object = None) -> None:
        if not self.event.is_set():
            if self._notifier.watchdog is not None:
                # Or a loop that stands from its first request on would not be known to feed a watchdog.
                self._notifier.send_nowait(WATCHDOG=1)
            self.is_told = self._notifier.send_nowait(READY=1)
            self.event.set()

    def observe(self) -> _Readiness:
        return self

    def on_event(self, event: Event) -> None:
        # Another trio run of this process may have servers too. They are not this program's.
        if threading.get_ident() == self._thread:
            self.started()
