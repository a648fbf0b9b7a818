"""The interface of `bridge` for the packages below, in `requests.table.port.parts`: see
`requests/ports.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from triosock._core.model.events import AcceptFailed

from . import deadline_task, lifecycle_events, supervisor
from .addresses import address_of_listener

if TYPE_CHECKING:
    from triosock._core.model.emitter import Emitter

    from ..requests.ports import Deadlines, Lifecycle, Server, Supervision
    from ..requests.table import RequestTable


class BridgePort:
    """The implementation of `ports.TrioPart`."""

    def make_emitter(self, request_table: RequestTable, watched: bool) -> Emitter | None:
        """Return the emitter of a request table, if it has observers or a timeline is open."""
        return supervisor.make_emitter(request_table, watched)

    def supervise(self, request_table: RequestTable) -> Supervision:
        """Return the supervisor of a request table."""
        return supervisor.Supervisor(request_table)

    def watch_deadlines(self, request_table: RequestTable, request_timeout: float) -> Deadlines:
        """Start the deadline task. Raises: RuntimeError if no trio run can be started."""
        return deadline_task.begin(request_table, request_timeout)

    def make_lifecycle(self, request_table: RequestTable) -> Lifecycle:
        """Return the object that emits the lifecycle events of a server."""
        return lifecycle_events.LifecycleEvents(request_table)

    def emit_accept_failed(
        self, request_table: RequestTable, server: Server, error: OSError, action: str, delay: float
    ) -> None:
        """Emit `AcceptFailed`."""
        address = address_of_listener(server)
        request_table.emit(AcceptFailed, address=address, error=error, action=action, delay=delay)


PORT = BridgePort()
