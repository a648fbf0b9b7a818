"""The control socket of the parent: it asks each worker at the worker's own control socket, and joins the
answers.

The rules are those of `triosock.observe.control`: there is no control socket unless the program asks for one,
it answers the same user only, and it changes nothing unless verbs are allowed. It answers in a drain too,
until the last worker has ended. A worker that does not answer in time is shown without its tree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from .._core.listeners.listener import SocketListener
from .._core.model.checks import check_int
from .._core.model.node import Node
from ..observe.control import LIMITS as WORKER_LIMITS
from ..observe.control import NAME, NO_VERBS, Reply, Request, limit_of, parse_tree, serve_replies
from .control_client import ask
from .events import stream_events
from .health import why_not_ready
from .metrics import merge_metrics
from .worker import Worker

if TYPE_CHECKING:
    from .service import Workers
    from .values import WorkerStatus

#: Each client may have a connection to each worker, and the health endpoint one more: fewer than a worker
#: admits, so that readers of events never keep a probe out.
LIMITS: Final = attrs.evolve(WORKER_LIMITS, max_connections=WORKER_LIMITS.max_connections // 2)
_WORKER_VERBS: Final = ("suspend", "resume", "cut")


async def serve_control(workers: Workers, listener: SocketListener, verbs: bool) -> None:
    """Answer at the control socket until cancelled."""
    await serve_replies(
        listener, partial(_reply, workers, verbs), partial(stream_events, workers), limits=LIMITS
    )


async def _reply(workers: Workers, verbs: bool, request: Request) -> Reply:
    if "do" in request:
        if not verbs:
            return NO_VERBS
        try:
            return {"done": await _do(workers, request)}
        except (TypeError, ValueError, OSError) as error:
            return {"error": str(error)}
    if request.get("want") == "metrics":
        return await _metrics(workers)
    if request.get("want") == "ready":
        return {"not_ready": list(await why_not_ready(workers))}
    limit = limit_of(request)
    return limit if isinstance(limit, dict) else {"tree": attrs.asdict(await _tree(workers, limit))}


async def _do(workers: Workers, request: Request) -> str:
    """Carry out a verb; return a description of what was done. Raises: TypeError, ValueError, OSError."""
    match request:
        case {"do": "drain"}:
            workers.drain()
            return "all workers drain"
        case {"do": "restart"}:
            return str(await workers.restart())
        case {"do": "workers"}:
            if workers.draining:
                raise ValueError("the service drains")
            await workers.set_count(check_int(request.get("count"), "count"))
            return f"{workers.count} workers"
        case {"do": verb} if verb in _WORKER_VERBS:
            return await _tell_workers(workers, request)
    known = ", ".join(("drain", "restart", "workers", *_WORKER_VERBS))
    raise ValueError(f"do is one of {known}, not {request['do']!r}")


async def _tell_workers(workers: Workers, request: Request) -> str:
    number = request.get("worker")
    chosen = [one for one in workers.living() if number is None or one.number == number]
    if not chosen or (request["do"] == "cut" and number is None):
        raise ValueError(
            "cut needs the number of a worker" if number is None else f"there is no worker {number!r}"
        )
    # Two workers may have one number: one, and its predecessor, which drains.
    answers = await _ask_all(chosen, request)
    done = [
        f"worker {worker.number}: {answer['done']}"
        for worker, answer in zip(chosen, answers, strict=True)
        if "done" in answer
    ]
    if not done:
        raise ValueError(f"worker {chosen[-1].number}: {answers[-1].get('error')}")
    return "; ".join(done)


async def _tree(workers: Workers, limit: int) -> Node:
    asked = [one for one in workers.living() if one.id]
    answers = await _ask_all(asked, {"want": "tree", "limit": limit})
    statuses = {one.process: one for one in workers.statistics()}
    found = tuple(
        _node(worker, statuses[worker.id], answer)
        for worker, answer in zip(asked, answers, strict=True)
        if worker.id in statuses  # it may have ended meanwhile
    )
    return Node(kind="run", name=f"parent {os.getpid()}", children=found)


def _node(worker: Worker, status: WorkerStatus, answer: dict[str, object]) -> Node:
    try:
        tree = parse_tree(json.dumps(answer))
    except ValueError:
        tree = Node(kind="run")
    return Node(
        kind="process",
        name=f"worker {worker.number}, process {worker.id}",
        state=status.state,
        age=status.age,
        counts=(("generation", status.generation), ("memory", status.memory)),
        # The server of the control socket that was just asked is left out.
        children=tuple(child for child in tree.children if child.name != NAME),
    )


async def _metrics(workers: Workers) -> Reply:
    asked = workers.living()
    answers = [*zip(asked, await _ask_all(asked, {"want": "metrics"}), strict=True)]
    texts = [(worker.number, str(answer["metrics"])) for worker, answer in answers if "metrics" in answer]
    if not texts:
        return {"error": "; ".join(f"worker {worker.number}: {one.get('error')}" for worker, one in answers)}
    return {"metrics": merge_metrics(texts)}


async def _ask_all(workers: Sequence[Worker], request: Request) -> list[dict[str, object]]:
    """Ask all of these at once, so that several stuck ones take no longer than one; return their answers."""
    answers: dict[Worker, dict[str, object]] = {}

    async def query(worker: Worker) -> None:
        answers[worker] = await ask(worker, request)

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(query, worker)
    return [answers[worker] for worker in workers]
