"""Broadcast: all members get each value; a slow member delays no other, and every value is counted."""

from __future__ import annotations

import math
from collections import deque

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import triosock
from tests.handlers import ask_line
from triosock import Broadcast, MemberTooSlow
from triosock.testing import cancel_at_every_checkpoint, open_server


async def take(inbox, count):
    return [await anext(inbox) for _ in range(count)]


async def test_all_hear_what_is_sent_while_they_are_there():
    room: Broadcast[str] = Broadcast()
    assert room.send_nowait("nobody") == 0
    with room.join() as ada:
        assert await room.send("one") == 1
        with room.join() as bob:
            assert len(room) == 2
            assert room.send_nowait("two") == 2
            assert room.send_nowait("not to bob", exclude=bob) == 1
            assert await take(bob, 1) == ["two"]
        assert room.send_nowait("three") == 1
        assert await take(ada, 4) == ["one", "two", "not to bob", "three"]
    assert len(room) == 0
    numbers = room.statistics()
    assert (numbers.sent, numbers.queued, numbers.dropped, numbers.unread) == (5, 5, 0, 0)


async def test_after_leave_there_is_the_rest_and_the_end():
    room: Broadcast[int] = Broadcast()
    with room.join() as inbox:
        room.send_nowait(1)
        room.send_nowait(2)
        inbox.leave()
        inbox.leave()
        assert room.send_nowait(3) == 0
        assert [value async for value in inbox] == [1, 2]
    with pytest.raises(trio.ClosedResourceError):
        await anext(inbox)


async def test_what_is_left_behind_is_counted():
    room: Broadcast[int] = Broadcast()
    with room.join() as inbox:
        for number in range(3):
            room.send_nowait(number)
        assert inbox.pending == 3
    assert inbox.pending == 0
    assert room.statistics().unread == 3


# When a queue is full


@pytest.mark.parametrize(("drop", "left"), [("newest", [0, 1]), ("oldest", [3, 4])])
async def test_dropped_values_are_counted(drop, left):
    room: Broadcast[int] = Broadcast(buffer=2, drop=drop)
    with room.join() as slow, room.join() as quick:
        heard = []
        for number in range(5):
            await room.send(number)
            heard += await take(quick, 1)
        assert heard == list(range(5))
        assert await take(slow, 2) == left
        assert (slow.dropped, quick.dropped, room.statistics().dropped) == (3, 0, 3)
    assert room.statistics().queued == 7


async def test_one_that_is_cut_is_cancelled_wherever_it_is():
    room: Broadcast[int] = Broadcast(buffer=1, when_full="cut")
    with room.join() as quick:
        async with trio.open_nursery() as nursery:

            async def slow():
                with pytest.raises(MemberTooSlow, match="too slow: 1 values were waiting for it"):
                    with room.join():
                        await trio.sleep_forever()  # as in a send to a peer that does not read

            nursery.start_soon(slow)
            await trio.testing.wait_all_tasks_blocked()
            assert room.send_nowait(1) == 2
            assert await take(quick, 1) == [1]
            assert room.send_nowait(2) == 1
            assert len(room) == 1
            assert await take(quick, 1) == [2]
    numbers = room.statistics()
    assert (numbers.cut, numbers.dropped, numbers.unread) == (1, 1, 1)


async def test_what_a_member_raises_is_not_taken_for_its_cut():
    room: Broadcast[int] = Broadcast(buffer=1, when_full="cut")
    with pytest.raises(ZeroDivisionError):
        with room.join():
            room.send_nowait(1)
            room.send_nowait(2)
            raise ZeroDivisionError


async def test_a_cancellation_from_around_is_not_taken_for_a_cut():
    room: Broadcast[int] = Broadcast(when_full="cut")
    with trio.CancelScope() as scope:
        with room.join() as inbox:
            scope.cancel()
            await anext(inbox)
    assert scope.cancelled_caught
    assert len(room) == 0


async def test_a_sender_waits_for_one_and_the_others_have_it_already(autojump_clock):
    room: Broadcast[int] = Broadcast(buffer=1, when_full="wait", patience=10)
    with room.join() as slow, room.join() as slower, room.join() as quick:
        room.send_nowait(0)
        assert await take(quick, 1) == [0]
        with pytest.raises(trio.WouldBlock):
            room.send_nowait(1)
        assert quick.pending == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.send, 1)
            assert await take(quick, 1) == [1]
            await trio.sleep(2)
            assert await take(slow, 2) == [0, 1]  # though `slower` is still full
            await trio.sleep(2)
            assert await take(slower, 2) == [0, 1]
        assert trio.current_time() >= 4
    numbers = room.statistics()
    assert (numbers.queued, numbers.dropped, numbers.unread) == (6, 0, 0)


async def test_who_has_no_room_after_the_patience_is_cut(autojump_clock):
    room: Broadcast[int] = Broadcast(buffer=1, when_full="wait", patience=3)
    began = trio.current_time()
    with pytest.raises(MemberTooSlow):
        with room.join():
            assert await room.send(0) == 1
            assert await room.send(1) == 0
            await trio.sleep_forever()
    assert trio.current_time() - began == 3
    assert (room.statistics().cut, room.statistics().dropped) == (1, 1)


async def test_senders_whose_patience_ends_at_once_lose_a_value_each(autojump_clock):
    room: Broadcast[int] = Broadcast(buffer=1, when_full="wait", patience=3)

    async def member(*, task_status):
        with pytest.raises(MemberTooSlow):
            with room.join() as inbox:
                task_status.started(inbox)
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        inbox = await nursery.start(member)
        await room.send(0)
        nursery.start_soon(room.send, 1)
        nursery.start_soon(room.send, 2)
    numbers = room.statistics()
    assert (numbers.sent, numbers.queued, numbers.dropped) == (3, 1, 2)
    assert (inbox.dropped, numbers.cut) == (2, 1)


async def test_a_sender_that_waits_is_free_when_the_member_leaves(autojump_clock):
    room: Broadcast[int] = Broadcast(buffer=1, when_full="wait", patience=math.inf)
    async with trio.open_nursery() as nursery:
        with room.join() as inbox:
            await room.send(0)
            nursery.start_soon(room.send, 1)
            nursery.start_soon(room.send, 2)
            await trio.testing.wait_all_tasks_blocked()
            assert inbox.pending == 1
    assert inbox.dropped == 2
    assert room.statistics().unread == 1


async def test_senders_that_wait_keep_their_order(autojump_clock):
    room: Broadcast[int] = Broadcast(buffer=1, when_full="wait", patience=math.inf)
    with room.join() as inbox:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(room.send, number)
                await trio.testing.wait_all_tasks_blocked()
            assert await take(inbox, 10) == list(range(10))


async def test_a_send_that_is_cancelled_before_reaches_nobody():
    room: Broadcast[int] = Broadcast()
    with room.join() as inbox:
        with trio.CancelScope() as scope:
            scope.cancel()
            await room.send(1)
        assert (inbox.pending, room.statistics().sent) == (0, 0)


async def test_send_is_a_checkpoint():
    room: Broadcast[int] = Broadcast()
    with trio.testing.assert_checkpoints():
        await room.send(1)
    with room.join(), trio.testing.assert_checkpoints():
        await room.send(1)


# Arguments


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"buffer": 0}, "buffer must be from 1 on"),
        ({"buffer": math.nan}, "buffer must be an int"),
        ({"patience": 0}, "patience must be a number of seconds above 0"),
        ({"patience": math.nan}, "patience must be a number of seconds above 0"),
        ({"when_full": "block"}, "when_full must be one of drop, wait, cut, not 'block'"),
        ({"drop": "all"}, "drop must be one of newest, oldest, not 'all'"),
    ],
)
def test_wrong_arguments_are_refused(options, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Broadcast(**options)


async def test_a_member_joins_once():
    member = Broadcast[int]().join()
    with member:
        with pytest.raises(RuntimeError, match="joins once"):
            member.__enter__()


# In a server


def chat(room):
    async def visit(conn):
        with room.join() as inbox:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deliver, conn, inbox)
                async for line in conn.lines():
                    await room.send(bytes(line))
                inbox.leave()

    async def deliver(conn, inbox):
        async for line in inbox:
            await conn.send_all(line)

    return visit


@pytest.mark.parametrize("when_full", ["drop", "cut"])
async def test_a_visitor_that_does_not_read_delays_nobody(when_full):
    room: Broadcast[bytes] = Broadcast(buffer=5, when_full=when_full)
    line = b"x" * 60_000 + b"\n"
    async with open_server(chat(room)) as served:
        stuck, writer = await served.connect(), await served.connect()
        with trio.fail_after(20):
            assert await ask_line(writer, b"hello\n") == b"hello\n"
            for _ in range(200):  # 12 MB, more than any buffer between
                assert await ask_line(writer, line) == line
        numbers = room.statistics()
        assert numbers.dropped
        if when_full == "cut":
            assert numbers.cut == 1
            assert served.server.statistics().ended == {"peer": 1}
        await stuck.aclose()
    assert len(room) == 0


@pytest.mark.parametrize("whose", ["scenario", "handlers"])
@pytest.mark.parametrize("when_full", ["drop", "wait", "cut"])
async def test_wherever_a_cancel_strikes_nothing_is_left(autojump_clock, when_full, whose):
    rooms = []

    async def scenario():
        room: Broadcast[bytes] = Broadcast(buffer=1, when_full=when_full, patience=1)
        async with open_server(chat(room)) as served:
            rooms.append(room)
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(one_visitor, served)

    assert await cancel_at_every_checkpoint(scenario, whose=whose) > 20
    assert all(len(room) == 0 for room in rooms)


async def one_visitor(served):
    try:
        async with await served.connect() as client:
            await client.send_all(b"one\ntwo\n")
            await client.send_eof()
            while await client.receive_some():
                pass
    except (trio.BrokenResourceError, ConnectionRefusedError):
        pass


# By a model


@settings(max_examples=200, deadline=None)
@given(
    buffer=st.integers(1, 4),
    policy=st.sampled_from([("drop", "newest"), ("drop", "oldest"), ("cut", "newest")]),
    steps=st.lists(
        st.tuples(st.sampled_from(["join", "leave", "send", "take"]), st.integers(0, 3)), max_size=60
    ),
)
def test_it_is_what_a_list_of_queues_is(buffer, policy, steps):
    when_full, drop = policy

    async def main():
        room: Broadcast[int] = Broadcast(buffer=buffer, when_full=when_full, drop=drop)
        members: dict[int, tuple[triosock.BroadcastMember[int], deque[int]]] = {}
        taken = 0
        for number, (step, who) in enumerate(steps):
            if step == "join" and who not in members:
                member = room.join()
                room._members[member] = (
                    None  # as entering does, but for the scope, of which one task has many
                )
                members[who] = member, deque()
                member._state = "there"
            elif step == "leave" and who in members:
                members.pop(who)[0].leave()
            elif step == "take" and who in members and members[who][1]:
                member, model = members[who]
                assert await anext(member) == model.popleft()
                taken += 1
            elif step == "send":
                expected = 0
                for one, (_, model) in tuple(members.items()):
                    if len(model) < buffer:
                        model.append(number)
                    elif when_full == "cut":
                        del members[one]
                        continue
                    elif drop == "newest":
                        continue
                    else:
                        model.popleft()
                        model.append(number)
                    expected += 1
                assert room.send_nowait(number) == expected
            assert len(room) == len(members)
            assert room.statistics().pending == sum(len(model) for _, model in members.values())

    trio.run(main)


@settings(max_examples=50, deadline=None)
@given(
    buffer=st.integers(1, 3),
    counts=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    members=st.integers(1, 4),
    pauses=st.lists(st.integers(0, 3), min_size=1, max_size=8),
)
def test_with_wait_everybody_hears_everything_in_one_order_of_each_sender(buffer, counts, members, pauses):
    async def main():
        room: Broadcast[tuple[int, int]] = Broadcast(buffer=buffer, when_full="wait", patience=math.inf)
        heard: list[list[tuple[int, int]]] = []

        async def send(sender, count):
            for number in range(count):
                await room.send((sender, number))

        async def hear(number, task_status):
            values: list[tuple[int, int]] = []
            heard.append(values)
            with room.join() as inbox:
                task_status.started()
                while len(values) < sum(counts):
                    await trio.sleep(pauses[(number + len(values)) % len(pauses)])
                    values.append(await anext(inbox))

        async with trio.open_nursery() as nursery:
            for number in range(members):
                await nursery.start(hear, number)
            for sender, count in enumerate(counts):
                nursery.start_soon(send, sender, count)
        for values in heard:
            for sender, count in enumerate(counts):
                assert [number for who, number in values if who == sender] == list(range(count))
        numbers = room.statistics()
        assert numbers.queued == sum(counts) * members
        assert (numbers.dropped, numbers.unread, numbers.cut) == (0, 0, 0)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
