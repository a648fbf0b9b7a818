"""Failures of green handlers leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from tests.compat.conftest import host_threads, read_all
from tests.compat.green.test_ends import WAITS
from tests.handlers import ask
from tests.programs import ended, printed
from triosock import compat
from triosock.compat.loading import late_green as green
from triosock.testing import cancel_at_every_checkpoint

WITHOUT_GIL = """
    import sys
    sys._is_gil_enabled = lambda: False
    from triosock import compat

    class Server(compat.ThreadingTCPServer):
        trio_policy = compat.Policy(mode="green")

    for what in (lambda: compat.GreenTCPServer, lambda: Server(("127.0.0.1", 0), print)):
        try:
            what()
        except (ImportError, RuntimeError) as error:
            print(type(error).__name__, error)
    print("GreenMixIn" in dir(compat))
"""


def test_an_interpreter_without_the_gil_is_refused_with_the_reason() -> None:
    said = printed("-X", "dev", "-W", "error", "-c", textwrap.dedent(WITHOUT_GIL))
    name, server, shown = said.splitlines()
    assert name.startswith("ImportError")
    assert server.startswith("RuntimeError")
    assert "without the GIL" in name
    assert "without the GIL" in server
    assert shown == "False"


def test_asyncio_runs_in_a_handler_and_trio_says_why_it_does_not(start: Any) -> None:
    async def answer() -> bytes:
        await asyncio.sleep(0)
        return b"asyncio"

    def handle(request: Any, *args: Any) -> None:
        request.sendall(asyncio.run(answer()))
        with pytest.raises(RuntimeError, match="from inside"):
            trio.run(trio.sleep, 0)
        request.sendall(b" trio")

    assert read_all(start("GreenTCPServer", handle).dial()) == b"asyncio trio"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_thread_ends_its_request_only(
    start: Any, kind: type[BaseException], monkeypatch: Any
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))

    def handle(request: Any, *args: Any) -> None:
        if request.recv(1) == b"x":
            raise kind
        request.sendall(b"alive")

    running = start("GreenTCPServer", handle)
    assert read_all(running.dial(b"x")) == b""
    assert read_all(running.dial(b"y")) == b"alive"
    running.end()
    assert told == [kind]


def test_deep_recursion_is_an_error_of_its_handler_only(start: Any, capsys: Any) -> None:
    class Handler(compat.BaseRequestHandler):
        def handle(self) -> None:
            self.down(100_000 if self.request.recv(1) == b"x" else 300)

        def down(self, times: int) -> None:
            if times:
                self.down(times - 1)
            else:
                compat.sleep(0)  # from far down, too
                self.request.sendall(b"bottom")

    running = start("GreenTCPServer", Handler)
    assert read_all(running.dial(b"x")) == b""
    assert "RecursionError" in capsys.readouterr().err
    for client in [running.dial(b"y") for _ in range(20)]:
        assert read_all(client) == b"bottom"


def test_a_generator_that_waits_may_be_closed_in_another_task(start: Any) -> None:
    left: list[Iterator[bytes]] = []
    ended: list[bool] = []

    class Handler(compat.BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(1) == b"l":
                left.append(self.parts())
                self.request.sendall(next(left[0]))
            else:
                left.pop().close()  # type: ignore[attr-defined]
                self.request.sendall(b"closed")

        def parts(self) -> Iterator[bytes]:
            try:
                while True:
                    compat.sleep(0)
                    yield b"part"
            finally:
                compat.sleep(0)  # waits in the task that closes it
                ended.append(True)

    running = start("GreenTCPServer", Handler)
    assert read_all(running.dial(b"l")) == b"part"
    assert read_all(running.dial(b"c")) == b"closed"
    assert ended == [True]


def test_tracebacks_are_whole(start: Any) -> None:
    lines: list[str] = []

    async def fails() -> None:
        await trio.sleep(0)
        raise KeyError("from async code")

    class Handler(compat.BaseRequestHandler):
        def handle(self) -> None:
            self.step()

        def step(self) -> None:
            try:
                compat.run(fails)
            except KeyError as error:
                raise ValueError("from the handler") from error

    def handle_error(server: Any, request: Any, address: Any) -> None:
        lines.append(traceback.format_exc())

    running = start("GreenTCPServer", Handler, handle_error=handle_error)
    assert read_all(running.dial()) == b""
    (text,) = lines
    first, second = text.split("direct cause")
    called = re.findall(r"in (\w+)\n", first)
    assert (called[0], called[-1]) == ("step", "fails")
    called = re.findall(r"in (\w+)\n", second)
    assert called == ["process_request_thread", "finish_request", "__init__", "handle", "step"]
    assert second.rstrip().endswith("ValueError: from the handler")


@pytest.mark.parametrize("others_first", [False, True], ids=["waits alone", "waits in an epoll"])
def test_a_socket_that_another_handler_closes_is_an_error_there(start: Any, others_first: bool) -> None:
    waiting: list[Any] = []
    told = threading.Event()

    def handle(request: Any, *args: Any) -> None:
        word = request.recv(1)
        if word == b"o":
            request.sendall(b"o")
            request.recv(1)
        elif word == b"w":
            waiting.append(request)
            request.sendall(b"w")
            try:
                request.recv(1)
            except OSError as error:
                waiting.append(str(error))
                told.set()
        else:
            waiting[0].close()

    running = start("GreenTCPServer", handle)
    others: list[socket.socket] = []

    def dial_others() -> None:
        others.extend(running.dial(b"o") for _ in range(8))  # enough for an epoll of theirs
        assert all(client.recv(1) == b"o" for client in others)

    if others_first:
        dial_others()
    waiter = running.dial(b"w")
    assert waiter.recv(1) == b"w"
    if not others_first:
        dial_others()
    assert read_all(running.dial(b"c")) == b""
    assert read_all(waiter) == b""
    assert told.wait(20)  # the client sees the end before the handler has its turn
    assert waiting[1] == f"[Errno 9] {os.strerror(9)}"
    for client in others:
        client.close()


def test_two_handlers_may_use_one_socket(start: Any) -> None:
    """A chat: everybody sends to everybody."""
    members: list[Any] = []

    class Handler(compat.StreamRequestHandler):
        def handle(self) -> None:
            members.append(self.request)
            self.wfile.write(b"hello\n")
            for line in self.rfile:
                for member in members:
                    member.sendall(line)

    running = start("GreenTCPServer", Handler)
    clients = [running.dial() for _ in range(7)]
    for client in clients:
        assert client.recv(100) == b"hello\n"
    clients[3].sendall(b"to all\n")
    for client in clients:
        assert client.recv(100) == b"to all\n"
        client.close()


INTERRUPTED = (
    WAITS
    + """
with compat.GreenTCPServer(("127.0.0.1", 0), Handler) as server:
    server.daemon_threads = {daemon}
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print([thread.name for thread in threading.enumerate()])
"""
)


@pytest.mark.parametrize("daemon", [False, True])
def test_ctrl_c_ends_serve_forever_and_requests_go_on_as_those_of_threads(daemon: bool) -> None:
    command = [sys.executable, "-X", "dev", "-c", INTERRUPTED.format(daemon=daemon)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with ended(program) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        client = socket.create_connection(("127.0.0.1", int(process.stdout.readline())))
        assert client.recv(10) == b"here"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        if not daemon:
            client.close()  # server_close() waits for it
        # Not communicate(): some of it may have been read together with the line above.
        out = process.stdout.read()
        err = process.stderr.read()
        client.close()
    assert (process.returncode, err) == (0, "")
    if daemon:
        assert "MainThread" in out
    else:
        assert out == "left\n['MainThread']\n"


class Lines(compat.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            compat.sleep(0)
            self.wfile.write(line.upper())


async def test_cancelled_at_every_checkpoint_nothing_is_left() -> None:
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            server = compat.GreenTCPServer(("127.0.0.1", 0), Lines)
            try:
                await nursery.start(compat.serve, server)
            except BaseException:
                server.server_close()
                raise
            host, port = server.server_address
            async with await trio.open_tcp_stream(host, port) as stream:
                for _ in range(2):
                    assert await ask(stream, b"hello\n") == b"HELLO\n"
            nursery.cancel_scope.cancel()

    times = await cancel_at_every_checkpoint(
        scenario, expected=(trio.BrokenResourceError, OSError, AssertionError)
    )
    assert times > 20
    assert not host_threads()
    assert not green("tasks")._by_task
    assert not green("tasks")._by_greenlet
