"""The options of `serve_tcp` and the like, for functions that pass them on: ``**options:
Unpack[ServeOptions]``. A test compares them with those of the functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from ..model.config import Limits, Timeouts
from ..model.events import Observer
from ..protocols.proxy_parser import ProxyPolicy
from ..transport.tls import ServerTls
from .connection_task import OnError


class ServeOptions(TypedDict, total=False):
    """What `serve_listeners` takes, besides the handler and the listeners."""

    limits: Limits | None
    timeouts: Timeouts | None
    tls: ServerTls | None
    tls_https_compatible: bool
    proxy: ProxyPolicy | bool
    on_error: OnError
    observers: Iterable[Observer]
    name: str | None
