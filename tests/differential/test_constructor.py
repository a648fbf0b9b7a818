"""The constructor: what it makes, in which order, and how it fails."""

from __future__ import annotations

import copy
import errno
import pickle
import socket
from typing import Any

import pytest

from tests.differential.harness import (
    SERVERS,
    Log,
    Serving,
    ask,
    call,
    compared,
    echo,
    logged,
    make_address,
)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        (("127.0.0.1", 99999), {}),
        (("127.0.0.1", -1), {}),
        (("host.invalid", 0), {}),
        ("not an address", {}),
        (None, {}),
        (("127.0.0.1", 0), {"request_queue_size": "many"}),
        (("::1", 0), {}),
        (("127.0.0.1", 0), {"address_family": "inet"}),
    ],
)
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingUDPServer", "ForkingTCPServer"])
@compared
def test_a_constructor_that_fails(
    module: Any, log: Log, kind: str, address: Any, options: dict[str, Any], no_leaks: None
) -> Any:
    server = logged(type(kind, (getattr(module, kind),), options), log)
    made = call(server, address, print)
    if not isinstance(made, str):
        made.server_close()
        made = "made"
    return made, log.by_role()


@compared
def test_an_address_in_use_is_the_systems_error(module: Any, log: Log, no_leaks: None) -> Any:
    with module.TCPServer(("127.0.0.1", 0), print) as first, pytest.raises(OSError) as caught:  # noqa: PT011
        module.TCPServer(first.server_address, print)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_without_bind_and_activate(module: Any, log: Log, kind: str) -> Any:
    server = logged(getattr(module, kind), log)(make_address(kind), echo(module), bind_and_activate=False)
    unbound = server.socket.getsockname() in (("0.0.0.0", 0), "")
    server.server_bind()
    server.server_activate()
    with server, Serving(server):
        answer = ask(server, b"x")
    return unbound, answer, log.by_role()["main"]


@pytest.mark.parametrize("kind", ["TCPServer", "UDPServer", "UnixStreamServer"])
@compared
def test_the_calls_on_the_socket(module: Any, log: Log, kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    calls: list[Any] = []

    class Recording:
        def __init__(self, *args: Any) -> None:
            calls.append(("socket", *map(int, args)))

        def __getattr__(self, name: str) -> Any:
            return lambda *args: calls.append((name, *map(str, args)))

    server_class = type(
        kind, (getattr(module, kind),), {"allow_reuse_address": True, "allow_reuse_port": True}
    )
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Recording)
        with server_class("there", print):
            pass
    return calls


@compared
def test_it_is_neither_pickled_nor_copied_deeply(module: Any, log: Log) -> Any:
    with module.TCPServer(("127.0.0.1", 0), print) as server:
        Serving(server).server.shutdown()
        return (
            call(pickle.dumps, server),
            call(copy.deepcopy, server),
            copy.copy(server).server_address[0],
        )


@compared
def test_the_constructor_may_run_again_on_the_same_object(module: Any, log: Log) -> Any:
    server = module.ThreadingTCPServer(("127.0.0.1", 0), echo(module))
    answers = []
    for _ in range(2):
        with server, Serving(server):
            answers.append(ask(server, b"x"))
        server.__init__(("127.0.0.1", 0), echo(module))
    server.server_close()
    return answers
