"""What a drain says when it is over: how many ended in which way, and what those did who had to be cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import attrs
import trio

from ..model.addresses import Address
from ..model.events import Cause
from .registry import Entry, Phase

#: What was the peers' doing.
THE_PEERS: Final = (Cause.PEER, Cause.IDLE, Cause.SEND, Cause.HANDSHAKE)
#: How many of the connections that had to be cut a report describes.
SLOWEST: Final = 5


@final
@attrs.frozen(kw_only=True)
class Straggler:
    """One that had to be cut: its `peer`, its `age` in seconds, what it was doing (`phase`), and its `stack`,
    outermost call first.
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
    """How a server ended. The five counts add up to all who were there when the drain began or came out of
    the queue with it.

    `finished` handlers returned; `failed` ones raised; the peers of `left` ones went away, broke the
    protocol, or did nothing for too long (idle, send, handshake); `cancelled` ones were cut, most at the
    deadline (`slowest` describes the oldest of these); `refused` ones were accepted and never got their turn.
    `causes` is the same by `Cause`.
    `duration` is in seconds. `drained` is False if the server was cancelled, or crashed, instead: then the
    counts are of those who were there at that moment.
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
        """Whether everybody was let finish: drained, nobody cancelled and nobody refused."""
        return self.drained and not self.cancelled and not self.refused

    def __str__(self) -> str:
        how = "drained" if self.drained else "ended without a drain"
        lines = [
            f"{how} in {self.duration:.2f} s: {self.finished} finished, {self.failed} failed, "
            f"{self.left} left, {self.cancelled} cancelled, {self.refused} refused"
        ]
        return "\n  ".join(lines + [str(straggler) for straggler in self.slowest])


def describe_slowest(entries: tuple[Entry, ...]) -> tuple[Straggler, ...]:
    """Return the oldest of those who are not just in their lingering close."""
    now = trio.current_time()
    busy = [entry for entry in entries if entry.stage != "closing"]
    return tuple(
        Straggler(peer=entry.peer, age=now - entry.accepted, phase=entry.phase, stack=entry.stack())
        for entry in sorted(busy, key=lambda entry: entry.accepted)[:SLOWEST]
    )
