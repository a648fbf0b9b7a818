"""The load generator against servers that misbehave on purpose, each a thread of the test."""

import contextlib
import itertools
import json
import math
import os
import socket
from time import perf_counter

import pytest

from benchmarks.load import DRIVEN, udp
from benchmarks.load import job as jobs
from benchmarks.load.__main__ import run
from benchmarks.load.compiled import library
from benchmarks.load.connect import Connects
from benchmarks.load.exchange import Exchange, message
from benchmarks.load.job import PASSES, Job, Meter, Tally, percentile
from benchmarks.load.udp import Bursts, RequestResponse
from benchmarks.load.usage import Usage, usage
from tests.waiting import PATIENCE, in_a_thread


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_of_the_nearest_rank(share, value):
    assert percentile(list(range(100, 0, -1)), share) == value


def test_the_percentile_of_nothing_is_not_a_number():
    assert math.isnan(percentile([], 0.5))


def test_a_message_is_lines_of_equal_length():
    assert message(12, 3) == b"xxx\nxxx\nxxx\n"


def test_usage_grows_with_work_and_counts_living_children():
    before = usage(os.getpid())
    sum(range(2_000_000))
    after = usage(os.getpid())
    assert after.cpu_seconds > before.cpu_seconds
    assert after.resident_bytes > 1 << 20


def test_usage_of_a_process_that_is_gone_says_so():
    with pytest.raises(ProcessLookupError, match="is gone"):
        usage(4_194_304)  # one more than the highest pid that Linux gives


class Driven:
    """A load that does what it is told; `drives` has what it was asked for."""

    def __init__(self, *tallies):
        self._tallies = iter(tallies)
        self.drives = []

    def drive(self, stop_at, limit):
        self.drives.append(limit)
        return next(self._tallies)


IDLE_JOB = Job(0, os.getpid(), seconds=0, warmup=0, params={"connections": 4, "lines": 2})


def test_what_was_done_to_warm_up_and_in_the_run_up_of_a_slice_is_not_measured():
    load = Driven(*(Tally(100, [9.0]) for _ in range(3)), Tally(2, [0.0, 0.0]))
    meter = Meter(IDLE_JOB, load.drive)
    meter.warm_up()
    meter.take_slice()
    assert load.drives == [math.inf, PASSES * 8, math.inf, math.inf]
    assert meter.figures()["count"] == 2


def test_slices_add_up():
    run_up = (Tally(9, [0.0], 2), Tally(9, [0.0]))
    load = Driven(*run_up, Tally(2, [0.0], 1), *run_up, Tally(3, [0.0], 4))
    meter = Meter(IDLE_JOB, load.drive)
    meter.take_slice()
    first = meter.figures()
    meter.take_slice()
    both = meter.figures()
    assert (both["count"], both["lost"]) == (5, 9)
    assert both["seconds"] > first["seconds"]


def test_an_operation_that_began_before_the_pause_counts_but_has_no_latency(monkeypatch):
    now = iter([100.0, 101.0, 103.0])  # resumed, began, ended
    monkeypatch.setattr(jobs, "perf_counter", lambda: next(now, 103.0))
    load = Driven(Tally(1), Tally(), Tally(2, [3.5, 2.5]))
    meter = Meter(IDLE_JOB, load.drive)
    meter.take_slice()
    figures = meter.figures()
    assert figures["count"] == 2
    assert figures["p50_us"] == figures["p99_us"] == 2.5e6


def test_a_slice_ends_when_the_server_is_at_rest(monkeypatch):
    # Before and after the slice; then it works on, and a child is reaped, before it has nothing to do.
    used = iter([1.0, 2.0, *(3.0, 3.5, 3.4, 3.4, 4.0, 4.0, 4.0)])
    looks = []

    def usage_of(pid):
        looks.append(next(used))
        return Usage(looks[-1], 0)

    monkeypatch.setattr(jobs, "usage", usage_of)
    meter = Meter(IDLE_JOB, Driven(Tally(1), Tally(), Tally(1, [0.0])).drive)
    meter.take_slice()
    assert looks == [1.0, 2.0, *(3.0, 3.5, 3.4, 3.4, 4.0, 4.0, 4.0)]
    assert meter.figures()["cpu_us"] == 1e6  # what it did afterwards is not in it


def test_a_server_that_answers_nothing_is_an_error_at_once():
    load = Driven(Tally(), Tally())
    with pytest.raises(RuntimeError, match="nothing was answered in 10 s"):
        Meter(IDLE_JOB, load.drive).take_slice()
    assert len(load.drives) == 1


def test_a_server_that_answers_nothing_in_its_slices_is_an_error():
    meter = Meter(IDLE_JOB, Driven(Tally(1), Tally(), Tally()).drive)
    meter.take_slice()
    with pytest.raises(RuntimeError, match="nothing was answered"):
        meter.figures()


def test_a_server_that_never_rests_is_an_error(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(jobs, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(jobs, "usage", lambda pid: Usage(next(clock), 0))
    with pytest.raises(RuntimeError, match="is at work 10 s after"):
        Meter(IDLE_JOB, Driven(Tally(1)).drive).warm_up()


def test_a_load_takes_a_slice_for_each_line(monkeypatch):
    said = []
    load = Driven(Tally(), *[Tally(7, [0.0])] * 6)
    monkeypatch.setitem(DRIVEN, "scripted", lambda job: load)
    run("scripted", IDLE_JOB, ["\n", "\n"], said.append)
    assert said[:3] == ["ready", "done", "done"]
    assert json.loads(said[3])["count"] == 14


@contextlib.contextmanager
def tcp_server(handle, **params):
    """A thread that gives each connection, one after another, to `handle`; Job for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with sock:
                        sock.settimeout(PATIENCE)
                        handle(sock)

        params = {"connections": 1, "in_flight": 1, **params}
        with in_a_thread(serve):
            try:
                yield Job(listener.getsockname()[1], os.getpid(), params=params)
            finally:
                listener.shutdown(socket.SHUT_RDWR)  # wakes the accept


def close_sockets(load):
    for sock in load.sockets.values() if isinstance(load, RequestResponse) else load.sockets:
        sock.close()
    load.epoll.close()


@pytest.fixture(params=["compiled", "python"])
def loop(request, monkeypatch):
    """Each of the two loops in turn."""
    if request.param == "python":
        monkeypatch.setattr("benchmarks.load.connect.library", lambda: None)
        monkeypatch.setattr("benchmarks.load.exchange.library", lambda: None)
    elif library() is None:
        pytest.skip("no compiler is here")


def closes_early(sock):
    sock.recv(10)


def answers_too_much(sock):
    data = sock.recv(64)
    sock.sendall(data * 2)
    sock.recv(64)


@pytest.mark.parametrize(("server", "says"), [(closes_early, "closed|reset"), (answers_too_much, "too many")])
def test_a_server_that_closes_early_or_answers_too_much_is_not_counted_as_done(loop, server, says):
    with tcp_server(server) as job:
        load = Exchange(job)
        with pytest.raises(ConnectionError, match=says):
            load.drive(math.inf, 1)
        close_sockets(load)


def test_replies_in_pieces_are_put_together(loop):
    def in_pieces(sock):
        while data := sock.recv(64):
            for byte in data:
                sock.sendall(bytes([byte]))

    with tcp_server(in_pieces) as job:
        load = Exchange(job)
        assert load.drive(math.inf, 5).count == 5
        close_sockets(load)


@pytest.mark.parametrize(
    ("ending", "sees"), [("close", b""), ("half-close", b""), ("reset", ConnectionResetError)]
)
def test_connects_count_whole_exchanges_and_end_as_they_are_told(loop, ending, sees):
    seen = []

    def answer(sock):
        sock.sendall(sock.recv(64))
        try:
            seen.append(sock.recv(64))
        except ConnectionResetError as error:
            seen.append(type(error))

    with tcp_server(answer, ending=ending) as job:
        with contextlib.closing(Connects(job)) as load:
            tally = load.drive(math.inf, 20)
        assert tally.count == len(tally.latencies) == 20
        assert all(0 < latency < 20 for latency in tally.latencies)
    assert seen[:20] == [sees] * 20


def test_a_server_that_closes_before_it_answers_is_an_error(loop):
    with tcp_server(lambda sock: sock.recv(64)) as job, contextlib.closing(Connects(job)) as load:
        with pytest.raises(ConnectionError, match="closed before it answered"):
            load.drive(math.inf, 1)


@contextlib.contextmanager
def udp_server(answers, **params):
    """A thread that answers the n-th datagram (from 0) if `answers(n)`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        address = sock.getsockname()

        def serve():
            number = 0
            while True:
                data, peer = sock.recvfrom(65536)
                if data == b"end":
                    return
                if answers(number):
                    sock.sendto(data, peer)
                number += 1

        with in_a_thread(serve):
            try:
                yield Job(address[1], os.getpid(), params=params)
            finally:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                    end.sendto(b"end", address)


@pytest.fixture
def late_answers_are_not_lost(monkeypatch):
    """An answer that a busy machine delays is not taken for a lost one."""
    monkeypatch.setattr(udp, "LOST_AFTER", 1.0)
    monkeypatch.setattr(udp, "QUIET", 1.0)


@pytest.mark.usefixtures("late_answers_are_not_lost")
def test_lost_answers_of_a_burst_are_counted():
    with udp_server(lambda number: number % 2, burst=10) as job:
        load = Bursts(job)
        with load.sock:
            tally = load.drive(math.inf, 1)
    assert (tally.count, tally.lost) == (5, 5)


@pytest.mark.usefixtures("late_answers_are_not_lost")
def test_a_datagram_that_is_lost_in_one_slice_is_counted_and_sent_again_in_another():
    with udp_server(lambda number: number != 0, sockets=2) as job:
        load = RequestResponse(job)
        lost = slices = 0
        while not lost and slices < 1000:
            slices += 1
            lost += load.drive(perf_counter() + 0.01, math.inf).lost
        after = load.drive(math.inf, 10)
        close_sockets(load)
    assert (lost, after.lost) == (1, 0)
    assert slices > 1


@pytest.mark.usefixtures("late_answers_are_not_lost")
def test_a_lost_datagram_is_counted_and_sent_again():
    with udp_server(lambda number: number != 0, sockets=1) as job:
        load = RequestResponse(job)
        tally = load.drive(math.inf, 1)
        close_sockets(load)
    assert (tally.count, tally.lost) == (1, 1)
