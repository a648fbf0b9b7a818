"""The parent's control socket: all workers in one tree, and verbs for those who allow them."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio

import triosock
from tests import programs
from tests.event_readers import read, reading
from triosock.cli import main
from triosock.observe import control as observe_control
from triosock.observe.control import parse_tree
from triosock.observe.event_stream import EventStream
from triosock.workers import control, control_client
from triosock.workers.events import _pass_on
from triosock.workers.metrics import merge_metrics

from .conftest import HERE, PATIENCE, ask, controlled, dial, occupy, processes, until

QUICK = triosock.Supervision(settle=0)


async def request(path: Path, message: object) -> dict[str, object]:
    def exchange() -> bytes:
        with programs.dial(path) as client:
            client.sock.settimeout(PATIENCE)
            return client.ask(json.dumps(message).encode() + b"\n")

    return json.loads(await trio.to_thread.run_sync(exchange))


async def test_the_tree_of_all_workers_is_one(tmp_path):
    async with controlled(tmp_path) as (workers, path), dial(workers) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        served_by = int(await ask(client, "pid"))
        tree = parse_tree(json.dumps(await request(path, {"want": "tree"})))
        assert [one.name for one in tree.children] == [
            f"worker {one.number}, process {one.process}" for one in workers.statistics()
        ]
        assert all(dict(one.counts)["memory"] > 1_000_000 for one in tree.children)
        (mine,) = (one for one in tree.children if str(served_by) in one.name)
        assert [one.state for one in mine.walk() if one.kind == "connection"] == ["idle"]
        assert "verbs are not allowed" in str(await request(path, {"do": "drain"}))
        assert "the only request" in str(await request(path, {"want": "drain"}))
        assert "limit must be an int" in str(await request(path, {"want": "tree", "limit": -1}))
    assert not path.exists()


async def test_the_events_of_all_workers_are_one_stream_also_across_a_restart(tmp_path):
    async with controlled(tmp_path, verbs=True, supervision=QUICK) as (workers, path):
        before = set(processes(workers))
        async with reading(path, kinds=["ConnectionClosed"]) as conn:
            ready = await read(conn, 2, PATIENCE)
            assert {(one["event"], one["process"]) for one in ready} == {
                ("WorkerReady", process) for process in before
            }
            await request(path, {"do": "restart"})
            told = await read(conn, 4, PATIENCE)
            assert sorted(one["event"] for one in told) == ["WorkerEnded"] * 2 + ["WorkerReady"] * 2
            assert {one["process"] for one in told if one["event"] == "WorkerEnded"} == before
            assert {one["how"] for one in told if one["event"] == "WorkerEnded"} == {"exited with 0"}
            async with dial(workers) as client:
                served_by = int(await ask(client, "pid"))
            (closed,) = await read(conn, 1, PATIENCE)
            (number,) = (one.number for one in workers.statistics() if one.process == served_by)
            assert (closed["event"], closed["worker"], closed["cause"]) == (
                "ConnectionClosed",
                number,
                "finished",
            )


async def test_verbs_restart_resize_suspend_and_cut(tmp_path):
    async with controlled(tmp_path, workers=1, verbs=True, supervision=QUICK) as (workers, path):
        old = processes(workers)
        assert await request(path, {"do": "restart"}) == {"done": "1 replaced"}
        await until(lambda: processes(workers) != old and len(processes(workers)) == 1)
        assert await request(path, {"do": "workers", "count": 2}) == {"done": "2 workers"}
        assert await request(path, {"do": "workers", "count": 1}) == {"done": "1 workers"}
        for wrong, words in (("two", "count must be an int from 1 on"), (0, "count must be from 1 on")):
            assert words in (await request(path, {"do": "workers", "count": wrong}))["error"]
        assert "count must be an int from 1 on" in (await request(path, {"do": "workers"}))["error"]
        await until(lambda: len(processes(workers)) == 1)

        async with dial(workers) as client:
            assert await ask(client, "hello") == "HELLO"
            answer = await request(path, {"do": "cut", "worker": 1, "connection": 1})
            assert "connection 1 of tcp://" in str(answer["done"])
            with pytest.raises((trio.BrokenResourceError, triosock.Incomplete)):
                await ask(client, "hello")
        for wrong, words in (
            ({"do": "cut", "worker": 1, "connection": 99}, "there are 0 connections"),
            ({"do": "suspend", "worker": 7}, "there is no worker 7"),
            ({"do": "dance"}, "do is one of"),
        ):
            assert words in str(await request(path, wrong))

        assert "are suspended" in str(await request(path, {"do": "suspend"}))
        async with dial(workers) as client:
            with trio.move_on_after(0.5) as scope:
                await client.send_all(b"hello\n")
                await client.receive_some()
            assert scope.cancelled_caught
            assert "accept again" in str(await request(path, {"do": "resume"}))
            assert await client.receive_until(b"\n") == b"HELLO\n"
        assert await request(path, {"do": "drain"}) == {"done": "all workers drain"}
        await workers.wait_closed()


async def test_it_answers_in_a_drain_until_the_last_worker_has_ended(tmp_path):
    async with controlled(tmp_path, verbs=True, grace=PATIENCE) as (workers, path):
        async with await occupy(workers, "wait") as client:
            assert await request(path, {"do": "drain"}) == {"done": "all workers drain"}
            await until(lambda: len(processes(workers)) == 1)
            tree = parse_tree(json.dumps(await request(path, {"want": "tree"})))
            assert [one.state for one in tree.children] == ["draining"]
            assert "the service drains" in str(await request(path, {"do": "restart"}))
            assert await request(path, {"do": "workers", "count": 3}) == {"error": "the service drains"}
            await client.send_all(b"go on\n")
            assert await client.receive_until(b"\n") == b"waited\n"
        await workers.wait_closed()
    assert not path.exists()


async def test_a_restart_takes_longer_than_a_request_may_take_to_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr(observe_control, "TIMEOUTS", attrs.evolve(observe_control.TIMEOUTS, request=1.0))
    supervision = triosock.Supervision(settle=2.0)
    async with controlled(tmp_path, workers=1, verbs=True, supervision=supervision) as (_, path):
        assert await request(path, {"do": "restart"}) == {"done": "1 replaced"}
        with trio.fail_after(PATIENCE):
            for verb in (b"", b'{"do": "resume"}\n'):
                stream = await trio.open_unix_socket(path)
                async with stream, triosock.Connection(stream) as client:
                    await client.send_all(verb)
                    if verb:
                        assert b"accept again" in await client.receive_until(b"\n")
                    await client.send_all(b'{"do":')
                    with pytest.raises(trio.BrokenResourceError):
                        assert await client.receive_some() == b""
                        raise trio.BrokenResourceError  # a Unix socket has no reset


async def test_the_command_tells_and_prints_what_was_done(tmp_path, capsys):
    async with controlled(tmp_path, workers=1, verbs=True, supervision=QUICK) as (workers, path):
        assert await trio.to_thread.run_sync(main, ["tell", str(path), "restart"]) == 0
        assert capsys.readouterr().out == "1 replaced\n"
        assert await trio.to_thread.run_sync(main, ["tell", str(path), "cut", "--worker", "1"]) == 1
        assert "do is" in capsys.readouterr().err
        done = await trio.run_process(
            [sys.executable, "-m", "triosock", "top", str(path), "--once"], capture_stdout=True
        )
        assert f"worker 1, process {processes(workers)[0]}" in done.stdout.decode()
    assert await trio.to_thread.run_sync(main, ["tell", str(path), "drain"]) == 1
    assert "No such file" in capsys.readouterr().err


async def test_the_metrics_of_all_workers_are_one_text(tmp_path, capsys):
    pytest.importorskip("prometheus_client")
    async with controlled(tmp_path, f"{HERE}:measured") as (workers, path), dial(workers) as client:
        assert await ask(client, "hello") == "HELLO"
        assert await trio.to_thread.run_sync(main, ["tell", str(path), "metrics"]) == 0
    text = capsys.readouterr().out
    from prometheus_client.parser import text_string_to_metric_families

    families = {one.name: one for one in text_string_to_metric_families(text)}
    # Of the process, and so of each worker; and of the connection, which one of them has.
    assert {one.labels["worker"] for one in families["python_info"].samples} == {"1", "2"}
    assert [one.value for one in families["triosock_connections_active"].samples] == [1.0]


def test_families_stand_together_and_say_once_what_they_are():
    texts = [
        (1, '# HELP a_total What.\n# TYPE a_total counter\na_total{x="}"} 1.0\n# TYPE b gauge\nb 2.0\n'),
        (2, "# HELP a_total What.\n# TYPE a_total counter\na_total 3.0\nalone 4\n"),
    ]
    assert merge_metrics(texts).splitlines() == [
        "# HELP a_total What.",
        "# TYPE a_total counter",
        'a_total{worker="1",x="}"} 1.0',
        'a_total{worker="2"} 3.0',
        "# TYPE b gauge",
        'b{worker="1"} 2.0',
        'alone{worker="2"} 4',
    ]


async def test_a_worker_that_ends_while_it_is_asked_is_left_out_of_the_tree(tmp_path, monkeypatch):
    async with controlled(tmp_path, supervision=QUICK) as (workers, path):
        ask_worker = control.ask

        async def ask_when_one_is_left(worker, message):
            await workers.set_count(1)
            await until(lambda: len(workers.living()) == 1)
            return await ask_worker(worker, message)

        monkeypatch.setattr(control, "ask", ask_when_one_is_left)
        tree = parse_tree(json.dumps(await request(path, {"want": "tree"})))
        (left,) = workers.statistics()
        assert [one.name for one in tree.children] == [f"worker 1, process {left.process}"]


@pytest.mark.parametrize("message", [{"want": "metrics"}, {"do": "suspend"}])
async def test_several_stuck_workers_take_no_longer_than_one(tmp_path, monkeypatch, message):
    asked = []

    async def ask_all_of_them(worker, message):
        asked.append(worker.number)
        await until(lambda: len(asked) == 2)
        return {"error": "no answer within 2 s"}

    async with controlled(tmp_path, verbs=True) as (workers, path):
        monkeypatch.setattr(control, "ask", ask_all_of_them)
        answer = await request(path, message)
        assert "no answer within 2 s" in str(answer["error"])
        assert sorted(asked) == [one.number for one in workers.statistics()]


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\n"])
async def test_an_answer_that_is_no_json_object_is_an_error_of_that_worker(line):
    async def answer(conn: triosock.Connection) -> None:
        await conn.receive_some()
        await conn.send_all(line)

    name = f"triosock-test-{secrets.token_hex(8)}"
    async with trio.open_nursery() as nursery:
        await nursery.start(triosock.serve_unix, answer, f"\0{name}")
        stub = SimpleNamespace(control=name)
        assert await control_client.ask(stub, {"want": "metrics"}) == {
            "error": "its answer is no JSON object"
        }
        nursery.cancel_scope.cancel()


async def test_a_worker_with_code_that_answers_otherwise_ends_no_stream_of_events():
    async def answer(conn: triosock.Connection) -> None:
        async for _ in conn.lines():
            await conn.send_all(b'{"error": "kinds is something else now"}\n')

    name = f"triosock-test-{secrets.token_hex(8)}"
    stream = EventStream()
    async with trio.open_nursery() as nursery:
        await nursery.start(triosock.serve_unix, answer, f"\0{name}")
        await _pass_on(SimpleNamespace(control=name, number=1, id=7), stream, None)
        nursery.cancel_scope.cancel()
    (line,) = (await stream.receive()).splitlines()
    told = json.loads(line)
    assert (told["event"], told["worker"]) == ("WorkerSilent", 1)
    assert "kinds is something else now" in told["error"]
