"""The parent's control socket: all workers in one tree, and verbs for those who allow them."""

from __future__ import annotations

import json
import socket
import sys
from functools import partial

import pytest
import trio

import triosock
from triosock.cli import main
from triosock.observe.control import parse_tree

from .conftest import ask, dial, processes, service, until

QUICK = triosock.Supervision(settle=0)


async def request(path: object, message: object) -> dict[str, object]:
    def exchange() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(path))
            sock.sendall(json.dumps(message).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                data = sock.recv(65_536)
                assert data, answer
                answer += data
            return answer

    return json.loads(await trio.to_thread.run_sync(exchange))


async def test_the_tree_of_all_workers_is_one(tmp_path):
    path = tmp_path / "control"
    async with service(workers=2, control=path) as workers:
        await until(path.exists)
        assert path.stat().st_mode & 0o777 == 0o600
        client = dial(workers)
        served_by = int(await ask(client, "pid"))
        tree = parse_tree(json.dumps(await request(path, {"want": "tree"})))
        assert [one.name for one in tree.children] == [
            f"worker {one.number}, process {one.process}" for one in workers.statistics()
        ]
        assert all(dict(one.counts)["memory"] > 1_000_000 for one in tree.children)
        (mine,) = (one for one in tree.children if str(served_by) in one.name)
        assert [one.state for one in mine.walk() if one.kind == "connection"] == ["idle"]
        assert "the only request" in str(await request(path, {"do": "drain"}))
        await client.aclose()
    assert not path.exists()


async def test_verbs_restart_resize_suspend_and_cut(tmp_path):
    path = tmp_path / "control"
    async with service(workers=1, control=path, verbs=True, supervision=QUICK) as workers:
        await until(path.exists)
        old = processes(workers)
        assert await request(path, {"do": "restart"}) == {"done": "1 replaced"}
        await until(lambda: processes(workers) != old and len(processes(workers)) == 1)
        assert await request(path, {"do": "workers", "count": 2}) == {"done": "2 workers"}
        assert await request(path, {"do": "workers", "count": 1}) == {"done": "1 workers"}
        await until(lambda: len(processes(workers)) == 1)

        client = dial(workers)
        assert await ask(client, "hello") == "HELLO"
        answer = await request(path, {"do": "cut", "worker": 1, "connection": 1})
        assert "connection 1 of tcp://" in str(answer["done"])
        with pytest.raises((trio.BrokenResourceError, triosock.Incomplete)):
            await ask(client, "hello")
        await client.aclose()
        assert "there are 0 connections" in str(
            await request(path, {"do": "cut", "worker": 1, "connection": 99})
        )
        assert "there is no worker 7" in str(await request(path, {"do": "suspend", "worker": 7}))
        assert "do is one of" in str(await request(path, {"do": "dance"}))

        assert "are suspended" in str(await request(path, {"do": "suspend"}))
        client = dial(workers)
        with trio.move_on_after(0.5) as scope:
            await client.send_all(b"hello\n")
            await client.receive_some()
        assert scope.cancelled_caught
        assert "accept again" in str(await request(path, {"do": "resume"}))
        assert await client.receive_until(b"\n") == b"HELLO\n"
        await client.aclose()
        assert await request(path, {"do": "drain"}) == {"done": "all workers drain"}
        await workers.wait_closed()


async def test_the_command_tells_and_prints_what_was_done(tmp_path, capsys):
    path = tmp_path / "control"
    async with service(workers=1, control=path, verbs=True, supervision=QUICK) as workers:
        await until(path.exists)
        assert await trio.to_thread.run_sync(main, ["tell", str(path), "restart"]) == 0
        assert capsys.readouterr().out == "1 replaced\n"
        assert await trio.to_thread.run_sync(main, ["tell", str(path), "cut", "--worker", "1"]) == 1
        assert "do is" in capsys.readouterr().err
        done = await trio.run_process(
            [sys.executable, "-m", "triosock", "top", str(path), "--once"], capture_stdout=True
        )
        assert f"worker 1, process {processes(workers)[0]}" in done.stdout.decode()
    assert await trio.to_thread.run_sync(partial(main, ["tell", str(path), "drain"])) == 1
    assert "No such file" in capsys.readouterr().err
