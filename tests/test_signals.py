"""run(): the first signal drains, the second cancels; with real signals to real processes."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import ClassVar

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask_line, shout
from tests.waiting import returns
from triosock import _ending_signals
from triosock._ending_signals import PATIENCE, TOGETHER

PROGRAM = textwrap.dedent(
    """
    import functools, sys, trio, triosock
    {prelude}

    async def handle(conn):
        async for line in conn.lines():
            if line == b"block\\n":
                await conn.send_all(b"blocking\\n")
                {block}
            if line == b"hang\\n":
                await conn.send_all(b"hanging\\n")
                await trio.sleep_forever()
            await conn.send_all(line.upper())

    async def main():
        async with trio.open_nursery() as nursery:
            timeouts = triosock.Timeouts(grace={own})
            serve = functools.partial(triosock.serve_tcp, handle, 0, timeouts=timeouts)
            server = await nursery.start(serve)
            print(server.addresses[0].port, flush=True)
            {background}

    triosock.run(main, grace={grace})
    print("returned", flush=True)
    """
)


TELLING = textwrap.dedent(
    """
    import os
    import triosock._ending_signals as ending
    ending.PATIENCE = {patience}
    catch = ending.EndingSignals._catch
    def telling(self, *args):
        try:
            catch(self, *args)
        finally:
            os.write(1, b"caught\\n")
    ending.EndingSignals._catch = telling
    """
)


class Program:
    started: ClassVar[list[Program]] = []

    def __init__(
        self,
        *,
        grace: float | None = 30,
        own: float = 15,
        background: str = "",
        block: str = "",
        patience: float | None = None,
    ) -> None:
        #: How long it leaves its loop to take the second signal; given, it says which signals it has caught.
        prelude = "" if patience is None else TELLING.format(patience=patience)
        source = PROGRAM.format(
            grace=grace, own=own, background=background, block=block or "pass", prelude=prelude
        )
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(self)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    async def dial(self, says: bytes, hears: bytes) -> triosock.Connection:
        """A client that has said the one line, and heard the other."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setblocking(False)
        client = triosock.Connection(sock)
        assert await ask_line(client, says) == hears
        return client

    async def interrupt(self, number: int, *, catches: int = 1) -> None:
        """Send a signal, and wait until the program has caught it (and told itself of it again). What is sent
        later comes later than `TOGETHER`, however slow the machine is.
        """
        self.process.send_signal(number)
        assert self.process.stdout is not None
        for _ in range(catches):
            with trio.fail_after(60):
                line = await trio.to_thread.run_sync(self.process.stdout.readline, abandon_on_cancel=True)
            assert line == "caught\n"
        await trio.sleep(TOGETHER)

    async def end(self) -> tuple[int, str, str]:
        out, err = await trio.to_thread.run_sync(lambda: self.process.communicate(timeout=60))
        return self.process.returncode, out, err


@pytest.fixture(autouse=True)
def _no_program_is_left() -> Iterator[None]:
    """A program whose test has failed may never end by itself."""
    yield
    while Program.started:
        process = Program.started.pop().process
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains_and_the_process_exits_with_0(number):
    program = Program()
    client = await program.dial(b"hello\n", b"HELLO\n")
    program.process.send_signal(number)
    assert await client.receive_some() == b""
    await client.aclose()
    code, out, err = await program.end()
    assert (code, out) == (0, "returned\n")
    assert "1 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in err


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)]
)
async def test_the_second_signal_cancels_and_the_exit_code_says_which(first, second):
    program = Program()
    client = await program.dial(b"hang\n", b"hanging\n")
    program.process.send_signal(first)
    # The listener is gone as soon as the drain has begun.
    while True:
        try:
            await (await trio.open_tcp_stream("127.0.0.1", program.port)).aclose()
        except OSError:
            break
        await trio.lowlevel.checkpoint()
    await trio.sleep(TOGETHER)
    program.process.send_signal(second)
    code, out, _ = await program.end()
    assert (code, out) == (128 + second, "")
    await client.aclose()


BLOCKS = {
    "busy": "exec('while True: pass')",
    "asleep": "exec('import time\\nwhile True: time.sleep(0.01)')",
    "deaf": "exec('import time\\nwhile True:\\n try:\\n  time.sleep(9)\\n except BaseException: pass')",
    # What Thread.start holds for a moment, and a signal may come just then.
    "starting": "exec('import threading\\nwith threading._active_limbo_lock:\\n while True: pass')",
}
#: A cancelled handler that does not end.
STAYS = {
    "thread": "await trio.to_thread.run_sync(__import__('time').sleep, 1000)",
    "shielded": "with trio.CancelScope(shield=True): await trio.sleep_forever()",
}


async def blocked(block: str) -> Program:
    program = Program(block=BLOCKS[block], patience=PATIENCE)
    client = await program.dial(b"block\n", b"blocking\n")
    await program.interrupt(signal.SIGINT)
    assert program.process.poll() is None
    await client.aclose()
    return program


@pytest.mark.parametrize("block", ["busy", "asleep", "starting"])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_gets_through_a_blocked_loop(block, second):
    program = await blocked(block)
    program.process.send_signal(second)
    code, out, _ = await program.end()
    assert (code, out) == (128 + second, "caught\n" * 2)  # the signal, and what the alarm makes of it


async def test_the_third_signal_ends_a_program_that_catches_everything():
    program = await blocked("deaf")
    await program.interrupt(signal.SIGINT, catches=2)
    assert program.process.poll() is None
    program.process.send_signal(signal.SIGTERM)
    code, out, _ = await program.end()
    assert (code, out) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("stay", STAYS)
async def test_the_third_signal_ends_a_program_that_does_not_end_when_it_is_cancelled(stay):
    program = Program(block=STAYS[stay], patience=1_000)
    client = await program.dial(b"block\n", b"blocking\n")
    for _ in range(2):
        await program.interrupt(signal.SIGINT)
        assert program.process.poll() is None
    program.process.send_signal(signal.SIGINT)
    code, out, _ = await program.end()
    assert (code, out) == (-signal.SIGINT, "")
    await client.aclose()


async def test_one_ctrl_c_that_comes_twice_is_one_signal(monkeypatch):
    told: list[tuple[str, int]] = []
    now = 100.0
    monkeypatch.setattr(_ending_signals.time, "monotonic", lambda: now)
    signals = _ending_signals.EndingSignals(
        lambda number: told.append(("first", number)), lambda number: told.append(("second", number))
    )
    with signals:
        for later in (0.0, 0.05, 0.09):
            now = 100.0 + later
            signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert told == [("first", signal.SIGINT)]
        assert signals.killed_by is None
        now = 100.2
        signal.raise_signal(signal.SIGTERM)
        with trio.fail_after(5):
            while len(told) == 1:
                await trio.lowlevel.checkpoint()
        now = 100.29
        signal.raise_signal(signal.SIGTERM)  # the second one, twice: the third would end this process
    assert told == [("first", signal.SIGINT), ("second", signal.SIGTERM)]
    assert signals.killed_by == signal.SIGTERM


@pytest.mark.parametrize(("grace", "own"), [(0.2, 15), (None, 0.2)])
async def test_what_is_left_at_the_end_of_the_grace_is_cancelled_and_reported(grace, own):
    program = Program(grace=grace, own=own)
    client = await program.dial(b"hang\n", b"hanging\n")
    program.process.send_signal(signal.SIGTERM)
    code, _, err = await program.end()
    assert code == 0
    assert "1 cancelled" in err
    assert "tcp://127.0.0.1" in err
    await client.aclose()


async def test_a_background_task_does_not_keep_the_process_from_ending():
    program = Program(grace=0.2, background="await trio.sleep_forever()")
    program.process.send_signal(signal.SIGTERM)
    code, out, _ = await program.end()
    assert (code, out) == (0, "returned\n")


def test_run_returns_what_the_function_returns_and_passes_options_on():
    async def fine(number, *, text):
        await trio.lowlevel.checkpoint()
        return number, text

    assert triosock.run(fine, 5, text="x") == (5, "x")


def test_a_signal_that_comes_as_the_program_ends_is_no_error():
    async def main():
        os.kill(os.getpid(), signal.SIGTERM)
        return 7

    # trio runs tasks in a random order, and in about half of all orders the loop gets to the signal too late.
    assert [triosock.run(main) for _ in range(20)] == [7] * 20


def test_run_raises_what_the_function_raises_bare():
    async def wrong():
        await trio.lowlevel.checkpoint()
        raise KeyError("planned")

    with pytest.raises(KeyError, match="planned"):
        triosock.run(wrong)


def plain():
    pass


@pytest.mark.parametrize(
    ("function", "text"), [(5, "async_fn must be an async function"), (plain, "is a plain one")]
)
def test_run_refuses_what_is_no_async_function(function, text):
    with pytest.raises(TypeError, match=text):
        triosock.run(function)


def test_run_refuses_a_wrong_grace():
    async def fine():
        pass

    with pytest.raises(ValueError, match="grace must be"):
        triosock.run(fine, grace=-1)


def test_run_outside_of_the_main_thread_says_so():
    async def program():
        raise AssertionError("not reached")

    with pytest.raises(RuntimeError, match="main thread"):
        returns(lambda: triosock.run(program))


def test_the_reports_of_a_program_that_fails_are_printed_too(capsys):
    async def program():
        async with trio.open_nursery() as nursery:
            serve = functools.partial(triosock.serve_tcp, shout, 0, host="127.0.0.1", name="the one")
            server = await nursery.start(serve)
            signal.raise_signal(signal.SIGTERM)
            await server.wait_closed()
            raise ValueError("planned")

    with pytest.raises(ExceptionGroup):
        triosock.run(program)
    assert "the one: drained" in capsys.readouterr().err
