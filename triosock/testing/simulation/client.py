"""A client of the world: a task whose network errors must have a reason.

The rule: **a client may get a network error only for a reason**: a fault of the network, a crash or
cancellation of the server, a limit that refused it, a timeout of the server on a slow network, the end of a
grace period, or a drain that began before its request (see `connection.py`). A network error without such a
reason fails the run, as every other exception does. It is checked after the run, when it is known how its
connections ended at their servers.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from triosock import PeerError

from .connection import SimulatedConnection
from .journal import Journal

#: The exceptions that a peer or a network can cause in a client.
NETWORK_ERRORS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, PeerError, OSError)

#: The client in whose task connections are made.
current: Final[contextvars.ContextVar[Client | None]] = contextvars.ContextVar(
    "triosock_client", default=None
)


@final
class Client:
    """A client, which `World.client` returns. `error` is the network error that it raised, None without one;
    `excused` is the reason for it, after the run.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.connections: list[SimulatedConnection] = []
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
        """Run the client's function: its task."""
        current.set(self)
        try:
            await call()
        except Exception as raised:  # network errors are kept, others are raised
            error = _network_error(raised)
            if error is None:
                raise
            self.error = error
            self._journal.note(f"network error ({type(error).__name__})", self.name)
        finally:
            for connection in self.connections:
                connection.client.close()
            self._over.set()

    def check_error(self) -> None:
        """Set `excused` if there was a reason for the error. Raises: the error, if there was none."""
        if self.error is None:
            return
        self.excused = self._excuse(self.error)
        if self.excused is None:
            self.error.add_note(f"client {self.name}: {self._describe_connections()}")
            raise self.error

    def _excuse(self, error: Exception) -> str | None:
        if isinstance(error, ConnectionRefusedError):
            return "nothing listened any more"
        return next(filter(None, (connection.excuse() for connection in self.connections)), None)

    def _describe_connections(self) -> str:
        if not self.connections:
            return "it had no connection"
        told = [
            f"{one.name}: {one.client.outgoing.sent} bytes sent, of which its server read "
            f"{one.server.incoming.taken}; {one.client.incoming.taken} bytes received; "
            + (f"ended at the server: {one.cause}" if one.cause else "not ended at the server")
            for one in self.connections
        ]
        return "; ".join(told)


def _network_error(error: Exception) -> Exception | None:
    """Return the error if it is a network error, the first of a group that has only these; None otherwise."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, NETWORK_ERRORS) else None
    found = [_network_error(one) for one in error.exceptions]
    return None if None in found else found[0]
