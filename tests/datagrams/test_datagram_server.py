"""Datagram servers on real sockets: where replies come from, what ICMP may not do, what the kernel loses."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing

import triosock
from tests.datagrams.serving import exchange, settle, shout
from tests.servers import drained, running
from tests.waiting import until, until_ended, until_served
from triosock import Cause, Limits
from triosock._core.datagram.socket import KernelSocket
from triosock._core.model import events

#: Of peers whose port is freed in the test: no other program binds one here meanwhile.
DEAD = "127.0.0.77"

# Addresses


async def test_replies_leave_from_the_address_that_was_asked(on_loopback, udp_client):
    """A connected client throws an answer from elsewhere away."""
    hosts = []

    async def handler(datagram):
        hosts.append(datagram.local.host)
        await shout(datagram)

    async with on_loopback(handler, host=None) as server:
        assert len(server.addresses) == 2
        assert len({address.port for address in server.addresses}) == 1
        for host in ("127.0.0.1", "127.0.0.5", "::1"):
            with udp_client(server, host) as client:
                assert await exchange(client, b"hi") == b"HI"
        assert hosts == ["127.0.0.1", "127.0.0.5", "::1"]


async def test_the_peer_is_who_sent_it(on_loopback, udp_client):
    async def handler(datagram):
        await datagram.reply(str(datagram.peer).encode())

    async with on_loopback(handler) as server:
        with udp_client(server) as client:
            host, port = client.getsockname()
            assert await exchange(client, b"who am I?") == f"udp://{host}:{port}".encode()
        assert str(server.addresses[0]) in repr(server)


async def test_the_longest_datagram_comes_and_goes_whole(on_loopback, udp_client):
    async with on_loopback(shout) as server:
        with udp_client(server) as client:
            assert await exchange(client, b"x" * 65_507) == b"X" * 65_507
            assert server.statistics().truncated == 0


async def test_a_reply_that_is_too_long_is_a_mistake_of_the_caller(on_loopback, udp_client):
    async def handler(datagram):
        text = r"data has 65,508 bytes, too many for one datagram to udp://.*: UDP carries 65,507"
        with pytest.raises(ValueError, match=text):
            await datagram.reply(b"x" * 65_508)
        with pytest.raises(TypeError, match="a str needs"):
            await datagram.reply("text")
        await datagram.reply(b"still here")

    async with on_loopback(handler) as server:
        with udp_client(server) as client:
            assert await exchange(client, b"?") == b"still here"
        await settle()
        assert server.statistics().ended == {Cause.FINISHED: 1}


# ICMP


async def test_a_reply_to_a_dead_port_stops_nothing(on_loopback, udp_client):
    go = trio.Event()

    async def handler(datagram):
        if datagram.data == b"wait":
            await go.wait()
        await shout(datagram)

    async with on_loopback(handler) as server:
        with udp_client(server) as gone:
            await gone.send(b"wait")
            await until_served(server)
        go.set()
        await until_ended(server)
        with udp_client(server) as client:
            assert await exchange(client, b"hi") == b"HI"


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="IP_RECVERR is Linux's")
async def test_a_socket_that_asked_for_icmp_errors_does_not_spin_on_them():
    """With IP_RECVERR and nobody to read the error queue, the socket would be readable for ever."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead,
    ):
        dead.bind((DEAD, 0))
        name = dead.getsockname()
        dead.close()
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.sendto(b"x", name)
        async with running(triosock.serve_datagram_sockets, shout, [sock]) as server:
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                await client.connect(("127.0.0.1", port))
                assert await exchange(client, b"hi") == b"HI"
            await settle(0.02)  # would never return if the loop span
            assert server.statistics().received == 1


async def test_a_connected_socket_that_is_told_of_a_dead_peer_goes_on(bound, recorder):
    """ECONNREFUSED from the receive call itself, by the kernel's own hand."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((DEAD, 0))
        name, ours = peer.getsockname(), bound.getsockname()
        bound.connect(name)
        async with running(triosock.serve_datagram_sockets, shout, [bound], observers=[recorder]) as server:
            sock = server._listeners[0].socket
            peer.close()
            sock.send(b"to nobody")
            await until(lambda: server.statistics().receive_errors)
            await settle()
            assert server.statistics().receive_errors == 1
            (failed,) = recorder.of(events.AcceptFailed)
            assert (failed.error.errno, failed.action) == (errno.ECONNREFUSED, "go on")
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                await again.bind(name)
                await again.connect(ours)
                assert await exchange(again, b"hi") == b"HI"


class FailingSocket(KernelSocket):
    """Raises each of `errors` in turn before it receives."""

    def __init__(self, sock, errors):
        super().__init__(sock)
        self.errors = errors

    def receive_nowait(self):
        if self.errors:
            raise self.errors.pop(0)
        return super().receive_nowait()


@pytest.mark.parametrize(
    "number",
    [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EMSGSIZE, errno.ENOMEM],
)
@pytest.mark.parametrize("when", ["loop", "drain"])
async def test_errors_that_do_not_end_the_loop(number, when, bound, recorder, autojump_clock):
    failing = FailingSocket(bound, [])
    async with running(triosock.serve_datagram_sockets, shout, [failing], observers=[recorder]) as server:
        await settle()
        failing.errors = [OSError(number, "scripted")]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(b"hi", bound.getsockname())
            if when == "drain":
                await drained(server)
                # Without memory to receive it, it stays with the kernel, and is seen at the second look.
                assert server.statistics().received == 1
            else:
                assert await trio.to_thread.run_sync(client.recv, 10) == b"HI"
        assert [event.error.errno for event in recorder.of(events.AcceptFailed)] == [number]


async def test_any_other_error_crashes_the_server(bound):
    failing = FailingSocket(bound, [OSError(errno.EDOM, "a bug")])
    with pytest.raises(ExceptionGroup, match="Exceptions from Trio") as caught, trio.fail_after(5):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"hi", bound.getsockname())
            await triosock.serve_datagram_sockets(shout, [failing])
    assert "a bug" in _texts(caught.value)


def _texts(error):
    return str(error) + "".join(map(_texts, getattr(error, "exceptions", ())))


# What is lost


def count_all(server):
    """How many have come to its socket, whether it could take them or not."""
    s = server.statistics()
    return s.received + s.lost


async def test_what_the_kernel_loses_is_counted_and_told(bound, recorder):
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    name = bound.getsockname()
    async with running(triosock.serve_datagram_sockets, shout, [bound], observers=[recorder]) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(300):
                client.sendto(b"x", name)
            await settle(0.02)
            client.sendto(b"the one that says so", name)
            await until(lambda: count_all(server) >= 301)
        s = server.statistics()
        assert s.lost > 0
        assert count_all(server) == 301
        assert sum(event.count for event in recorder.of(events.DatagramsLost)) == s.lost
    assert server.statistics().lost == s.lost, "it is still known when the socket is closed"


async def test_sent_is_handled_or_dropped_or_lost(on_loopback):
    """The sum of the whole, in small; the soak test has it in large."""

    async def handler(datagram):
        await trio.lowlevel.checkpoint()

    sent = 0
    async with on_loopback(handler, limits=Limits(max_pending_datagrams=64), receive_buffer=16_384) as server:
        name = (server.addresses[0].host, server.addresses[0].port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for burst in range(20):
                for _ in range(150):
                    client.sendto(b"x" * burst, name)
                    sent += 1
                await trio.lowlevel.checkpoint()
            await drained(server)
        s = server.statistics()
        assert sent == s.handled + sum(s.dropped.values()) + s.lost
        assert s.lost


async def test_a_flood_of_real_datagrams_and_another_peer_is_served(on_loopback, udp_client):
    held = trio.Event()

    async def handler(datagram):
        if datagram.data == b"flood":
            await held.wait()
        await shout(datagram)

    # The buffer holds them all, so that it is the server that drops what is too much.
    limits = Limits(max_pending_datagrams=32)
    async with on_loopback(handler, limits=limits, receive_buffer=400_000) as server:
        with udp_client(server, source="127.0.0.66") as flooder, udp_client(server) as client:
            for _ in range(500):
                await flooder.send(b"flood")
            assert await exchange(client, b"hi") == b"HI"
            s = server.statistics()
            assert s.dropped["share"] == s.received - 1 - 17
            held.set()
