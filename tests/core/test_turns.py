"""Fairness: an exchange is one checkpoint, and no task runs for long without one."""

from __future__ import annotations

import select
import socket

import pytest
import trio

from tests.pairs import tcp_pair
from tests.waiting import PATIENCE
from triosock import Connection
from triosock._core.registry.registry import Entry
from triosock._core.transport.socket import SocketWire

pytestmark = pytest.mark.usefixtures("no_leaks")


class Steps(trio.abc.Instrument):
    """Counts how often a task was continued: each time, others have had their turn before."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def turns_of(fn) -> int:
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        await fn()
    finally:
        trio.lowlevel.remove_instrument(steps)
    return steps.count


@pytest.fixture
async def pair():
    one, other = tcp_pair()
    conn = Connection(one)
    other.settimeout(PATIENCE)
    yield conn, other
    await conn.aclose()
    other.close()


async def test_a_send_that_follows_no_receive_gives_others_their_turn(pair):
    conn, _ = pair

    async def send():
        for _ in range(5):
            await conn.send_all(b"x")

    assert await turns_of(send) == 5


async def test_an_answer_gives_no_turn_of_its_own(pair):
    conn, other = pair
    other.send(b"hello")
    assert await conn.receive_some() == b"hello"
    assert await turns_of(lambda: conn.send_all(b"hello")) == 0


@pytest.mark.parametrize(
    ("size", "free"), [(1, 16), (4096, 16), (5000, 13), (16384, 4), (65536, 1), (65537, 0)]
)
async def test_after_a_receive_as_much_may_be_sent_as_it_may_have_brought(pair, size, free):
    conn, other = pair
    data = b"x" * size

    async def send_and_forget():
        await conn.send_all(data)
        taken = 0
        while taken < size:  # or the kernel has no place for the next one, and that is a turn, too
            taken += len(other.recv(1 << 20))

    other.send(b"go")
    assert await conn.receive_some() == b"go"
    for _ in range(free):
        assert await turns_of(send_and_forget) == 0
    for _ in range(3):
        assert await turns_of(send_and_forget) == 1


async def test_an_answer_is_a_cancel_point_even_if_it_gives_no_turn(pair):
    conn, other = pair
    other.send(b"hello")
    assert await conn.receive_some() == b"hello"
    with trio.CancelScope() as scope:
        scope.cancel()
        await conn.send_all(b"not sent")
    assert scope.cancelled_caught
    await conn.send_all(b"sent")
    assert other.recv(100) == b"sent"


async def test_a_receive_that_finds_something_gives_others_their_turn_each_time(pair):
    conn, other = pair
    other.send(b"x" * 100)
    assert select.select([conn.transport], [], [], PATIENCE)[0], "the kernel has not brought it"

    async def receive():
        for _ in range(5):
            assert await conn.receive_some(1) == b"x"

    assert await turns_of(receive) == 5


async def test_a_peer_that_never_stops_sending_does_not_keep_others_from_their_turn():
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        wire = SocketWire(one, Entry(accepted=trio.current_time()))
        with pytest.raises(BlockingIOError):
            while True:
                other.send(b"x" * 50_000)
        other.shutdown(socket.SHUT_WR)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await wire.linger()
            assert turns >= 1
            nursery.cancel_scope.cancel()
        wire.close_now()
