"""Options that a function does not have: the answer names what was meant, in the words of this library."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio

import triosock
from tests.handlers import shout
from triosock import compat

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def complaint(function: Callable[..., Any], *args: object, **options: object) -> str:
    """Call it in a trio program; return what the TypeError says."""

    async def main() -> None:
        result = function(*args, **options)
        if hasattr(result, "__await__"):
            await result

    with pytest.raises(TypeError) as caught:
        trio.run(main)
    return str(caught.value)


serve_tcp: Callable[..., Any] = functools.partial(complaint, triosock.serve_tcp, shout, 0)


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"timeout": 5}, "write timeouts=triosock.Timeouts(idle=5)"),
        ({"idle": 5.5}, "write timeouts=triosock.Timeouts(idle=5.5)"),
        ({"request_timeout": 5}, "write timeouts=triosock.Timeouts(request=5)"),
        ({"grace": 3}, "write timeouts=triosock.Timeouts(grace=3)"),
        ({"max_connections": 3}, "write limits=triosock.Limits(max_connections=3)"),
        ({"max_conections": 3}, "write limits=triosock.Limits(max_connections=3)"),
        ({"max_clients": 3}, "write limits=triosock.Limits(max_connections=3)"),
        ({"ssl": CONTEXT}, "write tls=an ssl.SSLContext"),
        ({"timeot": 5}, "write timeouts=triosock.Timeouts(idle=5)"),
        ({"hots": "::1"}, "write host='::1'"),
        ({"address": "::1"}, "write host='::1'"),
        ({"bind": ("::1", 9)}, "write host="),
    ],
)
def test_it_is_said_what_was_meant(options: dict[str, object], meant: str) -> None:
    (name,) = options
    assert serve_tcp(**options).startswith(f"serve_tcp() has no option {name!r}: {meant}")


def test_the_options_are_listed_if_nobody_knows_what_was_meant() -> None:
    said = serve_tcp(zzz=1, yyy=2)
    assert said.startswith("serve_tcp() has no option 'zzz': it has host, backlog, reuse_port, limits, ")
    assert "task_status" not in said


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (triosock.serve_unix, (shout, "x")),
        (triosock.serve_listeners, (shout, [])),
        (triosock.serve_stdio, (shout,)),
        (triosock.serve_udp, (shout, 0)),
        (triosock.serve_unix_datagram, (shout, "x")),
        (triosock.serve_datagram_sockets, (shout, [])),
    ],
)
def test_all_servers_say_it(function: Callable[..., Any], args: tuple[object, ...]) -> None:
    said = complaint(function, *args, timeout=5)
    assert said == (
        f"{function.__name__}() has no option 'timeout': write timeouts=triosock.Timeouts(idle=5)"
    )


def test_what_opens_listeners_says_it_too() -> None:
    assert "write host='::1'" in complaint(triosock.open_tcp_listeners, 0, hst="::1")
    assert "write host='::1'" in complaint(triosock.open_udp_sockets, 0, address="::1")
    assert "it has mode, backlog" in complaint(triosock.open_unix_listener, "x", zzz=1)
    assert "it has mode, max_bytes" in complaint(triosock.open_unix_datagram_socket, "x", zzz=1)
    assert "open_tcp_listeners()" in complaint(triosock.serve_listeners, shout, [], backlog=5)
    assert "it has mode" in complaint(triosock.serve_health, "tcp://127.0.0.1:0", zzz=1)
    assert "it has mode" in complaint(triosock.open_health, "tcp://127.0.0.1:0", zzz=1)
    assert "write workers=4" in complaint(triosock.serve_workers, "x", [], processes=4)


def test_values_say_it_too() -> None:
    assert complaint(triosock.Timeouts, timeout=5) == "Timeouts() has no option 'timeout': write idle=5"
    assert "write max_connections=5" in complaint(triosock.Limits, connections=5)


def test_a_compat_server_has_a_policy_instead() -> None:
    server = compat.TCPServer(("127.0.0.1", 0), compat.BaseRequestHandler)
    with server:
        assert "trio_policy = compat.Policy(request_timeout=5)" in complaint(
            compat.serve, server, request_timeout=5
        )
        assert "trio_policy = compat.Policy(max_requests=3)" in complaint(
            compat.serve, server, max_connections=3
        )


def test_one_argument_too_many_by_position_is_said_to_need_its_name() -> None:
    assert complaint(triosock.serve_tcp, shout, "127.0.0.1", 0) == (
        "serve_tcp() takes 2 positional arguments (handler, port), and got 3: give the others by their "
        "names, as in host=…, backlog=…"
    )


def test_run_says_it_before_it_starts_anything() -> None:
    with pytest.raises(TypeError, match=r"serve_tcp\(\) has no option 'timeout'") as caught:
        triosock.run(triosock.serve_tcp, shout, 0, timeout=5)
    assert [entry.name for entry in caught.traceback][-3:] == ["run", "check_call", "check"]

    async def main(port: int, *, host: str = "") -> None: ...

    with pytest.raises(TypeError) as told:
        triosock.run(main, 0, timeout=5)
    assert str(told.value) == (
        "triosock.run() has no option 'timeout', and passes it on to main(), which has none either: it has "
        "port, host; triosock.run() has grace, idle_grace, delay, control, notify, announce"
    )
    with pytest.raises(TypeError, match=r"'gracee'.*: write grace=3"):
        triosock.run(main, 0, gracee=3)


def test_the_users_own_type_error_is_left_alone() -> None:
    async def main(port: int) -> None:
        dict(port, timeout=5)  # type: ignore[call-overload]

    with pytest.raises(TypeError, match="'int' object is not iterable"):
        triosock.run(main, 5)

    async def fails(**options: object) -> None:
        raise TypeError("main() got an unexpected keyword argument 'x'")

    with pytest.raises(TypeError, match="got an unexpected keyword argument 'x'"):
        triosock.run(fails, x=1)


@pytest.mark.parametrize("inner", [triosock.serve_tcp, trio.sleep])
def test_a_wrapper_may_have_options_of_its_own(inner: Callable[..., Any]) -> None:
    @functools.wraps(inner)
    async def wrapper(*args: object, extra: int, **options: object) -> int:
        return extra

    assert triosock.run(wrapper, extra=1) == 1
    assert triosock.run(functools.partial(wrapper, extra=2)) == 2


def test_a_function_without_a_signature_is_called_as_it_is() -> None:
    class Odd:
        __signature__ = "none"

        async def __call__(self, *, x: int) -> int:
            return x

    assert triosock.run(Odd(), x=1) == 1
