"""Simulation as a part of Hypothesis: what it draws, what it makes simpler, and state machines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import hypothesis
import pytest
import trio
from hypothesis import strategies
from hypothesis.stateful import Bundle, initialize, rule, run_state_machine_as_test

from tests.handlers import shout
from tests.simulation.scenarios import careless, one_client, shouting
from triosock import Connection
from triosock.testing.simulation import Faults, World, drawn, simulate
from triosock.testing.simulation.machine import ServerMachine

FEW = hypothesis.settings(
    max_examples=20,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@FEW
@hypothesis.given(strategies.data())
def test_a_schedule_may_be_drawn(data) -> None:
    simulate(shouting, choices=drawn(data.draw), faults=Faults.all())


def test_data_and_schedule_are_made_simpler_together() -> None:
    failed = []

    phases = [hypothesis.Phase.generate, hypothesis.Phase.shrink]

    @hypothesis.settings(FEW, max_examples=200, phases=phases)
    @hypothesis.given(strategies.data(), strategies.integers(0, 50))
    def test(data, size: int) -> None:
        async def talk(conn: Connection) -> None:
            await conn.send_all(b"x" * size + b"\n")
            assert len(await conn.receive_exactly(size + 1)) == size + 1

        try:
            simulate(one_client(talk, careless), choices=drawn(data.draw), faults=Faults(cuts=0.5))
        except AssertionError:
            failed.append(size)
            raise

    with pytest.raises(AssertionError, match="is no line"):
        test()
    assert failed[-1] <= 10


class Shouting(ServerMachine):
    handler = staticmethod(shout)
    connections = Bundle("connections")

    async def begin(self, world: World) -> None:
        self.server = await world.serve(self.handler)

    @rule(target=connections)
    def connect(self):
        return self.run(self.world.connect, self.server)

    @rule(conn=connections, word=strategies.sampled_from([b"a", b"bc", b"def"]))
    def ask(self, conn, word: bytes) -> None:
        self.run(conn.send_all, word + b"\n")
        assert self.run(conn.receive_until, b"\n") == word.upper() + b"\n"

    @rule(seconds=strategies.sampled_from([1, 100]))
    def wait(self, seconds: float) -> None:
        before = self.run(_now)
        self.run(trio.sleep, seconds)
        assert self.run(_now) == before + seconds


class Beginning(Shouting):
    """With `@initialize` rules of its own, which Hypothesis runs in any order."""

    @initialize(target=Shouting.connections)
    def early(self):
        return self.run(self.world.connect, self.server)

    @initialize()
    def another(self) -> None:
        self.run(trio.sleep, 1)


def test_rules_that_initialize_have_a_world() -> None:
    run_state_machine_as_test(Beginning, settings=FEW)


def test_a_machine_whose_world_has_ended_says_so_instead_of_waiting() -> None:
    class Late(Shouting):
        max_seconds = 5

        @rule()
        def late(self) -> None:
            self.run(trio.sleep, 6)

        def teardown(self) -> None:
            try:
                self.run(_now)  # as a teardown that closes connections
            finally:
                super().teardown()

    unshrunk = hypothesis.settings(FEW, phases=[hypothesis.Phase.generate])
    with pytest.raises(AssertionError, match="not over after 5 s"):
        run_state_machine_as_test(Late, settings=unshrunk)


def test_a_job_after_the_teardown_is_refused() -> None:
    class After(Shouting):
        def teardown(self) -> None:
            super().teardown()
            with contextlib.suppress(RuntimeError):
                self.run(_now)
            self.run(_now)

    with pytest.raises(RuntimeError, match="the world has ended"):
        run_state_machine_as_test(After, settings=FEW)


def _skip() -> None:
    pytest.skip("not here")


def _expect_failure() -> None:
    pytest.xfail("not yet")


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("raising", "kind"),
    [
        (_skip, pytest.skip.Exception),
        (_expect_failure, pytest.xfail.Exception),
        (_interrupt, KeyboardInterrupt),
    ],
)
def test_what_skips_or_interrupts_the_test_is_raised_in_its_thread(
    raising: Callable[[], None], kind: type[BaseException]
) -> None:
    class Ending(Shouting):
        @rule()
        def end(self) -> None:
            self.run(_raise)

        def teardown(self) -> None:
            try:
                self.run(_now)
            finally:
                super().teardown()

    async def _raise() -> None:
        raising()

    with pytest.raises(kind):
        run_state_machine_as_test(Ending, settings=FEW)


async def _now() -> float:
    return trio.current_time()


def test_a_state_machine_drives_a_server() -> None:
    run_state_machine_as_test(Shouting, settings=FEW)


def test_a_state_machine_finds_what_takes_a_fault() -> None:
    class Careless(Shouting):
        handler = staticmethod(careless)
        faults = Faults(cuts=0.5)

    unshrunk = hypothesis.settings(FEW, max_examples=100, phases=[hypothesis.Phase.generate])
    with pytest.raises((AssertionError, trio.BrokenResourceError), match=r"is no line|reset"):
        run_state_machine_as_test(Careless, settings=unshrunk)


def test_a_machine_without_a_beginning_says_so() -> None:
    class Empty(ServerMachine):
        @rule()
        def nothing(self) -> None:
            pass

    with pytest.raises(NotImplementedError, match="must have an async method begin"):
        run_state_machine_as_test(Empty, settings=FEW)
