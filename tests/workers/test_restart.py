"""Rolling restarts, crashes, and replacements of healthy workers."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import ask_line
from tests.programs import server_program
from triosock.workers.signals import handle_signals

from .conftest import HERE, PATIENCE, ask, dial, occupy, processes, service, until

#: What a test does not want to wait for.
QUICK = triosock.Supervision(settle=0.3, ready=20, backoff=0.1, stable=0.5)


def breakable(folder: Path, **options: Any) -> contextlib.AbstractAsyncContextManager[triosock.Workers]:
    """A service whose next workers are broken if the file `how` in this folder says so."""
    environment = {**os.environ, "BROKEN": str(folder / "how")}
    return service(f"{HERE}:not_when_told", environment=environment, **options)


async def test_a_rolling_restart_replaces_all_and_no_client_notices():
    async with service(workers=2, supervision=QUICK) as workers:
        old = set(processes(workers))
        failures: list[str] = []
        answers = 0

        async def client() -> None:
            nonlocal answers
            while not stop.is_set():
                conn = dial(workers)
                # Between two requests the end of the stream is fine; in one, or a refused connect, is not.
                while not stop.is_set():
                    try:
                        answer = await ask_line(conn, b"hello\n")
                    except triosock.Incomplete as error:
                        if error.partial:
                            failures.append(repr(error))
                        break
                    except trio.BrokenResourceError:
                        break
                    assert answer == b"HELLO\n"
                    answers += 1
                await conn.aclose()

        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client)
            await until(lambda: answers > 100)
            report = await workers.restart()
            answers_until_then = answers
            await until(lambda: answers > answers_until_then + 100)
            stop.set()
        assert report == triosock.RestartReport(replaced=2)
        assert not failures
        await until(lambda: len(processes(workers)) == 2)
        assert not old & set(processes(workers))
        assert {one.generation for one in workers.statistics()} == {2}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("import", "exited with 1 before it was ready"),
        ("never", r"killed \(not ready within 1 s\)"),
        ("after", "exited with 3 as soon as it was ready"),
    ],
)
async def test_a_broken_deploy_keeps_the_old(tmp_path, how, words):
    patient = triosock.Supervision(settle=0, ready=PATIENCE)
    async with breakable(tmp_path, supervision=patient) as workers:
        old = processes(workers)
        (tmp_path / "how").write_text(how)
        supervise(workers, triosock.Supervision(settle=PATIENCE, ready=1 if how == "never" else PATIENCE))
        report = await workers.restart()
        assert report.replaced == 0
        assert re.search(words, report.failure)
        assert processes(workers) == old
        async with dial(workers) as client:
            assert await ask(client, "hello") == "HELLO"
        (tmp_path / "how").unlink()
        supervise(workers, patient)
        assert (await workers.restart()).replaced == 2


def supervise(workers: triosock.Workers, supervision: triosock.Supervision) -> None:
    """Have a service treat its workers like this from now on."""
    object.__setattr__(workers._settings, "supervision", supervision)
    for slot in workers._slots:
        slot._supervision = supervision


async def test_a_crashed_worker_is_replaced_and_the_others_serve_meanwhile(tmp_path):
    async with breakable(tmp_path, supervision=QUICK) as workers:
        old = processes(workers)
        victim = dial(workers)
        pid = int(await ask(victim, "pid"))
        # Until the file is gone there is no replacement.
        (tmp_path / "how").write_text("import")
        os.kill(pid, signal.SIGKILL)
        async with dial(workers) as client:
            assert int(await ask(client, "pid")) in set(old) - {pid}
            (tmp_path / "how").unlink()
            await until(lambda: len(processes(workers)) == 2 and pid not in processes(workers))
            await until(lambda: {one.state for one in workers.statistics()} == {"ready"})
        await trio.aclose_forcefully(victim)


async def test_a_worker_that_is_killed_costs_its_own_requests_and_no_others():
    async with service(workers=2, supervision=QUICK) as workers:
        clients = [dial(workers) for _ in range(40)]
        owners = [int(await ask(client, "pid")) for client in clients]
        victim = owners[0]
        in_flight = [index for index in range(40) if index % 2]
        for index in in_flight:
            assert await ask(clients[index], "wait") == "begun"
        os.kill(victim, signal.SIGKILL)
        await until(lambda: victim not in processes(workers))
        for index in in_flight:
            if owners[index] == victim:
                with pytest.raises((trio.BrokenResourceError, triosock.Incomplete)):
                    await ask(clients[index], "go on")
            else:
                assert await ask(clients[index], "go on") == "waited"
        for index, client in enumerate(clients):
            # Those of the other worker go on, idle ones too.
            if owners[index] != victim:
                assert await ask(client, "hello") == "HELLO"
            await trio.aclose_forcefully(client)


async def test_a_worker_whose_event_loop_stands_is_killed_and_replaced(capfd):
    async with service(workers=1, supervision=triosock.Supervision(watchdog=2.0)) as workers:
        (old,) = processes(workers)
        client = await occupy(workers, "block")
        await until(lambda: processes(workers) and processes(workers) != [old])
        await until(lambda: [one.state for one in workers.statistics()] == ["ready"])
        await trio.aclose_forcefully(client)
    # What faulthandler says to SIGABRT: where it stood.
    assert "in handle" in capfd.readouterr().err


def test_a_worker_without_stderr_has_nowhere_to_print_its_stack_and_serves():
    words = [sys.executable, "-m", "triosock.workers.program", "trio.lowlevel:checkpoint"]
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *words], timeout=PATIENCE, check=False)
    assert done.returncode == 0


async def test_a_crash_loop_ends_the_service_and_says_why(tmp_path):
    supervision = triosock.Supervision(backoff=0.05, max_backoff=0.1, max_crashes=3)
    with pytest.RaisesGroup(triosock.WorkersFailed) as caught:
        async with breakable(tmp_path, supervision=supervision) as workers:
            (tmp_path / "how").write_text("import")
            for pid in processes(workers):
                os.kill(pid, signal.SIGKILL)
            with trio.fail_after(PATIENCE):
                await workers.wait_closed()
                await trio.sleep_forever()
    text = str(caught.value.exceptions[0])
    assert "all workers crashed 3 times in a row: worker" in text
    assert "exited with 1 before it was ready" in text


async def test_crashes_of_long_ago_do_not_end_a_service_whose_other_worker_is_well():
    supervision = triosock.Supervision(backoff=0.01, max_backoff=0.01, stable=3600, max_crashes=2)
    async with service(workers=2, supervision=supervision) as workers:

        async def crash_twice(number: int) -> None:
            for _ in range(2):
                (worker,) = workers._slots[number].workers
                os.kill(worker.id, signal.SIGKILL)
                await worker.ended.wait()
                await until(lambda: [one.state for one in workers._slots[number].workers] == ["ready"])

        await crash_twice(0)
        workers._slots[0].workers[0].ready_at -= 3600  # since then it is stable
        await crash_twice(1)
        client = dial(workers)
        assert await ask(client, "hello") == "HELLO"
        await client.aclose()


async def test_a_new_deploy_shortens_the_wait_after_a_crash(tmp_path):
    supervision = triosock.Supervision(backoff=600, max_backoff=600)
    async with breakable(tmp_path, workers=1, supervision=supervision) as workers:
        (tmp_path / "how").write_text("import")
        os.kill(processes(workers)[0], signal.SIGKILL)
        await until(lambda: not processes(workers))
        # The second start failed, and the third one waits for ten minutes.
        await until(lambda: workers._slots[0].crashes == 2)
        (tmp_path / "how").unlink()
        with trio.fail_after(PATIENCE):
            report = await workers.restart()
        assert not report.failure


async def test_a_number_with_too_many_zeros_can_be_taken_back():
    """Between two of its workers a drain or a cancellation comes through."""
    async with service(workers=1) as workers:
        with trio.testing.assert_checkpoints():
            await workers._add_slot()


async def test_the_number_of_workers_changes():
    async with service(workers=1) as workers:
        await workers.set_count(3)
        assert [one.number for one in workers.statistics()] == [1, 2, 3]
        await workers.set_count(1)
        await until(lambda: [one.number for one in workers.statistics()] == [1])
        async with dial(workers) as client:
            assert await ask(client, "number") == "1"
        with pytest.raises(ValueError, match="count must be"):
            await workers.set_count(0)


@pytest.mark.parametrize(
    ("recycle", "line"),
    [
        (triosock.Recycle(requests=3, jitter=0), "hello"),
        (triosock.Recycle(memory=150_000_000), "grow"),
        (triosock.Recycle(age=1), "hello"),
    ],
    ids=["requests", "memory", "age"],
)
async def test_a_healthy_worker_is_replaced_when_its_time_has_come(recycle, line):
    supervision = triosock.Supervision(settle=0, watchdog=4 if recycle.memory < 1e9 else 30)
    async with service(workers=1, supervision=supervision, recycle=recycle) as workers:
        (old,) = processes(workers)
        async with dial(workers) as client:
            for _ in range(3 if recycle.requests == 3 else 1):
                await ask(client, line)
            await until(lambda: old not in processes(workers))
            # It drained: the client got all of its answers, and then the end.
            assert await client.receive_some() == b""


async def test_a_worker_whose_successor_failed_is_replaced_later(tmp_path, caplog):
    supervision = triosock.Supervision(settle=0, max_backoff=0.1)
    recycle = triosock.Recycle(requests=1, jitter=0)
    async with breakable(tmp_path, workers=1, supervision=supervision, recycle=recycle) as workers:
        (old,) = processes(workers)
        (tmp_path / "how").write_text("import")
        async with dial(workers) as client:
            await ask(client, "hello")
            await client.send_eof()
            await until(lambda: caplog.text.count("stays: worker 1") > 1)
            assert old in processes(workers)
            (tmp_path / "how").unlink()
            await until(lambda: old not in processes(workers))


async def test_a_worker_that_stays_does_not_hold_a_drain_up(tmp_path, caplog):
    supervision = triosock.Supervision(settle=0, max_backoff=3600)
    recycle = triosock.Recycle(requests=1, jitter=0)
    async with breakable(tmp_path, workers=1, supervision=supervision, recycle=recycle) as workers:
        (tmp_path / "how").write_text("import")
        async with dial(workers) as client:
            await ask(client, "hello")
            await client.send_eof()
            await until(lambda: "stays: worker 1" in caplog.text)


async def test_a_worker_that_drains_while_its_successor_settles_does_not_stay(caplog):
    recycle = triosock.Recycle(requests=1, jitter=0)
    async with service(workers=1, supervision=triosock.Supervision(settle=3600), recycle=recycle) as workers:
        async with dial(workers) as client:
            await ask(client, "hello")
            await until(lambda: [one.state for one in workers.statistics()] == ["ready", "ready"])
    assert "stays" not in caplog.text


def test_limits_of_one_worker_are_jittered_downwards():
    recycle = triosock.Recycle(age=100, requests=1000, jitter=0.5)
    drawn = [recycle.for_one() for _ in range(200)]
    assert all(50 <= one.age <= 100 and 500 <= one.requests <= 1000 for one in drawn)
    assert len({one.age for one in drawn}) > 100
    assert triosock.Recycle().for_one() == triosock.Recycle(jitter=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: triosock.Recycle(jitter=2), "from 0 to 1"),
        (lambda: triosock.Recycle(requests=0), "from 1 on"),
        (lambda: triosock.Recycle(age=0), "above 0"),
        (lambda: triosock.Supervision(ready=-1), "above 0"),
        (lambda: triosock.Supervision(settle=-1), "from 0 on"),
    ],
)
def test_wrong_policies_are_told(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_wait_after_crashes_doubles_up_to_its_limit():
    supervision = triosock.Supervision(backoff=0.5, max_backoff=3)
    assert [supervision.delay(crashes) for crashes in range(7)] == [0, 0, 0.5, 1, 2, 3, 3]
    assert supervision.delay(10_000) == 3


def test_signals_restart_and_resize(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(
        "import functools, logging, triosock\n"
        "logging.basicConfig(level='INFO')\n"
        f"triosock.run(functools.partial(triosock.serve_workers, '{HERE}:shout',"
        " ['tcp://127.0.0.1:0'], workers=1, supervision=triosock.Supervision(settle=0)))\n"
    )
    with server_program(program) as parent:
        parent.wait_for("workers: 1 workers on")
        parent.signal(signal.SIGTTIN)
        parent.wait_for(r"worker 2 \(process \d+\) is ready")
        parent.signal(signal.SIGHUP)
        parent.wait_for("restart: 2 replaced")
        parent.signal(signal.SIGTTOU)
    assert "workers: drained in" in parent.output


async def test_signals_during_a_restart_ask_for_one_more():
    begun, end = trio.open_memory_channel[None](math.inf)
    release = trio.Semaphore(0)

    async def restart() -> Mock:
        begun.send_nowait(None)
        await release.acquire()
        return Mock(failure="")

    async with trio.open_nursery() as nursery:
        await nursery.start(handle_signals, Mock(restart=restart))
        signal.raise_signal(signal.SIGHUP)
        await end.receive()
        for _ in range(5):
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
        release.release()
        await end.receive()
        release.release()
        await trio.testing.wait_all_tasks_blocked()
        assert end.statistics().current_buffer_used == 0
        nursery.cancel_scope.cancel()


async def test_a_delay_without_an_end_leaves_workers_their_grace():
    worker = Mock()
    async with service(workers=1) as workers:
        workers.drain(delay=math.inf, grace=60)
        workers._drain(worker)
    worker.drain.assert_called_once_with(60, None, math.inf)
