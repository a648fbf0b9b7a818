"""The health of all workers as one answer: the parent's port, and what its workers say.

The rule: **the service is ready while one of its workers is**, for they share their listeners, and whichever
is free takes the next client. So a worker that is full, or stuck, or being replaced takes nothing out of a
load balancer; and a drain of the service, its delay included, takes out all.

A worker with another program does not report its health; its readiness by sd_notify(3) counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio

from .._core.stream.server import StreamServer
from ..observe.health import answer_at
from .asking import ask
from .worker import Worker

if TYPE_CHECKING:
    from .service import Workers

#: Seconds for those who have asked, when a successor takes over.
LAST_ANSWERS: Final = 5.0


@attrs.define
class ParentView:
    """What a parent shows of itself, in its control socket (`window`) and at its health endpoint, until a
    successor does so. `begun`: it serves, and has taken over if there was a predecessor; `ended`: a successor
    has.
    """

    window: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    begun: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)

    def end(self) -> None:
        """Show nothing any more."""
        self.ended.set()
        self.window.cancel(reason="triosock: the successor shows itself")


async def answer_health(workers: Workers, shown: ParentView) -> None:
    """Answer at the health endpoint, if there is one, until a successor does: from the beginning, or, as a
    successor, from when this has taken over, since until then the predecessor answers.
    """
    endpoints = workers.endpoints
    if not endpoints.health:
        return
    one_at_a_time = trio.Lock()

    async def why_not() -> Sequence[str]:
        # A flood of probes is no flood of questions.
        async with one_at_a_time:
            reasons = await why_not_ready(workers)
        # If a successor has taken over meanwhile, the one who was asked is over, and the service goes on.
        return [] if shown.ended.is_set() else reasons

    if endpoints.handover is not None:
        await shown.begun.wait()
    async with trio.open_nursery() as nursery:
        server: StreamServer = await nursery.start(answer_at, endpoints.health, why_not)
        await shown.ended.wait()
        server.drain(grace=LAST_ANSWERS)  # those who have asked this one are answered


async def why_not_ready(workers: Workers) -> Sequence[str]:
    """Return why the service should be sent no more clients, in lines; none if it is ready."""
    if workers.draining:
        return ["draining"]
    asked = [worker for worker in workers.living() if worker.state == "ready"]
    if not asked:
        return ["no worker is ready"]
    reasons: dict[Worker, str] = {}
    async with trio.open_nursery() as nursery:

        async def look(worker: Worker) -> None:
            reasons[worker] = await _why_not(worker)
            if not reasons[worker]:
                nursery.cancel_scope.cancel(reason="triosock: one worker is ready, and that is enough")

        for worker in asked:
            nursery.start_soon(look, worker)
    if not all(reasons.values()):
        return []
    return [f"worker {worker.number}: {reasons[worker]}" for worker in asked]


async def _why_not(worker: Worker) -> str:
    if not worker.speaks:
        return ""
    answer = await ask(worker, {"want": "ready"})
    reasons = answer.get("not_ready")
    return "; ".join(map(str, reasons)) if isinstance(reasons, list) else str(answer.get("error"))
