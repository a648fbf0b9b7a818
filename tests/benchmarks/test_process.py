"""No started process is left, however the run ends; checked by pidfds, which become readable at the end."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from benchmarks.process import ROOT, RunFailed, load_started, processors, started, wait_ready

SERVER = ("benchmarks.servers.stdlib", ["echo", "", "forking", "socketserver"])


def forked_child(server):
    """Connect to a forking server, and return its one child's pid; the child has then answered once."""
    import socket

    sock = socket.create_connection(("127.0.0.1", wait_ready(server)), timeout=10)
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    with open(f"/proc/{server.pid}/task/{server.pid}/children") as file:
        (child,) = map(int, file.read().split())
    return sock, child


class Deliberate(Exception):
    pass


def test_a_server_and_the_children_that_it_forked_are_gone_after_the_block(ends):
    with contextlib.ExitStack() as stack:
        with pytest.raises(Deliberate), started(*SERVER, processors()[0]) as server:
            sock, child = forked_child(server)
            stack.enter_context(sock)
            all_ended = stack.enter_context(ends(server.pid, child))
            raise Deliberate
        assert all_ended()


def test_what_a_killed_runner_leaves_is_killed_by_the_kernel(ends):
    script = (
        "import sys\n"
        "from benchmarks.process import processors, started, wait_ready\n"
        "with started('benchmarks.servers.epoll', ['echo', ''], processors()[0]) as server:\n"
        "    wait_ready(server)\n"
        "    print(server.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as runner,
        ends(int(runner.stdout.readline())) as all_ended,
    ):
        runner.send_signal(signal.SIGKILL)
        assert all_ended()


def test_the_last_words_of_a_server_are_in_the_error():
    wrong = ("benchmarks.servers.epoll", ["no-such-kind", ""])
    with (
        started(*wrong, processors()[0]) as server,
        pytest.raises(RunFailed, match="KeyError: 'no-such-kind'"),
    ):
        wait_ready(server)


def test_a_load_against_a_server_that_is_gone_is_an_error():
    job = {"port": 1, "pid": os.getpid(), "params": {"in_flight": 1}}
    with load_started("connect", job) as load, pytest.raises(RunFailed, match="ConnectionRefusedError"):
        load.expect("ready", 20)


def test_an_order_to_a_load_that_has_ended_is_not_lost_its_last_words_are_heard():
    with load_started("no-such-load", {"port": 1, "pid": os.getpid()}) as load:
        load.popen.wait(20)
        load.order()
        with pytest.raises(RunFailed, match="KeyError: 'no-such-load'"):
            load.expect("done", 20)


def test_every_wait_has_a_limit():
    with started(*SERVER, processors()[0]) as server:
        wait_ready(server)
        with pytest.raises(RunFailed, match="said nothing for 0 s"):
            server.line(0.01)


def test_server_and_load_have_processors_of_their_own_if_there_are_two():
    servers, load = processors()
    assert servers
    assert load
    assert servers.isdisjoint(load) or len(os.sched_getaffinity(0)) == 1
