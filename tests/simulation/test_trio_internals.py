"""The one file that reaches into trio: what it changes, for how long, and what it says of a trio that is
different.
"""

from __future__ import annotations

import threading

import pytest
import trio
from trio._core import _run

from triosock.testing.simulation import SimulationFailed, World, simulate, trio_internals
from triosock.testing.simulation.trio_internals import ordered_by


class Youngest:
    def __init__(self) -> None:
        self.asked = 0

    def arrange(self, batch) -> None:
        self.asked += 1
        batch.reverse()


async def note_all(ran: list[int]) -> None:
    async def note(number: int) -> None:
        ran.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(note, number)


def test_tasks_run_in_the_order_that_is_asked_for() -> None:
    ran: list[int] = []
    with ordered_by(Youngest()):
        trio.run(note_all, ran)
    assert ran == list(reversed(range(20)))


def test_everything_is_as_before_afterwards() -> None:
    before = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING, trio._threads.start_thread_soon
    with pytest.raises(LookupError), ordered_by(Youngest()):
        raise LookupError
    simulate(lambda world: world.sleep(1), seeds=1)
    assert before == (_run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING, trio._threads.start_thread_soon)


def test_trio_in_another_thread_is_left_alone() -> None:
    order, ran = Youngest(), []
    with ordered_by(order):
        thread = threading.Thread(target=lambda: trio.run(note_all, ran))
        thread.start()
        thread.join()
    assert sorted(ran) == list(range(20))
    assert order.asked == 0


@pytest.mark.parametrize("name", ["_r", "_ALLOW_DETERMINISTIC_SCHEDULING"])
def test_a_trio_that_has_no_such_place_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(_run, name)
    trio_internals._check.cache_clear()
    with pytest.raises(RuntimeError, match=rf"cannot simulate with trio .*{name} is not there"):
        with ordered_by(Youngest()):
            pass


def test_a_trio_that_does_not_ask_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio_internals, "_try_order", lambda newest_first: [0, 1, 2])
    trio_internals._check.cache_clear()
    with pytest.raises(RuntimeError, match="did not run in the given order"):
        with ordered_by(Youngest()):
            pass
    trio_internals._check.cache_clear()


def test_the_clock_jumps_to_the_deadline_itself() -> None:
    times: list[float] = []

    async def scenario(world: World) -> None:
        for seconds in (0.1, 0.2, 1e6):
            await world.sleep(seconds)
            times.append(trio.current_time())

    simulate(scenario, seeds=1, max_seconds=1e7)
    assert times == [0.1, 0.1 + 0.2, 0.1 + 0.2 + 1e6]


def test_who_waits_for_ever_in_a_shield_is_named_and_ended() -> None:
    async def scenario(world: World) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    with pytest.raises(SimulationFailed, match="the run was not over after 10 s of its clock"):
        simulate(scenario, seeds=1, max_seconds=10)


def test_what_cannot_be_cancelled_at_all_ends_the_run() -> None:
    async def scenario(world: World) -> None:
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    with pytest.raises(SimulationFailed, match=r"was not over after 10 s(.|\n)*cannot be cancelled"):
        simulate(scenario, seeds=1, max_seconds=10, shrink=0)
