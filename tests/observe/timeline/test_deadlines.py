"""The deadline of what was done last is a mark on its bar, reached or not, whatever kind of server it is."""

from __future__ import annotations

import socket

import pytest
import trio

import triosock
from tests.servers import drained, serving_in_a_thread
from triosock import compat
from triosock.observe import Timeline
from triosock.testing import DatagramNetwork


async def serve_in_memory(handler, says, **options):
    """Serve datagrams, send one of `says` at each of its times, drain at 4 s."""
    network = DatagramNetwork()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_datagram_sockets(
                handler, [network.open("server")], name="s", task_status=task_status, **options
            )
        )
        start = trio.current_time()
        client = network.open("client")
        for when, data in says:
            await trio.sleep_until(start + when)
            await client.send(data, server.addresses[0])
        await trio.sleep_until(start + 4)
        await drained(server)
        client.close()


def dues_of(timeline):
    (band,) = timeline.picture().bands
    return [[(pytest.approx(due.time), due.hit, due.text) for due in box.dues] for box in band.boxes]


async def test_a_datagram_is_under_the_timeout_of_requests(autojump_clock):
    async def handler(datagram):
        await trio.sleep(float(datagram.data))

    with Timeline() as timeline:
        await serve_in_memory(
            handler, [(0, b"0.5"), (1, b"9")], timeouts=triosock.Timeouts(request=2.0), on_error="log"
        )
    assert dues_of(timeline) == [
        [(2.0, False, "deadline at 2.0000 s, not reached (Timeouts.request)")],
        [(3.0, True, "deadline of a request, hit at 3.0000 s (request)")],
    ]


async def test_a_session_is_under_its_own_idle_time(autojump_clock):
    async def handler(session):
        async for _ in session:
            await trio.sleep(0.25)

    with Timeline() as timeline:
        await serve_in_memory(
            handler, [(0, b"a")], sessions=triosock.Sessions(idle=3.0), timeouts=triosock.Timeouts(idle=1.0)
        )
    assert dues_of(timeline) == [[(3.25, True, "idle deadline, hit at 3.2500 s (Sessions.idle)")]]


async def test_a_session_that_ended_before_it_has_the_mark_where_it_would_have_been(autojump_clock):
    async def handler(session):
        async for _ in session:
            return

    with Timeline() as timeline:
        await serve_in_memory(handler, [(0, b"a")], sessions=triosock.Sessions(idle=3.0))
    assert dues_of(timeline) == [[]]  # its request was the last that it did, and has 300 s


class Handler(compat.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())
        self.rfile.readline()


@pytest.mark.parametrize("timeout", [60.0, 0.2])
def test_a_compat_request_is_under_the_time_of_its_policy(timeout):
    class Server(compat.ThreadingTCPServer):
        trio_policy = compat.Policy(request_timeout=timeout)

        def handle_error(self, request, client_address):
            pass

    with Timeline() as timeline, Server(("127.0.0.1", 0), Handler) as server:
        with (
            serving_in_a_thread(server),
            socket.create_connection(server.server_address, timeout=30) as client,
        ):
            if timeout > 1:
                client.sendall(b"hello\n")
                assert client.recv(100) == b"hello\n"
            else:
                assert client.recv(100) == b""
    (lane,) = timeline._recording.run().lanes
    assert lane.lifetime == timeout
    (dues,) = dues_of(timeline)
    if timeout < 1:
        ((_, hit, text),) = dues
        assert (hit, text.endswith("(Policy.request_timeout)")) == (True, True)
    else:
        assert dues == []  # beyond the end of the picture
