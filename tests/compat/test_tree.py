"""Servers in plain threads, in the live tree."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from tests.compat.conftest import host_threads
from tests.waiting import eventually, in_a_thread
from triosock import compat
from triosock.observe import Node, format_tree, snapshot, tree


class Handler(compat.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if line != b"work\n":
            self.wfile.write(line)  # and owes nothing from here on
        self.server.gate.pass_through()


def only(node: Node, kind: str) -> Node:
    (found,) = [one for one in node.walk() if one.kind == kind]
    return found


def test_a_sync_program_sees_what_its_threads_serve(start: Any, gate: Any) -> None:
    running = start("ThreadingTCPServer", Handler, gate=gate)
    before = set(threading.enumerate())
    with running.dial(b"work\n") as client:
        assert gate.entered.wait(20)
        assert set(threading.enumerate()) - before, "looking starts no thread; the request has one"
        assert eventually(host_threads), "and the loop, once it is idle"
        here = set(threading.enumerate())
        server = only(snapshot(), "server")
        assert set(threading.enumerate()) == here
        assert (server.name, server.state) == ("ThreadingTCPServer", "serving")
        assert server.age is not None
        assert 0 <= server.age < 60
        assert dict(server.counts) == {"active": 1, "idle": 0, "accepted": 1, "refused": 0}
        port = running.server.server_address[1]
        assert only(server, "listener") == Node(kind="listener", name=f"tcp://127.0.0.1:{port}", state="open")
        connection = only(server, "connection")
        assert connection.peer == f"tcp://127.0.0.1:{client.getsockname()[1]}"
        assert (connection.state, connection.due, connection.due_to) == ("working", None, "")
        thread = only(connection, "thread")
        assert "process_request_thread" in thread.name or thread.name.startswith("Thread-")
        assert thread.where == connection.where
        assert thread.where.startswith("conftest.py:")
        assert thread.where.endswith("in pass_through")
        assert snapshot(running.server).kind == "server"
        gate.opened.set()
    running.end()
    with pytest.raises(RuntimeError):
        snapshot()
    gone = snapshot(running.server)
    assert (gone.state, only(gone, "listener").state) == ("not accepting", "closed")


async def test_a_trio_program_sees_them_beside_its_own(start: Any, gate: Any, capsys: Any) -> None:
    policy = compat.Policy(request_timeout=60)
    running = start("ThreadingTCPServer", Handler, gate=gate, trio_policy=policy)
    async with trio.open_nursery() as nursery:
        own = compat.ThreadingUDPServer(("127.0.0.1", 0), compat.DatagramRequestHandler)
        mine: Any = await nursery.start(compat.serve, own)
        with running.dial(b"work\n"):
            assert await trio.to_thread.run_sync(gate.entered.wait, 20)
            servers = [node for node in snapshot().walk() if node.kind == "server"]
            assert [server.name for server in servers] == ["ThreadingUDPServer", "ThreadingTCPServer"]
            connection = only(servers[1], "connection")
            assert connection.name == "1"
            assert connection.due_to == "Policy.request_timeout"
            assert connection.due is not None
            assert 0 < connection.due < 60
            assert snapshot(own) == snapshot(mine) or snapshot(own).name == "ThreadingUDPServer"
            tree()
            assert "connection 1 of tcp://127.0.0.1:" in capsys.readouterr().err
            gate.opened.set()
        mine.drain()


def test_a_drain_is_seen_with_its_grace(start: Any, gate: Any) -> None:
    running = start("ThreadingTCPServer", Handler, gate=gate)
    with running.dial(b"work\n"):
        assert gate.entered.wait(20)
        with in_a_thread(compat.drain, running.server, grace=500):
            running.join()  # its loop ends first
            server = only(snapshot(), "server")
            assert server.state == "draining"
            connection = only(server, "connection")
            assert connection.due_to == "grace: drain of server ThreadingTCPServer"
            assert connection.due is not None
            assert 400 < connection.due <= 500
            gate.opened.set()


def test_more_connections_than_wanted_are_counted(start: Any, gate: Any) -> None:
    running = start("ThreadingTCPServer", Handler, gate=gate)
    with running.dial(b"1\n") as one, running.dial(b"2\n") as two:
        assert one.recv(10) == b"1\n"
        assert two.recv(10) == b"2\n"
        server = only(snapshot(limit=1), "server")
        assert server.more == 1
        assert only(server, "connection").peer.endswith(f":{one.getsockname()[1]}")
        assert format_tree(server).splitlines()[-1] == "└─ … and 1 more"
        gate.opened.set()


def test_a_child_process_is_seen(start: Any, lines: Any) -> None:
    running = start("ForkingTCPServer", lines)
    with running.dial(b"one\n") as client:
        assert client.recv(10) == b"ONE\n"
        # The child can answer before its parent has come back from the fork.
        assert eventually(lambda: running.server.active_children)
        process = only(snapshot(running.server), "process")
        assert int(process.name) in running.server.active_children
        client.shutdown(1)  # the child has a copy of this socket, too, so that closing it would not be seen
