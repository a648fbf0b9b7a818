"""Starts a new parent, with new code and perhaps a new Python, which takes over the service.

The invariants:

1. **The old parent serves until the new one and all its workers are ready.** If the new one fails, or takes
   too long, it is ended, and nothing has changed.
2. **The listeners are never closed in between**: both parents have them, and the workers of both accept.
3. The successor does not die with its parent and has no lifeline, since the old parent ends before it. If the
   old parent is killed before the new one is ready, the new one ends when it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVarTuple, Unpack, final

import trio

from .._core.model.errors import TriosockError
from ..notify import Notifier, current_notifier
from .endpoints import Endpoints
from .handover import VARIABLE, Handover, describe
from .process import Process
from .receiver import Fields, NotifyReceiver

Ts = TypeVarTuple("Ts")


class UpgradeFailed(TriosockError):
    """The successor did not become ready; the service goes on as it was, or drains if that is the reason."""


#: The command line of this program, which is the default for its successor.
OWN_COMMAND: Final = (sys.executable, *sys.orig_argv[1:])


@final
class Upgrades:
    """The starts of successors of one service: one at a time, and none after `refuse()`."""

    def __init__(self, receiver: NotifyReceiver) -> None:
        self._receiver = receiver
        self._starting = trio.CancelScope()
        self._is_refusing = False

    def refuse(self) -> None:
        """End the successor that is starting, and start no other: the service drains or ends. Synchronous.

        One that has said that it is ready has taken over, whether that was read or not.
        """
        if not self._is_refusing:
            self._receiver.read_pending()
            self._is_refusing = True
            self._starting.cancel(reason="triosock: the service drains, or has ended")

    async def run(
        self, start: Callable[[trio.CancelScope, Unpack[Ts]], Awaitable[Process]], *args: Unpack[Ts]
    ) -> Process:
        """Return `await start(scope, *args)`. Raises: UpgradeFailed if the service drains or ends before that
        has returned: `scope`, in which `start` runs, is cancelled then, and `start` ends the successor.
        """
        if not self._is_refusing:
            with trio.CancelScope() as self._starting:
                return await start(self._starting, *args)
        raise UpgradeFailed("the service drains, or has ended")


async def start_successor(
    scope: trio.CancelScope,
    command: Sequence[str],
    endpoints: Endpoints,
    receiver: NotifyReceiver,
    environment: Mapping[str, str],
    patience: float,
) -> Process:
    """Start `command` as the new parent; return its process, released, when it is ready.

    Args: `scope`, which is cancelled when no successor is wanted any more; `endpoints`, which give up their
    socket files when it is ready; `patience`, the seconds within which it must be ready.

    Raises: UpgradeFailed if it does not become ready; it has been ended then. Cancellation: it is ended.
    """
    ready = trio.CancelScope()

    def take(fields: Fields) -> None:
        if fields.get("READY") == "1" and not scope.cancel_called:
            # In this step: the successor has taken them over, and a drain would remove them.
            endpoints.disown_files()
            ready.cancel(reason="triosock: the successor is ready")

    process = _start(command, endpoints, receiver, environment)
    receiver.register(process.id, take)
    try:
        await _wait_ready(process, ready, receiver, patience)
        process.release()
    except BaseException:
        receiver.forget(process.id)  # what it says now changes nothing
        with trio.CancelScope(shield=True):
            await process.end_at_once()
        raise
    finally:
        receiver.forget(process.id)
    return process  # without a checkpoint: a released process has nobody else


def _start(
    command: Sequence[str], endpoints: Endpoints, receiver: NotifyReceiver, environment: Mapping[str, str]
) -> Process:
    if os.getpid() == 1:
        raise UpgradeFailed(
            "process 1 of a container cannot be followed by another: restart the workers instead"
        )
    sockets = endpoints.handed_over()
    names = list(dict.fromkeys(name for name, _ in sockets))
    handover = Handover(receiver.path, names, endpoints.wanted, endpoints.files())
    more = {VARIABLE: describe(handover)}
    try:
        return Process(command, sockets, {**environment, **more}, dies_with_parent=False)
    except OSError as error:
        raise UpgradeFailed(f"the successor cannot be started: {error}") from error


async def _wait_ready(
    process: Process, ready: trio.CancelScope, receiver: NotifyReceiver, patience: float
) -> None:
    """Return when `ready` is cancelled. Raises: UpgradeFailed if it ends, or the time is over, before."""
    try:
        with trio.move_on_after(patience), ready:
            await process.wait()
    except trio.Cancelled:
        receiver.read_pending()
        if not ready.cancel_called:
            raise
        # It has taken over: a cancellation comes too late to end it.
    if process.exit_code is None:
        receiver.read_pending()  # it owns the socket files from its message on, whether that was read or not
    if ready.cancel_called:
        return
    if process.exit_code is not None:
        raise UpgradeFailed(f"the successor exited with {process.exit_code} before it was ready")
    raise UpgradeFailed(f"the successor was not ready within {patience:g} s")


def environment_of_successor(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a successor, with the variables by which it notifies the service manager."""
    notifier = current_notifier()
    if notifier is None:
        return dict(environment)
    more = {"NOTIFY_SOCKET": notifier.path}
    if notifier.watchdog is not None:
        more["WATCHDOG_USEC"] = str(round(notifier.watchdog * 1e6))
    return {**environment, **more}


async def tell_predecessor(endpoints: Endpoints, handover: Handover) -> bool:
    """Notify the predecessor that this process is ready, and own its socket files from now on.

    Return False if it was killed: its end has removed the socket files, so that clients cannot come here.
    """
    try:
        notifier = Notifier(handover.ready)
    except OSError:
        return False
    try:
        await notifier.ready()
    finally:
        notifier.close()
    endpoints.take_files()
    return True
