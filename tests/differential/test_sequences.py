"""Whatever is called on a server, in whatever order, from several threads: both modules end up in the same
states.

The invariant: after each step, once everything that can still move has moved, the same can be seen from
outside.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.harness import Log, Serving, ask, call, compare, forks_are_fine, read_all
from tests.waiting import PATIENCE, eventually

pytestmark = [forks_are_fine, pytest.mark.slow]

STEPS = ("serve", "shutdown", "flag", "ask", "close", "handle_request", "fail", "init", "leave with")


class Player:
    """Plays steps on one server, and says what it saw."""

    def __init__(self, module: Any, kind: str) -> None:
        def handle(request: Any, address: Any, server: Any) -> None:
            request.sendall(request.recv(100).upper())

        class Server(getattr(module, kind)):  # type: ignore[misc]
            timeout = 0
            ticks = 0
            failing = False

            def service_actions(self) -> None:
                super().service_actions()
                self.ticks += 1
                if self.failing:
                    self.failing = False
                    raise ValueError("from service_actions")

        self.handle = handle
        self.server = Server(("127.0.0.1", 0), handle)
        self.loops: list[Serving] = []
        self.blocked: list[threading.Thread] = []

    def play(self, step: str) -> Any:
        saw = getattr(self, step.replace(" ", "_"))()
        self.settle()
        server = self.server
        return (
            step, saw, len(self.loops), sum(thread.is_alive() for thread in self.blocked),
            server.fileno() == -1,
            server._BaseServer__is_shut_down.is_set(), server._BaseServer__shutdown_request,
        )  # fmt: skip

    def settle(self) -> None:
        """Wait until the loops that must end have ended, and the shutdowns that must return have returned."""
        for thread in self.blocked:
            if self.server._BaseServer__is_shut_down.is_set():
                thread.join(PATIENCE)
                assert not thread.is_alive()

    def running(self) -> list[Serving]:
        self.loops = [loop for loop in self.loops if loop.thread.is_alive()]
        return self.loops

    def serve(self) -> str:
        if self.running():
            return "serves already"
        ticks = self.server.ticks
        loop = Serving(self.server, interval=0.01)
        self.loops.append(loop)
        assert eventually(lambda: self.server.ticks > ticks + 1 or not loop.thread.is_alive())
        return "serves" if self.running() else f"ended: {loop.join()}"

    def shutdown(self) -> str:
        had = self.running()
        stopping = threading.Thread(target=self.server.shutdown, daemon=True)
        stopping.start()
        if had:
            stopping.join(PATIENCE)
            return f"{stopping.is_alive()} {[loop.join() for loop in had]} {len(self.running())}"
        assert eventually(lambda: self.server._BaseServer__shutdown_request)
        self.blocked.append(stopping)
        return "nobody serves"

    def flag(self) -> str:
        self.server._BaseServer__shutdown_request = True
        ended = [loop.join() for loop in self.running()]
        return f"{ended} {len(self.running())}"

    def fail(self) -> str:
        had = self.running()
        self.server.failing = bool(had)
        return f"{[loop.join() for loop in had]} {len(self.running())}"

    def ask(self) -> Any:
        if self.server.fileno() == -1:
            return "closed"
        return ask(self.server, b"hello") if self.running() else "nobody would answer"

    def close(self) -> str:
        self.server.server_close()
        return "closed"

    def leave_with(self) -> str:
        with self.server:
            pass
        return "left"

    def handle_request(self) -> str:
        if self.running():
            return "not beside a loop"
        return repr(call(self.server.handle_request))

    def init(self) -> str:
        if self.running() or any(thread.is_alive() for thread in self.blocked):
            return "not now"
        self.server.server_close()
        self.server.__init__(("127.0.0.1", 0), self.handle)
        return "again"

    def end(self) -> None:
        self.server._BaseServer__shutdown_request = True
        for loop in self.running():
            loop.join()
        with contextlib.suppress(ValueError):  # closed
            self.server.serve_forever(0.01) if any(thread.is_alive() for thread in self.blocked) else None
        for thread in self.blocked:
            thread.join(PATIENCE)
        self.server.server_close()


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=10))
def test_the_same_steps_lead_to_the_same_states(kind: str, steps: list[str]) -> None:
    def scenario(module: Any, log: Log) -> Any:
        player = Player(module, kind)
        try:
            return [player.play(step) for step in steps]
        finally:
            player.end()

    compare(scenario)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    lines=st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"") + b"\n"), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
def test_the_same_bytes_get_the_same_answers(kind: str, lines: list[bytes], cuts: list[int]) -> None:
    def scenario(module: Any, log: Log) -> Any:
        class Handler(module.StreamRequestHandler):  # type: ignore[misc]
            def handle(self) -> None:
                for line in self.rfile:
                    self.wfile.write(line.swapcase())

        data = b"".join(lines)
        edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        with module.__dict__[kind](("127.0.0.1", 0), Handler) as server:
            serving = Serving(server)
            with socket.create_connection(server.server_address, PATIENCE) as client:
                for start, end in itertools.pairwise(edges):
                    client.sendall(data[start:end])
                client.shutdown(socket.SHUT_WR)
                return read_all(client), serving.stop()

    compare(scenario)
