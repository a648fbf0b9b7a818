"""Records the events of a run in bounded memory, for a picture of it.

The invariants:

1. **Memory is bounded in every run**: at most `max_connections` bars, `max_requests` requests (and one more
   for each bar), and fixed numbers of lanes, lines and points. When a bound is reached, the oldest connection
   that has ended well is discarded, or, without one, the oldest that has ended otherwise; if all are open,
   the oldest requests of the connection are merged into one. Connections that failed or were cut are the ones
   that a reader looks for, so they are kept longer.
2. **Everything discarded is counted**, and `Run.notes` has the numbers.
3. **Times are seconds from the first event.** Each trio run has its own clock; the events of a further run
   are placed by the wall clock at the moment of its first event. A plain compat server may have one run after
   another.
4. Servers may live in several threads: all access to a recording is under its lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

import attrs
import trio

from ..._core.model.events import (
    AcceptFailed,
    Cause,
    ConnectionClosed,
    ConnectionEvent,
    ConnectionOpened,
    DatagramDropped,
    DatagramsLost,
    DatagramTruncated,
    DrainAnnounced,
    DrainFinished,
    DrainStarted,
    Event,
    HandlerFailed,
    HandshakeFinished,
    HandshakeRefused,
    LimitReached,
    ListenerClosed,
    ObserverFailed,
    Refused,
    RequestFinished,
    RequestStarted,
    ServerClosed,
    ServerResumed,
    ServerStarted,
    ServerSuspended,
)
from ..text import count, duration, error_text, printable
from .model import (
    BAD,
    MAX_CLOCKS,
    MAX_LANES,
    MAX_LINES,
    MAX_POINTS,
    NO_HANDSHAKE,
    Bar,
    Lane,
    Line,
    Point,
    Run,
    Segment,
)
from .runs import this_run


@final
class Recording:
    """Takes the events of all servers; `run()` returns a copy of the recorded values."""

    def __init__(self, max_connections: int, max_requests: int) -> None:
        self._most_bars = max_connections
        self._most_segments = max_requests
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._good: deque[tuple[Lane, Bar]] = deque()
        self._bad: deque[tuple[Lane, Bar]] = deque()
        self._open = 0
        self._segments = 0
        self._last = 0.0
        self._born: float | None = None
        self._clocks: dict[object, float] = {}
        self._lost_bars = self._unseen_bars = self._merged = self._lost_lanes = self._lost_lines = 0
        self.stopped: bool = False

    # Time

    def place_run(self, now: float) -> float:
        """Return the offset from the clock of the current trio run, which shows `now` or has just shown it,
        to the times of the recording.
        """
        with self._lock:
            run = this_run()
            if run not in self._clocks:
                # Since an event was dated this thread may have had to wait for its turn.
                since = 0.0 if run is None else trio.current_time() - now
                here = time.perf_counter() - since
                if self._born is None:
                    self._born = here
                if len(self._clocks) == MAX_CLOCKS:
                    del self._clocks[next(iter(self._clocks))]
                self._clocks[run] = here - self._born - now
            return self._clocks[run]

    def _now(self) -> float:
        offset = self._clocks.get(this_run())
        if offset is None or this_run() is None:
            return self._last
        return max(self._last, trio.current_time() + offset)

    # Taking

    def open_lane(self, event: Event, offset: float) -> Lane | None:
        """Open a lane for the server of this event; return None if there are too many lanes."""
        with self._lock:
            if len(self._lanes) >= MAX_LANES:
                self._lost_lanes += 1
                return None
            names = {lane.name for lane in self._lanes}
            name, again = printable(event.server), 1
            while (name if again == 1 else f"{name} ({again})") in names:
                again += 1
            lane = Lane(name if again == 1 else f"{name} ({again})", event.time + offset)
            self._lanes.append(lane)
            return lane

    def take(self, lane: Lane, event: Event, offset: float) -> None:
        """Take one event of the server of this lane."""
        with self._lock:
            if self.stopped:
                return
            when = event.time + offset
            self._last = max(self._last, when)
            method = _TAKE.get(type(event))
            if method is not None:
                method(self, lane, event, when)

    def mark(self, text: str) -> None:
        """Add a mark, at this moment, to each lane."""
        with self._lock:
            for lane in self._lanes:
                self._point(lane, Point(self._now(), "mark", printable(text)))

    def stop(self) -> None:
        """Record nothing more: bars that are open stay open in the picture, until this moment."""
        with self._lock:
            self._last = self._now()
            self.stopped = True

    def _server_started(self, lane: Lane, event: ServerStarted, when: float) -> None:
        lane.addresses = tuple(printable(address) for address in event.addresses)
        lane.timeouts, lane.session_idle, lane.lifetime = event.timeouts, event.session_idle, event.lifetime
        lane.listening, lane.end = len(event.addresses), None
        self._doors_opened(lane, event, when)

    def _listener_closed(self, lane: Lane, event: ListenerClosed, when: float) -> None:
        lane.listening -= 1
        if lane.listening <= 0:
            self._doors_shut(lane, event, when)

    def _doors_shut(self, lane: Lane, event: Event, when: float) -> None:
        if lane.doors and lane.doors[-1][1] is None:
            lane.doors[-1] = (lane.doors[-1][0], when)

    def _doors_opened(self, lane: Lane, event: Event, when: float) -> None:
        if not lane.doors or lane.doors[-1][1] is not None:
            if len(lane.doors) >= MAX_LINES:
                del lane.doors[0]
            lane.doors.append((when, None))

    def _drain_announced(self, lane: Lane, event: DrainAnnounced, when: float) -> None:
        self._line(lane, Line(when, "drain", f"a drain is announced: it begins in {duration(event.delay)}"))

    def _drain_started(self, lane: Lane, event: DrainStarted, when: float) -> None:
        self._doors_shut(lane, event, when)
        lane.grace_ends = when + event.grace
        text = f"drain: {event.active} being served, {event.idle} of them idle; grace {duration(event.grace)}"
        self._line(lane, Line(when, "drain", text))

    def _drain_finished(self, lane: Lane, event: DrainFinished, when: float) -> None:
        text = (
            f"drained in {duration(event.duration)}: {event.finished} finished, {event.failed} failed, "
            f"{event.left} left, {event.cancelled} cancelled, {event.refused} refused"
        )
        self._line(lane, Line(when, "drained", text))

    def _server_closed(self, lane: Lane, event: ServerClosed, when: float) -> None:
        self._doors_shut(lane, event, when)
        lane.end = when

    def _line(self, lane: Lane, line: Line) -> None:
        if len(lane.lines) < MAX_LINES:
            lane.lines.append(line)
        else:
            self._lost_lines += 1

    def _refused(self, lane: Lane, event: Refused, when: float) -> None:
        self._point(lane, Point(when, "refused", f"{printable(event.peer)} refused: {event.reason}"))

    def _dropped(self, lane: Lane, event: DatagramDropped, when: float) -> None:
        told = f"datagram of {printable(event.peer)} dropped: {event.reason}"
        self._point(lane, Point(when, "refused", told))

    def _truncated(self, lane: Lane, event: DatagramTruncated, when: float) -> None:
        told = f"datagram of {printable(event.peer)} cut to {count(event.size, 'byte')}"
        self._point(lane, Point(when, "error", told))

    def _lost(self, lane: Lane, event: DatagramsLost, when: float) -> None:
        self._point(lane, Point(when, "error", f"{count(event.count, 'datagram')} dropped by the kernel"))

    def _limit_reached(self, lane: Lane, event: LimitReached, when: float) -> None:
        self._point(lane, Point(when, "full", f"full: {count(event.active, 'connection')}"))

    def _accept_failed(self, lane: Lane, event: AcceptFailed, when: float) -> None:
        self._point(
            lane, Point(when, "error", f"accept failed: {error_text(event.error)}; then: {event.action}")
        )

    def _observer_failed(self, lane: Lane, event: ObserverFailed, when: float) -> None:
        self._point(
            lane, Point(when, "error", f"an observer failed and was taken off: {error_text(event.error)}")
        )

    def _point(self, lane: Lane, point: Point) -> None:
        if len(lane.points) == MAX_POINTS:
            self._lost_lines += 1
        lane.points.append(point)

    # Connections

    def _connection_opened(self, lane: Lane, event: ConnectionOpened, when: float) -> None:
        lane.connected = True
        self._open_bar(lane, event, when)

    def _open_bar(self, lane: Lane, event: ConnectionEvent, when: float) -> Bar | None:
        while self._open + len(self._good) + len(self._bad) >= self._most_bars:
            if not self._let_go():
                self._unseen_bars += 1
                return None
        self._open += 1
        bar = lane.bars[event.connection] = Bar(event.connection, printable(event.peer), when)
        return bar

    def _handshake_finished(self, lane: Lane, event: HandshakeFinished, when: float) -> None:
        bar = lane.bars.get(event.connection)
        if bar is not None:
            bar.peer = printable(event.peer)
            self._add(bar, Segment("handshake", when - event.duration, when, Cause.FINISHED))

    def _handshake_refused(self, lane: Lane, event: HandshakeRefused, when: float) -> None:
        bar = lane.bars.get(event.connection)
        if bar is not None:
            bar.error = error_text(event.error) or NO_HANDSHAKE
            self._add(bar, Segment("handshake", bar.start, when, Cause.HANDSHAKE))

    def _request_started(self, lane: Lane, event: RequestStarted, when: float) -> None:
        bar = lane.bars.get(event.connection)
        if bar is None and not lane.connected:
            # A datagram is one request and no connection. In a lane that was begun later than its server, it
            # may also be of a connection that was there before.
            bar = self._open_bar(lane, event, when)
            if bar is not None and lane.addresses:
                bar.what = "datagram"
        if bar is not None:
            self._end_segment(bar, when, None)
            bar.requests += 1
            self._add(bar, Segment("request", when))

    def _request_finished(self, lane: Lane, event: RequestFinished, when: float) -> None:
        bar = lane.bars.get(event.connection)
        if bar is not None:
            self._end_segment(bar, when, event.cause)
            if bar.what == "datagram":
                self._count_cut(lane, when, event.cause)
                self._end_bar(lane, bar, when, event.cause)

    def _handler_failed(self, lane: Lane, event: HandlerFailed, when: float) -> None:
        bar = lane.bars.get(event.connection)
        if bar is not None:
            bar.error = error_text(event.error)

    def _connection_closed(self, lane: Lane, event: ConnectionClosed, when: float) -> None:
        self._count_cut(lane, when, event.cause)
        bar = lane.bars.get(event.connection)
        if bar is None:
            return
        self._end_segment(bar, when, event.cause)
        bar.error = bar.error or error_text(event.error)
        bar.received, bar.sent = event.received, event.sent
        self._end_bar(lane, bar, when, event.cause)

    def _count_cut(self, lane: Lane, when: float, cause: Cause) -> None:
        if cause in (Cause.DRAIN, Cause.PARENT):
            first, number = lane.cuts.get(cause, (when, 0))
            lane.cuts[cause] = (first, number + 1)

    def _end_bar(self, lane: Lane, bar: Bar, when: float, cause: Cause) -> None:
        bar.end, bar.cause = when, cause
        self._open -= 1
        (self._bad if cause in BAD else self._good).append((lane, bar))

    def _end_segment(self, bar: Bar, when: float, cause: Cause | None) -> None:
        if bar.segments and bar.segments[-1].end is None:
            last = bar.segments[-1]
            last.end, last.cause, last.busy = when, cause, when - last.start

    def _add(self, bar: Bar, segment: Segment) -> None:
        bar.segments.append(segment)
        self._segments += 1
        while self._segments > self._most_segments and self._let_go():
            pass
        if self._segments > self._most_segments and len(bar.segments) > 2:
            self._merge_oldest(bar)

    def _merge_oldest(self, bar: Bar) -> None:
        first, second = bar.segments.popleft(), bar.segments[0]
        second.start, second.kind = first.start, "request"
        second.busy += first.busy
        second.merged += first.merged
        self._merged += 1
        self._segments -= 1

    def _let_go(self) -> bool:
        """Discard the oldest connection that has ended well, or else badly; return False without one."""
        if not self._good and not self._bad:
            return False
        lane, bar = (self._good or self._bad).popleft()
        del lane.bars[bar.number]
        self._segments -= len(bar.segments)
        self._lost_bars += 1
        return True

    # Giving

    def run(self) -> Run:
        """Return a copy of the recorded values."""
        with self._lock:
            end = self._last if self.stopped else self._now()
            return Run(tuple(map(_copy_lane, self._lanes)), end, self._notes())

    def _notes(self) -> tuple[str, ...]:
        told = [
            (self._lost_bars, f"{count(self._lost_bars, 'older connection')} let go to bound the memory"),
            (self._unseen_bars, f"{count(self._unseen_bars, 'connection')} not recorded: too many at once"),
            (
                self._merged,
                f"{count(self._merged, 'older request')} of long connections drawn as one bar each",
            ),
            (self._lost_lanes, f"{count(self._lost_lanes, 'server')} not recorded: too many"),
            (self._lost_lines, f"{count(self._lost_lines, 'line or point', 'lines or points')} let go"),
        ]
        return tuple(text for number, text in told if number)


def _copy_lane(lane: Lane) -> Lane:
    copies = {
        number: attrs.evolve(bar, segments=deque(map(attrs.evolve, bar.segments)))
        for number, bar in lane.bars.items()
    }
    return attrs.evolve(
        lane,
        bars=copies,
        doors=list(lane.doors),
        lines=list(lane.lines),
        points=deque(lane.points),
        cuts=dict(lane.cuts),
    )


_TAKE: Final[dict[type[Event], Callable[[Recording, Lane, Any, float], None]]] = {
    ServerStarted: Recording._server_started,
    ServerSuspended: Recording._doors_shut,
    ServerResumed: Recording._doors_opened,
    ListenerClosed: Recording._listener_closed,
    AcceptFailed: Recording._accept_failed,
    LimitReached: Recording._limit_reached,
    Refused: Recording._refused,
    ConnectionOpened: Recording._connection_opened,
    DatagramDropped: Recording._dropped,
    DatagramTruncated: Recording._truncated,
    DatagramsLost: Recording._lost,
    HandshakeFinished: Recording._handshake_finished,
    HandshakeRefused: Recording._handshake_refused,
    RequestStarted: Recording._request_started,
    RequestFinished: Recording._request_finished,
    HandlerFailed: Recording._handler_failed,
    ConnectionClosed: Recording._connection_closed,
    DrainAnnounced: Recording._drain_announced,
    DrainStarted: Recording._drain_started,
    DrainFinished: Recording._drain_finished,
    ServerClosed: Recording._server_closed,
    ObserverFailed: Recording._observer_failed,
}
