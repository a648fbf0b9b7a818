"""The exercise of the lesson about processes, whose check starts real ones.

The rule: a worker imports the solution, as `serve_workers` would have any program imported, and the check
looks only at what a client sees.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio

import triosock

from .verdict import Wrong, causes, send, want

WORKER = """Lesson 10: write an async function `worker()` for serve_workers: it serves the listener that it
inherits, and answers each line with the same line backwards: "hello" gets "olleh". It is replaced while
clients are connected. A client that has sent a part of a line may then send the rest, and gets its answer;
an idle client gets the end of the connection; and new clients are answered, too."""

ROOT = Path(__file__).resolve().parents[2]
#: The program of a worker. The name of its file may be one that `import` cannot take, such as
#: ``ada.lesson10.py``.
PROGRAM = """
import importlib.util, sys, triosock
spec = importlib.util.spec_from_file_location("solution", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
triosock.run(module.worker)
"""
#: Seconds that a worker may take until it is ready.
READY = 10.0


async def check_worker(solution: Any) -> None:
    """One worker and its successor, with an idle client and one in the middle of a line. In real time."""
    serve = _service(solution.__file__)
    try:
        async with trio.open_nursery() as nursery:
            await _replace(await nursery.start(serve))
            nursery.cancel_scope.cancel()
    except* triosock.WorkersFailed as group:
        hint = (
            "Its output is above. The parent has the port: `triosock.inherited_listeners()`; and `await "
            "triosock.serve_listeners(…)` returns only after the drain."
        )
        raise Wrong(f"no process could serve: {causes(group)[0]}", hint) from None


def _service(file: str) -> Any:
    path = Path(file).resolve()
    environment = {**os.environ, "PYTHONPATH": f"{path.parent}{os.pathsep}{ROOT}"}
    return partial(
        triosock.serve_workers,
        (sys.executable, "-c", PROGRAM, str(path)),
        ["tcp://127.0.0.1:0"],
        workers=1,
        environment=environment,
        supervision=triosock.Supervision(ready=READY, settle=0.1),
        signals=False,
    )


async def _connect(workers: triosock.Workers) -> triosock.Connection:
    address: Any = workers.addresses[0]
    return triosock.Connection(await trio.open_tcp_stream(address.host, address.port))


async def _replace(workers: triosock.Workers) -> None:
    async with await _connect(workers) as ada, await _connect(workers) as bob:
        for client in (ada, bob):
            await send(client, b"hello\n")
            hint = "Serve `triosock.inherited_listeners()`; the reversed line is `line.strip()[::-1]`."
            await want("olleh", client, "A client said 'hello'", hint)
        await send(ada, b"half a li")
        report = await workers.restart()
        if report.failure:
            raise Wrong(f"no successor was ready: {report.failure}", "It must be able to start again.")
        hint = "Read with `conn.lines()`: then the server knows which clients are idle."
        await want("the end of the connection", bob, "The worker was replaced; an idle client waited", hint)
        await send(ada, b"ne\n")
        hint = "Its worker drains within the grace: do not end a handler that is busy."
        await want("enil a flah", ada, "A client with half a line sent its rest", hint)
    async with await _connect(workers) as cyd:
        await send(cyd, b"hello\n")
        await want("olleh", cyd, "A new client said 'hello' after that", "It must be able to start again.")
