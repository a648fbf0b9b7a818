"""Exceptions raised in the threads of requests leave nothing behind in the interpreter."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from triosock.compat.bridge import thread_interrupt

PROGRAM = """
    import socket, sys, threading
    from triosock import compat

    begun, gate = threading.Event(), threading.Event()
    ends = []

    class Handler(compat.BaseRequestHandler):
        def handle(self):
            begun.set()
            try:
                self.request.recv(1)
                gate.wait()
            except compat.RequestCut:
                ends.append("cut")

    class Server(compat.ThreadingTCPServer):
        trio_policy = compat.Policy(grace=0)

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with socket.create_connection(server.server_address) as client:
            client.sendall(b"busy")
            begun.wait()
            threading.Timer(0.1, gate.set).start()
            compat.drain(server)
        thread.join()

    calls = []

    def function():
        pass

    sys.setprofile(lambda frame, event, arg: calls.append(event))
    function()
    sys.setprofile(None)
    print(ends, "call" in calls)
"""


def test_a_profiler_works_after_a_cut() -> None:
    # CPython 3.11 never leaves the entry of a traced function while the flag of a pending exception is set,
    # and 3.12 takes the slow way into each call.
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (run.stdout, run.returncode) == ("['cut'] True\n", 0), run.stderr


@pytest.mark.parametrize("answers", ["before", "after"])
def test_a_request_that_is_answered_while_a_drain_looks_at_it_is_ended(
    monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        request, _ = listener.accept()
        meant = thread_interrupt.is_idle

        def look(looked: Any) -> bool:
            if answers == "before":
                request.sendall(b"answer")
            result = meant(looked)
            if answers == "after":
                request.sendall(b"answer")
            return result

        with request:
            client.sendall(b"question")
            assert request.recv(100) == b"question"
            monkeypatch.setattr(thread_interrupt, "is_idle", look)
            thread_interrupt.end_idle(request)
            request.settimeout(5)
            assert request.recv(100) == b""


def test_an_answer_that_is_under_way_while_a_drain_looks_is_noticed() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        request, _ = listener.accept()
        with request:
            client.sendall(b"question")
            assert request.recv(100) == b"question"
            send = request.sendall  # of the class that it has now
            thread_interrupt.end_idle(request)
            send(b"answer")
            request.settimeout(5)
            assert request.recv(100) == b""
