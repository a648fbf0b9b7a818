"""run(): SIGUSR1 and the control socket show the live tree, and end nothing."""

from __future__ import annotations

import signal
import textwrap

import pytest

import triosock
from tests.programs import running
from triosock import AddressUnavailable

PROGRAM = textwrap.dedent(
    """
    import signal, sys, trio, triosock
    from functools import partial

    async def handle(conn):
        async for line in conn.lines():
            await trio.sleep_forever()

    async def main():
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                partial(triosock.serve_unix, handle, sys.argv[1], name="shop")
            )
            async with await trio.open_unix_socket(sys.argv[1]) as client:
                await client.send_all(b"work\\n")
                await trio.testing.wait_all_tasks_blocked(0.01)
                print("ready", flush=True)
                await triosock.wait_draining()
                print("told", flush=True)
                await server.wait_closed()

    if len(sys.argv) > 3:
        signal.signal(signal.SIGUSR1, lambda *args: print("my own", flush=True))
    import trio.testing
    triosock.run(main, control=sys.argv[2] or None)
    print("returned", flush=True)
    """
)


def test_sigusr1_prints_the_tree_as_often_as_it_comes_and_also_in_a_drain(tmp_path):
    with running("-c", PROGRAM, tmp_path / "s", "") as program:
        program.wait_for("ready")
        program.signal(signal.SIGUSR1)
        program.wait_for(
            r"server shop · serving .*\n.*listener .* · open\n.*connection 1 of unix:// · working"
        )
        program.wait_for(r"└─ request .*\n")
        program.signal()
        program.wait_for("told")  # two signals at once come in the order of their numbers
        program.signal(signal.SIGUSR1)
        program.wait_for(r"server shop · draining .* · due in [\d.]+ s \(grace: drain of server shop\)")
        program.signal_again()
        assert program.wait() == 128 + signal.SIGTERM


def test_whoever_has_a_use_for_sigusr1_keeps_it(tmp_path):
    with running("-c", PROGRAM, tmp_path / "s", "", "own") as program:
        program.wait_for("ready")
        program.signal(signal.SIGUSR1)
        program.wait_for("my own")
        program.signal()
        program.wait_for("told")
        program.signal_again()
        program.wait()
        assert "server shop" not in program.output


def test_the_control_socket_is_there_while_the_program_is_and_also_in_a_drain(tmp_path):
    control = tmp_path / "control"
    with running("-c", PROGRAM, tmp_path / "s", control) as program:
        program.wait_for("ready")
        for state in ("serving", "draining"):
            with running("-m", "triosock", "top", control, "--once") as top:
                assert top.wait() == 0
                assert f"server shop · {state}" in top.output
                assert "server triosock control · serving" in top.output
            program.signal()
            program.wait_for("told")
        assert program.wait() == 128 + signal.SIGTERM
    assert not control.exists()


def test_a_control_socket_that_cannot_be_opened_is_told_before_anything_is_started(tmp_path):
    async def never():
        raise AssertionError("started")

    with pytest.raises(AddressUnavailable, match="nowhere"):
        triosock.run(never, control=tmp_path / "nowhere" / "socket")
    with pytest.raises(TypeError):
        triosock.run(never, control=5)  # type: ignore[arg-type]


def test_without_being_asked_for_there_is_no_control_server():
    async def look():
        return [node.name for node in triosock.observe.snapshot().walk()]

    assert all("control" not in name for name in triosock.run(look))
