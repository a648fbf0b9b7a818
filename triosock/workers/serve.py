"""`serve_workers`: opens endpoints, and serves them with worker processes.

Rule: a wrong argument raises before anything is opened, and all that was opened is closed however it ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import trio

from .._core.model.checks import check_int, check_seconds
from .._core.model.options import explained
from .._core.registry.drain_report import DrainReport
from .._core.registry.drain_scope import DrainScope
from .._core.server.arguments import check_name, check_value
from .endpoints import Endpoint, open_endpoints, usable_processors
from .handover import VARIABLE
from .policy import Recycle, Supervision
from .receiver import NotifyReceiver
from .service import Workers
from .worker import Settings

#: With the process id of the parent in WATCHDOG_PID, no worker would feed its own watchdog:
#: sd_watchdog_enabled(3).
_FOR_THE_PARENT: Final = (VARIABLE, "WATCHDOG_USEC", "WATCHDOG_PID")


@explained
async def serve_workers(
    program: str | Sequence[str],
    endpoints: Iterable[Endpoint] | Mapping[str, Endpoint],
    *,
    modes: Mapping[str, int] | None = None,
    workers: int | Literal["auto"] = "auto",
    grace: float = 15.0,
    idle_grace: float | None = None,
    supervision: Supervision | None = None,
    recycle: Recycle | None = None,
    environment: Mapping[str, str] | None = None,
    signals: bool = True,
    control: str | os.PathLike[str] | None = None,
    verbs: bool = False,
    health: str | None = None,
    name: str = "workers",
    task_status: trio.TaskStatus[Workers] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Open `endpoints`, and serve them with worker processes. Each is a fresh interpreter, which inherits the
    sockets by the convention of sd_listen_fds(3).

    Args:
      program: the program of each worker: ``module:function``, an async function without arguments, which
        `triosock.run` runs, and which gets its sockets from `inherited_listeners`; or a command line, as
        several str. A worker is ready when it sends READY=1 by sd_notify(3), as `triosock.run` does (see
        `triosock.notify`).
      endpoints: ``tcp://HOST:PORT`` (``*`` for all addresses), ``unix:///PATH``, ``udp://HOST:PORT``,
        ``fd://NAME`` for an inherited socket; or open listeners, which the service then closes. The keys of a
        mapping are their names for `inherited_listeners`; without a mapping these are endpoint1, endpoint2, …
      modes: permission bits of the files of ``unix://`` endpoints, by the endpoint's name.
      workers: the number of workers, from 1 on; "auto" is the number of processors that this process may use.
      grace, idle_grace: seconds, from 0 on, of the drain of a worker, as for `DrainScope.drain`. A worker
        that takes 5 seconds longer is killed.
      supervision, recycle: how failing workers are treated, and when healthy ones are replaced.
      environment: the environment of the workers; None is that of this process.
      signals: whether SIGHUP calls `Workers.restart`, SIGTTIN and SIGTTOU add and remove one worker, and
        SIGUSR2 calls `Workers.upgrade`; in the main thread only. SIGTERM and SIGINT are left to
        `triosock.run`.
      control: the path of a Unix socket for ``python -m triosock top``. With `verbs`, ``triosock tell`` may
        change the service there.
      health: ``tcp://HOST:PORT`` or ``unix:///PATH`` at which the parent answers ``GET /live`` and ``GET
        /ready`` for all workers, as `open_health` does. The service is ready while one worker is, and the
        service does not drain.
      name: the name of the service in logs.

    Returns: the merged `DrainReport` of all workers. `nursery.start` gives the `Workers` when all are ready.

    Raises: TypeError, ValueError; what opening the endpoints raises; WorkersFailed if one of the first
    workers does not become ready, if later the workers of all slots have crashed `Supervision.max_crashes`
    times in a row, or if this process was started by an upgrade and its predecessor was killed meanwhile.

    Cancellation: all workers are told to end at once, get SIGKILL a second later, and are reaped. Drain: all
    workers drain, with one deadline. If the parent is killed, the kernel kills its workers.
    """
    count, name = _count(workers), check_name(name)
    settings = _settings(
        program, environment, supervision, recycle, grace, idle_grace, verbs, control or health
    )
    opened = await open_endpoints(endpoints, modes, control, health)
    with contextlib.ExitStack() as ours:
        ours.callback(opened.close_control)
        ours.callback(opened.close)
        receiver = ours.enter_context(NotifyReceiver())
        scope = ours.enter_context(DrainScope(grace=grace, idle_grace=idle_grace))
        service = Workers(settings, receiver, opened, count, name, scope)
        return await service.serve(task_status, signals=signals)


def _count(workers: int | Literal["auto"]) -> int:
    return usable_processors() if workers == "auto" else check_int(workers, "workers")


def _settings(
    program: str | Sequence[str],
    environment: Mapping[str, str] | None,
    supervision: Supervision | None,
    recycle: Recycle | None,
    grace: float,
    idle_grace: float | None,
    verbs: bool,
    needs_queries: object,
) -> Settings:
    return Settings(
        command=_command(program),
        environment=_environment(os.environ if environment is None else environment),
        supervision=check_value("supervision", supervision, Supervision),
        recycle=check_value("recycle", recycle, Recycle),
        grace=check_seconds(grace, "grace", zero=True),
        idle_grace=None if idle_grace is None else check_seconds(idle_grace, "idle_grace", zero=True),
        control="none" if needs_queries is None else "verbs" if verbs else "looks",
    )


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what workers may know: not what this process was told alone, by its predecessor and its service
    manager. The parent is the manager of its workers.
    """
    given: object = environment  # which may be anything, and is not shown: it may have secrets
    if not isinstance(given, Mapping) or not all(
        isinstance(one, str) for pair in given.items() for one in pair
    ):
        raise TypeError("environment must be a mapping of str to str, as os.environ is")
    return {name: value for name, value in environment.items() if name not in _FOR_THE_PARENT}


def _command(program: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(program, str):
        module, colon, function = program.partition(":")
        if not (module and colon and function):
            raise ValueError(f"program is written module:function, such as shop:main, not {program!r}")
        return (sys.executable, "-m", "triosock.workers.program", program)
    command = tuple(program)
    if not command or not all(isinstance(word, str) for word in command):
        raise TypeError(f"program must be module:function, or a command line of several str, not {program!r}")
    return command
