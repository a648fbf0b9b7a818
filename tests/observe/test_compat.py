"""Compat servers in the pictures and in the live tree: their requests are bars, their threads are nodes."""

from __future__ import annotations

import socket
import threading

import pytest
import trio

from tests.servers import serving_in_a_thread
from tests.waiting import PATIENCE
from triosock import compat
from triosock.observe import AccessLog, Timeline, snapshot


class Handler(compat.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        if line == b"boom\n":
            raise ValueError("planned")
        self.wfile.write(line)
        self.rfile.readline()


class Server(compat.ThreadingTCPServer):
    def handle_error(self, request, client_address):
        pass


class GreenServer(compat.GreenMixIn, compat.TCPServer):
    def handle_error(self, request, client_address):
        pass


def talk(address, line):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(line)
        return client.recv(100)


@pytest.mark.parametrize("server_class", [Server, GreenServer])
def test_a_plain_compat_server_is_recorded_by_a_timeline_around_it(server_class):
    with (
        Timeline() as timeline,
        server_class(("127.0.0.1", 0), Handler) as server,
        serving_in_a_thread(server),
    ):
        assert talk(server.server_address, b"hello\n") == b"hello\n"
        assert talk(server.server_address, b"boom\n") == b""
    (band,) = timeline.picture().bands
    assert band.title == f"{server_class.__name__} on tcp://127.0.0.1:{server.server_address[1]}"
    ((opened, shut),) = band.doors
    assert opened < band.boxes[0].start
    assert [flag.kind for flag in band.flags] == ["closed"]
    assert max(shut, *(box.end for box in band.boxes)) <= band.end
    assert [box.end_kind for box in band.boxes] == ["finished", "failed"]
    assert [piece.kind for box in band.boxes for piece in box.pieces] == ["handler", "handler"]
    assert "ValueError: planned" in band.boxes[1].text


def test_a_drained_one_has_all_the_lines_of_a_native_one():
    with (
        Timeline() as timeline,
        Server(("127.0.0.1", 0), Handler) as server,
        serving_in_a_thread(server) as serving,
    ):
        assert talk(server.server_address, b"hello\n") == b"hello\n"
        compat.drain(server)
        serving.join(PATIENCE)
        assert not serving.is_alive()
    (band,) = timeline.picture().bands
    assert [flag.word for flag in band.flags] == ["drain", "drained, closed"]
    assert band.doors[0][1] < band.end


def test_time_goes_on_though_each_request_may_have_a_trio_run_of_its_own():
    with Timeline() as timeline, Server(("127.0.0.1", 0), Handler) as server:
        for _ in range(3):
            before = threading.enumerate()
            with socket.create_connection(server.server_address, timeout=30) as client:
                server.handle_request()
                client.sendall(b"hello\n")
                assert client.recv(100) == b"hello\n"
                new = [one for one in threading.enumerate() if one not in before]
                (handling,) = [one for one in new if "process_request" in one.name]
            handling.join(PATIENCE)
    (band,) = timeline.picture().bands
    assert len(band.boxes) == 3
    starts, ends = [box.start for box in band.boxes], [box.end for box in band.boxes]
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert timeline.picture().end == ends[-1] < 30


def test_without_a_timeline_it_has_no_more_threads_than_it_would():
    with Server(("127.0.0.1", 0), Handler) as server:
        assert not compat.requests.table.request_table_of(server).is_overseen


@pytest.mark.parametrize("timeout", [None, 60])
async def test_a_compat_server_in_a_trio_program_is_in_the_tree_with_its_threads(timeout):
    class Patient(Server):
        if timeout is not None:
            trio_policy = compat.Policy(request_timeout=timeout)

    server = Patient(("127.0.0.1", 0), Handler)
    with Timeline() as timeline:
        async with trio.open_nursery() as nursery:
            running = await nursery.start(lambda task_status: compat.serve(server, task_status=task_status))
            with trio.socket.socket() as client:
                await client.connect(server.server_address)
                await client.send(b"hello\n")
                assert await client.recv(100) == b"hello\n"
                (node,) = [one for one in snapshot().walk() if one.kind == "server"]
                assert (node.name, node.state) == ("Patient", "serving")
                (connection,) = [one for one in node.children if one.kind == "connection"]
                assert connection.peer.startswith("tcp://127.0.0.1:")
                assert connection.due_to == ("" if timeout is None else "Policy.request_timeout")
                (thread,) = connection.children
                assert (thread.kind, thread.name.startswith("Thread-")) == ("thread", True)
                assert thread.where.startswith("test_compat.py:")
                assert thread.where.endswith("in handle")
            running.drain()
    (band,) = timeline.picture().bands
    assert band.end is not None
    assert [box.end_kind for box in band.boxes] == ["finished"]


def test_a_compat_server_has_an_access_log():
    lines = []

    class Logged(Server):
        trio_policy = compat.Policy(
            observers=(AccessLog(lines.append, format="$remote_addr $protocol $cause"),)
        )

    with Logged(("127.0.0.1", 0), Handler) as server, serving_in_a_thread(server):
        assert talk(server.server_address, b"hello\n") == b"hello\n"
        assert talk(server.server_address, b"boom\n") == b""
    assert sorted(lines) == ["127.0.0.1 TCP failed", "127.0.0.1 TCP finished"]
