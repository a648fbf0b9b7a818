"""Faults of servers, links and the event loop, at times that the seed decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import trio

from .choices import Choices
from .connection import SimulatedConnection
from .faults import Faults
from .instrument import StepInstrument
from .link import Link
from .server_base import ServerBase

#: Faults of servers and of the loop happen within so many steps.
_MOST_STEPS: Final = 2**11
#: Partitions begin within so many seconds.
_SOON: Final = 2.0


@final
class FaultInjector:
    """The fault injector of one world."""

    def __init__(
        self,
        choices: Choices,
        faults: Faults,
        instrument: StepInstrument,
        jump: Callable[[float], None],
        mark: Callable[[str, str], None],
    ) -> None:
        self._choices = choices
        self._faults = faults
        self._instrument = instrument
        self._jump = jump
        self._mark = mark
        if choices.happens(faults.stalls):
            seconds = choices.seconds(faults.stall)
            instrument.inject_after(choices.moment(_MOST_STEPS), lambda: self._stall(seconds))

    def _stall(self, seconds: float) -> None:
        self._mark("stalls", f"the event loop is blocked for {seconds:.3f} s")
        self._jump(seconds)

    def inject_into_server(self, server: ServerBase, nursery: trio.Nursery) -> None:
        """Draw the faults of a server that has just started."""
        faults = self._faults
        for kind, share, action in (
            ("drains", faults.drains, server.drain),
            ("cancels", faults.cancels, server.cancel),
            ("crashes", faults.crashes, server.crash),
        ):
            if self._choices.happens(share):
                self._inject(server, kind, action)
        if self._choices.happens(faults.suspends):
            seconds = self._choices.seconds(faults.pause)
            told = trio.Event()
            nursery.start_soon(self._suspend, server, told, seconds)
            self._inject(server, "suspends", told.set)

    def _inject(self, server: ServerBase, kind: str, action: Callable[[], None]) -> None:
        def strike() -> None:
            if not server.is_over:
                self._mark(kind, f"{kind} {server.host}")
                action()

        self._instrument.inject_after(self._choices.moment(_MOST_STEPS), strike)

    async def _suspend(self, server: ServerBase, told: trio.Event, seconds: float) -> None:
        await told.wait()
        server.suspend()
        await trio.sleep(seconds)
        server.resume()

    def inject_into_link(self, connection: SimulatedConnection, nursery: trio.Nursery) -> None:
        """Draw a partition for the link of a new connection."""
        if self._choices.happens(self._faults.partitions):
            start, length = self._choices.seconds(_SOON), self._choices.seconds(self._faults.pause)
            nursery.start_soon(self._interrupt, connection.client.outgoing.link, start, length)

    async def _interrupt(self, link: Link, start: float, length: float) -> None:
        await trio.sleep(start)
        self._mark("partitions", f"nothing passes between {link.name} for {length:.3f} s")
        link.partition()
        await trio.sleep(length)
        link.heal()
