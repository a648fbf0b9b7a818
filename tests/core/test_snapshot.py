"""The live tree as values: connections, their states and their deadlines."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

import triosock
from tests.servers import connected, running
from tests.waiting import until
from triosock import DrainScope, Limits, Timeouts
from triosock.observe import snapshot
from triosock.testing import MemoryListener, open_server

TIMEOUTS = Timeouts(idle=100, request=20, send=5, close=2)


async def work(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        match line:
            case b"work\n":
                await trio.sleep_forever()
            case b"block\n":
                async with conn.request(timeout=3):
                    await trio.sleep_forever()
            case b"send\n":
                await conn.send_all(b"x" * 1_000_000)
            case b"bye\n":
                return


def only(node, kind):
    found = [one for one in node.walk() if one.kind == kind]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("says", "state", "due", "due_to"),
    [
        (b"", "idle", 100, "Timeouts.idle"),
        (b"half a line", "reading", 20, "Timeouts.request"),
        (b"work\n", "working", 20, "Timeouts.request"),
        (b"block\n", "working", 3, "conn.request()"),
        (b"send\n", "sending", 5, "Timeouts.send"),
        (b"bye\n", "closing", 2, "Timeouts.close"),
    ],
)
async def test_a_connection_has_a_state_and_the_tightest_deadline_with_its_origin(
    autojump_clock, says, state, due, due_to
):
    async with connected(work, timeouts=TIMEOUTS, name="s") as (server, client):
        if says:
            await client.send_all(says)
        await trio.testing.wait_all_tasks_blocked()
        node = only(snapshot(server.server), "connection")
        assert (node.state, node.due, node.due_to) == (state, pytest.approx(due), due_to)
        assert node.peer == "memory://memory/1"
        has_request = [child.kind for child in node.children] == ["request"]
        assert has_request is (says not in (b"", b"bye\n"))
        if state == "working":
            assert node.where.startswith("test_snapshot.py:")
            assert node.where.endswith("in work")


async def test_ages_go_on_and_deadlines_come_nearer(autojump_clock):
    async with connected(work, timeouts=TIMEOUTS) as (server, client):
        await trio.sleep(1)
        await client.send_all(b"work\n")
        await trio.sleep(4)
        node = snapshot(server.server)
        assert node.age == pytest.approx(5)
        connection = only(node, "connection")
        assert (connection.age, connection.due) == (pytest.approx(5), pytest.approx(16))
        assert only(node, "request").age == pytest.approx(4)


async def test_the_grace_of_a_drain_is_a_deadline_and_says_whose(autojump_clock):
    async with connected(work, timeouts=TIMEOUTS, name="shop") as (server, client):
        await client.send_all(b"work\n")
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain(grace=2)
        await trio.testing.wait_all_tasks_blocked()
        node = snapshot(server.server)
        assert (node.state, node.due, node.due_to) == (
            "draining",
            pytest.approx(2),
            "grace: drain of server shop",
        )
        connection = only(node, "connection")
        assert (connection.due, connection.due_to) == (pytest.approx(2), "grace: drain of server shop")
        assert only(node, "request").due_to == "Timeouts.request"
        assert only(node, "listener").state == "closed"


async def test_a_drain_from_further_out_is_told_as_such(autojump_clock):
    with DrainScope() as outer:
        async with connected(work, name="shop") as (server, client):
            await client.send_all(b"work\n")
            await trio.testing.wait_all_tasks_blocked()
            outer.drain(grace=2)
            assert snapshot(server.server).due_to == "grace: drain of the scope around"
            assert snapshot(outer).state == "draining"


async def test_a_cancel_scope_around_the_server_is_a_deadline_too(autojump_clock):
    with trio.move_on_after(7):
        async with open_server(work, name="shop") as server:
            await server.connect()
            await trio.testing.wait_all_tasks_blocked()
            node = snapshot(server.server)
            assert (node.due, node.due_to) == (pytest.approx(7), "a cancel scope around the server")
            assert only(node, "connection").due_to == "a cancel scope around the server"


async def test_everything_in_the_run_is_found_from_anywhere(autojump_clock):
    seen = []

    async def elsewhere():
        seen.append(snapshot())

    async with trio.open_nursery() as nursery, open_server(work, name="alone"):
        with DrainScope():
            await nursery.start(
                lambda task_status: triosock.serve_listeners(
                    work, [MemoryListener()], name="in a scope", task_status=task_status
                )
            )
        with trio.CancelScope() as scope:
            trio.lowlevel.spawn_system_task(elsewhere)
            await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        nursery.cancel_scope.cancel()
    (run,) = seen
    assert [(one.kind, one.name) for one in run.walk() if one.kind in ("run", "scope", "server")][1:] == [
        ("scope", "DrainScope"),
        ("server", "in a scope"),
        ("server", "alone"),
    ]
    assert [one.kind for one in snapshot().walk()] == ["run"]


async def test_a_server_says_how_it_is(autojump_clock):
    async with open_server(work, limits=Limits(max_connections=2, overflow="reject")) as server:
        for _ in range(3):
            await server.connect()
        await trio.testing.wait_all_tasks_blocked()
        node = snapshot(server.server)
        assert dict(node.counts) == {"active": 2, "idle": 2, "accepted": 2, "refused": 1}
        server.server.suspend()
        assert snapshot(server.server).state == "suspended"
        assert only(snapshot(server.server), "listener").state == "suspended"


async def test_of_many_connections_the_oldest_are_described_and_the_rest_counted(autojump_clock):
    async with open_server(work) as server:
        for _ in range(5):
            await server.connect()
        await trio.testing.wait_all_tasks_blocked()
        node = snapshot(server.server, limit=2)
        assert [one.name for one in node.walk() if one.kind == "connection"] == ["1", "2"]
        assert node.more == 3


@pytest.mark.parametrize("sessions", [None, triosock.Sessions(idle=9)])
async def test_datagrams_and_sessions_are_in_the_tree(sessions):
    async def handle(one):
        if sessions is None:
            await trio.sleep_forever()
        async for _ in one:
            pass

    options = {} if sessions is None else {"sessions": sessions}
    async with running(
        triosock.serve_udp, handle, 0, host="127.0.0.1", timeouts=TIMEOUTS, **options
    ) as server:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as client:
            await client.sendto(b"x", ("127.0.0.1", server.addresses[0].port))
            await until(lambda: [one for one in snapshot(server).children if one.peer])
            await trio.testing.wait_all_tasks_blocked()
        (node,) = [one for one in snapshot(server).children if one.peer]
        if sessions is None:
            assert (node.kind, node.due_to) == ("datagram", "Timeouts.request")
        else:
            assert (node.kind, node.state, node.due_to) == ("session", "idle", "Sessions.idle")
            assert node.due <= 9


async def test_what_is_neither_a_server_nor_a_scope_is_refused():
    with pytest.raises(TypeError, match="not of 'shop'"):
        snapshot("shop")


async def test_no_deadline_is_none(autojump_clock):
    async with open_server(work, timeouts=Timeouts(idle=math.inf)) as server:
        await server.connect()
        await trio.testing.wait_all_tasks_blocked()
        node = only(snapshot(server.server), "connection")
        assert (node.due, node.due_to) == (None, "")


@pytest.mark.parametrize(
    ("limit", "error"), [(-1, ValueError), (1.5, TypeError), ("5", TypeError), (True, TypeError)]
)
async def test_a_wrong_limit_is_named(limit, error):
    with pytest.raises(error, match=r"^limit must be"):
        snapshot(limit=limit)
