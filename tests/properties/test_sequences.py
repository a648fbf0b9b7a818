"""The invariants of a whole server, whatever its clients and its owner do in whatever order, after each step:

1. The registry is consistent, nobody is served beyond the limit, and nobody waits in the queue who could be
   served.
2. Whoever is being served has the answer to every line that it completed.
3. When it is over, nothing is left; the four counts of the report are all who were there; and whoever was
   served to the end was answered in full: everything that was said before the drain.

The steps are drawn by hypothesis and run on the memory network under a virtual clock; after each one
everything that can run has run.
"""

import contextlib

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import triosock
from tests.handlers import say_sorry, shout
from triosock import Limits, Timeouts
from triosock._core.model.events import Cause, ConnectionClosed
from triosock.testing import MemoryListener, MemoryStream, Recorder, check_nothing_left
from triosock.testing.leaks import no_new_resources

TIMEOUTS = Timeouts(idle=50, request=20, send=10, close=2, grace=5)

client = st.integers(0, 4)
steps = st.lists(
    st.one_of(
        st.just(("connect",)),
        st.tuples(st.sampled_from(["line", "line", "part", "end", "reset", "close"]), client),
        st.tuples(st.just("sleep"), st.sampled_from([1, 10, 30, 60])),
        st.tuples(st.just("drain"), st.sampled_from([0, 3, 100])),
        st.sampled_from([("suspend",), ("resume",), ("cancel",)]),
    ),
    max_size=14,
).map(lambda drawn: [("connect",), *drawn])


@attrs.define(eq=False)
class Client:
    """One client: what it said and heard. It reads all the time."""

    name: str
    stream: MemoryStream
    said: bytearray = attrs.field(factory=bytearray)
    heard: bytearray = attrs.field(factory=bytearray)
    #: How much it had said when the drain came, or (None) all.
    before_drain: int | None = None
    #: It ended its sending side; it closed or reset the connection; the other side did.
    ended: bool = False
    left: bool = False
    over: bool = False

    async def listen(self):
        try:
            while data := await self.stream.receive_some():
                self.heard += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.over = True

    async def say(self, data):
        with contextlib.suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)
            self.said += data

    def answers(self, size=None):
        """What it must have heard of the first `size` bytes that it said."""
        said = bytes(self.said[:size])
        whole = said if self.ended and size is None else said[: said.rfind(b"\n") + 1]
        return whole.upper()


class World:
    """A server, its clients, and what must hold of them."""

    def __init__(self, limits):
        self.limits = limits
        self.listener = MemoryListener(backlog=2)
        self.recorder = Recorder()
        self.clients = []
        self.connected = 0
        self.suspended = False
        self.cancelled = False
        self.there = None
        self.lost_in_queue = 0
        self.scope = trio.CancelScope()
        self.report = None

    async def run(self, steps):
        async with trio.open_nursery() as self.nursery:
            self.server = await self.nursery.start(self.serve)
            for name, *arguments in steps:
                await getattr(self, name)(*arguments)
                await trio.testing.wait_all_tasks_blocked()
                self.check()
            if self.there is None and not self.cancelled:
                await self.drain(100)
            with trio.fail_after(200):
                await self.server.wait_closed()
            for one in self.clients:
                one.stream.close()
        self.check_end()

    async def serve(self, task_status=trio.TASK_STATUS_IGNORED):
        with self.scope:
            self.report = await triosock.serve_listeners(
                shout,
                [self.listener],
                limits=self.limits,
                timeouts=TIMEOUTS,
                observers=[self.recorder],
                task_status=task_status,
            )

    # Steps

    async def connect(self):
        if self.listener.is_closed or self.listener.pending == 2:
            return  # refused, or would have to wait
        stream = await self.listener.connect()
        self.connected += 1
        one = Client(f"memory/{self.connected}", stream)
        self.clients.append(one)
        self.nursery.start_soon(one.listen)

    def pick(self, number):
        able = [one for one in self.clients if not (one.left or one.ended or one.over)]
        return able[number % len(able)] if able else None

    async def line(self, number):
        if one := self.pick(number):
            await one.say(b"hello\n")

    async def part(self, number):
        if one := self.pick(number):
            await one.say(b"hel")

    async def end(self, number):
        if one := self.pick(number):
            await one.stream.send_eof()
            one.ended = True

    async def reset(self, number):
        if one := self.pick(number):
            one.stream.abort()
            one.left = True

    async def close(self, number):
        if one := self.pick(number):
            one.stream.close()
            one.left = True

    async def sleep(self, seconds):
        await trio.sleep(seconds)

    async def drain(self, grace):
        if self.there is None and not self.cancelled:
            self.there = len(self.server._registry) + self.listener.pending
            for one in self.clients:
                one.before_drain = len(one.said)
        self.server.drain(grace=grace)

    async def suspend(self):
        self.server.suspend()
        self.suspended = True

    async def resume(self):
        self.server.resume()
        self.suspended = False

    async def cancel(self):
        if not self.cancelled and not self.server._closed.is_set():
            self.cancelled = True
            self.lost_in_queue = self.listener.pending
            self.scope.cancel()

    # What must hold

    def check(self):
        registry = self.server._registry
        registry.check()
        entries = {entry.peer.name: entry for entry in registry.entries()}
        if self.cancelled:
            assert not entries
        if self.there is not None or self.cancelled:
            assert self.listener.is_closed
            assert not [entry for entry in entries.values() if entry.is_idle and not entry.spared_until]
            return
        if not self.suspended:
            waits = self.limits.overflow == "wait" and not registry.has_room
            assert waits or not self.listener.pending, "somebody waits who could be served"
        for one in self.clients:
            entry = entries.get(one.name)
            if entry is not None and entry.holds_slot and entry.stage == "serving" and not one.left:
                assert bytes(one.heard) == one.answers()

    def check_end(self):
        check_nothing_left(self.server)
        numbers = self.server.statistics()
        refused = numbers.refused.get("connections", 0) if self.limits.overflow == "reject" else 0
        assert self.connected == numbers.accepted + refused + self.lost_in_queue
        assert numbers.accepted == sum(numbers.ended.values()) + numbers.refused.get("drain", 0)
        assert numbers.peak <= self.limits.max_connections
        if self.there is not None and not self.cancelled:
            report = self.report
            assert report.drained
            assert sum(report.causes.values()) + report.refused == self.there
            told = (report.finished, report.failed, report.left, report.cancelled)
            assert sum(told) == sum(report.causes.values())
        else:
            assert self.report is None
        causes = {event.peer.name: event.cause for event in self.recorder.of(ConnectionClosed)}
        for one in self.clients:
            self.check_client(one, causes.get(one.name))

    def check_client(self, one, cause):
        if cause is Cause.OVERFLOW or cause is None:
            return  # turned away
        assert one.answers().startswith(bytes(one.heard)[: len(one.answers())])
        if cause is Cause.FINISHED and not one.left:
            assert bytes(one.heard).startswith(one.answers(one.before_drain))


@pytest.mark.parametrize("overflow", ["wait", "reject", say_sorry])
@pytest.mark.parametrize("most", [1, 2])
@given(steps=steps)
def test_nothing_is_lost_and_nothing_is_left(most, overflow, steps):
    async def main():
        with no_new_resources():
            await World(Limits(max_connections=most, overflow=overflow)).run(steps)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
