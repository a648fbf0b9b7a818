"""The whole in large: every datagram is accounted for, and sessions stay in bounded memory. Only `make soak`.

What is asserted does not depend on speed; the figures are printed (`pytest -s`).
"""

from __future__ import annotations

import gc
import socket
import sys
import tracemalloc

import pytest
import trio

from tests.servers import drained
from triosock import Limits, Sessions

pytestmark = pytest.mark.soak

DATAGRAMS = 200_000
BURST = 500
PEERS = 20_000


#: A process of its own, as a client is: a thread would take turns with the server instead of competing with
#: it.
SENDER = """
import socket, sys, time
host, port, count, burst = sys.argv[1], *map(int, sys.argv[2:])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    for number in range(count):
        client.sendto(b"%d" % number, (host, port))
        if number % burst == burst - 1:
            time.sleep(0.02)
"""


@pytest.mark.parametrize("drop", ["newest", "oldest"])
async def test_200_000_datagrams_in_bursts_are_all_accounted_for(on_loopback, drop):
    async def handler(datagram):
        await trio.sleep(0.001)

    async with on_loopback(handler, limits=Limits(drop=drop), receive_buffer=500_000) as server:
        address = server.addresses[0]
        arguments = [address.host, address.port, DATAGRAMS, BURST]
        await trio.run_process([sys.executable, "-c", SENDER, *map(str, arguments)])
        assert (await drained(server)).clean
        s = server.statistics()
    dropped = sum(s.dropped.values())
    print(
        f"\ndrop={drop!r}: sent {DATAGRAMS:,} = handled {s.handled:,} + dropped {dropped:,} "
        f"{dict(s.dropped)} + lost in the kernel {s.lost:,}"
    )
    assert s.handled + dropped + s.lost == DATAGRAMS


@pytest.mark.parametrize("when_full", ["refuse", "evict"])
async def test_sessions_survive_20_000_peers_in_bounded_memory(on_loopback, when_full):
    """Each peer sends one datagram and is never seen again; what is kept is what `max` allows."""
    most = 1_000
    sizes = []

    async def handler(session):
        async for data in session:
            await session.send(data)

    def send_once(name, count):
        for number in range(count):
            # Each from an address and port of its own: 127.0.0.0/8 has enough.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((f"127.1.{number // 250 % 250}.{number % 250 + 1}", 0))
                client.sendto(b"once", name)
                client.settimeout(0.0)

    sessions = Sessions(max=most, when_full=when_full)
    async with on_loopback(handler, sessions=sessions, receive_buffer=2_000_000) as server:
        name = (server.addresses[0].host, server.addresses[0].port)
        tracemalloc.start()
        try:
            for _ in range(PEERS // 2_000):
                await trio.to_thread.run_sync(send_once, name, 2_000)
                await trio.testing.wait_all_tasks_blocked(0.01)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
                # Besides those who are served, one may wait for each that has been asked to go.
                assert server.statistics().active <= most
                assert len(server._registry) <= 2 * most
        finally:
            tracemalloc.stop()
        s = server.statistics()
    dropped = sum(s.dropped.values())
    megabytes = ", ".join(f"{size / 1e6:.1f}" for size in sizes)
    print(
        f"\nwhen_full={when_full!r}: {PEERS:,} peers: {sum(s.ended.values()) + s.active:,} sessions, "
        f"dropped {dropped:,} {dict(s.dropped)}, lost in the kernel {s.lost:,}; "
        f"MB after each tenth: {megabytes}"
    )
    assert s.handled + dropped + s.lost == PEERS
    # The first tenth fills it; nine more of them must not need half as much again.
    assert sizes[-1] < 1.5 * sizes[0]
