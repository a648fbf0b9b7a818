"""An opener returns listeners that listen, or raises and leaves nothing open. Real sockets on loopback."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from tests.listening import close_in_a_child, close_while_waited_for, denied, say_hello
from tests.waiting import PATIENCE, until
from triosock._core.listeners import bind as binding
from triosock._core.listeners import listener as listening
from triosock._core.listeners.listener import (
    DEFAULT_BACKLOG,
    Listener,
    SocketListener,
    check_backlog,
    open_tcp_listeners,
)
from triosock._core.model.addresses import TcpAddress
from triosock._core.model.errors import AddressUnavailable

HAS_IPV6 = socket.has_ipv6
LOCAL = "127.0.0.1"


pytestmark = pytest.mark.usefixtures("no_leaks")


async def open_one(**options: Any) -> SocketListener:
    (listener,) = await open_tcp_listeners(0, host=LOCAL, **options)
    return listener


@pytest.fixture
async def listener() -> AsyncIterator[SocketListener]:
    """One that is closed after the test."""
    with contextlib.closing(await open_one()) as opened:
        yield opened


def port_of(listener: Listener) -> int:
    assert isinstance(listener.address, TcpAddress)
    return listener.address.port


# Opening


@pytest.mark.skipif(not HAS_IPV6, reason="one family only")
async def test_any_host_is_one_port_for_both_families_also_if_it_is_any_free_one() -> None:
    listeners = await open_tcp_listeners(0)
    try:
        assert {listener.socket.family for listener in listeners} == {socket.AF_INET, socket.AF_INET6}
        assert len({port_of(listener) for listener in listeners}) == 1
        assert port_of(listeners[0]) > 0
        for listener in listeners:
            host = "::1" if listener.socket.family == socket.AF_INET6 else LOCAL
            await say_hello(listener, host, port_of(listener))
    finally:
        for listener in listeners:
            listener.close()


async def test_a_host_that_is_named_twice_by_the_resolver_is_opened_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def twice(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCAL, port))] * 2

    monkeypatch.setattr(binding.trio.socket, "getaddrinfo", twice)
    (listener,) = await open_tcp_listeners(0, host="localhost")
    listener.close()


async def test_a_host_may_be_bytes() -> None:
    (listener,) = await open_tcp_listeners(0, host=b"127.0.0.1")
    assert listener.address == TcpAddress(LOCAL, port_of(listener))
    listener.close()


async def test_a_port_that_somebody_listens_on_is_unavailable_and_the_text_says_what_to_do(
    stdlib_socket: socket.socket,
) -> None:
    port = stdlib_socket.getsockname()[1]
    with pytest.raises(
        AddressUnavailable, match=rf"tcp port {port} of 127.0.0.1: .*use another port"
    ) as caught:
        await open_tcp_listeners(port, host=LOCAL)
    assert caught.value.errno == errno.EADDRINUSE
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(not HAS_IPV6, reason="one family only")
async def test_a_port_taken_in_the_second_family_leaves_nothing_open_in_the_first() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=f"port {port}"):
            await open_tcp_listeners(port)
    for listener in await open_tcp_listeners(port):
        listener.close()


class Bind:
    """Takes the place of `_bind`, and fails with `number` whenever `fails(call, family)`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, fails: Any) -> None:
        self.real, self.number, self.fails, self.calls = listening._bind, number, fails, 0
        monkeypatch.setattr(listening, "_bind", self)

    def __call__(
        self, family: int, sockaddr: tuple[Any, ...], backlog: int, reuse_port: bool
    ) -> socket.socket:
        self.calls += 1
        if self.fails(self.calls, family):
            raise denied(self.number)
        return self.real(family, sockaddr, backlog, reuse_port)


@pytest.mark.skipif(not HAS_IPV6, reason="one family only")
async def test_a_free_port_that_is_taken_in_the_other_family_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bind = Bind(monkeypatch, errno.EADDRINUSE, lambda call, family: call in (2, 4))
    listeners = await open_tcp_listeners(0)
    assert bind.calls == 6
    assert len({port_of(listener) for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("port", "tries"), [(0, range(2, 101)), (9999, [1])], ids=["any free one", "one that was asked for"]
)
async def test_the_search_for_a_free_port_ends_and_one_that_was_asked_for_is_tried_once(
    port: int, tries: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = Bind(monkeypatch, errno.EADDRINUSE, lambda call, family: True)
    with pytest.raises(AddressUnavailable):
        await open_tcp_listeners(port, host=LOCAL)
    assert bind.calls in tries


@pytest.mark.skipif(not HAS_IPV6, reason="one family only")
async def test_without_ipv6_in_the_kernel_there_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    Bind(monkeypatch, errno.EAFNOSUPPORT, lambda call, family: family == socket.AF_INET6)
    (listener,) = await open_tcp_listeners(0)
    assert listener.socket.family == socket.AF_INET
    listener.close()


async def test_without_any_family_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Bind(monkeypatch, errno.EAFNOSUPPORT, lambda call, family: True)
    for host in (None, LOCAL):
        with pytest.raises(AddressUnavailable, match=os.strerror(errno.EAFNOSUPPORT)):
            await open_tcp_listeners(0, host=host)


async def test_a_port_that_is_not_allowed_is_unavailable_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    Bind(monkeypatch, errno.EACCES, lambda call, family: True)
    with pytest.raises(AddressUnavailable, match="a port below 1024 needs CAP_NET_BIND_SERVICE"):
        await open_tcp_listeners(80, host=LOCAL)


async def test_an_address_of_another_machine_is_unavailable() -> None:
    with pytest.raises(AddressUnavailable, match="not one of this machine") as caught:
        await open_tcp_listeners(0, host="192.0.2.1")  # TEST-NET-1, RFC 5737
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("80",), {}, TypeError, "port must be an int"),
        ((None,), {}, TypeError, "port must be an int"),
        ((True,), {}, TypeError, "port must be an int"),
        ((-1,), {}, ValueError, "port must be from 0 to 65535"),
        ((65536,), {}, ValueError, "port must be from 0 to 65535"),
        ((0,), {"host": 5}, TypeError, "host must be a str, bytes or None"),
        ((0,), {"host": ("127.0.0.1",)}, TypeError, "host must be a str, bytes or None"),
        ((0,), {"host": "127.0.0.1\0x"}, ValueError, "host must not contain a zero byte"),
        ((0,), {"host": b"127.0.0.1\0x"}, ValueError, "host must not contain a zero byte"),
        ((0,), {"host": "x" * 100 + ".example"}, ValueError, "is no host name"),
        ((0,), {"backlog": 0}, ValueError, "backlog must be from 1 on"),
        ((0,), {"backlog": 1.5}, TypeError, "backlog must be an int from 1 on"),
        ((0,), {"backlog": True}, TypeError, "backlog must be an int from 1 on"),
    ],
)
async def test_a_bad_argument_is_an_error_that_names_it(
    arguments: Any, options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        await open_tcp_listeners(*arguments, **options)


async def test_a_host_that_cannot_be_resolved_is_named_in_the_error() -> None:
    with pytest.raises(socket.gaierror, match=r"host 'no\.such\.invalid' cannot be resolved"):
        await open_tcp_listeners(0, host="no.such.invalid")  # .invalid: RFC 6761


async def test_a_cancelled_opener_leaves_nothing_open() -> None:
    with trio.move_on_after(0) as scope:
        await open_tcp_listeners(0)
    assert scope.cancelled_caught


def test_the_backlog_is_the_longest_unless_one_is_given() -> None:
    assert check_backlog(None) == DEFAULT_BACKLOG
    assert check_backlog(1) == 1
    assert check_backlog(10**9) == DEFAULT_BACKLOG


@pytest.mark.skipif(sys.platform != "linux", reason="the length of the queue is Linux's business")
async def test_the_backlog_bounds_the_kernels_queue() -> None:
    async with await open_one(backlog=1) as listener:
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex((LOCAL, port_of(listener)))
            await until(lambda: listener.count_waiting() == 2)  # listen(2): one more than asked for
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert listener.count_waiting() == 2


async def test_two_may_share_a_port_only_if_both_say_so() -> None:
    first = await open_one(reuse_port=True)
    (second,) = await open_tcp_listeners(port_of(first), host=LOCAL, reuse_port=True)
    with pytest.raises(AddressUnavailable):
        await open_tcp_listeners(port_of(first), host=LOCAL)
    first.close()
    second.close()


# Listening


async def test_a_listener_is_asked_in_two_steps_and_takes_nothing_in_the_first(
    listener: SocketListener,
) -> None:
    with pytest.raises(trio.WouldBlock):
        listener.accept_nowait()
    with socket.create_connection((LOCAL, port_of(listener))) as client:
        await listener.wait_ready()
        await listener.wait_ready()
        accepted, name = listener.accept_nowait()
        assert name == client.getsockname()
        assert accepted.getblocking() is False
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.close()


async def test_an_errno_of_accept_comes_through(listener: SocketListener) -> None:
    listener.socket.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
        listener.accept_nowait()
    assert caught.value.errno == errno.EINVAL


async def test_closing_wakes_whoever_waits_and_twice_is_as_good_as_once(listener: SocketListener) -> None:
    assert "closed" not in repr(listener)
    await close_while_waited_for(listener)
    listener.close()
    assert listener.is_closed
    assert "closed" in repr(listener)
    with pytest.raises(trio.ClosedResourceError):
        await listener.wait_ready()


async def test_aclose_closes_even_if_it_is_cancelled(listener: SocketListener) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.aclose()
    assert listener.is_closed
    assert scope.cancelled_caught


async def test_accept_waits_on_when_another_process_was_quicker(
    listener: SocketListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, taken = SocketListener.accept_nowait, [True]

    def accept_nowait(self: SocketListener) -> Any:
        if taken:
            taken.pop()
            raise trio.WouldBlock
        return accept(self)

    monkeypatch.setattr(SocketListener, "accept_nowait", accept_nowait)
    with socket.create_connection((LOCAL, port_of(listener))) as client, trio.fail_after(PATIENCE):
        async with await listener.accept() as stream:
            assert isinstance(stream, trio.SocketStream)
            assert stream.socket.getpeername() == client.getsockname()
    assert not taken


async def test_a_child_that_closes_its_copy_leaves_the_listener_to_the_parent(
    listener: SocketListener,
) -> None:
    with socket.socket() as client, trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.wait_ready)
            await trio.testing.wait_all_tasks_blocked()
            close_in_a_child(listener)
            client.connect((LOCAL, port_of(listener)))
