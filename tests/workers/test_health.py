"""The health of all workers is one answer, at the parent's port."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
import trio

import triosock
from tests.event_readers import read, reading
from tests.health.client import get
from tests.programs import running
from triosock.workers import control

from .conftest import HERE, PATIENCE, ask, controlled, dial, occupy, processes, service, until
from .test_control import request
from .test_upgrade import taken_over


def port_of(workers: triosock.Workers) -> int:
    return int(workers.endpoints.health[0].address.port)


async def probe(port: int, path: str = "/ready") -> tuple[int, str]:
    return await trio.to_thread.run_sync(get, port, path)


HEALTH = "tcp://127.0.0.1:0"
QUICK = triosock.Supervision(settle=0)


async def test_the_service_is_ready_while_a_worker_is_and_it_does_not_drain() -> None:
    async with service(workers=2, health=HEALTH, grace=30, supervision=QUICK) as workers:
        port = port_of(workers)
        assert await probe(port) == (200, "ready")
        assert await probe(port, "/live") == (200, "live")
        async with await occupy(workers, "wait") as client:
            workers.drain(delay=0.5)
            assert await probe(port) == (503, "draining")
            assert await ask(client, "go on") == "waited"
    with pytest.raises(OSError, match=r".*"):
        await probe(port)


async def test_as_many_readers_of_events_as_there_may_be_take_nothing_out(tmp_path) -> None:
    async with controlled(tmp_path, workers=1, health=HEALTH) as (workers, path):
        async with contextlib.AsyncExitStack() as readers:
            for _ in range(int(control.LIMITS.max_connections)):
                conn = await readers.enter_async_context(reading(path))
                assert (await read(conn, 1, PATIENCE))[0]["event"] == "WorkerReady"
            assert await probe(port_of(workers)) == (200, "ready")


async def test_a_crash_and_a_restart_take_nothing_out() -> None:
    async with service(workers=2, health=HEALTH, supervision=QUICK) as workers:
        port, answers = port_of(workers), []
        first = processes(workers)[0]
        os.kill(first, signal.SIGKILL)
        async with trio.open_nursery() as nursery:

            async def keep_asking() -> None:
                while True:
                    answers.append(await probe(port))

            nursery.start_soon(keep_asking)
            await until(lambda: first not in processes(workers) and len(workers.statistics()) == 2)
            assert (await workers.restart()).replaced == 2
            nursery.cancel_scope.cancel()
        assert len(answers) > 3
        assert set(answers) == {(200, "ready")}


async def test_a_stuck_worker_takes_nothing_out_and_all_of_them_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triosock.workers.control_client._TIMEOUT", 2.0)
    async with service(workers=2, health=HEALTH) as workers:
        port, stuck = port_of(workers), set()
        while len(stuck) < 2:
            async with dial(workers) as client:
                with trio.move_on_after(5):
                    stuck.add(await ask(client, "number"))
                    assert await ask(client, "block") == "begun"
                    if len(stuck) == 1:
                        assert await probe(port) == (200, "ready")
        status, text = await probe(port)
        assert status == 503
        assert text.splitlines() == [f"worker {number}: no answer within 2 s" for number in (1, 2)]
        assert await probe(port, "/live") == (200, "live")
        for process in processes(workers):
            os.kill(process, signal.SIGKILL)


async def test_suspended_workers_are_not_ready(tmp_path: Path) -> None:
    async with controlled(tmp_path, workers=1, health=HEALTH, verbs=True) as (workers, path):
        port = port_of(workers)
        await request(path, {"do": "suspend"})
        status, text = await probe(port)
        assert status == 503
        assert re.fullmatch(r"worker 1: tcp://127\.0\.0\.1:\d+: suspended", text)
        assert (await request(path, {"want": "ready"}))["not_ready"] == [text]
        await request(path, {"do": "resume"})
        assert await probe(port) == (200, "ready")


async def test_a_program_that_cannot_be_asked_is_ready_when_it_says_so() -> None:
    program = (
        "import os, socket, time\n"
        "sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "sock.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0)))\n"
        "time.sleep(600)\n"
    )
    async with service([sys.executable, "-c", program], workers=1, health=HEALTH, grace=0) as workers:
        assert await probe(port_of(workers)) == (200, "ready")


async def test_a_port_in_use_ends_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(triosock.AddressUnavailable, match=str(port)):
            await triosock.serve_workers(
                f"{HERE}:shout", ["tcp://127.0.0.1:0"], workers=1, health=f"tcp://127.0.0.1:{port}"
            )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_an_upgrade_takes_the_port_over_and_nobody_is_told_that_it_is_not_ready(tmp_path: Path) -> None:
    health, answers, ended = free_port(), [], threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            answers.append(get(health))

    words = ["serve", "tcp://127.0.0.1:0", "--handler", "triosock.cli.handlers:shout", "--workers", 1]
    command = ["-m", "triosock", *words, "--health", f"tcp://127.0.0.1:{health}"]
    with running(*command, cwd=tmp_path) as program:
        program.wait_for("workers: 1 workers on")
        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            program.signal(signal.SIGUSR2)
            with taken_over(program):
                assert program.process.wait(PATIENCE) == 0
                answers.append(get(health))
                ended.set()
                asking.join(PATIENCE)
        finally:
            ended.set()
            asking.join()
        program.wait()  # a child of nobody here: the pipe's end says that it has gone
        assert set(answers) == {(200, "ready")}
