"""DTLS: what may go wrong below trio's endpoint, and its system tasks."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing

from tests.handlers import wait_forever
from tests.waiting import until, until_ended
from triosock import Cause
from triosock._core.datagram.socket import KernelSocket
from triosock._core.model import events

SSL = pytest.importorskip("OpenSSL.SSL", reason="the extra dtls (pyOpenSSL) is not installed")

from tests.datagrams.associations import client_context, echo, exchange, server_context  # noqa: E402
from triosock.dtls import serve_dtls  # noqa: E402

settle = trio.testing.wait_all_tasks_blocked


@pytest.fixture
def failing(monkeypatch):
    """A list of errors that receiving from a socket raises, one after the other."""
    errors, original = [], KernelSocket.receive_nowait

    def receive(self):
        if errors:
            raise errors.pop()
        return original(self)

    monkeypatch.setattr(KernelSocket, "receive_nowait", receive)
    return errors


@pytest.mark.parametrize(("number", "action"), [(errno.ECONNREFUSED, "go on"), (errno.ENOMEM, "back off")])
async def test_errors_of_the_socket_that_end_nothing(
    serving_dtls, dial_dtls, failing, recorder, number, action
):
    async with serving_dtls(echo, observers=[recorder]) as server:
        failing.append(OSError(number, "scripted"))
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == b"X"
        assert [event.action for event in recorder.of(events.AcceptFailed)] == [action]
        assert server.statistics().accept_errors == 1


async def test_any_other_error_ends_the_server_and_not_the_program(failing):
    async def send(task_status=trio.TASK_STATUS_IGNORED):
        server = await nursery.start(serve)
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            await client.sendto(b"x", ("127.0.0.1", server.addresses[0].port))

    async def serve(task_status):
        with pytest.raises(OSError, match="a bug"):
            await serve_dtls(echo, 0, context=server_context(), host="127.0.0.1", task_status=task_status)
        raised.append(True)

    raised = []
    failing.append(OSError(errno.EDOM, "a bug"))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
    assert raised


async def test_it_drains_when_somebody_else_closes_its_socket(serving_dtls):
    async with serving_dtls(echo) as server:
        server._listeners[0].close()
        with trio.fail_after(10):
            assert (await server.wait_closed()).drained


async def test_cancelled_in_a_drain_it_was_not_drained(serving_dtls, dial_dtls):
    async with serving_dtls(wait_forever) as server:
        with dial_dtls(server) as channel:
            await channel.do_handshake()
            await until(lambda: server.statistics().active)
            server.drain(grace=60)
            await settle(0.01)
    assert not (await server.wait_closed()).drained


async def test_what_the_kernel_refuses_to_send_is_lost_like_any_datagram(
    serving_dtls, dial_dtls, monkeypatch
):
    refusing, original = [], KernelSocket.send_nowait

    def send(self, *args):
        if refusing:
            raise refusing.pop()
        return original(self, *args)

    monkeypatch.setattr(KernelSocket, "send_nowait", send)
    async with serving_dtls(echo) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == b"X"
            refusing[:] = [OSError(errno.EPERM, "a firewall")]
            await channel.send(b"lost")
            await until(lambda: not refusing)
            await settle()
            refusing[:] = [trio.WouldBlock()]
            assert await exchange(channel, b"waits for room") == b"WAITS FOR ROOM"


def names_of_tasks():
    root = trio.lowlevel.current_root_task()
    names, nurseries = [], list(root.child_nurseries)
    while nurseries:
        for task in nurseries.pop().child_tasks:
            names.append(task.name)
            nurseries += task.child_nurseries
    return names


async def test_the_system_tasks_of_the_endpoints_are_over_when_it_returns():
    async def serve(task_status):
        await serve_dtls(echo, 0, context=server_context(), host="127.0.0.1", task_status=task_status)
        tasks.extend(names_of_tasks())

    tasks = []
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        assert [name for name in names_of_tasks() if "dtls_receive_loop" in name]
        server.drain()
    assert tasks
    assert not [name for name in tasks if "dtls_receive_loop" in name]


async def test_a_client_that_comes_while_the_second_socket_opens_is_served(serving_dtls, monkeypatch):
    """From its first association on, a context refuses the options that the second endpoint sets."""
    original = trio.DTLSEndpoint.serve
    ports = []

    async with trio.open_nursery() as nursery:
        endpoint = trio.DTLSEndpoint(trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        async def serve(self, *args, **options):
            if ports:
                channel = endpoint.connect(("127.0.0.1", ports[0]), client_context())
                nursery.start_soon(channel.do_handshake)
                await settle(0.05)
            ports.append(self.socket.inner.address.port)
            await original(self, *args, **options)

        monkeypatch.setattr(trio.DTLSEndpoint, "serve", serve)
        with endpoint:
            async with serving_dtls(echo, host=None) as server:
                await until(lambda: server.statistics().active)
                await until(lambda: not nursery.child_tasks)


async def send_close_notify(channel):
    """Send one, as other DTLS clients do at their end; trio's sends none."""
    channel._ssl.shutdown()
    await channel.endpoint.socket.sendto(channel._ssl.bio_read(65_536), channel.peer_address)


async def test_a_close_notify_ends_the_iteration(serving_dtls, dial_dtls):
    async with serving_dtls(echo) as server:
        with dial_dtls(server) as channel:
            assert await exchange(channel, b"x") == b"X"
            await send_close_notify(channel)
            await until_ended(server)
            assert server.statistics().ended == {Cause.FINISHED: 1}


async def test_a_close_notify_in_the_middle_of_an_exchange_is_the_peers_fault(
    serving_dtls, dial_dtls, recorder
):
    async def handler(session):
        await session.receive()
        await session.receive()

    async with serving_dtls(handler, observers=[recorder]) as server:
        with dial_dtls(server) as channel:
            await channel.send(b"x")
            await send_close_notify(channel)
            await until_ended(server)
            assert server.statistics().ended == {Cause.PEER: 1}
            assert not recorder.of(events.HandlerFailed)


async def test_sending_to_a_peer_that_has_begun_anew_fails_by_the_peers_fault(serving_dtls, recorder):
    begun = []

    async def handler(session):
        await session.receive()
        begun.append(session)
        if len(begun) == 1:
            await again.wait()
        await session.send(b"hello")

    again = trio.Event()
    async with serving_dtls(handler, observers=[recorder]) as server:
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with trio.DTLSEndpoint(sock) as endpoint:
            name = ("127.0.0.1", server.addresses[0].port)
            with endpoint.connect(name, client_context()) as first:
                await first.send(b"1")
                await until(lambda: begun)
                with endpoint.connect(name, client_context()) as second:
                    assert await exchange(second, b"2") == b"hello"
                    again.set()
                    await until_ended(server, 2)
        assert server.statistics().ended == {Cause.PEER: 1, Cause.FINISHED: 1}
        assert not recorder.of(events.HandlerFailed)
