"""The health endpoint of the parent, which answers for all workers.

The rule: **the service is ready while one of its workers is**, since they share their listeners, and any free
worker accepts the next client. A worker that is full, stuck, or being replaced does not make the service
unready; a drain of the service, including its delay, does.

A worker whose program is not `triosock.run` has no control socket: it counts as ready from its READY message
by sd_notify(3) on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio

from .._core.stream.server import StreamServer
from ..observe.health import answer_at
from .control_client import ask
from .worker import Worker

if TYPE_CHECKING:
    from .service import Workers

#: Seconds within which requests in progress are answered when a successor takes over.
PROBE_GRACE: Final = 5.0


@attrs.define
class ParentView:
    """The time in which a parent answers at its control socket (in `control_scope`) and its health endpoint.

    `begun` is set when it serves, and has taken over from its predecessor, if it has one; `ended` is set when
    a successor has taken over.
    """

    control_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    begun: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)

    def end(self) -> None:
        """Stop answering: a successor has taken over."""
        self.ended.set()
        self.control_scope.cancel(reason="triosock: the successor has taken over")


async def answer_health(workers: Workers, view: ParentView) -> None:
    """Answer at the health endpoint, if there is one, until a successor has taken over. A process that is
    itself a successor begins when it has taken over, since its predecessor answers until then.
    """
    endpoints = workers.endpoints
    if not endpoints.health:
        return
    query_lock = trio.Lock()

    async def why_not() -> Sequence[str]:
        # Many probes at once must not become as many requests to each worker.
        async with query_lock:
            reasons = await why_not_ready(workers)
        # If a successor has taken over meanwhile, this process drains, and the service does not.
        return [] if view.ended.is_set() else reasons

    if endpoints.handover is not None:
        await view.begun.wait()
    async with trio.open_nursery() as nursery:
        server: StreamServer = await nursery.start(answer_at, endpoints.health, why_not)
        await view.ended.wait()
        server.drain(grace=PROBE_GRACE)  # requests that have come are answered


async def why_not_ready(workers: Workers) -> Sequence[str]:
    """Return the reasons why the service should get no more clients, a line each; none if it is ready."""
    if workers.draining:
        return ["draining"]
    asked = [worker for worker in workers.living() if worker.state == "ready"]
    if not asked:
        return ["no worker is ready"]
    reasons: dict[Worker, str] = {}
    async with trio.open_nursery() as nursery:

        async def query(worker: Worker) -> None:
            reasons[worker] = await _why_not(worker)
            if not reasons[worker]:
                nursery.cancel_scope.cancel(reason="triosock: one ready worker is enough")

        for worker in asked:
            nursery.start_soon(query, worker)
    if not all(reasons.values()):
        return []
    return [f"worker {worker.number}: {reasons[worker]}" for worker in asked]


async def _why_not(worker: Worker) -> str:
    if not worker.can_be_asked:
        return ""
    answer = await ask(worker, {"want": "ready"})
    reasons = answer.get("not_ready")
    return "; ".join(map(str, reasons)) if isinstance(reasons, list) else str(answer.get("error"))
