"""The recording is bounded whatever the run does, and says what it let go."""

from __future__ import annotations

import threading

import hypothesis
import hypothesis.strategies as st
import trio
import trio.testing

import triosock
from tests.handlers import echo, read_once
from triosock import Cause
from triosock._core.model import events
from triosock._core.model.addresses import MemoryAddress
from triosock.observe.timeline.recording import Recording

PEER = MemoryAddress("peer")


class Feeder:
    """Makes the events of one server, at times of its own."""

    def __init__(self, max_connections: int = 10, max_requests: int = 10) -> None:
        self.recording = Recording(max_connections, max_requests)
        started = events.ServerStarted(server="s", time=0.0, addresses=(PEER,))
        self.offset = self.recording.place_run(started.time)
        lane = self.recording.open_lane(started, self.offset)
        assert lane is not None
        self.lane = lane
        self.now = 0.0
        self.tell(events.ServerStarted, addresses=(PEER,))

    def tell(self, kind, **fields):
        self.now += 1
        self.recording.take(self.lane, kind(server="s", time=self.now, **fields), self.offset)

    def open(self, number):
        self.tell(events.ConnectionOpened, connection=number, peer=PEER, local=PEER)

    def request(self, number):
        self.tell(events.RequestStarted, connection=number, peer=PEER)
        self.tell(events.RequestFinished, connection=number, peer=PEER, duration=1.0)

    def close(self, number, cause=Cause.FINISHED):
        self.tell(
            events.ConnectionClosed,
            connection=number,
            peer=PEER,
            cause=cause,
            received=1,
            sent=2,
            duration=1.0,
        )

    def bars(self):
        return self.recording.run().lanes[0].bars


def test_the_oldest_that_ended_well_go_first():
    feeder = Feeder(max_connections=3)
    for number, cause in ((1, Cause.FAILED), (2, Cause.FINISHED), (3, Cause.FINISHED), (4, Cause.DRAIN)):
        feeder.open(number)
        feeder.close(number, cause)
    assert list(feeder.bars()) == [1, 3, 4]
    feeder.open(5)
    feeder.open(6)
    assert list(feeder.bars()) == [4, 5, 6]
    assert feeder.recording.run().notes == ("3 older connections let go to bound the memory",)


def test_with_too_many_at_once_newcomers_are_counted_only():
    feeder = Feeder(max_connections=2)
    for number in (1, 2, 3):
        feeder.open(number)
    feeder.request(3)
    feeder.close(3)
    assert list(feeder.bars()) == [1, 2]
    assert feeder.recording.run().notes == ("1 connection not recorded: too many at once",)


def test_the_oldest_requests_of_a_long_connection_become_one():
    feeder = Feeder(max_requests=3)
    feeder.open(1)
    for _ in range(10):
        feeder.request(1)
    bar = feeder.bars()[1]
    assert bar.requests == 10
    assert [segment.merged for segment in bar.segments] == [8, 1, 1]
    assert bar.segments[0].busy == 8.0
    assert "older requests of long connections drawn as one bar each" in feeder.recording.run().notes[0]


def test_too_many_requests_let_go_of_whole_connections_that_have_ended_first():
    feeder = Feeder(max_requests=4)
    for number in (1, 2):
        feeder.open(number)
        for _ in range(3):
            feeder.request(number)
        feeder.close(number)
    assert [(number, len(bar.segments)) for number, bar in feeder.bars().items()] == [(2, 3)]


def test_points_and_lines_are_bounded_and_the_lost_are_counted():
    feeder = Feeder()
    for _ in range(600):
        feeder.tell(events.Refused, peer=PEER, reason="connections")
        feeder.tell(events.ServerSuspended)
        feeder.tell(events.ServerResumed)
    lane = feeder.recording.run().lanes[0]
    assert (len(lane.points), len(lane.doors)) == (500, 200)
    assert feeder.recording.run().notes == ("100 lines or points let go",)


@hypothesis.given(
    st.lists(
        st.tuples(st.sampled_from(["open", "request", "close", "fail"]), st.integers(0, 12)), max_size=200
    )
)
def test_memory_is_bounded_whatever_happens(acts):
    feeder = Feeder(max_connections=4, max_requests=6)
    numbers = iter(range(1, 1000))
    here: list[int] = []
    for act, which in acts:
        if act == "open":
            here.append(next(numbers))
            feeder.open(here[-1])
        elif here and act == "request":
            feeder.request(here[which % len(here)])
        elif here:
            feeder.close(here.pop(which % len(here)), Cause.FAILED if act == "fail" else Cause.FINISHED)
        bars = feeder.bars().values()
        assert len(bars) <= 4
        assert sum(len(bar.segments) for bar in bars) <= 6 + 4 * 2


async def _serve_once(name):
    async with triosock.testing.open_server(read_once, name=name) as server:
        async with await server.connect():
            pass


def test_two_runs_one_after_the_other_are_placed_one_after_the_other():
    with triosock.observe.Timeline() as timeline:
        for name in ("first", "second"):
            trio.run(_serve_once, name)
    first, second = timeline.picture().bands
    assert (first.title.split()[0], second.title.split()[0]) == ("first", "second")
    assert first.start == 0
    assert first.end is not None
    assert second.start >= first.end


async def test_how_long_an_event_took_to_come_does_not_move_its_run(autojump_clock):
    recording = Recording(5, 5)

    async def another_run():
        return recording.place_run(trio.current_time()) + trio.current_time()

    early = trio.current_time()
    await trio.sleep(500)
    assert recording.place_run(early) + early == 0
    assert await trio.to_thread.run_sync(trio.run, another_run) > 500


def test_servers_of_one_name_and_of_several_threads_have_lanes_of_their_own():
    with triosock.observe.Timeline() as timeline:
        threads = [threading.Thread(target=trio.run, args=(_serve_once, "same")) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    bands = timeline.picture().bands
    assert sorted(band.title.split(" on ")[0] for band in bands) == ["same", "same (2)", "same (3)"]
    assert [len(band.boxes) for band in bands] == [1, 1, 1]


def test_what_is_open_stays_open_until_the_end_of_the_recording():
    async def main():
        async with triosock.testing.open_server(read_once, name="s") as server:
            client = await server.connect()
            await trio.sleep(2)
            timeline.__exit__(None, None, None)
            await client.aclose()

    timeline = triosock.observe.Timeline()
    timeline.__enter__()
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    (band,) = timeline.picture().bands
    assert (band.end, timeline.picture().end) == (None, 2.0)
    assert (band.boxes[0].end_kind, band.boxes[0].end) == ("open", 2.0)


async def test_a_datagram_is_a_bar_as_long_as_its_handler():
    async def handle(datagram):
        if datagram.data == b"boom":
            raise ValueError("planned")
        await datagram.reply(datagram.data)

    with triosock.observe.Timeline() as timeline:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                lambda task_status: triosock.serve_udp(handle, 0, host="127.0.0.1", task_status=task_status)
            )
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as client:
                address = ("127.0.0.1", server.addresses[0].port)
                await client.sendto(b"boom", address)
                await client.sendto(b"hello", address)
                assert await client.recv(100) == b"hello"
            server.drain()
    picture = timeline.picture()
    assert picture.summary.startswith("1 server, 2 datagrams in ")
    # Both had arrived: which task runs first is trio's choice.
    boxes = sorted(picture.bands[0].boxes, key=lambda box: box.number)
    assert [(box.end_kind, [piece.kind for piece in box.pieces]) for box in boxes] == [
        ("failed", ["working"]),
        ("finished", ["working"]),
    ]
    assert boxes[0].text.startswith("datagram 1 of udp://127.0.0.1:")
    assert "ValueError: planned" in boxes[0].text


async def test_a_connection_that_was_there_before_is_a_bar_from_its_next_request_on(autojump_clock):
    async with triosock.testing.open_server(echo, name="s") as server:
        client = await server.connect()
        await trio.testing.wait_all_tasks_blocked()
        timeline = triosock.observe.Timeline()
        server.server.observers.add(timeline)
        await client.send_all(b"hello\n")
        await client.receive_some()
        await client.aclose()
    (band,) = timeline.picture().bands
    assert [(box.number, box.end_kind) for box in band.boxes] == [(1, "finished")]
    assert "connection 1 of" in band.boxes[0].text


def test_what_happens_to_datagrams_at_the_door_are_points():
    feeder = Feeder()
    feeder.tell(events.DatagramDropped, peer=PEER, reason="full")
    feeder.tell(events.DatagramTruncated, peer=PEER, size=5)
    feeder.tell(events.DatagramsLost, address=PEER, count=3)
    feeder.tell(events.LimitReached, active=3)
    feeder.tell(events.AcceptFailed, address=PEER, error=OSError("no"), action="back off", delay=1.0)
    assert [(point.kind, point.text) for point in feeder.recording.run().lanes[0].points] == [
        ("refused", "datagram of memory://peer dropped: full"),
        ("error", "datagram of memory://peer cut to 5 bytes"),
        ("error", "3 datagrams dropped by the kernel"),
        ("full", "full: 3 connections"),
        ("error", "accept failed: OSError: no; then: back off"),
    ]
