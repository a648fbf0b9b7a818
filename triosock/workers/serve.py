"""Open endpoints and serve them with workers, in one await: `serve_workers`.

Rule: a wrong argument is told before anything is opened, and what was opened is closed however this ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import trio

from .._core.model.config import check_seconds
from .._core.registry.drain_scope import DrainReport, DrainScope
from .endpoints import Endpoint, open_endpoints, usable_processors
from .policy import Recycle, Supervision
from .receiver import NotifyReceiver
from .service import Workers, check_number
from .worker import Settings


async def serve_workers(
    program: str | Sequence[str],
    endpoints: Iterable[Endpoint] | Mapping[str, Endpoint],
    *,
    modes: Mapping[str, int] | None = None,
    # How many, how long
    workers: int | Literal["auto"] = "auto",
    grace: float = 15.0,
    idle_grace: float | None = None,
    supervision: Supervision | None = None,
    recycle: Recycle | None = None,
    # What else
    environment: Mapping[str, str] | None = None,
    signals: bool = True,
    name: str = "workers",
    task_status: trio.TaskStatus[Workers] = trio.TASK_STATUS_IGNORED,
) -> DrainReport:
    """Open `endpoints`, and have worker processes serve them; each is a fresh interpreter that inherits the
    sockets by the convention of sd_listen_fds(3).

    Args:
      program: what each worker runs: ``module:function``, an async function without arguments, which is run
        by `triosock.run`, and which finds its listeners with `inherited_listeners`; or a command line. It is
        ready when it tells so by sd_notify(3), as `triosock.run` does (see `triosock.notify`).
      endpoints: addresses, ``tcp://HOST:PORT`` (``*`` for all), ``unix:///PATH``, ``udp://HOST:PORT``, or
        ``fd://NAME`` for a socket that was handed down to this process; or listeners that are open, which
        belong to the service from then on. A mapping gives each a name for `inherited_listeners`; without one
        they are endpoint1, endpoint2, ...
      modes: permissions of the files of ``unix://`` endpoints, by the endpoint's name.
      workers: how many, from 1 on; "auto" is as many as this process may use processors.
      grace: seconds that workers have to drain, when they are replaced and at the end; from 0 on. One that
        takes 5 seconds longer is killed. `idle_grace`: as for `DrainScope.drain`.
      supervision, recycle: how failing workers are treated, and when healthy ones are replaced; None for the
        defaults.
      environment: of the workers; None is that of this process.
      signals: SIGHUP restarts the workers one after the other (`Workers.restart`), SIGTTIN and SIGTTOU make
        them one more or less, SIGUSR2 hands over to a new parent (`Workers.upgrade`). Only in the main thread
        do signals arrive. SIGTERM and SIGINT are `triosock.run`'s.
      name: what logs call the service.

    Returns: the `DrainReport` of all workers together, when they have been drained. `nursery.start` gives the
    `Workers` as soon as all are ready.

    Raises: TypeError, ValueError for wrong arguments; as the openers of the endpoints; WorkersFailed if a
    worker of the beginning does not become ready, or if later those of all slots crash again and again.

    Cancellation: all workers are told to end at once, get SIGKILL a second later, and are reaped. Drain: all
    drain, with one deadline. A parent that is killed takes its workers with it.
    """
    count = usable_processors() if workers == "auto" else check_number(workers, "workers")
    check_seconds(grace, "grace", zero=True)
    policies = supervision or Supervision(), recycle or Recycle(), grace, idle_grace
    command, environment = _command(program), dict(os.environ if environment is None else environment)
    opened = await open_endpoints(endpoints, modes)
    with contextlib.ExitStack() as ours:
        ours.callback(opened.close)
        settings = Settings(command, environment, ours.enter_context(NotifyReceiver()), *policies)
        scope = ours.enter_context(DrainScope(grace=grace, idle_grace=idle_grace))
        service = Workers(settings, opened, count, name, scope)
        return await service.serve(task_status, signals=signals)


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
