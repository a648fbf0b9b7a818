"""A server with thousands of connections, as events without a server: the same every time."""

from __future__ import annotations

import random

from triosock import Cause, Timeouts
from triosock._core.model import events
from triosock._core.model.addresses import TcpAddress
from triosock.observe import Timeline

DOOR = TcpAddress("127.0.0.1", 9999)
CAUSES = {Cause.FINISHED: 90, Cause.FAILED: 3, Cause.PEER: 3, Cause.IDLE: 2, Cause.REQUEST: 2}


def record_crowd(number: int, seconds: float = 60.0) -> Timeline:
    """Return the timeline of so many connections, of up to three requests each, in a minute."""
    timeline, chance = Timeline(), random.Random(7)
    started = events.ServerStarted(server="shop", time=0.0, addresses=(DOOR,), timeouts=Timeouts())
    told: list[events.Event] = [started]
    for one in range(1, number + 1):
        told += _connection(one, one * seconds / number, chance)
    for event in sorted(told, key=lambda event: event.time):
        timeline.on_event(event)
    return timeline


def _connection(number: int, start: float, chance: random.Random) -> list[events.Event]:
    who = {"server": "shop", "connection": number}
    peer = TcpAddress(f"10.0.{number % 250}.7", 20_000 + number)
    told: list[events.Event] = [events.ConnectionOpened(**who, peer=peer, time=start, local=DOOR)]
    now = start
    for _ in range(chance.randrange(1, 4)):
        now += chance.uniform(0.01, 0.4)
        told.append(events.RequestStarted(**who, peer=peer, time=now))
        took = chance.uniform(0.01, 0.5)
        now += took
        told.append(events.RequestFinished(**who, peer=peer, time=now, duration=took))
    now += chance.uniform(0.01, 0.4)
    (cause,) = chance.choices(list(CAUSES), list(CAUSES.values()))
    told.append(
        events.ConnectionClosed(
            **who, peer=peer, time=now, cause=cause, received=64, sent=4_096, duration=now - start
        )
    )
    return told
