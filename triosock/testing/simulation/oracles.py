"""Invariants that hold in every run, for all scenarios and faults.

These are checked for each server:

1. At every step its registry is exact: as many entries as slots, and no more than its limits.
2. It accepts nothing while it is suspended, unless it drains.
3. No connection waits in the accept queue while there is room, no rate delays it, and no other task can run.
4. After its end nothing is left: no connection, slot, listener or stream.
5. Its numbers match those of the network: it accepted as many connections as left the queue, it received no
   more bytes than arrived and sent no more than the network took, and its report counts each connection that
   ended in the drain once.
6. A drain resets no connection in its accept queue.
7. Its handlers raised only exceptions caused by a peer, unless the scenario allows others.
8. Every datagram that it received was handled or dropped for a reason that it counts.
"""

from __future__ import annotations

from collections.abc import Callable

from trio.lowlevel import current_statistics as statistics

from triosock import Cause
from triosock import events as happened

from ..open_server import check_nothing_left
from .connection import SimulatedConnection
from .listener import STAYS
from .served import SimulatedDatagramServer, SimulatedServer


def at_every_step(server: SimulatedServer) -> Callable[[], None]:
    """Return the check for every step; it is cheap while nothing has changed."""
    registry, gate = server.server._registry, server.server._gate
    seen, was_open = (-1, -1, 0), True

    def check() -> None:
        nonlocal seen, was_open
        now = (len(registry), registry.active, registry.tally.accepted)
        if now != seen:
            assert was_open or now[2] == seen[2] or server.server.draining, (
                f"{server!r} accepted a connection while it was suspended"
            )
            seen = now
            registry.check()
        was_open = gate.is_open  # whether the next step may accept

    return check


def when_blocked(server: SimulatedServer) -> Callable[[], None]:
    """Return the check that no connection waits for a free slot when no task can run."""
    registry, listener = server.server._registry, server.listener
    (loop,) = server.server._accept_loops

    def check() -> None:
        if loop._pace is not None and loop._pace.is_waiting:
            return  # delayed by `Limits.rate`
        if not listener.count_waiting() or not registry.has_room or listener.has_failed:
            return
        if server.server.draining or server.server.statistics().suspended:
            return
        now = statistics()
        if not now.tasks_runnable and now.seconds_to_next_deadline > 0:  # else a task is about to run
            raise AssertionError(
                f"{listener.count_waiting()} connections wait in the queue of {server!r}, which has room"
            )

    return check


def at_end(server: SimulatedServer | SimulatedDatagramServer) -> None:
    """Check a server after its end. Raises: AssertionError, or the exception of its handler."""
    if server.failure is not None:
        raise server.failure
    if isinstance(server, SimulatedDatagramServer):
        _check_datagrams(server)
        return
    check_nothing_left(server.server)
    _check_counts(server)
    _check_bytes(server)
    _check_accepts(server)
    if server.report is not None and server.report.drained:
        _check_report(server)
        _check_queue(server)


def _check_datagrams(server: SimulatedDatagramServer) -> None:
    statistics = server.server.statistics()
    dropped = sum(statistics.dropped.values())
    assert server.socket.is_closed, f"the socket of {server!r} is still open"
    assert not statistics.active, f"{statistics.active} handlers of {server!r} are left"
    assert statistics.received == statistics.handled + dropped + statistics.pending, (
        f"{server!r} received {statistics.received} datagrams, handled {statistics.handled}, dropped "
        f"{dropped} and has {statistics.pending} left"
    )
    assert not statistics.pending, f"{server!r} neither handled nor dropped {statistics.pending} datagrams"


def streams(connections: list[SimulatedConnection]) -> None:
    """Check that no server has left a stream open. Raises: AssertionError."""
    for connection in connections:
        assert connection.server.is_closed, f"{connection.server!r} is still open"


def _check_counts(server: SimulatedServer) -> None:
    statistics = server.server.statistics()
    # A connection that waits for its slot in a drain may be cut before it has one: then it was refused.
    ended, unserved = sum(statistics.ended.values()), statistics.refused.get("drain", 0)
    assert ended <= statistics.accepted <= ended + unserved, (
        f"{server!r} accepted {statistics.accepted} connections, ended {ended} and refused {unserved}"
    )
    missing = server.listener.accepted - statistics.accepted
    refused = sum(statistics.refused.values())
    assert 0 <= missing <= refused, (
        f"{server.listener.accepted} connections left the queue of {server!r}, which says that it accepted "
        f"{statistics.accepted} and refused {refused}"
    )


def _check_bytes(server: SimulatedServer) -> None:
    for event in server.events:
        if not isinstance(event, happened.ConnectionClosed):
            continue
        connection = server.connection_of(event.peer)
        if connection is None or server.is_encrypted:
            continue
        read, taken = connection.server.incoming.taken_by_reader, connection.server.outgoing.sent
        assert event.received <= read, (
            f"{server!r} says that it received {event.received} bytes of {connection.name}, and read {read}"
        )
        assert event.sent <= taken, (
            f"{server!r} says that it sent {event.sent} bytes to {connection.name}, which were {taken}"
        )
        if event.cause is Cause.FINISHED and event.error is None:
            assert event.sent == taken, (
                f"{server!r} sent {taken} bytes to {connection.name}, and says {event.sent}"
            )


def _check_accepts(server: SimulatedServer) -> None:
    for event in server.events:
        if isinstance(event, happened.AcceptFailed) and isinstance(event.error, OSError):
            # The simulated errors are the peer's or the machine's: docs/discussion/errors.md.
            assert event.action not in ("end", "crash"), (
                f"an accept failed with {event.error!r}, and {server!r} stopped accepting"
            )


def _check_report(server: SimulatedServer) -> None:
    report = server.report
    assert report is not None
    told = report.finished + report.failed + report.left + report.cancelled
    assert told <= server.ended_in_drain <= told + report.refused, (
        f"the report of {server!r} counts {told} connections, and {server.ended_in_drain} ended in its drain"
    )


def _check_queue(server: SimulatedServer) -> None:
    could_not = any(
        isinstance(event, happened.AcceptFailed)
        and isinstance(event.error, OSError)
        and event.error.errno in STAYS  # then the queue could not be accepted
        for event in server.events
    )
    if server.listener.cut and not could_not and not server.cut_short:
        names = ", ".join(arrival.stream.name for arrival in server.listener.cut)
        raise AssertionError(f"the drain of {server!r} reset those in its queue: {names}")
