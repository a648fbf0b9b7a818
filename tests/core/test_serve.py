"""serve_*: mistakes are raised by the call that made them, and leave nothing open."""

from __future__ import annotations

import functools
import os
import socket
import ssl
import sys

import pytest
import trio
import trio.testing

import triosock
from tests.core.test_adopt import Foreign
from tests.handlers import ask, says, shout
from tests.servers import drained, running
from tests.tls import client_context, dial_tls, server_context
from tests.waiting import until_ended
from triosock import Limits, Timeouts

pytestmark = pytest.mark.usefixtures("no_leaks")


fine = says(b"fine")


def plain(conn):
    pass


async def generator(conn):
    yield 1


async def no_argument():
    pass


async def two_arguments(reader, writer):
    pass


def injecting(function):
    """A decorator whose wrapper gives more than it is given."""

    @functools.wraps(function)
    async def wrapper(conn):
        await conn.send_all(b"fine")
        await function(conn, conn)

    return wrapper


class Callable:
    async def __call__(self, conn):
        await conn.send_all(b"fine")

    async def method(self, conn):
        await conn.send_all(b"fine")

    def plain_method(self, conn):
        pass


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (
            plain,
            r"handler must be an async function of one connection, and .*plain is a plain one: write `async",
        ),
        (functools.partial(plain), "is a plain one"),
        (Callable().plain_method, "is a plain one"),
        (generator, "is an async generator: it must not yield"),
        (print, "print is built in, and so a plain one"),
        (triosock.StreamHandler, r"StreamHandler is a class: pass StreamHandler.serve"),
        (Callable, r"Callable is a class: pass a function"),
        (None, "not None"),
        ("handler", "not 'handler'"),
        (no_argument, r"cannot be called with one argument: no_argument\(\)"),
        (two_arguments, r"cannot be called with one argument: two_arguments\(reader, writer\)"),
    ],
)
async def test_a_handler_that_cannot_be_one_is_named(handler, text):
    with pytest.raises(TypeError, match=text):
        await triosock.serve_tcp(handler, 0)


async def test_a_coroutine_object_is_told_from_a_function():
    coroutine = fine(None)
    with pytest.raises(TypeError, match=r"without calling it \(got a coroutine object\)"):
        await triosock.serve_tcp(coroutine, 0)


def decorated(function):
    @functools.wraps(function)
    def wrapper(conn):
        return function(conn)

    return wrapper


@pytest.mark.parametrize(
    "handler",
    [
        *(fine, lambda conn: fine(conn), functools.partial(fine), Callable(), Callable().method),
        *(decorated(fine), injecting(two_arguments)),
    ],
    ids=["function", "lambda", "partial", "object", "method", "decorated", "injecting"],
)
async def test_whatever_returns_an_awaitable_is_a_handler(serving, dial, handler):
    async with serving(handler) as server, await dial(server) as client:
        assert await client.receive_some() == b"fine"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"port": 70000}, ValueError, "port must be from 0 to 65535"),
        ({"port": -1}, ValueError, "port must be from 0"),
        ({"port": "80"}, TypeError, "port must be an int"),
        ({"port": True}, TypeError, "port must be an int"),
        ({"host": 5}, TypeError, "host must be a str"),
        ({"host": "no.such.host.invalid"}, socket.gaierror, "not known|resolution"),
        ({"host": "192.0.2.1"}, triosock.AddressUnavailable, "not one of this machine"),
        ({"backlog": 0}, ValueError, "backlog must be from 1 on"),
        ({"backlog": "1"}, TypeError, "backlog must be an int"),
        ({"limits": 5}, TypeError, "limits must be a triosock.Limits"),
        ({"timeouts": Limits()}, TypeError, "timeouts must be a triosock.Timeouts"),
        ({"limits": Limits(overflow=plain)}, TypeError, "limits.overflow must be an async function"),
        ({"tls": "cert.pem"}, TypeError, "tls must be an ssl.SSLContext"),
        ({"tls": ssl.create_default_context()}, ValueError, "tls must be a context for servers"),
        ({"proxy": "yes"}, TypeError, "proxy must be"),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'log', 'raise' or an async function"),
        ({"on_error": plain}, TypeError, "on_error must be an async function"),
        ({"observers": [5]}, TypeError, "observers must be objects with a method on_event"),
        ({"name": 5}, TypeError, "name must be a str"),
    ],
)
async def test_a_wrong_option_is_named_and_leaves_nothing_open(options, error, text):
    with pytest.raises(error, match=text):
        await triosock.serve_tcp(fine, **{"port": 0, "host": "127.0.0.1", **options})


@pytest.mark.parametrize(
    "make",
    [lambda: Limits(max_connections=-1), lambda: Timeouts(idle=float("nan")), lambda: Timeouts(grace=-1)],
)
async def test_limits_and_timeouts_are_checked_when_they_are_made(make):
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("x" * 108, ValueError, "more than the 107"),
        ("", ValueError, "must not be empty"),
        (5, TypeError, "path must be a str"),
        ("a\0b", ValueError, "zero byte"),
    ],
)
async def test_a_wrong_unix_path_is_named(path, error, text):
    with pytest.raises(error, match=text):
        await triosock.serve_unix(fine, path)


@pytest.mark.parametrize("wrong", [{"name": 5}, {"observers": [5]}, {"observers": 5}])
async def test_a_wrong_name_or_observer_is_named_before_anything_is_opened(tmp_path, wrong):
    gone = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(gone))
    inode = gone.stat().st_ino
    with pytest.raises(TypeError):
        await triosock.serve_unix(shout, gone, **wrong)
    assert gone.stat().st_ino == inode  # not even what is stale was replaced


async def test_a_wrong_handler_does_not_touch_the_path(tmp_path):
    with pytest.raises(TypeError):
        await triosock.serve_unix(plain, tmp_path / "socket")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("listeners", "error", "text"),
    [
        ([], ValueError, "at least one"),
        ("x", TypeError, "several listeners"),
        ([5], TypeError, "not 5"),
        (5, TypeError, "several"),
    ],
)
async def test_wrong_listeners_are_named(listeners, error, text):
    with pytest.raises(error, match=text):
        await triosock.serve_listeners(fine, listeners)


async def test_a_bad_listener_among_good_ones_closes_the_good():
    listeners = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    with pytest.raises(TypeError):
        await triosock.serve_listeners(fine, [*listeners, 5])
    assert listeners[0].is_closed


async def test_trios_own_listeners_and_plain_sockets_are_adopted(dial):
    trios = await trio.open_tcp_listeners(0, host="127.0.0.1")
    plain_socket = socket.create_server(("127.0.0.1", 0))
    async with running(triosock.serve_listeners, fine, [*trios, plain_socket]) as server:
        for address in server.addresses:
            async with await trio.open_tcp_stream("127.0.0.1", address.port) as client:
                assert await client.receive_some() == b"fine"
        await drained(server)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
async def test_of_trios_listeners_with_tls_the_addresses_are_those_of_their_sockets():
    trios = await trio.open_ssl_over_tcp_listeners(0, server_context(), host="127.0.0.1")
    peers = []

    async def stay(conn):
        peers.append((conn.peer, conn.local))
        await conn.send_all(b"fine")
        await conn.receive_some()

    limits = Limits(max_connections_per_peer=1)
    async with running(triosock.serve_listeners, stay, trios, limits=limits) as server:
        [address] = server.addresses
        assert address == triosock.TcpAddress("127.0.0.1", address.port)
        async with (
            await dial_tls(server) as client,
            await trio.open_tcp_stream("127.0.0.1", address.port, local_address="127.0.0.2") as plain,
        ):
            assert await client.receive_some() == b"fine"
            # Another host is another peer, and does not count for the same limit.
            other = trio.SSLStream(plain, client_context(), server_hostname="localhost")
            assert await other.receive_some() == b"fine"
            assert [peer.host for peer, _ in peers] == ["127.0.0.1", "127.0.0.2"]
            assert {local for _, local in peers} == {address}


async def test_behind_trios_listener_with_tls_on_every_address_the_local_one_is_that_of_the_connection():
    trios = await trio.open_ssl_over_tcp_listeners(0, server_context(), host="0.0.0.0")
    locals_ = []

    async def note(conn):
        locals_.append(conn.local)
        await conn.send_all(b"fine")

    async with running(triosock.serve_listeners, note, trios) as server:
        port = server.addresses[0].port
        plain = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.SSLStream(plain, client_context(), server_hostname="localhost") as client:
            assert await client.receive_some() == b"fine"
        await drained(server)
    assert locals_ == [triosock.TcpAddress("127.0.0.1", port)]


async def test_a_clients_connection_around_a_stream_of_trios_knows_its_addresses(serving):
    async with serving(fine) as server:
        port = server.addresses[0].port
        async with triosock.Connection(await trio.open_tcp_stream("127.0.0.1", port)) as client:
            assert client.peer == server.addresses[0]
            assert client.local.port == client.transport.socket.getsockname()[1]
            assert await client.receive_exactly(4) == b"fine"
            await drained(server)


async def test_a_listener_of_another_make_works_too():
    foreign = Foreign()
    async with running(triosock.serve_listeners, fine, [foreign]) as server:
        client, other = trio.testing.memory_stream_pair()
        await foreign.send.send(other)
        assert await client.receive_some() == b"fine"
        await client.aclose()
        assert (await drained(server)).drained
        assert foreign.closed


async def test_the_name_is_the_first_address_or_what_was_given(serving):
    async with serving(fine) as server:
        assert server.name == str(server.addresses[0])
        assert "0 active" in repr(server)
    async with serving(fine, name="shop") as server:
        assert server.name == "shop"
        assert server.limits == Limits()
        assert server.timeouts == Timeouts()


async def test_cancelled_before_it_listens_nothing_is_left():
    with trio.CancelScope() as scope:
        scope.cancel()
        await triosock.serve_tcp(fine, 0)
    assert scope.cancelled_caught


async def test_a_client_of_a_proxy_is_known_by_the_header(serving, dial):
    async def who(conn):
        await conn.send_all(str(conn.peer).encode())

    async with serving(who, proxy=True) as server:
        async with await dial(server) as client:
            assert await ask(client, b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n") == b"tcp://192.0.2.7:5555"
        async with await dial(server) as client:
            assert await ask(client, b"GET / HTTP/1.0\r\n\r\n") == b""
        assert await until_ended(server, 2) == {triosock.Cause.FINISHED: 1, triosock.Cause.HANDSHAKE: 1}
