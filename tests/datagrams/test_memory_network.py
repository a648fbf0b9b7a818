"""The in-memory network: faults on request, every datagram counted, virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from triosock import MemoryAddress, TcpAddress
from triosock.testing import DatagramNetwork


async def take_all(sock):
    taken = []
    with trio.move_on_after(1_000):
        while True:
            taken.append((await sock.receive())[0])
    return taken


def check(network, under_way=0):
    assert network.sent + network.duplicated == (
        network.delivered + network.lost + network.undeliverable + network.overflowed + under_way
    )


async def test_it_carries_in_order_without_being_asked_for_more(autojump_clock):
    network = DatagramNetwork()
    a, b = network.open("a"), network.open()
    for number in range(5):
        await b.send(b"%d" % number, a.address)
    assert await a.receive() == (b"0", b.address)
    assert await take_all(a) == [b"1", b"2", b"3", b"4"]
    check(network)


async def test_loss_duplication_and_lateness_on_request(autojump_clock):
    network = DatagramNetwork()
    a, b = network.open("a"), network.open("b")
    network.lose_next(2)
    for data in (b"lost", b"lost too", b"came"):
        await b.send(data, a.address)
    network.duplicate_next()
    await b.send(b"twice", a.address)
    network.delay_next(5.0)
    await b.send(b"late", a.address)
    await b.send(b"last", a.address)
    began = trio.current_time()
    assert [(await a.receive())[0] for _ in range(5)] == [b"came", b"twice", b"twice", b"last", b"late"]
    assert trio.current_time() - began == 5.0
    assert (network.lost, network.duplicated, network.delayed) == (2, 1, 1)
    check(network)


async def test_the_same_seed_gives_the_same_faults(autojump_clock):
    async def run(seed):
        network = DatagramNetwork(loss=0.2, duplication=0.2, reordering=0.3, delay=0.1, seed=seed)
        a, b = network.open("a"), network.open("b")
        for number in range(100):
            await b.send(b"%d" % number, a.address)
        taken = await take_all(a)
        check(network)
        assert network.lost
        assert network.duplicated
        assert network.delayed
        assert taken != sorted(taken, key=int)
        return taken

    assert await run(1) == await run(1) != await run(2)


async def test_a_full_queue_a_missing_socket_and_a_closed_one_are_counted():
    network = DatagramNetwork()
    a, b = network.open("a", max_queued=2), network.open("b")
    for _ in range(3):
        await b.send(b"x", a.address)
    await b.send(b"x", MemoryAddress("nobody"))
    assert (network.overflowed, a.lost, network.undeliverable) == (1, 1, 1)
    check(network, under_way=2)
    a.close()
    a.close()
    assert network.undeliverable == 3
    check(network)
    for use in (a.wait_ready, a.receive, lambda: a.send(b"", b.address)):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    with pytest.raises(trio.ClosedResourceError):
        a.receive_nowait()
    assert "(closed)" in repr(a)
    network.open("a").close()


async def test_closing_wakes_who_waits():
    network = DatagramNetwork()
    a = network.open("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_closed, a)
        await trio.testing.wait_all_tasks_blocked()
        a.close()


async def test_several_that_wait_get_a_datagram_each_and_the_rest_is_woken_by_the_end():
    network = DatagramNetwork()
    a, b = network.open("a"), network.open("b")
    got = []

    async def take():
        try:
            got.append((await a.receive())[0])
        except trio.ClosedResourceError:
            got.append("closed")

    async with trio.open_nursery() as nursery:
        with trio.fail_after(10):
            for _ in range(4):
                nursery.start_soon(take)
            for data in (b"1", b"2"):
                await trio.testing.wait_all_tasks_blocked()
                await b.send(data, a.address)
            await trio.testing.wait_all_tasks_blocked()
            assert got == [b"1", b"2"]
            a.close()
            await trio.testing.wait_all_tasks_blocked()
            assert got == [b"1", b"2", "closed", "closed"]
            nursery.cancel_scope.cancel()


async def _expect_closed(sock):
    with pytest.raises(trio.ClosedResourceError):
        await sock.receive()


async def test_it_cuts_and_says_so():
    network = DatagramNetwork()
    a, b = network.open("a", max_bytes=3), network.open("b")
    await b.send(b"abcd", a.address)
    received = a.receive_nowait()
    assert (received.data, received.truncated) == (b"abc", True)


@pytest.mark.parametrize("share", ["loss", "duplication", "reordering"])
@pytest.mark.parametrize(
    ("value", "error"), [(-0.1, ValueError), (1.1, ValueError), (True, TypeError), ("0.5", TypeError)]
)
def test_shares_are_from_0_to_1(share, value, error):
    with pytest.raises(error, match=f"{share} must be (a number )?from 0 to 1"):
        DatagramNetwork(**{share: value})


async def test_wrong_uses():
    network = DatagramNetwork()
    a = network.open("a")
    with pytest.raises(ValueError, match="memory://a is in use"):
        network.open("a")
    with pytest.raises(TypeError, match="to must be an address of this network"):
        await a.send(b"", TcpAddress("127.0.0.1", 1))
