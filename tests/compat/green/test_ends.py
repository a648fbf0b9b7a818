"""The end of a green request and of a green loop, in every order of events."""

from __future__ import annotations

import gc
import socket
import threading
from typing import Any

import pytest

from tests.compat.conftest import host_threads, read_all
from tests.programs import printed
from triosock import compat
from triosock.compat.bridge import trio_thread as hosts
from triosock.compat.green import tasks
from triosock.compat.requests.table import request_table_of


def serve(request: Any, *args: Any) -> None:
    request.sendall(b"served")


def test_an_attribute_that_fails_costs_its_request_and_not_the_server(start: Any, capfd: Any) -> None:
    works = threading.Event()

    def daemon_threads(server: Any) -> bool:
        if not works.is_set():
            raise ValueError("of ours")
        return False

    running = start("GreenTCPServer", serve, daemon_threads=property(daemon_threads))
    assert read_all(running.dial()) == b""
    works.set()
    assert read_all(running.dial()) == b"served"
    assert "ValueError: of ours" in capfd.readouterr().err


def test_ctrl_c_at_the_end_of_a_loop_leaves_no_thread(start: Any) -> None:
    running = start("GreenTCPServer", serve)
    group = request_table_of(running.server).green
    assert group is not None

    def end() -> None:
        group.__class__.loop_ends(group)
        raise KeyboardInterrupt  # as if it had come while that waited

    group.loop_ends = end
    assert read_all(running.dial()) == b"served"
    running.end()
    assert isinstance(running.error, KeyboardInterrupt)
    assert not host_threads()


def test_a_request_that_is_over_before_anybody_waits_for_its_beginning(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    with compat.GreenTCPServer(("127.0.0.1", 0), serve) as server:
        group = request_table_of(server).green
        assert group is not None
        run, over = hosts.Host.run, threading.Event()
        leave = type(group)._leave

        def note_leave(self: Any, *args: Any) -> None:
            leave(self, *args)
            over.set()

        def run_late(self: Any, *args: Any) -> Any:
            assert over.wait(20)
            # A host that was given back by its last user ends now.
            (thread,) = host_threads()
            thread.join(0.5)
            return run(self, *args)

        monkeypatch.setattr(type(group), "_leave", note_leave)
        monkeypatch.setattr(hosts.Host, "run", run_late)
        with socket.create_connection(server.server_address, 20) as client:
            server.handle_request()
            assert client.recv(10) == b"served"
        monkeypatch.undo()
    assert capfd.readouterr().err == ""  # no failure went to handle_error()
    assert not host_threads()


def test_a_handler_that_waits_keeps_no_exception(start: Any) -> None:
    def handle(request: Any, *args: Any) -> None:
        if request.recv(100) == b"look":
            kept = [one for one in gc.get_objects() if type(one) is BlockingIOError]
            request.sendall(b"%d" % len(kept))
        else:
            request.sendall(b"here")
            request.recv(100)

    running = start("GreenTCPServer", handle)
    with running.dial(b"wait") as waiting:
        assert waiting.recv(10) == b"here"
        # One handler runs at a time: when the other does, this one waits.
        assert read_all(running.dial(b"look")) == b"0"


WAITS = """
import socket, sys, threading
from triosock import compat

class Handler(compat.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"here")
        try:
            self.request.recv(1)
        finally:
            print("left", flush=True)
"""

ASKS = """
client = socket.create_connection(server.server_address)
assert client.recv(10) == b"here"
"""

AT_EXIT = (
    WAITS
    + """
class Server(compat.GreenTCPServer):
    daemon_threads = True

server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""
    + ASKS
    + """
print("main ends", flush=True)
"""
)


NATIVE_AT_EXIT = (
    WAITS
    + """
import trio, triosock

class Started:
    def started(self, server):
        addresses.append(server.addresses[0].sockaddr)
        ready.set()

async def serve():
    handler = compat.green_handler(Handler)
    await triosock.serve_tcp(handler, 0, host="127.0.0.1", task_status=Started())

addresses, ready = [], threading.Event()
threading.Thread(target=trio.run, args=(serve,), daemon=True).start()
assert ready.wait(20)
client = socket.create_connection(addresses[0])
assert client.recv(10) == b"here"
print("main ends", flush=True)
"""
)


@pytest.mark.parametrize("program", [AT_EXIT, NATIVE_AT_EXIT], ids=["compat", "native"])
def test_requests_of_a_daemon_are_cancelled_when_the_interpreter_ends(program: str) -> None:
    # One that ran on would have its thread ended in the middle of a switch, and that crashes.
    assert printed("-c", program) == "main ends\nleft\n"


def test_requests_that_take_their_time_at_the_end_of_the_interpreter_are_waited_for() -> None:
    clients = """
clients = [socket.create_connection(server.server_address) for _ in range(5)]
assert [client.recv(10) for client in clients] == [b"here"] * 5
"""
    program = AT_EXIT.replace("finally:", "finally:\n            time.sleep(AT_EXIT_TIMEOUT * 0.4)")
    program = program.replace("import socket", "import time, socket").replace(
        'print("main', clients + 'print("main'
    )
    program = "from triosock.compat.green.tasks import AT_EXIT_TIMEOUT\n" + program
    assert printed("-c", program) == "main ends\n" + "left\n" * 6


@pytest.mark.parametrize("which", ["the second", "the first"])
def test_no_request_begins_while_the_interpreter_ends(which: str) -> None:
    begins = """
from triosock.compat.green import tasks
tasks.end_all()
late = socket.create_connection(server.server_address)
print(late.recv(10), flush=True)
"""
    program, expected = AT_EXIT + begins, "main ends\nleft\nb''\n"
    if which == "the first":
        program, expected = program.replace(ASKS, ""), "main ends\nb''\n"
    assert printed("-c", program) == expected


def test_a_forked_child_does_not_wait_for_the_requests_of_its_parent() -> None:
    forks = (
        AT_EXIT
        + """
import os, time
if not os.fork():
    began = time.monotonic()
    from triosock.compat.green import tasks
    tasks.end_all()
    print(time.monotonic() - began < tasks.AT_EXIT_TIMEOUT, flush=True)
    os._exit(0)
os.wait()
"""
    )
    assert printed("-W", "ignore", "-c", forks) == "main ends\nTrue\nleft\n"


async def test_a_request_of_another_run_may_begin_while_those_of_one_are_ended(monkeypatch: Any) -> None:
    by_task: dict[object, object] = {}

    class Elsewhere:
        @property
        def readers(self) -> None:
            by_task.setdefault("new", self)  # as the thread of another run may do it, at this moment

    by_task["old"] = Elsewhere()
    monkeypatch.setattr(tasks, "_by_task", by_task)
    ended: list[str] = []
    tasks._end(tasks.readers_here(), lambda: ended.append("all"))
    assert ended == ["all"]
    assert list(by_task) == ["old", "new"]
