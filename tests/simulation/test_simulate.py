"""Many seeds of one scenario: what is found, what is said about it, and what is not accepted."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from tests.handlers import ask_line, read_once, shout
from tests.simulation.scenarios import ask, carelessness, one_client, shouting
from triosock import Connection
from triosock.testing.simulation import (
    Faults,
    NotDeterministic,
    NotSimulated,
    SimulationFailed,
    World,
    simulate,
)


@pytest.mark.parametrize("faults", [Faults(), Faults.network(), Faults.all()], ids=["none", "network", "all"])
def test_a_server_without_faults_of_its_own_passes(faults: Faults) -> None:
    done = simulate(shouting, seeds=60, faults=faults)
    assert done.runs == 60
    assert done.steps > 60 * 20


def test_what_a_seed_may_do_is_done_in_some(recwarn: pytest.WarningsRecorder) -> None:
    done = simulate(shouting, seeds=200, faults=Faults.all(resets=0.5, half_closes=0.3))
    kinds = {"accept errors", "bandwidth", "cancels", "crashes", "cuts", "drains", "half closes", "latency"}
    kinds |= {"partitions", "resets", "slow readers", "small buffers", "stalls", "suspends"}
    assert kinds <= set(done.faults)


def test_without_faults_only_the_order_comes_from_the_seed() -> None:
    done = simulate(shouting, seeds=20)
    assert not done.faults
    assert done.seconds == 0


def test_a_bug_that_takes_a_fault_is_found_made_simpler_and_run_again() -> None:
    simulate(carelessness, seeds=50)
    with pytest.raises(SimulationFailed, match="is no line") as found:
        simulate(carelessness, seeds=50, faults=Faults(cuts=0.3))
    told = str(found.value)
    assert f"seeds=[{found.value.seed}]" in told
    assert "split into pieces" in told
    tape = [int(number) for number in re.search(r"tape=\[(.*?)\]", told)[1].split(",")]
    assert sum(map(bool, tape)) <= 4
    with pytest.raises(AssertionError, match="is no line"):
        simulate(carelessness, tape=tape, faults=Faults(cuts=0.3))
    with pytest.raises(SimulationFailed):
        simulate(carelessness, seeds=[found.value.seed], faults=Faults(cuts=0.3), shrink=0)


def test_fewer_clients_are_enough_for_the_shortest_schedule() -> None:
    async def one_too_many(world: World) -> None:
        assert world.integer(0, 1000) < 300

    with pytest.raises(SimulationFailed) as found:
        simulate(one_too_many, seeds=100)
    assert found.value.tape[-1] == 300


def test_an_error_of_the_scenario_is_the_cause() -> None:
    async def wrong(world: World) -> None:
        raise LookupError("nothing there")

    with pytest.raises(SimulationFailed, match="LookupError: nothing there") as found:
        simulate(wrong)
    assert isinstance(found.value.__cause__, LookupError)


def test_what_depends_on_something_else_than_the_seed_is_named() -> None:
    async def random_sleep(world: World) -> None:
        await world.serve(shout)
        await world.sleep(int.from_bytes(os.urandom(4), "big"))
        raise ValueError("too late")

    with pytest.raises(NotDeterministic, match="seed 0 failed") as found:
        simulate(random_sleep, max_seconds=2.0**33)
    assert "the first run has" in str(found.value)


def refused_thread() -> None:
    threading.Thread(target=print).start()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (socket.socket, "a real socket"),
        (lambda: socket.create_connection(("127.0.0.1", 1)), "a real socket"),
        (lambda: subprocess.run([sys.executable, "-c", ""]), "another process"),
        (os.fork, "another process"),
        (refused_thread, "a real thread"),
        (lambda: time.sleep(0), "a sleep that blocks"),
    ],
    ids=["socket", "connect", "run", "fork", "thread", "sleep"],
)
def test_what_is_real_is_refused_even_if_the_error_is_caught(call, what) -> None:
    async def real(world: World) -> None:
        try:
            call()
        except Exception:
            pass

    with pytest.raises(NotSimulated, match=what):
        simulate(real, seeds=1)
    socket.socket().close()


def test_threads_of_trio_are_refused_also_idle_ones() -> None:
    trio.run(trio.to_thread.run_sync, int)  # leaves one in trio's cache

    async def real(world: World) -> None:
        await trio.to_thread.run_sync(int)

    with pytest.raises(NotSimulated, match="a real thread"):
        simulate(real, seeds=1)


def test_a_run_that_waits_for_ever_says_who_waits() -> None:
    async def stuck() -> None:
        await trio.Event().wait()

    async def scenario(world: World) -> None:
        await world.serve(shout)
        world.client(stuck, name="the stuck one")

    with pytest.raises(SimulationFailed, match=r"the stuck one at .*in stuck"):
        simulate(scenario, seeds=1)


def test_a_run_without_an_end_to_its_steps_is_ended() -> None:
    async def scenario(world: World) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(SimulationFailed, match="more than 1000 steps"):
        simulate(scenario, seeds=1, max_steps=1000)


def test_seeds_are_how_many_or_which() -> None:
    seen = []

    async def note(world: World) -> None:
        seen.append(world.seed)

    simulate(note, seeds=3)
    simulate(note, seeds=[7, 9])
    assert seen == [0, 1, 2, 7, 9]
    with pytest.raises(ValueError, match="from 0 on"):
        simulate(note, seeds=-1)
    with pytest.raises(TypeError, match="seeds"):
        simulate(note, seeds=True)


@pytest.mark.parametrize(
    "wrong", [{"within": -1}, {"shrink": -1}, {"max_seconds": 0}, {"max_steps": 0}, {"within": math.nan}]
)
def test_wrong_bounds_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        simulate(shouting, seeds=1, **wrong)  # type: ignore[arg-type]


def test_the_time_may_be_bounded() -> None:
    assert simulate(shouting, seeds=10**9, within=0.2).runs < 10**6
    assert simulate(shouting, seeds=3, within=0).runs == 1
    assert simulate(shouting, seeds=0, within=0).runs == 0


async def test_it_runs_a_trio_program_of_its_own() -> None:
    with pytest.raises(RuntimeError, match="trio"):
        simulate(shouting, seeds=1)


def test_an_interrupt_ends_the_simulation_and_is_no_failure_of_a_seed() -> None:
    ran = []

    async def scenario(world: World) -> None:
        async def interrupted() -> None:
            await world.sleep(1)
            if world.seed == 2:
                signal.raise_signal(signal.SIGINT)
            await world.sleep(1)

        ran.append(world.seed)
        world.client(interrupted)

    with pytest.raises(KeyboardInterrupt):
        simulate(scenario, seeds=10)
    assert ran == [0, 1, 2]


def test_a_picture_that_cannot_be_written_hides_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SimulationFailed, match="is no line") as found:
        simulate(carelessness, seeds=50, faults=Faults(cuts=0.3), shrink=0, pictures=tmp_path / "file" / "x")
    assert "picture:           not written: " in str(found.value)


def test_a_server_that_does_not_answer_what_it_has_read_fails_the_run() -> None:
    async def scenario(world: World) -> None:
        server = await world.serve(read_once)
        world.client(ask, world, server, 1)

    with pytest.raises(SimulationFailed, match="client1-1: 8 bytes sent, of which its server read 8"):
        simulate(scenario, seeds=1)


def test_checks_of_the_scenario_are_called_at_the_end_or_always() -> None:
    async def at_the_end(world: World) -> None:
        world.check(lambda: False)

    async def always(world: World) -> None:
        async def client() -> None:
            await world.sleep(1)
            running.append(1)
            await world.sleep(1)

        running: list[int] = []
        world.check(lambda: not running, always=True)
        world.client(client)

    with pytest.raises(SimulationFailed, match="does not hold"):
        simulate(at_the_end, seeds=1)
    with pytest.raises(SimulationFailed, match="does not hold"):
        simulate(always, seeds=1)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"cuts": 1.5}, ValueError),
        ({"resets": -0.1}, ValueError),
        ({"latency": -1}, ValueError),
        ({"pause": math.inf}, ValueError),
        ({"bandwidth": 0}, ValueError),
        ({"errnos": ()}, ValueError),
        ({"cuts": True}, TypeError),
    ],
)
def test_faults_are_checked(wrong, error) -> None:
    with pytest.raises(error, match=next(iter(wrong))):
        Faults(**wrong)


def test_what_is_drawn_from_one_possibility_is_not_on_the_tape() -> None:
    async def scenario(world: World) -> None:
        assert world.integer(3, 3) == 3
        assert world.integer(0, 9) < 5

    with pytest.raises(SimulationFailed) as found:
        simulate(scenario, seeds=20, shrink=0)
    with pytest.raises(AssertionError):
        simulate(scenario, tape=found.value.tape)


def test_a_client_that_is_refused_in_its_handshake_is_not_excused_by_a_slow_network() -> None:
    scenario = one_client(lambda client: ask_line(client, b"PROXY nonsense\r\n"), proxy=True)
    with pytest.raises(SimulationFailed, match="ended at the server: handshake"):
        simulate(scenario, seeds=5, faults=Faults(latency=0.1), shrink=0)


def test_the_handlers_of_a_crashed_server_raise_nothing() -> None:
    async def scenario(world: World) -> None:
        async def ask_often(times: int) -> None:
            conn = await world.connect(server)
            for _ in range(times):
                await ask_line(conn, b"hello\n")
            await world.sleep(1)

        server = await world.serve(shout, on_error="raise")
        for times in range(4):
            world.client(ask_often, times)
        await world.sleep(0.05)
        world.crash(server)

    simulate(scenario, seeds=30, faults=Faults(latency=0.2, cuts=0.5))


def test_a_client_with_a_nursery_is_excused_as_any_other() -> None:
    async def scenario(world: World) -> None:
        server = await world.serve(shout)

        async def talk() -> None:
            conn = await world.connect(server)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.receive_until, b"\n")
                nursery.start_soon(conn.wait_peer_gone)

        world.client(talk)
        await trio.sleep(1)
        world.crash(server)

    simulate(scenario, seeds=5)


def test_what_a_client_with_a_nursery_raises_besides_fails_the_run() -> None:
    async def fail() -> None:
        raise LookupError("its own")

    async def talk(conn: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
        await conn.aclose()

    with pytest.raises(SimulationFailed, match="LookupError: its own"):
        simulate(one_client(talk), seeds=1, shrink=0)
