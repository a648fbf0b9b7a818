"""The answers of the page "Questions and answers" do what they say."""

from __future__ import annotations

import json
import math
import re
import socket
import ssl
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

import triosock
from tests.docs.units import CODE, DOCS
from tests.handlers import ask, ask_line
from tests.health.client import get
from tests.servers import connected
from tests.tls import trusting
from tests.waiting import PATIENCE
from triosock.testing import open_server

PAGE = (DOCS / "howto" / "questions.md").read_text()


@pytest.fixture
def answers(load: Any) -> Any:
    return load("questions")


async def talk(client: Any, *says: bytes) -> bytes:
    """Say it, end, and return all that comes."""
    async with client:
        await client.send_all(b"".join(says))
        await client.send_eof()
        return b"".join([data async for data in client])


def test_there_are_at_least_thirty_and_each_is_short(answers: Any) -> None:
    assert len(re.findall("^### ", PAGE, re.M)) >= 30
    lines = (CODE / "questions.py").read_text().split("\n\n\n")
    assert max(len(block.splitlines()) for block in lines) <= 16


async def test_two_ports_drain_together(answers: Any) -> None:
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            first, second = await nursery.start(answers.two_ports)
            for server, answer in ((first, b"HELLO\n"), (second, b"127.0.0.1\n")):
                stream = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
                assert await talk(stream, b"hello\n") == answer
            scope.drain()
    assert len(scope.reports) == 2


async def test_the_system_chooses_a_port(answers: Any, nursery: Any) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", await answers.find_port(nursery))
    assert await talk(stream, b"a\n") == b"A\n"
    nursery.cancel_scope.cancel()


async def test_connections_share_a_counter(answers: Any) -> None:
    async with open_server(answers.Counter().handle) as served:
        assert [await talk(await served.connect()) for _ in range(2)] == [
            b"you are number 1\n",
            b"you are number 2\n",
        ]


async def test_the_background_job_ends_with_the_server(answers: Any, autojump_clock: Any) -> None:
    seen: list[float] = []
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[Any]) -> None:
            seen.extend(await answers.with_background_job(task_status=task_status))

        server = await nursery.start(run)
        await trio.sleep(150)
        server.drain()
    assert len(seen) == 2


async def test_what_blocks_runs_in_a_thread(answers: Any) -> None:
    async with open_server(answers.ask_blocking) as served:
        answer = await talk(await served.connect(), b"x\n")
    assert answer.startswith(b"x in ")
    assert threading.current_thread().name.encode() not in answer


async def test_a_context_is_each_connections_own(answers: Any) -> None:
    async with open_server(answers.with_context) as served:
        one, two = await served.connect(), await served.connect()
        assert await ask_line(one, b"1\n") == b"request 1\n"
        assert await talk(two, b"2\n") == b"request 2\n"


async def test_who_it_is_and_who_is_connected(answers: Any, tmp_path: Path, nursery: Any) -> None:
    import os

    path = tmp_path / "socket"
    await nursery.start(partial(triosock.serve_unix, answers.tell_who, path))
    told = await talk(await trio.open_unix_socket(path))
    assert told == f"process {os.getpid()} of user {os.getuid()}\n".encode()
    server = await nursery.start(partial(triosock.serve_tcp, answers.shout, 0, host="127.0.0.1"))
    async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as client:
        await client.send_all(b"a\n")
        await client.receive_some(1)
        port = client.socket.getsockname()[1]
        assert answers.who_is_connected(server) == [(f"tcp://127.0.0.1:{port}", "idle")]
    nursery.cancel_scope.cancel()


async def test_a_pause(answers: Any, autojump_clock: Any) -> None:
    async with open_server(answers.shout) as served, trio.open_nursery() as nursery:
        nursery.start_soon(answers.pause, served.server, 5)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        assert await talk(await served.connect(), b"a\n") == b"A\n"
        assert trio.current_time() - began >= 5


async def test_a_handler_shuts_the_server_down(answers: Any) -> None:
    async with open_server(answers.stop_from_a_handler) as served:
        assert await talk(await served.connect(), b"a\n", b"shutdown\n") == b"a\nbye\n"
        report = await served.server.wait_closed()
    assert (report.finished, report.cancelled) == (1, 0)


async def test_asyncio_in_a_thread(answers: Any) -> None:
    async with open_server(answers.call_asyncio) as served:
        assert await talk(await served.connect(), b"a\n") == b"A\n"


async def test_the_log_says_who_closed_first(answers: Any) -> None:
    said: list[dict[str, Any]] = []
    log = answers.JsonLog(lambda line: said.append(json.loads(line)))
    async with open_server(answers.shout, observers=[log]) as served:
        assert await talk(await served.connect(), b"a\n") == b"A\n"
        client = await served.connect()
        await client.send_all(b"half")
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert [one["cause"] for one in said] == ["finished", "peer"]
    assert all(one["seconds"] >= 0 and one["peer"] for one in said)


async def test_frames_and_files(answers: Any, tmp_path: Path) -> None:
    async with connected(answers.count_frames) as (served, client):
        assert await talk(client, (5).to_bytes(4, "big"), b"hello") == b"5 bytes\n"
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    async with open_server(partial(answers.send_file, path=tmp_path / "file")) as served:
        assert len(await talk(await served.connect())) == 100_000


async def test_a_deadline_of_ones_own(answers: Any, autojump_clock: Any) -> None:
    async with open_server(answers.speak_first) as served:
        assert await talk(await served.connect(), b"Ann\n") == b"your name?\nhello Ann\n"
        slow = await served.connect()
        assert b"".join([data async for data in slow]) == b"your name?\ntoo slow\n"


async def test_timeouts_change_after_the_login(answers: Any, autojump_clock: Any) -> None:
    async with open_server(answers.after_login) as served:
        silent, known = await served.connect(), await served.connect()
        await known.send_all(b"secret\n")
        began = trio.current_time()
        assert await silent.receive_some() == b""
        assert 10 <= trio.current_time() - began < 20
        await trio.sleep(10_000)
        assert await talk(known, b"still here\n") == b"still here\n"


async def test_the_two_ends_of_a_connection(answers: Any) -> None:
    async with open_server(answers.close_code) as served:
        assert await talk(await served.connect(), b"polite\n") == b"bye\n"
        rude = await served.connect()
        await rude.send_all(b"rude\n")
        with pytest.raises(trio.BrokenResourceError):
            await rude.receive_some()


async def test_limits_and_timeouts_are_what_they_say(answers: Any) -> None:
    assert answers.limits.max_connections_per_peer == 10
    assert (answers.timeouts.idle, answers.timeouts.handshake) == (60, triosock.Timeouts().handshake)
    assert answers.timeouts.grace < math.inf


@pytest.mark.parametrize("knows", [True, False])
async def test_certificates_of_clients(answers: Any, knows: bool) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = answers.client_certificates(authority)
    authority.issue_cert("new.example").configure_cert(context)
    async with open_server(answers.shout, tls=context) as served:
        theirs = trusting(authority)
        (authority if knows else stranger).issue_cert("ann@example.org").configure_cert(theirs)
        client = trio.SSLStream(await served.connect(), theirs, server_hostname="new.example")
        if knows:
            assert await ask(client, b"a\n") == b"A\n"
        else:
            with pytest.raises((ssl.SSLError, trio.BrokenResourceError)):
                await client.send_all(b"a\n")
                await client.receive_some()
        await trio.aclose_forcefully(client)


async def test_datagrams_are_answered(answers: Any, nursery: Any) -> None:
    server = await nursery.start(partial(triosock.serve_udp, answers.answer_datagram, 0, host="127.0.0.1"))
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(("127.0.0.1", server.addresses[0].port))
        await sock.send(b"a")
        assert await sock.recv(10) == b"A"
    nursery.cancel_scope.cancel()


def test_a_server_in_a_thread(answers: Any) -> None:
    stop, there = threading.Event(), threading.Event()
    addresses: list[Any] = []

    def started(address: Any) -> None:
        addresses.append(address)
        there.set()

    thread = answers.in_a_thread(answers.shout, started, stop)
    try:
        assert there.wait(PATIENCE)
        with socket.create_connection((addresses[0].host, addresses[0].port), PATIENCE) as client:
            client.sendall(b"a\n")
            assert client.recv(10) == b"A\n"
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_a_client_is_told_that_its_request_failed(answers: Any) -> None:
    async def fail(conn: triosock.Connection) -> None:
        await conn.receive_until(b"\n")
        raise ValueError("of ours")

    async with connected(fail, on_error=answers.answer_failure) as (_, client):
        assert await ask_line(client, b"a\n") == b"sorry\n"


def test_who_cancelled_a_task_and_why(answers: Any) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="sleeper")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="closing time")

    (told,) = answers.why_cancelled(main)
    assert re.fullmatch(rf"sleeper: cancel\(\) was called: closing time, at {re.escape(__file__)}:\d+", told)


async def test_a_client_may_send_so_many_requests_in_a_second(answers: Any, autojump_clock: Any) -> None:
    async with connected(answers.shout, limits=answers.rates, on_error=answers.refuse_politely) as (
        _,
        client,
    ):
        for _ in range(40):
            assert await ask_line(client, b"a\n") == b"A\n"
        await trio.sleep(1)
        for _ in range(20):
            assert await ask_line(client, b"a\n") == b"A\n"
        assert await ask_line(client, b"a\n") == b"ask again in 0.05 s\n"


async def test_a_health_port_says_whether_it_takes_clients(answers: Any, nursery: Any) -> None:
    pytest.importorskip("h11")
    server, health = await nursery.start(answers.with_health, answers.shout, "tcp://127.0.0.1:0")

    async def look(path: str) -> tuple[int, str]:
        return await trio.to_thread.run_sync(get, health.addresses[0].port, path)

    assert await look("/ready") == (200, "ready")
    server.suspend()
    code, why = await look("/ready")
    assert (code, "suspended" in why) == (503, True)
    assert (await look("/live"))[0] == 200
    server.drain()
    assert (await server.wait_closed()).clean
