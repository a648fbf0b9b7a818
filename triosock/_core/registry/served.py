"""Protocols: what is served, and what carries its bytes, as the registry, timeouts and the table of faults
see them.
"""

from __future__ import annotations

from typing import Protocol

import trio

from ..model.addresses import Address
from ..model.events import Cause


class Carrier(Protocol):
    """What carries the bytes of what is served."""

    @property
    def received(self) -> int:
        """Bytes received."""
        raise NotImplementedError

    @property
    def sent(self) -> int:
        """Bytes sent."""
        raise NotImplementedError

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed it."""
        raise NotImplementedError

    #: The exception that was raised because the peer is gone. None again after the end.
    failure: trio.BrokenResourceError | None

    def has_input(self) -> bool | None:
        """Whether something has arrived that was not received yet; None if that is not known."""

    def has_room(self) -> bool | None:
        """Whether something could be sent without waiting; None if that is not known."""


class Served(Protocol):
    """What is served: a connection, a session, a datagram."""

    @property
    def peer(self) -> Address:
        """The address of the other side."""
        raise NotImplementedError

    @property
    def wire(self) -> Carrier:
        """What carries its bytes."""
        raise NotImplementedError

    def interrupt_idle(self, cause: Cause) -> None:
        """End the current idle wait and later ones."""


class LatencyObserver(Protocol):
    """Gets the duration of each piece of work."""

    def note(self, began: float, now: float) -> None:
        """Note a piece of work that lasted from `began` to `now`."""

    def begin_rest(self, entry: object) -> None:
        """Note that the work of an entry is done, although it keeps its slot."""

    def end_rest(self, entry: object) -> None:
        """Note that an entry is about to give up its slot."""
