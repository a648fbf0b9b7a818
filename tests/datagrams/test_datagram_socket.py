"""Sockets of the kernel: truncation, the kernel's own drops, adoption, Unix peers with a full queue."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

import triosock
from tests.listening import close_in_a_child
from tests.waiting import PATIENCE
from triosock._core.datagram.socket import KernelSocket, adopt


def send(to, *datagrams):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for data in datagrams:
            client.sendto(data, to.getsockname())
        return client.getsockname()[1]


async def test_the_longest_datagram_of_ipv4_comes_whole_by_default(bound):
    sock = adopt(bound)
    send(bound, b"x" * 65_507)
    await sock.wait_ready()
    received = sock.receive_nowait()
    assert (len(received.data), received.truncated) == (65_507, False)
    sock.close()


async def test_what_is_longer_than_max_bytes_is_cut_and_says_so(bound):
    sock = adopt(bound, 4)
    port = send(bound, b"12345", b"1234", b"")
    results = []
    for _ in range(3):
        await sock.wait_ready()
        results.append(sock.receive_nowait())
    assert [(one.data, one.truncated) for one in results] == [(b"1234", True), (b"1234", False), (b"", False)]
    assert sock.peer_address(results[0].name) == triosock.UdpAddress("127.0.0.1", port)
    with pytest.raises(trio.WouldBlock):
        sock.receive_nowait()
    sock.close()


async def test_what_the_kernel_drops_is_counted_to_the_last(bound):
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    send(bound, *[b"before"] * 200)  # somebody else's, who had the socket before us
    while True:
        try:
            bound.recv(100, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
    sock = adopt(bound)
    assert sock.lost == 0
    send(bound, *[b"flood"] * 500)
    received = 0
    while True:
        try:
            sock.receive_nowait()
        except trio.WouldBlock:
            break
        received += 1
    assert 0 < received < 500
    assert sock.seen_lost == 0, "those that were received were queued before the first drop"
    assert sock.lost == 500 - received
    send(bound, b"one more")
    await sock.wait_ready()
    sock.receive_nowait()
    assert sock.seen_lost == 500 - received, "the next one says so itself"
    sock.close()
    assert sock.lost == 500 - received


async def test_waiting_and_closing(bound):
    sock = adopt(bound)
    async with trio.open_nursery() as nursery:

        async def wait():
            with pytest.raises(trio.ClosedResourceError):
                await sock.wait_ready()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert "127.0.0.1" in repr(sock)
        sock.close()
    assert sock.is_closed
    assert "(closed)" in repr(sock)
    with pytest.raises(trio.ClosedResourceError):
        await sock.wait_ready()
    with pytest.raises(trio.ClosedResourceError):
        await sock.wait_writable(("127.0.0.1", 9))


async def test_trios_own_sockets_are_adopted_and_ours_stay_as_they_are():
    theirs = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await theirs.bind(("127.0.0.1", 0))
    name = theirs.getsockname()
    ours = adopt(theirs)
    assert theirs.fileno() == -1
    assert adopt(ours) is ours
    assert (ours.address.host, ours.address.port) == name
    ours.close()


async def test_what_is_no_bound_datagram_socket_is_refused():
    with pytest.raises(
        TypeError, match=r"sockets must be triosock or trio datagram sockets, or socket.socket, not 5"
    ):
        adopt(5)
    with pytest.raises(TypeError, match=r"needs a socket\.socket"):
        KernelSocket("no")
    for make in (socket.socket, trio.socket.socket):
        with make(socket.AF_INET, socket.SOCK_STREAM) as stream:
            with pytest.raises(ValueError, match="needs a datagram socket, not SOCK_STREAM"):
                adopt(stream)
    for family in (socket.AF_INET, socket.AF_UNIX):
        with socket.socket(family, socket.SOCK_DGRAM) as unbound:
            with pytest.raises(ValueError, match="bound to no address"):
                adopt(unbound)


async def test_a_dual_stack_socket_of_somebody_else_answers_ipv4_from_where_it_was_asked():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        try:
            both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            both.bind(("::", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        sock = adopt(both)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.7", both.getsockname()[1]))
            client.settimeout(5)
            client.send(b"hello")
            await sock.wait_ready()
            received = sock.receive_nowait()
            assert sock.local_address(received.destination).host == "::ffff:127.0.0.7"
            sock.send_nowait(b"hi", received.name, received.destination)
            assert await trio.to_thread.run_sync(client.recv, 10) == b"hi"
        sock.close()


class TestUnixPeersWithAFullQueue:
    """Of such a peer the kernel says that our own socket is writable; waiting for that would spin."""

    @pytest.fixture
    def server(self, tmp_path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(tmp_path / "server"))
            yield sock

    @pytest.fixture
    def client(self, tmp_path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(tmp_path / "client"))
            yield sock

    @staticmethod
    def fill(sock, name):
        count = 0
        with pytest.raises(trio.WouldBlock):
            while True:
                sock.send_nowait(b"x" * 2_000, name, None)
                count += 1
        return count

    @pytest.mark.parametrize("connected", [False, True])
    async def test_waits_until_the_peer_has_taken_one(self, server, client, connected):
        if connected:
            client.connect(server.getsockname())
        sock, name = adopt(server), client.getsockname()
        sent = self.fill(sock, name)
        assert sent > 1
        woken = trio.Event()

        async def wait():
            await sock.wait_writable(name)
            woken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert not woken.is_set(), "it must not spin, nor pass"
            for _ in range(sent):
                client.recv(2_000)
            with trio.fail_after(5):
                await woken.wait()
        sock.send_nowait(b"again", name, None)
        sock.close()

    async def test_a_peer_that_dies_meanwhile_is_an_error(self, server, client, tmp_path):
        sock, name = adopt(server), client.getsockname()
        client.close()
        with pytest.raises(ConnectionRefusedError):
            await sock.wait_writable(name)
        sock.close()


def test_a_unix_socket_is_closed_outside_of_trio_and_its_file_removed(tmp_path):
    path = tmp_path / "socket"
    sock = triosock.open_unix_datagram_socket(path)
    sock.close()
    assert sock.is_closed
    assert not path.exists()


def test_a_process_that_was_forked_off_leaves_the_file_to_who_made_it(tmp_path):
    path = tmp_path / "socket"
    sock = triosock.open_unix_datagram_socket(path)
    close_in_a_child(sock)
    assert path.exists()
    sock.close()
    assert not path.exists()


async def test_a_child_that_closes_its_copy_leaves_the_socket_to_the_parent():
    (sock,) = await triosock.open_udp_sockets(0, host="127.0.0.1")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sock.wait_ready)
            await trio.testing.wait_all_tasks_blocked()
            close_in_a_child(sock)
            send(sock.socket, b"one")
    sock.close()
