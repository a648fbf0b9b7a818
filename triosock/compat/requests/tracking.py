"""Tracking: how much work each request of a server needs besides its record. Decided once for each server."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ports import Policy


class Tracking(IntEnum):
    """The work for each request of a server besides its record; each level includes those before it."""

    #: None: a plain server.
    NONE = 0
    #: Counting, for a policy's limit or grace.
    COUNTED = 1
    #: Supervision while it runs, if a trio run can be started: a timeline is open.
    WATCHED = 2
    #: Supervision for the policy's deadline or observers; an error if no trio run can be started.
    REQUIRED = 3


def tracking_for(policy: Policy | None, watched: bool) -> Tracking:
    """Return the level for a server with this policy; `watched` says whether a timeline is open."""
    if policy is not None and policy.needs_oversight:
        return Tracking.REQUIRED
    if watched:
        return Tracking.WATCHED
    return Tracking.NONE if policy is None else Tracking.COUNTED
