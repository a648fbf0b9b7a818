"""The report of a drain: how many connections ended in which way, and what those that were cut were doing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import attrs
import trio

from ..model.addresses import Address
from ..model.events import Cause
from .registry import Entry, Phase

#: The causes that count as `left`: those of the peers.
THE_PEERS: Final = (Cause.PEER, Cause.IDLE, Cause.SEND, Cause.HANDSHAKE)
#: How many of the connections that had to be cut a report describes.
SLOWEST: Final = 5


@final
@attrs.frozen(kw_only=True)
class Straggler:
    """A connection that was cut at the end of a drain: its `peer`, its `age` in seconds, what it was doing
    (`phase`), and its `stack`, outermost call first.
    """

    peer: Address
    age: float
    phase: Phase
    stack: tuple[str, ...]

    def __str__(self) -> str:
        where = f", at {self.stack[-1]}" if self.stack else ""
        return f"{self.peer}: {self.phase} after {self.age:.1f} s{where}"


@final
@attrs.frozen(kw_only=True)
class DrainReport:
    """How a server ended. The five counts add up to all connections that existed when the drain began or came
    from the listener's queue.

    `finished` handlers returned; `failed` ones raised; the peers of `left` ones went away, broke the
    protocol, or did nothing for too long (idle, send, handshake); `cancelled` ones were cut, most at the
    deadline (`slowest` describes the oldest of these); `refused` ones were accepted and not served. `causes`
    is the same by `Cause`. `duration` is in seconds. `drained` is False if the server was cancelled, or
    crashed, instead: then the counts are those of that moment.
    """

    finished: int = 0
    failed: int = 0
    left: int = 0
    cancelled: int = 0
    refused: int = 0
    duration: float = 0.0
    drained: bool = True
    slowest: tuple[Straggler, ...] = ()
    causes: Mapping[Cause, int] = attrs.field(factory=dict)

    @property
    def clean(self) -> bool:
        """Whether the server drained, and no connection was cancelled or refused."""
        return self.drained and not self.cancelled and not self.refused

    def __str__(self) -> str:
        how = "drained" if self.drained else "ended without a drain"
        lines = [
            f"{how} in {self.duration:.2f} s: {self.finished} finished, {self.failed} failed, "
            f"{self.left} left, {self.cancelled} cancelled, {self.refused} refused"
        ]
        return "\n  ".join(lines + [str(straggler) for straggler in self.slowest])


def describe_slowest(entries: tuple[Entry, ...]) -> tuple[Straggler, ...]:
    """Describe the oldest entries that are not in their lingering close."""
    now = trio.current_time()
    busy = [entry for entry in entries if entry.stage != "closing"]
    return tuple(
        Straggler(peer=entry.peer, age=now - entry.accepted, phase=entry.phase, stack=entry.stack())
        for entry in sorted(busy, key=lambda entry: entry.accepted)[:SLOWEST]
    )
