"""Opening and serving: arguments, several sockets, handler classes."""

from __future__ import annotations

import pytest

import triosock
from tests.datagrams.serving import settle, shout
from tests.servers import running
from triosock import Sessions
from triosock.testing import DatagramNetwork


async def test_several_sockets_are_one_server():
    network = DatagramNetwork()
    one, two, client = network.open("one"), network.open("two"), network.open("client")
    async with running(triosock.serve_datagram_sockets, shout, [one, two], name="both") as server:
        assert (server.name, len(server.addresses)) == ("both", 2)
        for address in server.addresses:
            await client.send(b"x", address)
            assert await client.receive() == (b"X", address)
        one.close()
        await client.send(b"x", two.address)
        assert await client.receive() == (b"X", two.address)
        assert not server.draining


async def test_a_handler_class_has_three_steps():
    steps = []

    class Shout(triosock.DatagramHandler):
        async def setup(self):
            steps.append("setup")
            await super().setup()

        async def handle(self):
            await super().handle()
            await self.datagram.reply(self.data.upper() + str(self.peer).encode())

        async def finish(self):
            steps.append("finish")
            await super().finish()

    network = DatagramNetwork()
    sock, client = network.open("server"), network.open("client")
    async with running(triosock.serve_datagram_sockets, Shout.serve, [sock]) as server:
        await client.send(b"x", server.addresses[0])
        assert (await client.receive())[0] == b"Xmemory://client"
        await settle()
        assert steps == ["setup", "finish"]


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"handler": 5}, TypeError, "handler must be an async function of one datagram, not 5"),
        (
            {"handler": 5, "sessions": Sessions()},
            TypeError,
            "handler must be an async function of one session, not 5",
        ),
        ({"sessions": 5}, TypeError, r"sessions must be a triosock.Sessions\(…\) or None, not 5"),
        ({"limits": 5}, TypeError, r"limits must be a triosock.Limits\(…\), not 5"),
        ({"timeouts": 5}, TypeError, r"timeouts must be a triosock.Timeouts\(…\), not 5"),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'log', 'raise' or an async function"),
        ({"name": 5}, TypeError, "name must be a str or None, not 5"),
        ({"observers": [5]}, TypeError, "observers must be objects with a method on_event"),
        ({"port": -1}, ValueError, "port must be from 0 to 65535"),
    ],
)
async def test_wrong_arguments(wrong, error, text):
    with pytest.raises(error, match=text):
        await triosock.serve_udp(**{"handler": shout, "port": 0, **wrong})


@pytest.mark.parametrize(
    ("sockets", "error", "text"),
    [
        ("ab", TypeError, "sockets must be several"),
        (5, TypeError, "sockets must be several"),
        ([], ValueError, "at least one"),
    ],
)
async def test_wrong_sockets(sockets, error, text):
    with pytest.raises(error, match=text):
        await triosock.serve_datagram_sockets(shout, sockets)


async def test_a_mistake_in_the_second_socket_leaves_the_first_one_closed():
    sock = DatagramNetwork().open("one")
    with pytest.raises(TypeError, match="sockets must be triosock or trio datagram sockets"):
        await triosock.serve_datagram_sockets(shout, [sock, 5])
    assert sock.is_closed
