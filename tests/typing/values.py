"""What type checkers say about addresses, limits, reports, errors and events; see serving.py."""

from __future__ import annotations

import logging
from typing import assert_never, assert_type

import trio

import triosock
from triosock import Cause, DrainReport, Limits, Rate, TcpAddress, Timeouts, UnixAddress, events, observe
from triosock.observe.telemetry import OpenTelemetryObserver


def addresses(text: str) -> str:
    address = triosock.parse_address(text)
    assert_type(address, triosock.Address)
    match address:
        case TcpAddress() | triosock.UdpAddress():
            assert_type(address.port, int)
            return address.host
        case UnixAddress():
            return address.path
        case triosock.MemoryAddress():
            return address.name
        case _:
            assert_never(address)  # there is no other kind


def limits_and_timeouts() -> None:
    limits = Limits(max_connections=3, overflow="reject")
    limits.max_connections = 4  # type: ignore[misc]
    Limits(3)  # type: ignore[call-arg]
    Limits(overflow="drop")  # type: ignore[arg-type]
    Limits(max_lag=0.2, adaptive=triosock.AdaptiveLimit(min_connections=2, buffer=0.5))
    Limits(adaptive=True)  # type: ignore[arg-type]
    triosock.AdaptiveLimit(samples="50")  # type: ignore[arg-type]
    Limits(max_conections=3)  # type: ignore[call-arg]
    assert_type(limits.rate_per_peer, Rate | None)
    Limits(rate_per_peer=Rate(20, per=1, burst=40), request_overflow="reject")
    Limits(rate_per_peer=20)  # type: ignore[arg-type]
    Limits(request_overflow="drop")  # type: ignore[arg-type]
    Rate("20/s")  # type: ignore[arg-type]
    Rate(20, 1)  # type: ignore[call-arg]
    assert_type(Rate.parse("20/s").burst, float)
    timeouts = Timeouts(grace=0, idle=1.5)
    assert_type(timeouts.grace, float)
    timeouts.grace = 3  # type: ignore[misc]
    Timeouts(idle="5 s")  # type: ignore[arg-type]


def reports(report: DrainReport) -> None:
    assert_type(report.finished, int)
    assert_type(report.clean, bool)
    assert_type(report.slowest, tuple[triosock.Straggler, ...])
    assert_type(report.causes[Cause.DRAIN], int)
    report.finished = 0  # type: ignore[misc]


def errors(error: Exception) -> None:
    match error:
        case triosock.FrameTooLarge():
            assert_type(error.max_bytes, int)
        case triosock.Incomplete():
            assert_type(error.partial, bytes)
    timed_out: trio.TooSlowError = triosock.RequestTimedOut()
    refused: OSError = triosock.AddressUnavailable(None, "")
    peer: triosock.PeerError = triosock.HandshakeFailed()
    every: list[triosock.TriosockError] = [peer]
    print(timed_out, refused, every)


class Counting:
    wants = (events.ConnectionClosed,)

    def __init__(self) -> None:
        self.sent = 0

    def on_event(self, event: triosock.Event, /) -> None:
        match event:
            case events.ConnectionClosed():
                assert_type(event.cause, Cause)
                self.sent += event.sent


class NoObserver:
    def on_event(self) -> None: ...


async def observers(conn: triosock.Connection) -> None:
    async def handler(conn: triosock.Connection) -> None: ...

    observer: triosock.Observer = Counting()
    await triosock.serve_tcp(handler, 0, observers=[observer])
    await triosock.serve_tcp(handler, 0, observers=[NoObserver()])  # type: ignore[list-item]


async def telling() -> None:
    async with observe.LineWriter("access.log", mode=0o600) as write:
        assert_type(write.dropped, int)
        log: triosock.Observer = observe.AccessLog(write, format="json", of="requests")
    by_logging: triosock.Observer = observe.AccessLog(logging.getLogger("access"))
    observe.AccessLog(write, of="bytes")  # type: ignore[arg-type]
    observe.AccessLog("access.log")  # type: ignore[arg-type]
    formatter: logging.Formatter = observe.JsonFormatter()

    def report(blocked: observe.BlockedLoop) -> None:
        assert_type(blocked.stack, tuple[str, ...])

    async with OpenTelemetryObserver(grace=0.5) as telemetry:
        traces: triosock.Observer = telemetry
        assert_type(telemetry.dropped, int)
    with observe.allow_top() as nobody:
        assert_type(nobody, None)
    with observe.watch_blocked_loop(0.5, report=report) as nothing:
        assert_type(nothing, None)
    print(log, by_logging, formatter, traces)


async def broadcasting() -> None:
    room: triosock.Broadcast[str] = triosock.Broadcast(buffer=10, when_full="cut")
    with room.join() as inbox:
        assert_type(inbox, triosock.BroadcastMember[str])
        assert_type(room.send_nowait("hello", exclude=inbox), int)
        async for text in inbox:
            assert_type(text, str)
    room.send_nowait(7)  # type: ignore[arg-type]
    await room.send("hello")
    assert_type(room.statistics().dropped, int)
    triosock.Broadcast[int](when_full="block")  # type: ignore[arg-type]


class DerivedLimits(Limits): ...  # type: ignore[misc]  # it is final


class DerivedReport(DrainReport): ...  # type: ignore[misc]
