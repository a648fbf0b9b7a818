"""Drain scopes: they nest, they drain every server inside, and they only tighten."""

from __future__ import annotations

import contextvars
import functools

import pytest
import trio
import trio.testing

import triosock
from tests.handlers import shout, wait_forever
from tests.servers import drained
from tests.waiting import takes, until_served
from triosock import DrainReport, DrainScope
from triosock._core.model import events
from triosock.testing import MemoryListener


async def test_outside_of_every_scope_nothing_ever_drains(autojump_clock):
    assert not triosock.draining()
    with trio.move_on_after(1000) as scope:
        await triosock.wait_draining()
    assert scope.cancelled_caught


async def test_inside_a_scope_a_task_is_told():
    told = []

    async def wait() -> None:
        await triosock.wait_draining()
        told.append(triosock.draining())

    with DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not scope.draining
            scope.drain()
    assert told == [True]
    assert not triosock.draining()


async def test_draining_a_scope_drains_the_scopes_inside_and_not_those_around():
    with DrainScope() as outer, DrainScope() as middle, DrainScope() as inner:
        middle.drain(grace=5)
        assert (outer.draining, middle.draining, inner.draining) == (False, True, True)
        assert inner.deadline == middle.deadline
        with DrainScope() as late:
            assert late.draining


async def test_servers_are_told_to_drain_the_last_first(autojump_clock, recorder):
    with DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            for name in ("first", "second", "third"):
                options = {"name": name, "observers": [recorder]}
                serve = functools.partial(triosock.serve_listeners, **options)
                await nursery.start(serve, shout, [MemoryListener()])
            scope.drain(delay=1)
            told = [event.server for event in recorder.of(events.DrainAnnounced)]
            assert told == ["third", "second", "first"]
        assert sorted(name for name, _ in scope.reports) == ["first", "second", "third"]
        assert all(isinstance(report, DrainReport) and report.clean for _, report in scope.reports)
    assert len(recorder.of(events.DrainStarted)) == 3


async def test_the_tightest_grace_wins(autojump_clock, serving, dial):
    with DrainScope(grace=3) as scope:
        async with serving(wait_forever) as server, await dial(server):
            await until_served(server)
            with takes(3):
                server.drain(grace=50)
                scope.drain()
                await server.wait_closed()


async def test_a_server_that_starts_in_a_draining_scope_drains_from_its_start(dial):
    with DrainScope() as scope:
        scope.drain(grace=5)
        report = await triosock.serve_tcp(shout, 0, host="127.0.0.1")
    assert report.drained


async def test_a_handler_sees_its_own_server_drain_and_no_other(serving, dial):
    seen = []

    async def handler(conn):
        await triosock.wait_draining()
        seen.append(triosock.draining())

    async with serving(handler) as one, serving(handler) as other:
        client, bystander = await dial(one), await dial(other)
        await until_served(one)
        one.drain(grace=60)
        assert await client.receive_some() == b""
        await client.aclose()
        await one.wait_closed()
        assert seen == [True]
        assert not other.draining
        await bystander.aclose()


async def test_wait_left_returns_when_nothing_is_inside():
    order = []

    async def stay(task_status) -> None:
        with DrainScope() as inner:
            task_status.started()
            await inner.wait_draining()
            order.append("inside")

    with DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(stay)
            scope.drain()
            await scope.wait_left()
            order.append("left")
    assert order == ["inside", "left"]


async def test_a_scope_is_entered_once():
    scope = DrainScope()
    with scope, pytest.raises(RuntimeError, match="entered already"), scope:
        pass


@pytest.mark.parametrize("grace", [-1, float("nan")])
async def test_a_wrong_grace_is_named(grace):
    with pytest.raises(ValueError, match="grace must be"):
        DrainScope(grace=grace)
    with DrainScope() as scope, pytest.raises(ValueError, match="grace must be"):
        scope.drain(grace=grace)
    assert not scope.draining


async def test_draining_after_the_end_does_nothing(serving):
    async with serving(shout) as server:
        report = await drained(server)
        assert await drained(server, grace=0) is report


async def test_a_server_that_outlives_the_block_of_its_scope_is_still_told(autojump_clock):
    async with trio.open_nursery() as nursery:
        with DrainScope() as outer:
            with DrainScope():
                server = await nursery.start(triosock.serve_listeners, shout, [MemoryListener()])
            outer.drain(grace=1)
            assert server.draining
            await server.wait_closed()
            await outer.wait_left()


async def test_a_scope_that_was_left_and_is_empty_is_reached_again_by_whoever_enters_it(autojump_clock):
    with DrainScope() as outer:
        with DrainScope():
            context = contextvars.copy_context()
        late = DrainScope()
        context.run(late.__enter__)
        outer.drain()
        assert late.draining


async def test_from_another_thread_it_says_how_and_that_works():
    with DrainScope() as scope:
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync\(server\.drain, trio_token=…\)"):
            await trio.to_thread.run_sync(scope.drain)
        assert not scope.draining
        await trio.to_thread.run_sync(trio.from_thread.run_sync, scope.drain)
        assert scope.draining
