"""Two threads, or two processes, at the same moment: nothing hangs and nothing is lost.

Each test holds one side where the race would be lost, by a function put in its way, and lets the other pass.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import signal
import socket
import threading
import time
from typing import Any

import pytest
import trio

from tests.compat.conftest import read_all
from tests.handlers import ask
from tests.servers import serving_in_a_thread
from tests.waiting import PATIENCE, eventually, in_a_thread, returns
from triosock import compat
from triosock.compat import choose
from triosock.compat.bridge import trio_wait
from triosock.compat.control.drain_target import DrainTarget
from triosock.compat.requests.table import RequestTable, request_table_of
from triosock.compat.waiting import forking, poll, wakeup

forks_are_fine = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@forks_are_fine
async def test_cancelled_in_the_middle_of_a_fork(raw: Any, monkeypatch: Any) -> None:
    # The child answers before its parent knows its number; it has to be ended all the same.
    told = threading.Event()
    fork, cut_all = os.fork, DrainTarget.cut_all

    def fork_slowly() -> int:
        pid = fork()
        if pid:
            assert told.wait(PATIENCE)
        return pid

    def cut_all_and_tell(self: DrainTarget, cause: Any) -> None:
        cut_all(self, cause)
        told.set()

    monkeypatch.setattr(os, "fork", fork_slowly)
    monkeypatch.setattr(DrainTarget, "cut_all", cut_all_and_tell)
    server = compat.ForkingTCPServer(("127.0.0.1", 0), raw)
    async with trio.open_nursery() as nursery:
        await nursery.start(compat.serve, server)
        stream = await trio.open_tcp_stream(*server.server_address)
        assert await ask(stream, b"one") == b"ONE"
        nursery.cancel_scope.cancel()
    assert not server.active_children
    await stream.aclose()


@forks_are_fine
@pytest.mark.parametrize("how", ["cancel", "drain"])
async def test_a_child_that_ignores_its_end_is_killed(how: str) -> None:
    def handle(request: Any, *args: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        request.sendall(b"ignoring")
        while True:
            signal.pause()

    server = compat.ForkingTCPServer(("127.0.0.1", 0), handle)
    async with trio.open_nursery() as nursery:
        running = await nursery.start(compat.serve, server)
        stream = await trio.open_tcp_stream(*server.server_address)
        assert await stream.receive_some() == b"ignoring"
        if how == "cancel":
            nursery.cancel_scope.cancel()
        else:
            running.drain(grace=0)
    assert not server.active_children
    await stream.aclose()


def test_shutdown_while_the_loop_begins(monkeypatch: Any) -> None:
    # shutdown() has looked for loops and found none; now one begins, and looks at the flag, which is not set
    # yet.
    server = compat.ThreadingTCPServer(("127.0.0.1", 0), print)
    look, waits = poll.servings_of, trio_wait.TrioWait._wait_in
    begun = threading.Event()

    def wait_in(self: Any, host: Any, interval: Any) -> bool:
        begun.set()
        return waits(self, host, interval)

    def look_and_begin(server: Any) -> Any:
        found = look(server)
        if not begun.is_set():
            stack.enter_context(in_a_thread(server.serve_forever, 60))
            assert begun.wait(PATIENCE)
        return found

    monkeypatch.setattr(trio_wait.TrioWait, "_wait_in", wait_in)
    monkeypatch.setattr(poll, "servings_of", look_and_begin)
    with server, contextlib.ExitStack() as stack:
        server.shutdown()
    assert begun.is_set()


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
def test_a_wake_up_in_the_first_poll_is_not_lost(kind: str, monkeypatch: Any) -> None:
    lingers = poll.PollWait._look

    def woken(self: Any, milliseconds: Any) -> bool:
        if milliseconds == poll.POLL_FIRST_MS:
            self.wake()
        return lingers(self, milliseconds)

    with getattr(compat, kind)(("127.0.0.1", 0), print) as server:
        server.active_children = {os.getpid()}  # one that does not end
        with choose.serving(server, selectors.PollSelector(), compat) as waiting:
            assert isinstance(waiting, poll.PollWait)
            if kind == "ForkingTCPServer":
                assert isinstance(waiting, forking.ForkingWait)
            monkeypatch.setattr(poll.PollWait, "_look", woken)
            if isinstance(waiting, trio_wait.TrioWait):
                waiting._polls_first = True  # as after a request
            elif kind == "TCPServer":
                waiting.wake()  # alone, and without children: there is no first poll
            began = time.monotonic()
            assert waiting.wait(60) is False
            assert time.monotonic() - began < PATIENCE
            assert waiting._wakeup is not None
            # And it is silent again: the next wait takes its time.
            monkeypatch.undo()
            if waiting.wait(0.001) or waiting.wait(0.001):
                pytest.fail("there is no request")
            assert waiting._poll.poll(0) == []


def test_a_drain_that_comes_at_the_end_of_a_wait_still_takes_the_queue(
    start: Any, lines: Any, monkeypatch: Any
) -> None:
    # The wait was over before the client came; the loop must not take its "nothing" for an empty queue.
    def drain_late(self: Any, interval: Any) -> bool:
        monkeypatch.undo()
        clients.append(socket.create_connection(server.server_address, PATIENCE))
        clients[0].sendall(b"one\n")
        clients[0].shutdown(socket.SHUT_WR)
        self.drain()
        return False

    clients: list[socket.socket] = []
    with compat.ThreadingTCPServer(("127.0.0.1", 0), lines) as server:
        monkeypatch.setattr(trio_wait.TrioWait, "wait", drain_late)
        assert returns(lambda: server.serve_forever(60))
        assert read_all(clients[0]) == b"ONE\n"


def test_no_wake_up_is_written_to_a_closed_descriptor(monkeypatch: Any, no_leaks: None) -> None:
    # The loop ends during a wake-up: the number may be another file's by the time of the write.
    inside, go = threading.Event(), threading.Event()
    write = os.write
    written: list[bool] = []

    def write_slowly(fd: int, data: bytes) -> int:
        inside.set()
        assert go.wait(PATIENCE)
        written.append(fd in wakeup_._fds)
        return write(fd, data)

    wakeup_ = wakeup.Wakeup(select.poll())
    monkeypatch.setattr(wakeup, "_write", write_slowly)
    with in_a_thread(wakeup_.signal):
        assert inside.wait(PATIENCE)
        with in_a_thread(wakeup_.close) as closing:
            closing.join(0.05)  # time to do what it must not
            go.set()
    assert written == [True]
    wakeup_.signal()  # writes to nothing
    assert wakeup_._fds == []


def test_a_signal_handler_may_signal_while_its_own_thread_does(monkeypatch: Any) -> None:
    wakeup_ = wakeup.Wakeup(select.poll())
    write, written = os.write, []

    def write_and_be_interrupted(fd: int, data: bytes) -> int:
        written.append(fd)
        if len(written) == 1:
            wakeup_.signal()  # as a handler that calls shutdown() would, at this moment
        return write(fd, data)

    monkeypatch.setattr(wakeup, "_write", write_and_be_interrupted)
    assert returns(wakeup_.signal)
    assert len(written) == 2
    wakeup_.close()


@forks_are_fine
def test_a_child_in_the_loop_does_not_take_its_parents_wake_ups() -> None:
    # A handler that forks and returns leaves two processes in the same loop, with the same alarm.
    told, tell = os.pipe()

    def handle(request: Any, *args: Any) -> None:
        if child := os.fork():
            children.append(child)
        else:
            os.write(tell, b"c")
        request.sendall(b"x")

    class Server(compat.TCPServer):
        def service_actions(self) -> None:
            if os.getpid() != parent and os.read(told, 1):
                waiting = next(one for one in poll._servings if one.server is self)
                assert isinstance(waiting, poll.PollWait)
                alarms.append(waiting._wakeup)
                wakeup_ = waiting._wakeup
                assert wakeup_ is not None
                number = wakeup_._fds[0]
                wakeup_.reset()
                try:
                    os.fstat(number)
                except OSError as error:
                    os._exit(0 if error.errno == errno.EBADF and not wakeup_._fds else 1)
                os._exit(2)

    parent = os.getpid()
    children: list[int] = []
    alarms: list[Any] = []
    with Server(("127.0.0.1", 0), handle) as server, serving_in_a_thread(server, 60):
        with socket.create_connection(server.server_address, PATIENCE) as client:
            assert client.recv(1) == b"x"
        assert eventually(lambda: children)
        _, status = os.waitpid(children[0], 0)
        assert status == 0
    os.close(told)
    os.close(tell)


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
@pytest.mark.parametrize("where", ["attend", "leave"])
def test_a_cut_that_comes_around_the_handler_leaves_no_request_in_the_table(
    start: Any, monkeypatch: Any, where: str, kind: str, capsys: Any
) -> None:
    # The exception is raised in the thread wherever it happens to be: here just before the handler begins,
    # and just before its end is noted.
    meant = getattr(RequestTable, where)
    cuts = [compat.RequestCut("in between")]

    def cut(self: RequestTable, *args: Any) -> None:
        if where == "attend":
            meant(self, *args)
        if cuts:
            raise cuts.pop()
        if where == "leave":
            meant(self, *args)

    running = start(kind, compat.BaseRequestHandler, trio_policy=compat.Policy(grace=60))
    monkeypatch.setattr(RequestTable, where, cut)
    assert read_all(running.dial()) == b""
    report = compat.drain(running.server)
    running.join()
    assert report.clean
    assert not cuts
    request_table = request_table_of(running.server)
    assert (request_table.live, request_table.expected) == ({}, {})
    assert sum(compat.statistics(running.server).ended.values()) == 1


def test_a_signal_handler_may_ask_while_its_own_thread_counts() -> None:
    with compat.TCPServer(("127.0.0.1", 0), print) as server, request_table_of(server).lock:
        assert compat.statistics(server).accepted == 0


def test_a_request_that_is_reported_as_the_drain_ends_is_not_watched(
    start: Any, lines: Any, monkeypatch: Any
) -> None:
    leave_stuck = DrainTarget._leave_stuck

    def and_report(self: DrainTarget) -> None:
        leave_stuck(self)
        table = self._request_table
        assert table.host is not None
        # What the thread of a request does; by then the nursery of the drain is closed.
        table.host.soon(table.on_newcomer, None)

    monkeypatch.setattr(DrainTarget, "_leave_stuck", and_report)
    running = start("ThreadingTCPServer", lines)
    assert compat.drain(running.server, grace=60).clean
    assert compat.drain(running.server, grace=60).clean, "the trio thread is as before"


def test_a_wait_may_end_while_its_wake_up_is_carried_out() -> None:
    class Ending:
        """The wait of a thread that takes its scope away after the first look at it."""

        @property
        def _scope(self) -> trio.CancelScope | None:
            return next(scopes)

    scope = trio.CancelScope()
    scopes = iter([scope, None])
    trio_wait.TrioWait._cancel(Ending())  # type: ignore[arg-type]
    assert scope.cancel_called
