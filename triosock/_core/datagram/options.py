"""The options of `serve_udp`, `serve_unix_datagram` and `serve_datagram_sockets`, for functions that pass
them on: ``**options: Unpack[DatagramOptions]``. A test compares them with those of the functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from ..model.config import Limits, Timeouts
from ..model.events import Observer
from .serve import DatagramOnError
from .session import Sessions


class DatagramOptions(TypedDict, total=False):
    """What `serve_datagram_sockets` takes, besides the handler, the sockets and `max_bytes`."""

    sessions: Sessions | None
    limits: Limits | None
    timeouts: Timeouts | None
    on_error: DatagramOnError
    observers: Iterable[Observer]
    name: str | None
