"""The Protocols of what the packages above trio provide to those below.

A server uses objects of packages above it: it wakes trio, counts in a drain, starts green requests. `bridge`,
`control` and `green` make these objects, and import the packages below. This file has their Protocols, and
`Parts` is the one port through which the packages below get them: `table.port.parts`, set by
`triosock.compat`. Nothing imports this file at run time.

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
BookT_contra = TypeVar("BookT_contra", contravariant=True)

#: The record of a request; `table.py` says what is in it.
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
    """What a program asked for: `control.policy.Policy`."""

    @property
    def request_timeout(self) -> float:
        """Seconds."""
        raise NotImplementedError

    @property
    def max_requests(self) -> float:
        """How many at once."""
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
        """Whether a PROXY header comes first."""

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
        """Call a function there, soon."""

    def call(self, function: Callable[[*Ts], object], *args: Unpack[Ts]) -> None:
        """The same, or trio.RunFinishedError."""


class GreenTask(Protocol):
    """The task of a green request: `green.tasks.GreenTask`."""

    @property
    def number(self) -> int:
        """Its key among the live requests."""
        raise NotImplementedError

    @property
    def scope(self) -> trio.CancelScope:
        """What cuts it."""
        raise NotImplementedError

    def stack(self) -> tuple[str, ...]:
        """Where it waits."""
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
        """The same, in the trio thread."""

    def loop_begins(self) -> None:
        """A loop begins."""

    def loop_ends(self) -> None:
        """A loop has ended."""

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
        """Why it was cut."""
        raise NotImplementedError


class Supervision(Protocol):
    """The requests of a server as a trio run sees them: `bridge.supervisor.Supervisor`."""

    registry: Registry
    clock: float

    def attend(self, thread: int, record: Record) -> None:
        """Make the entry of a record."""

    def leave(self, thread: int, record: Record, error: BaseException | None) -> bool:
        """Take out the entry of a record."""
        raise NotImplementedError

    def own_entry(self) -> RequestEntry | None:
        """Return the entry of the calling thread."""

    def tally(self) -> Tally:
        """Return what was counted."""
        raise NotImplementedError

    def begin(self, host: Host) -> None:
        """Begin, in a trio thread."""

    def end(self, host: Host) -> None:
        """End what was begun."""


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

    def closes(self) -> None:
        """The listener is closed."""

    def look(self) -> None:
        """A request or a loop has ended."""

    def look_held(self) -> None:
        """The last holder of the request table is about to release it."""


class RunningDrain(Protocol):
    """A drain that is going on: `control.drain.Running`."""

    @property
    def scope(self) -> DrainScope:
        """Its scope."""
        raise NotImplementedError

    def tighten(self, grace: float | None) -> None:
        """Have it end sooner."""

    def wait(self) -> DrainReport:
        """Wait for its report."""
        raise NotImplementedError


class ServedInTrio(Protocol):
    """What serves a server in a trio program: `control.serve.CompatServer`."""

    def drain(self, *, grace: float | None = None) -> None:
        """Tell it to drain."""

    async def wait_closed(self) -> DrainReport:
        """Wait for its end."""
        raise NotImplementedError

    def describe(self, look: SnapshotOptions) -> Node:
        """Return what lives in it."""
        raise NotImplementedError


class GreenWait(Protocol):
    """A wait in which green requests may be accepted: `bridge.trio_wait.TrioWait`."""

    @property
    def server(self) -> Server:
        """Whose wait it is."""
        raise NotImplementedError

    @property
    def group(self) -> Group:
        """Where the requests go."""
        raise NotImplementedError

    @property
    def is_woken(self) -> bool:
        """Whether the wait is to end."""
        raise NotImplementedError


class TrioPart(Protocol[BookT_contra]):
    """What needs trio."""

    def make_emitter(self, request_table: BookT_contra, watched: bool) -> Emitter | None:
        """Return the emitter of a request table."""

    def supervise(self, request_table: BookT_contra) -> Supervision:
        """Return the supervisor of a request table."""
        raise NotImplementedError

    def watch_deadlines(self, request_table: BookT_contra, request_timeout: float) -> Deadlines:
        """Begin to cut the requests whose time is over. Raises RuntimeError if there can be no trio run."""
        raise NotImplementedError

    def tell_life(self, request_table: BookT_contra) -> Lifecycle:
        """Return the object that emits the lifecycle events of a server."""
        raise NotImplementedError

    def tell_accept_error(
        self, request_table: BookT_contra, server: Server, error: OSError, action: str, delay: float
    ) -> None:
        """Emit `AcceptFailed`."""


class GreenPart(Protocol[BookT_contra]):
    """What needs greenlets."""

    def check(self, server: object) -> None:
        """Raise TypeError if a server cannot be green."""

    def group(self, request_table: BookT_contra) -> Group:
        """Return where the requests of a green server go."""
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
        """Accept requests in the trio thread; return whether the serving thread is to look."""
        raise NotImplementedError


class Parts(Protocol[BookT_contra]):
    """How the lower packages reach the higher ones. `triosock.compat.loading` is one."""

    def trio(self) -> TrioPart[BookT_contra]:
        """Return what needs trio. Imports it, if that was not done yet."""
        raise NotImplementedError

    def green(self) -> GreenPart[BookT_contra]:
        """Return what needs greenlets. Raises RuntimeError, with the reason, if there can be none."""
        raise NotImplementedError

    def green_if_loaded(self) -> GreenPart[BookT_contra] | None:
        """Return the same if it was asked for already."""
