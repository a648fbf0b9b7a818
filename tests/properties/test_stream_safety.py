"""The invariants: a cancelled receive loses no byte, and a cancelled send never corrupts the stream.

That is, whatever is cancelled whenever: what one side received is what the other side sent, from its first
byte on, without a gap; and once a send has ended in the middle, every later one says so instead of going on
in the wrong place.
"""

import contextlib
import functools
import socket
import ssl

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers import send_in_part
from tests.tls import trusting
from triosock import Connection, Incomplete
from triosock.testing import memory_stream_pair
from triosock.testing.leaks import no_new_resources

WIRES = ["socket", "stream", "tls", "tls over a stream"]


@functools.cache
def contexts():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.test").configure_cert(server)
    client = trusting(authority)
    return client, server


@contextlib.asynccontextmanager
async def open_pair(wire):
    """A sender and a receiver, of which nothing is left; what the wire holds is little, so sends wait."""
    with no_new_resources():
        sender, receiver = await connect_pair(wire)
        async with sender, receiver:
            yield sender, receiver


async def connect_pair(wire):
    if wire.endswith("stream"):
        pair = [Connection(stream) for stream in memory_stream_pair(buffer_size=4_096)]
    else:
        socks = socket.socketpair()
        for sock in socks:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        pair = [Connection(sock) for sock in socks]
    if wire.startswith("tls"):
        client, server = contexts()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                functools.partial(pair[0].start_tls, client, server_side=False, server_hostname="server.test")
            )
            nursery.start_soon(pair[1].start_tls, server)
    return pair


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope right after the n-th step that a task takes from now on."""

    def __init__(self, scope, step):
        self.scope = scope
        self.left = step
        self.task = trio.lowlevel.current_task()

    def after_task_step(self, task):
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def call(cancel_at, async_fn, *args):
    """Call it, cancelled at a step of its (0: before the first; None: never).

    Return whether it got through, and what it gave.
    """
    with trio.CancelScope() as scope:
        if cancel_at is None:
            return True, await async_fn(*args)
        if cancel_at == 0:
            scope.cancel()
        instrument = CancelAtStep(scope, cancel_at)
        trio.lowlevel.add_instrument(instrument)
        try:
            return True, await async_fn(*args)
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return False, None


# Receiving

# Small, each after a pause of so many checkpoints, so that most receives find only a part of what they want.
pieces = st.lists(
    st.tuples(st.binary(min_size=1, max_size=4) | st.just(b"n\n"), st.integers(0, 3)), min_size=1, max_size=8
)
cancel_at = st.sampled_from([None, 0, 1, 2])
receives = st.lists(
    st.tuples(st.sampled_from(["some", "few", "exactly", "until", "line", "idle"]), cancel_at),
    min_size=1,
    max_size=12,
)


async def receive_once(conn, how):
    """Receive by one of the methods; return the bytes."""
    match how:
        case "some":
            return await conn.receive_some()
        case "few":
            return await conn.receive_some(3)
        case "exactly":
            return await conn.receive_exactly(5)
        case "until":
            return await conn.receive_until(b"\n")
        case "line":
            return await anext(conn.lines(), b"")
        case "idle":
            with conn.idle():
                return await conn.receive_some()


async def end_stream(sender, wire):
    """How the receiver learns that this was all: without TLS a half-close, with it a close_notify."""
    if not wire.startswith("tls"):
        await sender.send_eof()
    elif wire == "tls":
        await sender.wire.linger()
    else:
        await sender.transport.aclose()


@pytest.mark.parametrize("wire", WIRES)
@given(pieces=pieces, how=receives)
def test_cancelled_receives_lose_nothing(wire, pieces, how):
    trio.run(check_receives, wire, pieces, how)


async def check_receives(wire, pieces, how):
    got = bytearray()
    over = trio.Event()

    async def send():
        for piece, pause in pieces:
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            await sender.send_all(piece)
        await end_stream(sender, wire)
        await over.wait()

    async with open_pair(wire) as (sender, receiver), trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            for name, at in how:
                # A wait for more than will come must not take for ever: the stream ends.
                got += (await call(at, receive_once, receiver, name))[1] or b""
        except Incomplete:
            pass  # what there is of it is still in the buffer
        while data := await receiver.receive_some():
            got += data
        over.set()
        nursery.cancel_scope.cancel()
    assert bytes(got) == b"".join(piece for piece, _ in pieces)


@pytest.mark.parametrize("order", ["send first", "cancel first"])
@pytest.mark.parametrize("how", ["some", "exactly", "until", "line", "idle"])
@pytest.mark.parametrize("wire", WIRES)
async def test_bytes_that_come_together_with_the_cancellation_are_kept(wire, how, order):
    scope = trio.CancelScope()
    got = bytearray()

    async def receive():
        with scope:
            got.extend(await receive_once(receiver, how) or b"")

    async with open_pair(wire) as (sender, receiver):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            if order == "cancel first":
                scope.cancel()
            await sender.send_all(b"hello\n")
            scope.cancel()
        while len(got) < 6:
            got += await receiver.receive_some()
    assert bytes(got) == b"hello\n"


# Sending

sends = st.lists(
    st.tuples(st.integers(0, 30_000), st.sampled_from([None, 0, 1, 2, 3, 5]), st.booleans()),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("wire", WIRES)
@given(sends=sends)
def test_what_arrives_is_what_was_sent_up_to_the_send_that_was_cancelled(wire, sends):
    trio.run(check_sends, wire, sends)


async def check_sends(wire, sends):
    arrived = bytearray()
    complete = bytearray()
    broken_in = None

    async def read_until_the_end():
        try:
            while data := await receiver.receive_some():
                arrived.extend(data)
        except trio.BrokenResourceError:
            pass  # TLS was cut off in the middle

    async with open_pair(wire) as (sender, receiver), trio.open_nursery() as nursery:
        nursery.start_soon(read_until_the_end)
        for number, (size, at, settle) in enumerate(sends):
            data = bytes([65 + number]) * size
            if broken_in is not None:
                with pytest.raises(trio.BrokenResourceError, match="earlier send_all"):
                    await sender.send_all(data)
                continue
            through, _ = await call(at, sender.send_all, data)
            if through:
                complete += data
            elif is_broken(sender):
                broken_in = data
            if settle:
                await trio.testing.wait_all_tasks_blocked()
        sender.abort() if wire == "tls" else await sender.aclose()
    assert bytes(arrived[: len(complete)]) == bytes(complete[: len(arrived)])
    if broken_in is None and not wire.startswith("tls"):
        assert arrived == complete
    elif broken_in is not None:
        assert broken_in.startswith(bytes(arrived[len(complete) :]))


def is_broken(conn):
    return conn.wire._send_broken is not None


@pytest.mark.parametrize("wire", WIRES)
async def test_a_send_that_was_cancelled_before_its_first_byte_has_sent_nothing(wire):
    async with open_pair(wire) as (sender, receiver):
        through, _ = await call(0, sender.send_all, b"never")
        assert not through
        if not is_broken(sender):
            await sender.send_all(b"after")
            assert await receiver.receive_some() == b"after"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_send_that_was_cancelled_half_way_is_reported_by_the_next_call(wire):
    async with open_pair(wire) as (sender, _):
        await send_in_part(sender, 1_000_000)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="an earlier send_all"):
                await sender.send_all(b"y")
        sender.abort()
