"""What signals do to a service: SIGHUP restarts its workers, SIGTTIN and SIGTTOU change their number,
SIGUSR2 hands it over to a new parent.

They are gunicorn's and nginx's. Rule: a signal starts something and waits for nothing, and what fails is told
in the log: the service goes on.
"""

from __future__ import annotations

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


async def obey_signals(
    workers: Workers, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Do what signals say until cancelled; `started` when they are listened for."""
    with trio.open_signal_receiver(*SIGNALS) as arriving:
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for number in arriving:
                if number == signal.SIGHUP:
                    nursery.start_soon(_try, restart, workers)
                elif number == signal.SIGUSR2:
                    nursery.start_soon(_try, workers.upgrade)
                else:
                    change = 1 if number == signal.SIGTTIN else -1
                    nursery.start_soon(_try, workers.set_count, max(1, workers.count + change))


async def restart(workers: Workers) -> None:
    """Restart the workers, and tell the service manager and the log."""
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
        _logger.error("upgrade: %s; this process goes on", error)
    except Exception:  # whatever it is (no room for a socket, perhaps): a signal must not end the service
        _logger.exception("what a signal asked for has failed")
