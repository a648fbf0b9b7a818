"""How much there is to do for a request of a server besides its record: decided once, for each asks."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ports import Policy


class Attention(IntEnum):
    """What there is to a request of a server besides its record; each step has what is below it."""

    #: Nothing: a plain server.
    NONE = 0
    #: It counts, for a policy's bound or a drain's grace.
    COUNTED = 1
    #: Somebody looks after it while it runs, if that can be had: a timeline.
    WATCHED = 2
    #: The same for the policy's deadline or observers; an error if it cannot be had.
    REQUIRED = 3


def attention_for(policy: Policy | None, watched: bool) -> Attention:
    """Return it for a server with this policy; `watched` says whether a timeline is open."""
    if policy is not None and policy.needs_oversight:
        return Attention.REQUIRED
    if watched:
        return Attention.WATCHED
    return Attention.NONE if policy is None else Attention.COUNTED
