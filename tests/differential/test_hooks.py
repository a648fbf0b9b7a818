"""Which hook is called when, in which thread, and where its exception goes; for all twelve to fourteen kinds
of server.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.differential.harness import (
    IN_PROCESS,
    SERVERS,
    STREAMS,
    Log,
    Serving,
    ask,
    call,
    captured_stderr,
    compared,
    dial,
    logged,
    make_address,
    read_all,
    say,
    thread_errors,
)  # fmt: skip
from tests.waiting import eventually


def echo_handler(module: Any, kind: str, log: Log, fail: str | None = None, error: Any = ValueError) -> Any:
    """A handler that answers in capitals, logs its methods, and raises in the one that `fail` names."""
    base = module.StreamRequestHandler if kind in STREAMS else module.DatagramRequestHandler

    class Handler(base):
        def setup(self) -> None:
            self.step("setup", super().setup)

        def handle(self) -> None:
            self.step("handle", lambda: self.wfile.write(self.rfile.readline().upper()))

        def finish(self) -> None:
            self.step("finish", super().finish)

        def step(self, name: str, function: Any) -> None:
            log(f"handler.{name}")
            if name == fail:
                raise error(f"in {name}")
            function()

    return Handler


def make(module: Any, kind: str, log: Log, *fails: Any, base: Any = None) -> Any:
    """A logged server of this kind (and of the subclass `base`) with the handler above."""
    server_class = logged(base or getattr(module, kind), log)
    return server_class(make_address(kind), echo_handler(module, kind, log, *fails))


def answer_of(server: Any, kind: str, log: Log) -> bytes:
    """Send a line; return what comes back on a stream, when the request is closed."""
    with dial(server) as client:
        say(client, b"one\n")
        answer = read_all(client) if kind in STREAMS else b""
        assert eventually(lambda: log.count("close_request") > 0)
    return answer


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_calls_of_one_good_request(module: Any, log: Log, kind: str) -> Any:
    with make(module, kind, log) as server, Serving(server, log) as serving:
        answer = ask(server, b"one\n")
    return answer, serving.ended, serving.value, log.by_role()


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("fail", ["setup", "handle", "finish"])
@compared
def test_a_handler_that_raises(module: Any, log: Log, kind: str, fail: str) -> Any:
    with captured_stderr() as printed:
        with make(module, kind, log, fail) as server, Serving(server, log) as serving:
            answer = answer_of(server, kind, log)
    # A child prints into its own copy of the buffer.
    return answer, serving.ended, log.by_role(), printed.getvalue()


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@compared
def test_a_handler_that_raises_no_exception(
    module: Any, log: Log, kind: str, error: type[BaseException]
) -> Any:
    with captured_stderr() as printed, thread_errors() as errors:
        with make(module, kind, log, "handle", error) as server:
            serving = Serving(server, log)
            answer = answer_of(server, kind, log)
            has_children = kind.startswith(("Threading", "Forking"))
            ended = serving.stop() if has_children else serving.join()
    return answer, ended, errors, log.by_role(), printed.getvalue()


def failing(kind: Any, hook: str, error: BaseException, times: int = 1) -> Any:
    """Return a subclass whose hook raises at first."""
    left = [times]

    def method(self: Any, *args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return getattr(super(sub, self), hook)(*args)

    sub: Any = type(kind.__name__, (kind,), {hook: method})
    return sub


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("verify_request", ValueError("no")),
        ("service_actions", ValueError("no")),
        ("get_request", ValueError("no")),
        ("process_request", SystemExit(3)),
        ("fileno", ValueError("no")),
    ],
)  # fmt: skip
@compared
def test_what_leaves_serve_forever_and_that_it_can_be_served_again(
    module: Any, log: Log, kind: str, hook: str, error: BaseException
) -> Any:
    with make(module, kind, log, base=failing(getattr(module, kind), hook, error)) as server:
        serving = Serving(server, log)
        with dial(server) as client:
            say(client, b"one\n")
            ended = serving.join()
        with Serving(server, log) as again:
            answer = ask(server, b"two\n")
    return ended, answer, again.ended


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("hook", ["get_request", "process_request"])
@compared
def test_what_the_loop_swallows(module: Any, log: Log, kind: str, hook: str) -> Any:
    error = ConnectionAbortedError("gone") if hook == "get_request" else ValueError("no")
    base = failing(getattr(module, kind), hook, error)
    with captured_stderr() as printed:
        with make(module, kind, log, base=base) as server, Serving(server, log) as serving:
            with dial(server) as client:
                say(client, b"one\n")
                if hook == "process_request":
                    assert eventually(lambda: log.count("handle_error") > 0)
                else:
                    client.recv(100)  # it stays in the queue, and is served in the second turn
            answer = ask(server, b"two\n")
    return answer, serving.ended, printed.getvalue()


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("verdict", [False, None, 0, "yes", 1])
@compared
def test_verify_request_goes_by_truth(module: Any, log: Log, kind: str, verdict: Any) -> Any:
    class Server(getattr(module, kind)):  # type: ignore[misc]
        def verify_request(self, request: Any, client_address: Any) -> Any:
            return verdict

    with make(module, kind, log, base=Server) as server, Serving(server, log) as serving:
        answer = answer_of(server, kind, log)
    return answer, serving.ended, log.by_role()


@pytest.mark.parametrize("kind", [name for name in IN_PROCESS if name in STREAMS])
@compared
def test_handle_error_may_raise_and_may_look_at_the_error(module: Any, log: Log, kind: str) -> Any:
    class Server(getattr(module, kind)):  # type: ignore[misc]
        def handle_error(self, request: Any, client_address: Any) -> None:
            requests.append(request)
            raise

    requests: list[Any] = []
    with thread_errors() as errors, make(module, kind, log, "handle", base=Server) as server:
        serving = Serving(server, log)
        with dial(server) as client:
            say(client, b"one\n")
            if "Threading" in kind:
                read_all(client)
                ended = serving.stop()
            else:
                ended = serving.join()
    # Without threads nobody has closed it: the error came instead.
    left_open = [request.fileno() != -1 for request in requests]
    for request in requests:
        request.close()
    return ended, errors, log.by_role(), left_open


@pytest.mark.parametrize("kind", [name for name in SERVERS if name.startswith("Threading")])
@compared
def test_the_thread_of_a_request(module: Any, log: Log, kind: str) -> Any:
    seen: list[Any] = []

    class Server(getattr(module, kind)):  # type: ignore[misc]
        daemon_threads = False

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            thread = threading.current_thread()
            kept = thread in self._threads, len(self._threads)
            seen.append((thread.name, thread.daemon, type(thread).__name__, *kept))
            super().process_request_thread(request, client_address)

    with Server(make_address(kind), echo_handler(module, kind, log)) as server:
        before = sorted(vars(server))
        with Serving(server, log) as serving:
            for _ in range(3):
                ask(server, b"one\n")
                assert eventually(lambda: not any(thread.is_alive() for thread in server._threads))
            after = sorted(key for key in vars(server) if "triosock" not in key)
    return seen, before, after, serving.ended, len(server._threads)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
@compared
def test_a_thread_that_does_not_start(
    module: Any, log: Log, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> Any:
    def start(self: threading.Thread) -> None:
        raise type(error)(*error.args)  # one of its own, each time: a traceback grows

    server = make(module, "ThreadingTCPServer", log)
    with captured_stderr() as printed, dial(server) as client:
        say(client, b"one\n")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            result = call(server.handle_request)
        answer = read_all(client)
    closing = call(server.server_close)
    return answer, result, closing, log.by_role(), printed.getvalue()
