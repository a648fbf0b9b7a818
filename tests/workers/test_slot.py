"""The slot of one worker, by itself."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from triosock.workers.policy import Supervision
from triosock.workers.slot import Slot


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
