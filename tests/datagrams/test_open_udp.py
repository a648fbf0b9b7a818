"""Opening datagram sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

import pytest
import trio

import triosock
from tests.servers import running
from triosock._core.datagram import open as opening

pytestmark = pytest.mark.usefixtures("no_leaks")


@contextlib.asynccontextmanager
async def opened(port=0, **options):
    """The sockets, which are closed at the end of the block."""
    with contextlib.ExitStack() as stack:
        sockets = await triosock.open_udp_sockets(port, **options)
        for sock in sockets:
            stack.callback(sock.close)
        yield sockets


async def test_one_port_for_both_families():
    async with opened() as sockets:
        assert [str(sock.address.host) for sock in sockets] == ["0.0.0.0", "::"]
        assert len({sock.address.port for sock in sockets}) == 1
        assert all(isinstance(sock.address, triosock.UdpAddress) for sock in sockets)


async def test_a_port_in_use_is_refused_and_nothing_is_left_open():
    async with opened(host="127.0.0.1") as (sock,):
        text = rf"cannot listen on udp port {sock.address.port} of 127.0.0.1: another program"
        with pytest.raises(triosock.AddressUnavailable, match=text):
            await triosock.open_udp_sockets(sock.address.port, host="127.0.0.1")


async def test_a_port_is_shared_only_if_both_say_so():
    async with opened(host="127.0.0.1", reuse_port=True) as (first,):
        async with opened(first.address.port, host="127.0.0.1", reuse_port=True):
            pass


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"port": "9"}, TypeError, "port must be an int"),
        ({"port": 70_000}, ValueError, "port must be from 0 to 65535"),
        ({"host": 5}, TypeError, "host must be a str, bytes or None, not 5"),
        ({"max_bytes": 0}, ValueError, "max_bytes must be from 1 on, or None, not 0"),
        ({"max_bytes": 1.5}, TypeError, "max_bytes must be an int from 1 on, or None, not 1.5"),
        ({"receive_buffer": True}, TypeError, "receive_buffer must be an int"),
        ({"groups": "239.1.2.3"}, TypeError, "groups must be several multicast addresses"),
        ({"groups": [5]}, TypeError, "a multicast group must be a str such as"),
        ({"groups": ["mdns"]}, ValueError, "'mdns' is no multicast group: write an address"),
        ({"groups": ["127.0.0.1"]}, ValueError, "is no multicast group: they begin with 224 to 239, or ff"),
        ({"groups": ["239.1.2.3%nowhere0"]}, ValueError, "there is no interface 'nowhere0'; there are: .*lo"),
        (
            {"groups": ["ff02::1:2%1"], "host": "127.0.0.1"},
            ValueError,
            "no socket is IPv6, as the group ff02::1:2 needs",
        ),
        (
            {"groups": ["239.1.2.3%99999"], "host": "127.0.0.1"},
            OSError,
            "cannot join the multicast group 239.1.2.3: .*does",
        ),
    ],
)
async def test_wrong_arguments(options, error, text):
    with pytest.raises(error, match=text):
        await triosock.open_udp_sockets(options.pop("port", 0), **options)


async def test_the_receive_buffer_is_what_was_asked_for_twice():
    async with opened(host="127.0.0.1", receive_buffer=10_000, broadcast=True) as (sock,):
        assert sock.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 20_000
        assert sock.socket.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        assert sock.max_queued == 20_000 // 512 + 1


async def test_a_multicast_group_is_joined_and_heard_and_answered_from_our_own_address():
    received: list[tuple[bytes, str]] = []

    async def handler(datagram):
        received.append((datagram.data, datagram.local.host))
        await datagram.reply(b"here")

    groups = ["239.77.1.2%lo"]
    async with running(triosock.serve_udp, handler, 0, host="0.0.0.0", groups=groups) as server:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            await client.bind(("127.0.0.1", 0))
            await client.sendto(b"who?", ("239.77.1.2", server.addresses[0].port))
            with trio.fail_after(5):
                data, sender = await client.recvfrom(100)
        assert (data, sender) == (b"here", ("127.0.0.1", server.addresses[0].port))
        assert received == [(b"who?", "239.77.1.2")]


async def test_an_ipv6_group_by_the_number_of_its_interface():
    try:
        async with opened(host="::", groups=[f"ff02::77:1%{socket.if_nametoindex('lo')}"]):
            pass
    except triosock.AddressUnavailable as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
class TestUnix:
    async def test_the_file_has_its_mode_and_goes_with_the_socket(self, tmp_path):
        path = tmp_path / "s"
        sock = triosock.open_unix_datagram_socket(path, mode=0o600)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert sock.address == triosock.UnixAddress(path)
        sock.close()
        sock.close()
        assert not path.exists()

    async def test_a_living_one_is_refused_and_a_dead_one_replaced(self, tmp_path):
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(os.fspath(path))
            with pytest.raises(triosock.AddressUnavailable, match="another program listens there"):
                triosock.open_unix_datagram_socket(path)
        triosock.open_unix_datagram_socket(path).close()

    @pytest.mark.parametrize(
        ("options", "error"),
        [({"mode": "rw"}, TypeError), ({"mode": 0o1000}, ValueError), ({"max_bytes": -1}, ValueError)],
    )
    async def test_wrong_arguments_create_no_file(self, tmp_path, options, error):
        with pytest.raises(error):
            triosock.open_unix_datagram_socket(tmp_path / "s", **options)
        assert not list(tmp_path.iterdir())

    async def test_a_failure_after_bind_leaves_nothing(self, tmp_path, monkeypatch):
        def refuse(*args):
            raise RuntimeError("no")

        monkeypatch.setattr(opening, "UnixSocket", refuse)
        with pytest.raises(RuntimeError, match="no"):
            triosock.open_unix_datagram_socket(tmp_path / "s")
        assert not list(tmp_path.iterdir())
