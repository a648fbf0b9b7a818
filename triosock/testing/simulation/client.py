"""A client of the world: a task whose disappointments are judged.

The rule: **a client may fail only if somebody had the right to disappoint it**: the network, a crash, or a
server that was draining before it asked (see `contact.py`). A network error for which there is no such reason
fails the run, as every other exception does. It is judged when everything is over, for only then is it known
how its connections ended at their servers.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from triosock import PeerError

from .contact import Contact
from .journal import Journal

#: What a peer or a network can make a client raise.
DISAPPOINTMENTS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, PeerError, OSError)

#: Whose connections are made here.
current: Final[contextvars.ContextVar[Client | None]] = contextvars.ContextVar(
    "triosock_client", default=None
)


@final
class Client:
    """What `World.client` returns. `error` is the network error that it raised, if it did; `excused` says,
    when the run is over, why that was right.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.contacts: list[Contact] = []
        self.error: Exception | None = None
        self.excused: str | None = None
        self._journal = journal
        self._over = trio.Event()

    def __repr__(self) -> str:
        return f"<Client {self.name}{' (over)' if self.is_over else ''}>"

    @property
    def is_over(self) -> bool:
        """Whether its function has returned."""
        return self._over.is_set()

    async def wait_over(self) -> None:
        """Return when its function has returned, or was excused. A checkpoint."""
        await self._over.wait()

    async def run(self, call: Callable[[], Awaitable[object]]) -> None:
        """Be this client: its task."""
        current.set(self)
        try:
            await call()
        except Exception as raised:  # whose it is, is said by the next line
            error = _disappointment(raised)
            if error is None:
                raise
            self.error = error
            self._journal.note(f"disappointed ({type(error).__name__})", self.name)
        finally:
            for contact in self.contacts:
                contact.client.close()
            self._over.set()

    def judge(self) -> None:
        """Say whether it was right to disappoint it. Raises: the error, if it was not."""
        if self.error is None:
            return
        self.excused = self._excuse(self.error)
        if self.excused is None:
            self.error.add_note(f"client {self.name}: {self._history()}")
            raise self.error

    def _excuse(self, error: Exception) -> str | None:
        if isinstance(error, ConnectionRefusedError):
            return "nobody listened any more"
        return next(filter(None, (contact.excuse() for contact in self.contacts)), None)

    def _history(self) -> str:
        if not self.contacts:
            return "it had no connection"
        told = [
            f"{one.name}: {one.client.outgoing.sent} bytes sent, of which its server read "
            f"{one.server.incoming.taken}; {one.client.incoming.taken} bytes received; "
            + (f"ended at the server: {one.cause}" if one.cause else "not ended at the server")
            for one in self.contacts
        ]
        return "; ".join(told)


def _disappointment(error: Exception) -> Exception | None:
    """Return the network error that this is, or the first of a group of no others; None if it is none."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, DISAPPOINTMENTS) else None
    found = [_disappointment(one) for one in error.exceptions]
    return None if None in found else found[0]
