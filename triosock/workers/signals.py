"""The actions of signals to a parent: SIGHUP restarts its workers, SIGTTIN and SIGTTOU add and remove one,
SIGUSR2 hands the service over to a new parent.

gunicorn and nginx use the same signals. The rules:

1. A signal starts its action in a task and waits for nothing; an action that fails is logged, and the service
   goes on.
2. All SIGHUPs that come during a restart ask for one more, which loads the code again after the last of them.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from ..notify import current_notifier
from .upgrade import UpgradeFailed

if TYPE_CHECKING:
    from .service import Workers

_logger: Final = logging.getLogger("triosock.workers")
SIGNALS: Final = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2)


async def handle_signals(
    workers: Workers, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Carry out the actions of signals until cancelled; report started when the signals are caught."""
    with trio.open_signal_receiver(*SIGNALS) as arriving:
        ask, asked = trio.open_memory_channel[None](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_restart_when_asked, workers, asked)
            task_status.started()
            async for number in arriving:
                if number == signal.SIGHUP:
                    with contextlib.suppress(trio.WouldBlock):  # one waits already
                        ask.send_nowait(None)
                elif number == signal.SIGUSR2:
                    nursery.start_soon(_try, workers.upgrade)
                else:
                    change = 1 if number == signal.SIGTTIN else -1
                    nursery.start_soon(_try, workers.set_count, max(1, workers.count + change))


async def _restart_when_asked(workers: Workers, asked: trio.MemoryReceiveChannel[None]) -> None:
    async for _ in asked:
        await _try(restart, workers)


async def restart(workers: Workers) -> None:
    """Restart the workers; log the result, and send it to the service manager."""
    notifier = current_notifier()
    if notifier is not None:
        await notifier.reloading()
    try:
        report = await workers.restart()
        _logger.log(logging.ERROR if report.failure else logging.INFO, "restart: %s", report)
        if notifier is not None:
            await notifier.status(f"{workers.count} workers; restart: {report}")
    finally:
        if notifier is not None:
            notifier.send_nowait(READY=1)


async def _try(function: Callable[..., Awaitable[object]], *args: object) -> None:
    try:
        await function(*args)
    except UpgradeFailed as error:
        _logger.error("upgrade: %s", error)
    except Exception:  # of any kind, such as EMFILE for a new socket: a signal must not end the service
        _logger.exception("the action of a signal has failed; the service goes on")
