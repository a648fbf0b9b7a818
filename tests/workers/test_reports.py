"""Reports of workers: over the wire and back, and many as one."""

from __future__ import annotations

import socket

import attrs
import pytest

import triosock
from triosock._worker import COUNTS, format_reports
from triosock.workers.reports import merge_reports, read_reports


def report(number: int, **more: object) -> triosock.DrainReport:
    peer = triosock.TcpAddress("192.0.2.1", number)
    straggler = triosock.Straggler(peer=peer, age=float(number), phase="working", stack=("a.py:1",))
    counts = {name: number * (index + 1) for index, name in enumerate(COUNTS)}
    return triosock.DrainReport(
        **counts, duration=1.5, slowest=(straggler,), causes={triosock.Cause.FINISHED: number}, **more
    )


def test_a_report_comes_back_as_it_was_sent():
    sent = [report(1), report(2, drained=False)]
    text = format_reports(tuple((f"server {one.duration}", one) for one in sent))
    assert "\n" not in text
    assert read_reports(text) == sent


@pytest.mark.parametrize(
    "peer",
    [
        triosock.MemoryAddress("door"),
        triosock.UnixAddress(""),
        triosock.UnixAddress(b"/run/\xff \n"),
        triosock.UnixAddress("\0name"),
        triosock.UdpAddress("fe80::1", 7, 3),
    ],
)
def test_a_peer_of_any_kind_comes_back_as_it_was_sent(peer):
    one = attrs.evolve(report(1), slowest=())
    straggler = attrs.evolve(report(1).slowest[0], peer=peer)
    (back,) = read_reports(format_reports((("x", attrs.evolve(one, slowest=(straggler,))),)))
    assert back.slowest[0].peer == peer


@pytest.mark.parametrize(("servers", "calls", "slowest"), [(1, 900, 5), (30, 40, 5), (300, 40, 0)])
def test_the_counts_of_a_long_report_arrive_and_of_its_stacks_the_innermost_calls(servers, calls, slowest):
    stack = tuple(f"/srv/application/{'long' * 40}.py:{number} in handle" for number in range(calls))
    straggler = attrs.evolve(report(1).slowest[0], stack=stack)
    long = attrs.evolve(report(1), slowest=(straggler,) * 5)
    text = format_reports(tuple((f"server {number}", long) for number in range(servers)))
    manager, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with manager, worker:
        worker.send(text.encode())
    back = read_reports(text)
    assert len(back) == servers
    for one in back:
        assert attrs.evolve(one, slowest=()) == attrs.evolve(long, slowest=())
        assert [straggler.stack[-1] for straggler in one.slowest] == [stack[-1]] * slowest


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"finished": 1}]'])
def test_what_is_no_report_is_an_error_that_the_parent_knows(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_reports(text)


def test_counts_add_up_and_the_slowest_are_the_slowest_of_all():
    merged = merge_reports([report(one) for one in range(1, 9)], duration=3.0)
    assert {name: getattr(merged, name) for name in COUNTS} == {
        name: 36 * (index + 1) for index, name in enumerate(COUNTS)
    }
    assert [one.age for one in merged.slowest] == [8, 7, 6, 5, 4]
    assert merged.causes == {triosock.Cause.FINISHED: 36}
    assert (merged.duration, merged.drained) == (3.0, True)


def test_one_without_a_report_is_not_passed_over():
    assert not merge_reports([report(1)], duration=1, missing=1).drained
    assert not merge_reports([report(1), report(2, drained=False)], duration=1).drained
    assert merge_reports([], duration=0).clean
