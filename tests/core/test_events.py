"""An event that nobody wants is not made, and an observer that fails does not disturb its server."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.handlers import shout
from tests.servers import connected, drained
from triosock._core.model import events
from triosock._core.model.addresses import TcpAddress
from triosock._core.model.emitter import Emitter
from triosock._core.model.events import (
    Cause,
    ConnectionEvent,
    ConnectionOpened,
    Event,
    Observer,
    ObserverFailed,
    ServerClosed,
    ServerStarted,
    ServerSuspended,
)
from triosock.testing import open_server

PEER = TcpAddress("127.0.0.1", 1)


class Keeper:
    """Keeps what it is given, calls `then`, and raises `error`, if it has them."""

    def __init__(self, error: BaseException | None = None, wants: Any = None, then: Any = None) -> None:
        self.seen: list[Event] = []
        self.error = error
        self.then = then
        if wants is not None:
            self.wants = wants

    def on_event(self, event: Event, /) -> None:
        self.seen.append(event)
        if self.then is not None:
            self.then()
        if self.error is not None:
            raise self.error


def emitter(*observers: Observer) -> Emitter:
    return Emitter("echo", lambda: 7.0, observers)


def kinds_of(keeper: Keeper) -> list[type[Event]]:
    return [type(event) for event in keeper.seen]


def test_an_event_carries_the_servers_name_and_the_time() -> None:
    keeper = Keeper()
    emitter(keeper).emit(ServerStarted, addresses=(PEER,))
    assert keeper.seen == [ServerStarted(server="echo", time=7.0, addresses=(PEER,))]


def test_an_event_that_nobody_wants_is_not_made() -> None:
    def no_clock() -> float:
        raise AssertionError("an event was made")

    for observers in ([], [Keeper(wants=(ServerStarted,))], [Keeper(wants=())]):
        made = Emitter("echo", no_clock, observers)
        made.emit(ServerClosed)
        assert not made.takers(ServerClosed)


def test_an_observer_gets_the_classes_that_it_wants_and_their_subclasses() -> None:
    keeper = Keeper(wants=(ConnectionEvent, ServerClosed))
    made = emitter(keeper)
    made.emit(ServerSuspended)
    made.emit(ConnectionOpened, connection=1, peer=PEER, local=PEER)
    made.emit(ServerClosed)
    assert kinds_of(keeper) == [ConnectionOpened, ServerClosed]


def test_observers_get_each_event_in_the_order_in_which_they_were_attached() -> None:
    order: list[str] = []
    first, second, third = (
        Keeper(then=functools.partial(order.append, name)) for name in ("first", "second", "third")
    )
    made = emitter(first, second)
    made.add(third)
    made.emit(ServerClosed)
    assert order == ["first", "second", "third"]


def test_adding_and_removing_count_from_the_next_event_on() -> None:
    early, late = Keeper(), Keeper()
    made = emitter(early)
    made.emit(ServerSuspended)
    made.add(late)
    assert late in made
    made.emit(ServerSuspended)
    made.remove(early)
    assert early not in made
    made.emit(ServerClosed)
    assert kinds_of(early) == [ServerSuspended] * 2
    assert kinds_of(late) == [ServerSuspended, ServerClosed]
    assert list(made) == [late]
    assert len(made) == 1


def test_removing_an_observer_that_is_not_attached_is_no_error() -> None:
    made = emitter()
    made.remove(Keeper())
    assert len(made) == 0


def test_an_observer_may_take_itself_off_in_the_middle_of_an_event() -> None:
    once, other = Keeper(then=lambda: made.remove(once)), Keeper()
    made = emitter(once, other)
    made.emit(ServerSuspended)
    made.emit(ServerClosed)
    assert kinds_of(once) == [ServerSuspended]
    assert kinds_of(other) == [ServerSuspended, ServerClosed]


def test_who_is_taken_off_in_the_middle_of_an_event_does_not_get_it_any_more() -> None:
    jealous, other, last = Keeper(then=lambda: made.remove(other)), Keeper(), Keeper()
    made = emitter(jealous, other, last)
    made.emit(ServerClosed)
    assert [kinds_of(one) for one in (jealous, other, last)] == [[ServerClosed], [], [ServerClosed]]


def test_an_observer_that_raises_is_taken_off_and_the_others_are_told() -> None:
    error = ValueError("full")
    bad, good = Keeper(error), Keeper()
    made = emitter(bad, good)
    made.emit(ServerSuspended)
    made.emit(ServerClosed)
    assert kinds_of(bad) == [ServerSuspended]
    assert set(kinds_of(good)) == {ServerSuspended, ObserverFailed, ServerClosed}
    failed = next(event for event in good.seen if isinstance(event, ObserverFailed))
    assert failed.observer is bad
    assert failed.error is error


def test_of_two_equal_observers_only_the_one_that_raised_is_taken_off() -> None:
    @attrs.define
    class Equal:
        error: Exception | None = attrs.field(default=None, eq=False)

        def on_event(self, event: Event, /) -> None:
            if self.error is not None:
                raise self.error

    good, bad = Equal(), Equal(ValueError())
    made = emitter(good, bad)
    made.emit(ServerClosed)
    assert next(iter(made)) is good
    assert len(made) == 1
    assert bad not in made


def test_the_last_observers_failure_is_printed_and_the_server_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = Keeper(ValueError("full"), wants=(ServerClosed,))
    made = emitter(bad, Keeper(wants=(ServerStarted,)))
    made.emit(ServerClosed)
    assert bad not in made
    printed = capsys.readouterr().err
    assert f"RuntimeError: the observer {bad!r} of server 'echo' raised, and was taken off" in printed
    assert "ValueError: full" in printed
    assert "in on_event" in printed


def test_observers_that_all_raise_are_all_taken_off(capsys: pytest.CaptureFixture[str]) -> None:
    made = emitter(*(Keeper(ValueError(str(number))) for number in range(3)))
    made.emit(ServerClosed)
    assert len(made) == 0
    assert capsys.readouterr().err.count("was taken off") == 1  # the last one; it had heard of the others


def test_an_observer_that_cannot_even_be_named_ends_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    class Nameless(Keeper):
        def __repr__(self) -> str:
            raise RuntimeError("no name")

    made = emitter(Nameless(ValueError("full"), wants=(ServerClosed,)))
    made.emit(ServerClosed)
    assert len(made) == 0
    printed = capsys.readouterr().err
    assert "Nameless object at 0x" in printed
    assert "ValueError: full" in printed


def test_what_is_no_exception_of_the_observer_goes_through() -> None:
    made = emitter(Keeper(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        made.emit(ServerClosed)
    assert len(made) == 1


class Async:
    async def on_event(self, event: Event, /) -> None:
        """Would never be awaited."""


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (None, "observers must be objects with a method on_event"),
        (print, "observers must be objects with a method on_event"),
        (Keeper, "observers must be objects with a method on_event"),
        (Async(), "on_event must be a plain method, not an async one"),
        (Keeper(wants=[ServerClosed]), "wants of an observer must be a tuple of event classes"),
        (Keeper(wants=(ServerClosed, 5)), "wants of an observer must be a tuple of event classes"),
        (Keeper(wants="ServerClosed"), "wants of an observer must be a tuple of event classes"),
    ],
)
def test_what_is_no_observer_is_refused_when_it_is_attached(bad: Any, words: str) -> None:
    made = emitter()
    with pytest.raises(TypeError, match=words):
        made.add(bad)
    assert len(made) == 0
    with pytest.raises(TypeError, match=words):
        emitter(bad)


def test_observer_is_a_protocol_that_needs_no_base_class() -> None:
    assert isinstance(Keeper(), Observer)
    assert not isinstance(object(), Observer)


def every_event() -> list[type[Event]]:
    return [one for one in vars(events).values() if isinstance(one, type) and issubclass(one, Event)]


def test_all_events_are_frozen_documented_and_named_by_keyword() -> None:
    assert len(every_event()) > 15
    for kind in every_event():
        assert kind.__doc__
        assert attrs.has(kind)
        assert all(field.kw_only for field in attrs.fields(kind))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ServerClosed(server="echo", time=1.0).time = 2.0  # type: ignore[misc]


def test_a_cause_prints_as_its_word() -> None:
    assert f"{Cause.DRAIN}" == str(Cause.DRAIN) == "drain deadline"
    assert len({str(cause) for cause in Cause}) == len(Cause)


@pytest.mark.parametrize("in_block", [False, True])
async def test_a_request_that_is_cut_is_told_to_be_over(autojump_clock, in_block):
    async def handler(conn):
        async for _ in conn.lines():
            async with conn.request() if in_block else contextlib.nullcontext():
                await trio.sleep_forever()

    async with connected(handler) as (served, client):
        await client.send_all(b"a\n")
        await trio.testing.wait_all_tasks_blocked()
        await drained(served.server, grace=1)
    assert len(served.recorder.of(events.RequestStarted)) == 1
    (finished,) = served.recorder.of(events.RequestFinished)
    assert (finished.cause, finished.duration) == (Cause.DRAIN, 1)


async def test_the_last_event_comes_when_no_task_of_the_server_is_left():
    tasks = []

    class Counting:
        def on_event(self, event: Event, /) -> None:
            if isinstance(event, ServerClosed):
                tasks.append(len(served.server._connections.child_tasks))

    async with open_server(shout, observers=[Counting()]) as served:
        await drained(served.server)
    assert tasks == [0]
