"""What a service tells its program as values: the state of a worker, the result of a restart, a failure."""

from __future__ import annotations

from typing import final

import attrs

from .._core.model.errors import TriosockError
from .worker import State, Worker


class WorkersFailed(TriosockError):
    """The first workers did not become ready, or the workers of all slots crashed; the text says why."""


@final
@attrs.frozen(kw_only=True)
class RestartReport:
    """The result of a rolling restart: the number of workers that were `replaced`, and the reason why it
    stopped early (`failure`, "" if it did not). Workers that were not replaced go on.
    """

    replaced: int = 0
    failure: str = ""

    def __str__(self) -> str:
        done = f"{self.replaced} replaced"
        return f"{done}; stopped, the others go on: {self.failure}" if self.failure else done


@final
@attrs.frozen(kw_only=True)
class WorkerStatus:
    """One worker at one moment. `age`: seconds since it was ready, 0 before; `memory`: resident bytes."""

    number: int
    process: int
    state: State
    generation: int
    age: float
    memory: int
    status: str


def status_of(worker: Worker, now: float) -> WorkerStatus:
    """Return the status of a worker at the moment `now`."""
    return WorkerStatus(
        number=worker.number,
        process=worker.id,
        state=worker.state,
        generation=worker.generation,
        age=max(0.0, now - worker.ready_at),
        memory=worker.memory(),
        status=worker.status,
    )
