"""A server of the world, and what is known about it while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import trio

from triosock import Cause, DrainReport, StreamServer, TcpAddress
from triosock import events as happened
from triosock.events import Event

from .contact import Contact
from .journal import Journal
from .listener import SimulatedListener


@final
class SimulatedServer:
    """What `World.serve` returns. `server` is the `StreamServer`, `events` has all its events, `report` is
    its `DrainReport` once it is over.
    """

    def __init__(
        self, host: str, listener: SimulatedListener, may_fail: tuple[type[Exception], ...], journal: Journal
    ) -> None:
        self.host = host
        self.listener = listener
        self.events: list[Event] = []
        self.contacts: dict[TcpAddress, Contact] = {}
        self.report: DrainReport | None = None
        #: It was crashed or cancelled by the world, or by the scenario.
        self.cut_short: bool = False
        #: It has TLS: its bytes are not those of the network.
        self.is_encrypted: bool = False
        #: How many connections ended since its drain began.
        self.ended_in_drain: int = 0
        self.failure: Exception | None = None
        self.draining: bool = False
        self._server: StreamServer | None = None
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._may_fail = may_fail
        self._journal = journal

    def __repr__(self) -> str:
        return f"<SimulatedServer on {self.host}{' (over)' if self.is_over else ''}>"

    @property
    def server(self) -> StreamServer:
        """The server itself."""
        assert self._server is not None
        return self._server

    @property
    def address(self) -> TcpAddress:
        """Where it listens."""
        return self.listener.address

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    def drain(self, **options: Any) -> None:
        """Tell it to drain: `StreamServer.drain(**options)`. Nothing happens if it is over."""
        if not self.is_over:
            self._journal.note("drain", self.host)
            self.server.drain(**options)

    def cancel(self) -> None:
        """Cancel it, as if the program around it ended."""
        if not self.is_over:
            self._cut_short("cancelled")
            self._scope.cancel(reason="triosock: the world cancels this server")

    def crash(self) -> None:
        """Let its process die: the kernel resets its connections, and nothing that it still does is heard."""
        if not self.is_over:
            self._cut_short("crashed")
            self.listener.close()
            for contact in self.contacts.values():
                contact.server.abort()
            self._scope.cancel(reason="triosock: the world crashes this server")

    def _cut_short(self, how: str) -> None:
        self._journal.note(how, self.host)
        self.cut_short = True
        for contact in self.contacts.values():
            contact.cut_short = True

    async def wait_over(self) -> None:
        """Return when it has ended. A checkpoint."""
        await self._over.wait()

    async def run(
        self,
        serve: Callable[..., Any],
        options: dict[str, Any],
        *,
        task_status: trio.TaskStatus[SimulatedServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until it is drained, cancelled or crashed: its task."""

        def started(server: StreamServer) -> None:
            self._server = server
            task_status.started(self)

        try:
            with self._scope:
                self.report = await serve(observers=[self, *options.pop("observers", ())], started=started)
        finally:
            self._over.set()
            self._journal.note("over", self.host)

    # As an observer

    def on_event(self, event: Event, /) -> None:
        """Take note of what happens."""
        self.events.append(event)
        match event:
            case happened.DrainStarted():
                self.draining = True
                for contact in self.contacts.values():
                    contact.note_drain(event.time)
            case happened.ConnectionClosed():
                self.ended_in_drain += self.draining
                if (ended := self.contact_of(event.peer)) is not None:
                    ended.cause = event.cause
            case happened.Refused():
                if (refused := self.contact_of(event.peer)) is not None:
                    refused.refused = True
            case happened.HandlerFailed() | happened.ObserverFailed():
                self._note_failure(event.error)
            case _:
                pass

    def contact_of(self, peer: object) -> Contact | None:
        """Return the connection of a peer, if it has an address of its own."""
        return self.contacts.get(peer) if isinstance(peer, TcpAddress) else None

    def _note_failure(self, error: BaseException) -> None:
        # Of a crash, nothing that its handlers say is heard.
        if not self.cut_short and isinstance(error, Exception) and not isinstance(error, self._may_fail):
            self.failure = self.failure or error

    def causes(self) -> dict[Cause, int]:
        """Return how many connections ended in which way."""
        return dict(self.server.statistics().ended)
