"""What is served, and what carries its bytes, as far as a registry, a timeout and a table of faults know
them.
"""

from __future__ import annotations

from typing import Protocol

from ..model.addresses import Address
from ..model.events import Cause


class Carrier(Protocol):
    """What carries the bytes of what is served."""

    @property
    def received(self) -> int:
        """How many bytes have come."""
        raise NotImplementedError

    @property
    def sent(self) -> int:
        """How many bytes were sent."""
        raise NotImplementedError

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed it."""
        raise NotImplementedError

    @property
    def failure(self) -> BaseException | None:
        """What was raised because the peer is gone."""

    def has_input(self) -> bool | None:
        """Whether something has come that nobody has taken yet; None if that cannot be told."""

    def has_room(self) -> bool | None:
        """Whether something could be sent without waiting; None if that cannot be told."""


class Served(Protocol):
    """What is served: a connection, a session, a datagram."""

    @property
    def peer(self) -> Address:
        """The other side."""
        raise NotImplementedError

    @property
    def wire(self) -> Carrier:
        """What carries its bytes."""
        raise NotImplementedError

    def interrupt_idle(self, cause: Cause) -> None:
        """End the idle wait of now, and those that begin later."""


class Learner(Protocol):
    """What learns from how long things take."""

    def note(self, began: float, now: float) -> None:
        """Some work that began at the one time is done at the other."""
