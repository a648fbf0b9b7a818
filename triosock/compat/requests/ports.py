"""The Protocols of the objects that `bridge`, `control` and `green` make for the packages below them.

A server calls these objects: it wakes a trio run, reports to a drain, starts green requests. The packages
that make them import `requests`, `waiting` and `stdlib`, and not the reverse. `Parts` is the one port through
which the packages below get the objects: `table.port.parts`, which `triosock.compat` sets. Nothing imports
this file at run time.

The Protocols are generic in the request table, which has attributes of their types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from socket import socket as Socket

    import trio

    from triosock import DrainReport, DrainScope, Observer, ProxyPolicy
    from triosock._core.model.emitter import Emitter
    from triosock._core.model.events import Cause
    from triosock._core.model.node import Node
    from triosock._core.registry.description import SnapshotOptions
    from triosock._core.registry.registry import Registry, Tally

    from .signatures import ClientAddress, HandlerFactory, Request

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
TableT_contra = TypeVar("TableT_contra", contravariant=True)

#: The record of a request: `table.py` describes its items.
Record: TypeAlias = list[Any]


class Server(Protocol):
    """A server, as a wait sees it. Other attributes are read from its class."""

    socket: Socket

    def fileno(self) -> int:
        """Return the descriptor that is waited for."""
        raise NotImplementedError


class ThreadingServer(Server, Protocol):
    """A server with `ThreadingMixIn`, whose requests may have green tasks."""

    daemon_threads: bool
    block_on_close: bool
    RequestHandlerClass: HandlerFactory

    def process_request_thread(self, request: Request, client_address: ClientAddress) -> None:
        """Handle a request."""


class Policy(Protocol):
    """The options of a server class: `control.policy.Policy`."""

    @property
    def request_timeout(self) -> float:
        """Seconds."""
        raise NotImplementedError

    @property
    def max_requests(self) -> float:
        """The number of requests handled at once."""
        raise NotImplementedError

    @property
    def grace(self) -> float:
        """Seconds."""
        raise NotImplementedError

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers."""
        raise NotImplementedError

    @property
    def proxy(self) -> ProxyPolicy | None:
        """The policy for PROXY headers; None if there are none."""

    @property
    def blocking_after(self) -> float:
        """Seconds."""
        raise NotImplementedError

    @property
    def needs_oversight(self) -> bool:
        """Whether the requests need supervision while they run."""
        raise NotImplementedError


class Host(Protocol):
    """A trio run, as other threads see it: `bridge.trio_thread.Host`."""

    def run(self, scope: trio.CancelScope, async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
        """Run an async function there. Blocks."""
        raise NotImplementedError

    def soon(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """Have a function called there, unless the run is over. Never blocks."""

    def call(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """Have a function called there. Never blocks. Raises: trio.RunFinishedError."""


class GreenTask(Protocol):
    """The task of a green request: `green.tasks.GreenTask`."""

    @property
    def number(self) -> int:
        """Its key among the live requests."""
        raise NotImplementedError

    @property
    def scope(self) -> trio.CancelScope:
        """The cancel scope that cuts it."""
        raise NotImplementedError

    def stack(self) -> tuple[str, ...]:
        """Return the stack of its handler."""
        raise NotImplementedError


class Group(Protocol):
    """The green requests of a server: `green.group.Group`."""

    def start(self, server: ThreadingServer, request: Request, client_address: ClientAddress) -> None:
        """Have a request handled. In the thread that serves."""

    def admit(
        self,
        server: ThreadingServer,
        green: Socket,
        client_address: ClientAddress,
        *,
        daemon: bool,
        counts: bool,
    ) -> None:
        """Have a request handled that was accepted in the trio thread."""

    def loop_begins(self) -> None:
        """A loop begins."""

    def loop_ends(self) -> None:
        """A loop has ended."""

    def become_threads_of(self, server: ThreadingServer) -> None:
        """Become what `server_close()` waits for."""

    def make_nonblocking(self, listener: Socket) -> None:
        """Make the descriptor of a listener non-blocking until the last loop ends."""

    def task(self, number: int) -> GreenTask | None:
        """Return a task by its number."""


class RequestEntry(Protocol):
    """A request that a drain or a deadline may act on: `bridge.request_entry.Request`."""

    call: Callable[[], None] | None
    spared_until: float
    cause: Cause | None

    def interrupt(self, cause: Cause) -> None:
        """End its idle wait."""

    def cut(self, cause: Cause) -> None:
        """End it."""

    def reason(self) -> str:
        """Return the reason why it was cut."""
        raise NotImplementedError


class Supervision(Protocol):
    """The requests of a server as a trio run sees them: `bridge.supervisor.Supervisor`."""

    registry: Registry
    clock: float

    def attend(self, thread: int, record: Record) -> None:
        """Make the entry of a record."""

    def leave(self, thread: int, record: Record, error: BaseException | None) -> bool:
        """Remove the entry of a record."""
        raise NotImplementedError

    def own_entry(self) -> RequestEntry | None:
        """Return the entry of the calling thread."""

    def tally(self) -> Tally:
        """Return the counts."""
        raise NotImplementedError

    def begin(self, host: Host) -> None:
        """Begin to supervise. In the trio thread."""

    def end(self, host: Host) -> None:
        """Stop supervising."""


class Deadlines(Protocol):
    """The task that cuts requests whose time is over: `bridge.deadline_task.DeadlineTask`."""

    def end(self) -> None:
        """Stop."""


class Lifecycle(Protocol):
    """Emits the lifecycle events of a server: `bridge.lifecycle_events.LifecycleEvents`."""

    def loop_begins(self, server: Server) -> None:
        """A loop begins."""

    def loop_ends(self, server: Server) -> None:
        """A loop has ended."""

    def listener_closed(self) -> None:
        """The listener is closed."""

    def check_closed(self) -> None:
        """A request or a loop has ended."""

    def check_closed_held(self) -> None:
        """The last holder of the request table is about to release it."""


class RunningDrain(Protocol):
    """A drain in progress: `control.drain.Running`."""

    @property
    def scope(self) -> DrainScope:
        """Its scope."""
        raise NotImplementedError

    def tighten(self, grace: float | None) -> None:
        """Shorten its grace period."""

    def wait(self) -> DrainReport:
        """Wait for its report."""
        raise NotImplementedError


class ServedInTrio(Protocol):
    """A server in a trio program: `control.serve.CompatServer`."""

    def drain(self, *, grace: float | None = None) -> None:
        """Begin its drain."""

    async def wait_closed(self) -> DrainReport:
        """Wait for its end."""
        raise NotImplementedError

    def describe(self, look: SnapshotOptions) -> Node:
        """Return its node with its requests."""
        raise NotImplementedError


class GreenWait(Protocol):
    """A wait in which green requests may be accepted: `bridge.trio_wait.TrioWait`."""

    @property
    def server(self) -> Server:
        """The server that waits."""
        raise NotImplementedError

    @property
    def group(self) -> Group:
        """The group that the requests are added to."""
        raise NotImplementedError

    @property
    def is_woken(self) -> bool:
        """Whether the wait must end."""
        raise NotImplementedError


class TrioPart(Protocol[TableT_contra]):
    """The port to the modules that need trio."""

    def make_emitter(self, request_table: TableT_contra, watched: bool) -> Emitter | None:
        """Return the emitter of a request table."""

    def supervise(self, request_table: TableT_contra) -> Supervision:
        """Return the supervisor of a request table."""
        raise NotImplementedError

    def watch_deadlines(self, request_table: TableT_contra, request_timeout: float) -> Deadlines:
        """Start the deadline task. Raises: RuntimeError if no trio run can be started."""
        raise NotImplementedError

    def make_lifecycle(self, request_table: TableT_contra) -> Lifecycle:
        """Return the object that emits the lifecycle events of a server."""
        raise NotImplementedError

    def emit_accept_failed(
        self, request_table: TableT_contra, server: Server, error: OSError, action: str, delay: float
    ) -> None:
        """Emit `AcceptFailed`."""


class GreenPart(Protocol[TableT_contra]):
    """The port to green mode."""

    def check(self, server: object) -> None:
        """Raise TypeError if a server cannot be green."""

    def group(self, request_table: TableT_contra) -> Group:
        """Return the group of the requests of a green server."""
        raise NotImplementedError

    def current(self) -> GreenTask | None:
        """Return the green request that the calling code handles."""

    def wait(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
        """Run an async function from a green handler."""
        raise NotImplementedError

    def blocking(self, fn: Callable[[*Ts], T], *args: Unpack[Ts]) -> T:
        """Run a blocking function from a green handler."""
        raise NotImplementedError

    async def accept(self, waiting: GreenWait, fd: int) -> bool:
        """Accept requests in the trio thread; return whether the serving thread must accept the next one."""
        raise NotImplementedError


class Parts(Protocol[TableT_contra]):
    """The ports to the packages above; `triosock.compat.loading` implements it."""

    def trio(self) -> TrioPart[TableT_contra]:
        """Return the port to the modules that need trio. Imports them, if that was not done yet."""
        raise NotImplementedError

    def green(self) -> GreenPart[TableT_contra]:
        """Return the port to green mode. Raises: RuntimeError, with the reason, if it cannot run here."""
        raise NotImplementedError

    def green_if_loaded(self) -> GreenPart[TableT_contra] | None:
        """Return the port to green mode if that is imported, otherwise None."""
