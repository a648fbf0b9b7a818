"""The slot of one worker, by itself."""

from __future__ import annotations

import math
import os
import signal
import socket
from typing import Any

import pytest
import trio
import trio.testing

import triosock
from triosock.workers.policy import Supervision
from triosock.workers.slot import Slot
from triosock.workers.worker import StartFailed

from .conftest import PATIENCE, processes, service, until


class NeverReady:
    """A worker that starts for ever."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()


async def test_tasks_that_wait_for_a_slot_go_on_when_the_service_ends_first() -> None:
    make: Any = lambda number: NeverReady()  # noqa: E731
    slot = Slot(1, make, lambda worker: None, lambda: None, Supervision())
    results: list[str] = []
    scope = trio.CancelScope()

    async def keep() -> None:
        with scope:
            await slot.run()

    async def replace() -> None:
        results.append(await slot.replace())

    async def wait_ready() -> None:
        await slot.ready.wait()
        results.append("waited")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(replace)
        nursery.start_soon(wait_ready)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(results) == ["the slot is retired", "waited"]
        assert await slot.replace() == "the slot is retired"
        nursery.cancel_scope.cancel()


class Told:
    """A worker that is ready at once, or at the end of its start fails; it ends when it is told to."""

    def __init__(self, number: int, *, starts_for: float = 0.0) -> None:
        self.ready_at, self.ended, self.end = math.inf, trio.Event(), trio.Event()
        self.starts_for = starts_for

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        if self.starts_for:
            await trio.sleep(self.starts_for)
            raise StartFailed("it was not ready")
        self.ready_at = trio.current_time()
        task_status.started()
        await self.end.wait()
        self.ended.set()

    def describe_end(self) -> str:
        return "ended"

    def check_ready(self) -> bool:
        return self.ready_at < math.inf


async def test_a_request_for_a_successor_that_is_cancelled_in_the_queue_starts_none(
    autojump_clock: Any,
) -> None:
    made: list[Any] = []

    def make(number: int) -> Any:
        made.append(Told(number))
        return made[-1]

    drain: Any = lambda worker: worker.end.set()  # noqa: E731
    slot = Slot(1, make, drain, lambda: None, Supervision(settle=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slot.run)
        await slot.ready.wait()
        for _ in range(3):  # the successor of the first has begun, and settles
            with trio.move_on_after(0.3):
                await slot.replace()
        assert await slot.replace() == ""
        assert len(made) == 3
        assert slot.worker is made[-1]
        slot.retire()


@pytest.mark.parametrize(("age", "before", "after"), [(5, 1, 2), (11, 0, 1)])
async def test_a_worker_that_ends_while_its_successor_starts_was_as_old_as_it_was(
    autojump_clock: Any, age: float, before: int, after: int
) -> None:
    workers: list[Any] = [Told(1), Told(1), Told(1, starts_for=60), Told(1)]
    left = iter(workers)
    slot = Slot(1, lambda number: next(left), lambda worker: None, lambda: None, Supervision(stable=10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slot.run)
        await slot.ready.wait()
        workers[0].end.set()
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(age)
        assert slot.worker is workers[1]
        nursery.start_soon(slot.replace)
        await trio.testing.wait_all_tasks_blocked()
        workers[1].end.set()
        await trio.testing.wait_all_tasks_blocked()
        assert slot.crashes == before
        await trio.sleep(61)  # the start of the successor fails, and then the end of its predecessor counts
        assert slot.crashes == after
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ending", ["drain", "retire"])
async def test_a_client_of_a_worker_whose_ready_was_not_read_yet_is_answered(ending: str) -> None:
    async with service(workers=2, supervision=triosock.Supervision(backoff=0.01)) as workers:
        first, crashed = processes(workers)
        os.kill(crashed, signal.SIGKILL)
        await until(lambda: len({first, crashed, *processes(workers)} - {0}) == 3)
        os.kill(first, signal.SIGSTOP)  # so that the client gets to the second one
        try:
            address = workers.addresses[0]
            assert isinstance(address, triosock.TcpAddress)
            # Meanwhile the loop of the parent stands, and no message is read.
            with socket.create_connection((address.host, address.port), PATIENCE) as client:
                client.sendall(b"wait\n")
                assert client.recv(100) == b"begun\n"
                new = [one for one in workers.living() if one.id not in (first, crashed)]
                assert not any(one.ready.is_set() for one in new)  # otherwise this tests nothing
                if ending == "drain":
                    workers.drain()
                else:
                    await workers.set_count(1)
                await trio.testing.wait_all_tasks_blocked()
                client.sendall(b"go on\n")
                assert await trio.to_thread.run_sync(client.recv, 100) == b"waited\n"
        finally:
            os.kill(first, signal.SIGCONT)
